"""A member keeps no secrets of sessions that are over, and answers in no round of a committee twice."""

import asyncio
import errno
import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.service import client as client_module
from protocols.service import forgetting as forgetting_module
from protocols.service.client import take_part
from protocols.service.connection import Connection, RequestRefusedError, ServiceUnavailableError
from protocols.service.forgetting import LONGEST_SECONDS, forget_gone
from protocols.service.jobs import prepared, summing
from protocols.service.kept import Folder, Kept, NoRoomError
from protocols.service.parties import PaillierParty, check_session
from protocols.service.running import KEEP_SECONDS
from protocols.service.sessions import SessionSpec
from protocols.service.views import Letter
from secagg.errors import ContradictoryRequest, ParameterError
from secagg.signatures import Identity
from tests.protocols.paillier import harness

from .places import certificates, connected, service_at
from .test_taking_part import Deadly, Killed

DAY = 24 * 3600.0
RUNNING, GONE, OVER, STILL, AWAY = ("ab" * 32, "cd" * 32, "ef" * 32, "12" * 32, "34" * 32)


class Answers:
    """A service that knows one session, and cannot be reached about another."""

    identity = Identity.generate()

    async def terms(self, session):
        if session == AWAY:
            raise ServiceUnavailableError("it cannot answer")
        if session in (GONE, OVER):
            raise RequestRefusedError(404, "unknown-session", "there is no such session")
        return b"terms"

    async def next_letter(self, after, wait):
        await asyncio.sleep(3600)


def kept(folder, name, age=0.0, *, over=False):
    folder.keep_terms(name, b"terms")
    folder.keep(name, Kept(1, over, b"" if over else b"secret"))
    at = time.time() - age
    for ending in (".terms", ".state"):
        os.utime(folder.path / (name + ending), (at, at))


def left(folder):
    return {path.name for path in folder.path.iterdir()} - {"lock", "sequence"}


def test_what_the_service_does_not_know_or_stands_still_is_forgotten(tmp_path):
    with Folder(tmp_path / "own") as folder:
        for name in (RUNNING, GONE, AWAY):
            kept(folder, name, 20 * DAY)
        kept(folder, OVER, over=True)
        kept(folder, STILL, LONGEST_SECONDS + DAY)
        forgotten = asyncio.run(forget_gone(Answers(), folder, lambda session: False, False, time.time))
        assert forgotten.keys() == {GONE, STILL}
        assert "unknown-session" in forgotten[GONE]
        assert "90 days" in forgotten[STILL]
        assert left(folder) == {name + ending for name in (RUNNING, AWAY) for ending in (".terms", ".state")}
        later = asyncio.run(
            forget_gone(Answers(), folder, lambda session: session == RUNNING, False, lambda: time.time() + 80 * DAY)
        )
        assert later.keys() == {AWAY}  # by the member's own bound; one that is at hand is left alone


def test_a_service_that_is_away_keeps_no_old_secrets(tmp_path, monkeypatch):
    monkeypatch.setattr(forgetting_module, "LOOK_SECONDS", 0.1)

    class Nowhere:
        async def terms(self, session):
            await asyncio.sleep(3600)

    with Folder(tmp_path / "own") as folder:
        kept(folder, AWAY)
        kept(folder, STILL, LONGEST_SECONDS + DAY)
        kept(folder, RUNNING)
        assert asyncio.run(forget_gone(Nowhere(), folder, lambda session: False, False, time.time)).keys() == {STILL}
        assert folder.sessions().keys() == {AWAY, RUNNING}


def test_a_damaged_state_is_no_reason_to_keep_it(tmp_path):
    with Folder(tmp_path / "own") as folder:
        kept(folder, GONE)
        (folder.path / f"{GONE}.state").write_bytes(b"SAGGDUMP")
        assert asyncio.run(forget_gone(Answers(), folder, lambda session: False, False, time.time)).keys() == {GONE}
        assert left(folder) == set()


def test_members_look_when_they_begin_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "LOOK_SECONDS", 0.05)
    with Folder(tmp_path / "own") as folder:
        kept(folder, GONE)

    async def play():
        told = asyncio.Queue()
        options = {"state": tmp_path / "own", "warm": False, "told": told.put_nowait}
        taking = asyncio.create_task(take_part(Answers(), "me", {}, sessions=2, **options))
        first = await told.get()
        (tmp_path / "own" / f"{OVER}.terms").write_bytes(b"terms")
        (tmp_path / "own" / f"{OVER}.state").write_bytes(b"")
        return first, await asyncio.wait_for(taking, 30)

    first, ended = asyncio.run(play())
    assert (first.session, first.phase) == (GONE, "forgotten")
    assert [one.session for one in ended] == [GONE, OVER]
    assert {path.name for path in (tmp_path / "own").iterdir()} == {"lock"}


def test_members_have_a_bound_of_age_of_their_own(tmp_path):
    """Where the service is away, by the member's clock."""
    with Folder(tmp_path / "own") as folder:
        kept(folder, AWAY)
    options = {"state": tmp_path / "own", "warm": False, "sessions": 1}
    late = time.time() + LONGEST_SECONDS + DAY
    (ended,) = asyncio.run(take_part(Answers(), "me", {}, clock=lambda: late, **options))
    assert (ended.session, ended.phase) == (AWAY, "forgotten")


def test_who_was_away_for_too_long_forgets_and_who_was_not_hears_the_end(tmp_path):
    """Over HTTPS: the session ends while a member is away, and the service's clock moves on."""
    names = [f"site-{number}" for number in range(1, 6)]
    vectors = (IntegerVector("v", 2, max_value=9),)

    async def play(days):
        folder = tmp_path / str(days)
        folder.mkdir()
        with service_at(folder, certificates()) as service:
            async with service.serving(), connected(service, certificates(), names[0]) as connection:
                answers = {"sum": lambda terms: {"v": np.array([1, 2])}}
                options = {"state": folder / "own", "policy": ClientPolicy.permissive(), "warm": False}
                away = asyncio.create_task(take_part(connection, names[0], answers, **options))
                session = await service.desk.open(summing("x", vectors, ThreatModel(5, 0.2, 0.2), Participants(names)))
                while not (folder / "own" / f"{session}.state").exists():
                    await asyncio.sleep(0.02)
                away.cancel()
                await asyncio.gather(away, return_exceptions=True)
                await service.desk.cancel(session)
                now = service.store.now
                service.store.now = lambda connection: now(connection) + days * DAY
                service.store.clear(KEEP_SECONDS)
                ended = await asyncio.wait_for(take_part(connection, names[0], answers, sessions=1, **options), 60)
        return ended[0].phase, {path.suffix for path in (folder / "own").iterdir()} & {".state", ".terms"}

    assert asyncio.run(play(1)) == ("aborted", set())
    assert asyncio.run(play(8)) == ("forgotten", set())


class Again:
    """A service that ends a round, and begins it again."""

    identity = harness.identity(1)

    def __init__(self, spec, first, session=""):
        self.spec, self.sent, self.refused, self._first = spec, [], [], first
        self._session = session or spec.config.session.hex()

    async def next_letter(self, after, wait):
        session = self._session
        bodies = [self._first, b"", self._first, b""]
        if after >= len(bodies):
            await asyncio.sleep(3600)
        return Letter(session, after + 1, "commitments" if bodies[after] else "aborted", bodies[after])

    async def terms(self, session):
        return self.spec.terms.encoded

    async def exchange(self, session, body, after=None, wait=0.0, allowed=None):
        self.sent.append(body)
        return None, None if after is None else await self.next_letter(after, wait)

    async def refuse(self, session, kind, reason):
        self.refused.append((kind, reason))


def first_message(spec, name):
    from protocols.paillier.aggregator import Aggregator

    with Aggregator.load(prepared(spec).dump, spec.config) as aggregator:
        return aggregator.outgoing()[name]


def beginning_again(monkeypatch):
    """Parameters, a contributor of them, a service that begins their round again, the contributor's part and inputs."""
    monkeypatch.setattr("protocols.paillier.written.PublicKey", small_key)
    parameters = harness.make_parameters(3, nonce=b"again".ljust(32))
    spec = SessionSpec("encrypted", parameters)
    name = parameters.contributors.name(1)
    service = Again(spec, first_message(spec, name))
    party = PaillierParty(parameters, name, harness.identity(1), noise=harness.noise())
    answers = {"sum": lambda terms: {"update": harness.update(1)}}
    return parameters, name, service, party, answers


@pytest.mark.parametrize("restarts", [False, True])
def test_a_round_that_was_ended_and_begins_again_gets_no_second_answer(tmp_path, monkeypatch, restarts):
    """A committee member that forgot would endorse a second list, and open a second sum: they differ by an input."""
    parameters, name, service, party, answers = beginning_again(monkeypatch)

    async def play():
        options = {"state": tmp_path / "own", "party": party, "warm": False}
        if restarts:
            await take_part(service, name, answers, sessions=1, **options)
        taking = asyncio.create_task(take_part(service, name, answers, **options))
        while not (tmp_path / "own" / "sequence").exists() or int((tmp_path / "own" / "sequence").read_text()) < 4:
            await asyncio.sleep(0.02)
            assert not taking.done(), taking.result()
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    asyncio.run(asyncio.wait_for(play(), 60))
    assert (len(service.sent), len(service.refused)) == (1, 1)
    kind, reason = service.refused[0]
    assert kind == "ContradictoryRequest"
    assert "took part in this session before, and does so once: begin a new one; Paillier parameters" in reason
    with Folder(tmp_path / "own") as folder:
        assert folder.session(parameters.session.hex()) == Kept(0, True, b"")
        assert folder.sessions() == {}  # nothing secret is left, and nobody is asked about it


def test_a_private_session_that_earlier_code_forgot_is_refused(tmp_path, monkeypatch):
    """Its name was noted, and no state was left: begun again under its id, it would not be counted."""
    parameters, name, service, party, answers = beginning_again(monkeypatch)
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "own" / "private").write_text(f"epsilon 2.0, rounds 1\n{parameters.session.hex()}")
    taking = take_part(service, name, answers, state=tmp_path / "own", party=party, warm=False, sessions=1)
    asyncio.run(asyncio.wait_for(taking, 60))
    assert (service.sent, [kind for kind, _ in service.refused]) == ([], ["ContradictoryRequest"])


def small_key(*arguments):
    from secagg.paillier import PublicKey

    return PublicKey(*arguments, _min_bits=256)


def test_a_round_is_one_session(tmp_path, monkeypatch):
    """Under another id it would be a second one, whose end nobody remembers."""
    monkeypatch.setattr("protocols.paillier.written.PublicKey", small_key)
    terms = SessionSpec("encrypted", harness.make_parameters(3, nonce=b"one".ljust(32))).terms
    check_session(terms.proposed.session.hex(), terms)
    with pytest.raises(ContradictoryRequest, match="is not the round"):
        check_session("00" * 32, terms)
    parameters = harness.make_parameters(3, nonce=b"one".ljust(32))
    spec, name = SessionSpec("encrypted", parameters), parameters.contributors.name(1)
    service = Again(spec, first_message(spec, name), "00" * 32)
    party = PaillierParty(parameters, name, harness.identity(1), noise=harness.noise())
    options = {"state": tmp_path / "own", "party": party, "warm": False, "sessions": 1}
    (ended,) = asyncio.run(take_part(service, name, {"sum": lambda terms: {}}, **options))
    assert (ended.phase, service.sent, service.refused[0][0]) == ("refused", [], "ContradictoryRequest")


def test_sessions_under_way_take_no_more_than_they_may(tmp_path, monkeypatch):
    monkeypatch.setattr("protocols.service.kept.MAX_KEPT_BYTES", 1000)
    with Folder(tmp_path / "own") as folder:
        folder.keep_terms(RUNNING, bytes(900))
    with Folder(tmp_path / "own") as folder:  # which counts what is there
        for name, most in ((STILL, 0), (RUNNING, 900)):
            with pytest.raises(NoRoomError, match="may take 1,000"):
                folder.keep(name, Kept(1, False, bytes(200)))
            assert len(folder.terms(name)) == most
        folder.keep(RUNNING, Kept(2, True, b""))  # that it is over is kept, however full
        folder.keep_terms(RUNNING, b"")
        folder.keep(STILL, Kept(1, False, bytes(200)))
        folder.forget(STILL)
        folder.keep_terms(STILL, bytes(900))


def test_what_could_not_be_written_takes_no_room(tmp_path, monkeypatch):
    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("protocols.service.kept.MAX_KEPT_BYTES", 1000)
    with Folder(tmp_path / "own") as folder, monkeypatch.context() as patched:
        patched.setattr("protocols.service.kept.write_whole", full)
        with pytest.raises(ParameterError, match="No space"):
            folder.keep_terms(RUNNING, bytes(900))
        patched.undo()
        monkeypatch.setattr("protocols.service.kept.MAX_KEPT_BYTES", 1000)
        folder.keep_terms(STILL, bytes(900))


def test_the_end_of_a_session_that_never_began_here_leaves_nothing(tmp_path):
    with Folder(tmp_path / "own") as folder:
        folder.forget(GONE, once=True)
        assert left(folder) == set()
        kept(folder, OVER)
        folder.forget(OVER, once=True)
        assert left(folder) == {f"{OVER}.state"}


def test_a_crash_after_the_end_leaves_no_secrets(tmp_path, monkeypatch):
    """Between forgetting and the note that the last letter was handled; it comes again, and is harmless."""
    monkeypatch.setattr("protocols.paillier.written.PublicKey", small_key)
    parameters = harness.make_parameters(3, nonce=b"crash".ljust(32))
    spec, name = SessionSpec("encrypted", parameters), parameters.contributors.name(1)
    service = Again(spec, first_message(spec, name))
    party = PaillierParty(parameters, name, harness.identity(1), noise=harness.noise())
    handled = Folder.handled

    def dying(folder, sequence):
        if sequence == 2:
            raise Killed
        handled(folder, sequence)

    monkeypatch.setattr(Folder, "handled", dying)
    options = {"state": tmp_path / "own", "party": party, "warm": False}
    with pytest.raises(Killed):
        asyncio.run(take_part(service, name, {"sum": lambda terms: {"update": harness.update(1)}}, **options))
    with Folder(tmp_path / "own") as folder:
        assert folder.sequence == 1
        assert folder.sessions() == {}
        assert folder.session(parameters.session.hex()).dump == b""


def test_parties_of_an_encrypted_sum_that_are_killed_anywhere_send_the_same_bytes(tmp_path, monkeypatch):
    """Contributors and committee members, each before or after an answer has left."""
    monkeypatch.setattr("protocols.paillier.written.PublicKey", small_key)
    parameters = harness.make_parameters(3, nonce=b"killed".ljust(32))
    shares = {share.member: replace(share, key=parameters.key) for share in harness.dealt(4, 5)[1]}
    sent = {name: [] for name in (*parameters.contributors, *parameters.members)}
    kills = [["before", "", "after"], ["after", "before"], ["before", "before", "after", "after"]]

    def party_of(name):
        if name in parameters.contributors:
            own = harness.identity(parameters.contributors.number(name))
            return PaillierParty(parameters, name, own, noise=harness.noise())
        number = parameters.members.number(name)
        return PaillierParty(parameters, name, harness.identity(1000 + number), shares[number])

    async def one(service, name, left):
        token = await asyncio.to_thread(service.members.invite, name)
        own = party_of(name).identity
        async with Connection(service.url, own, ca=certificates().ca, patience=60) as connection:
            await connection.enrol(name, token)
            given = {"sum": lambda terms: {"update": harness.update(parameters.contributors.number(name))}}
            while True:
                dying, options = Deadly(connection, sent[name], left), {"sessions": 1, "warm": False}
                try:
                    return await take_part(dying, name, given, state=tmp_path / name, party=party_of(name), **options)
                except Killed:
                    continue

    async def play():
        with service_at(tmp_path, certificates()) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(service, name, list(kills[at % 3]))) for at, name in enumerate(sent)]
                await service.enrolled(sent)
                (view,) = await service.sessions(SessionSpec("encrypted", parameters))
                return view, json.loads(await service.desk.result(None, view.session)), [await task for task in tasks]

    view, result, ended = asyncio.run(asyncio.wait_for(play(), 120))
    assert result["levels"]["update"] == harness.levels(parameters, dict.fromkeys((1, 2, 3), 1)).tolist()
    assert (dict(view.excluded), dict(view.refused), result["liars"]) == ({}, {}, [])
    assert {one[0].phase for one in ended} == {"completed"}
    assert all(len(answers) > len(set(answers)) == 2 for answers in sent.values())
