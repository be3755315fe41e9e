"""Whole sessions over HTTPS: uvicorn under TLS on loopback, and members with the client's loop."""

import asyncio
import contextlib
import gzip
import json
import threading
from collections import deque
from dataclasses import replace
from functools import partial

import httpx
import msgspec
import numpy as np
import pytest
from msgspec import structs

from protocols.core.machine import Receipt
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy, PrivacyDemand
from protocols.masking.server import Server
from protocols.service import client as client_module
from protocols.service import connection as connection_module
from protocols.service.client import MOST_WAITING, take_part
from protocols.service.connection import Connection, RequestRefusedError, ServiceUnavailableError, letter_of
from protocols.service.consents import Consents
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import paid, summing
from protocols.service.kept import Folder, Kept
from protocols.service.parties import PaillierParty
from protocols.service.session_file import Asked
from protocols.service.sessions import SessionSpec, read_terms
from protocols.service.views import Letter, State, WaitingView
from secagg.errors import ParameterError, StateError
from secagg.paillier import PublicKey
from secagg.signatures import Identity
from tests.protocols.paillier import harness

from . import places
from .places import connected, service_at
from .test_desk_jobs import PLAN, ledger_in, private_values

NAMES = [f"site-{number}" for number in range(1, 6)]
VALUES = {name: np.array([1 << (4 * at), at]) for at, name in enumerate(NAMES)}
POLICY = ClientPolicy.permissive()


@pytest.fixture
def certificates():
    return places.certificates()


def a_sum(**more):
    more.setdefault("deadlines", Deadlines(30))
    model = ThreatModel(len(NAMES), 0.2, 0.2)
    return summing("a sum", (IntegerVector("v", 2, max_value=1 << 20),), model, Participants(NAMES), **more)


def total(names):
    return sum(VALUES[name] for name in names).tolist()


async def member(service, certificates, folder, name, *, answers=None, **options):
    options = {"policy": POLICY, "sessions": 1} | options
    async with connected(service, certificates, name) as connection:
        given = answers or {"sum": lambda terms: {"v": VALUES[name]}}
        return await take_part(connection, name, given, state=folder / name, warm=False, **options)


def test_a_sum_over_https(tmp_path, certificates):
    async def play():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                members = [group.create_task(member(service, certificates, tmp_path, name)) for name in NAMES]
                await service.enrolled(NAMES)
                (view,) = await service.sessions(a_sum())
                assert view.state is State.COMPLETED, view
                result = json.loads(await service.desk.result(None, view.session))
                ended = [await task for task in members]
            return result, ended

    result, ended = asyncio.run(play())
    assert result["sums"] == {"v": total(NAMES)}
    assert [each[0].phase for each in ended] == ["completed"] * 5


def test_members_hear_of_sessions_of_another_store(tmp_path, certificates):
    """As where the one before was lost with its disk."""
    for _ in range(2):
        view, result, _ = running(tmp_path, certificates, spec=a_sum(deadlines=Deadlines(10)))
        assert (view.error, result and result["sums"]) == ("", {"v": total(NAMES)})
        for file in tmp_path.glob("service.db*"):
            file.unlink()


def play(work):
    return asyncio.run(asyncio.wait_for(work, 120))


def running(tmp_path, certificates, *, members=NAMES, others=(), spec=None, **options):
    """Run a sum among members with the loop, and `others`: name -> coroutine function of service; return its view."""

    async def run():
        with service_at(tmp_path, certificates, **options) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(member(service, certificates, tmp_path, name))
                    for name in members
                    if name not in others
                }
                tasks |= {name: group.create_task(work(service)) for name, work in dict(others).items()}
                await service.enrolled(NAMES)
                (view,) = await service.sessions(spec or a_sum())
                result = None if view.error else json.loads(await service.desk.result(None, view.session))
                ended = {name: await task for name, task in tasks.items()}
            return view, result, ended

    return play(run())


def test_a_service_ends_when_those_who_ask_late_know_how_the_session_ended(tmp_path, certificates):
    async def asking_late(service):
        async with connected(service, certificates, NAMES[0]) as connection:
            exchange, next_letter = connection.exchange, connection.next_letter

            async def without_letter(session, body, *asked):
                return await exchange(session, body)

            async def later(*arguments, **options):
                await asyncio.sleep(0.5)
                return await next_letter(*arguments, **options)

            connection.exchange, connection.next_letter = without_letter, later
            answers = {"sum": lambda terms: {"v": VALUES[NAMES[0]]}}
            options = {"state": tmp_path / NAMES[0], "warm": False, "policy": POLICY, "sessions": 1}
            return await asyncio.wait_for(take_part(connection, NAMES[0], answers, **options), 30)

    async def run():
        with service_at(tmp_path, certificates) as service:
            running = asyncio.create_task(service.run(a_sum()))
            while service.url.endswith(":0"):  # until it listens
                await asyncio.sleep(0.01)
            others = [member(service, certificates, tmp_path, name) for name in NAMES[1:]]
            ended = await asyncio.gather(asking_late(service), *others)
            return await running, ended

    (view,), ended = play(run())
    assert view.state is State.COMPLETED
    assert {one[0].phase for one in ended} == {"completed"}


def test_a_phase_costs_a_member_one_request(tmp_path, certificates, monkeypatch):
    monkeypatch.setattr(client_module, "WAIT_SECONDS", 30.0)
    monkeypatch.setattr(client_module, "LINGER_SECONDS", 120.0)
    asked = []

    def counting(app):
        async def counted(scope, receive, send):
            async def sending(message):
                if message.get("status") == 200 and scope["path"].startswith(("/v1/letters", "/v1/sessions")):
                    asked.append((scope["method"], bool(scope["query_string"])))
                await send(message)

            await app(scope, receive, sending)

        return counted

    view, result, ended = running(tmp_path, certificates, wrap=counting)
    assert result["sums"] == {"v": total(NAMES)}
    assert {one[0].phase for one in ended.values()} == {"completed"}
    assert asked.count(("POST", True)) == len(NAMES) * len(view.phases)
    assert ("POST", False) not in asked
    assert ("GET", False) not in asked  # the terms come with the first letter
    assert asked.count(("GET", True)) == len(NAMES)  # of a letter that follows no answer: the first


def test_who_is_busy_with_one_session_takes_letters_of_another(tmp_path, certificates, monkeypatch):
    monkeypatch.setattr(client_module, "LINGER_SECONDS", 0.1)
    let_go = threading.Event()

    def slowly(terms):
        if terms.title == "slow":
            let_go.wait(60)
        return {"v": VALUES[NAMES[0]]}

    async def run():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                for name in NAMES:
                    answers = {"sum": slowly} if name == NAMES[0] else None
                    group.create_task(member(service, certificates, tmp_path, name, answers=answers, sessions=2))
                await service.enrolled(NAMES)
                slow = asyncio.create_task(service.sessions(replace(a_sum(), title="slow")))
                while not (shown := (await service.desk.view()).sessions) or not shown[0].phases:
                    await asyncio.sleep(0.05)
                (quick,) = await service.sessions(a_sum())
                waited = not slow.done()
                let_go.set()
                return quick, waited, await slow

    quick, waited, (slow,) = play(run())
    assert (quick.state, slow.state, waited) == (State.COMPLETED, State.COMPLETED, True)


REFUSING = {
    "site-02": (
        {"policy": ClientPolicy(min_clients=50)},
        "ParameterError: the round invites 10 clients, but this client",
    ),
    "site-04": (
        {"answers": {"sum": lambda terms: 1 / 0}},
        "InputsError: the inputs could not be made: ZeroDivisionError",
    ),
    "site-06": (
        {"answers": {"sum": lambda terms: {"v": np.array([4711, 1 << 30])}}},
        "EncodingError: the inputs do not fit what is asked: names, lengths or bounds; the member was told which",
    ),
    "site-08": (
        {"answers": {"training": lambda terms: {}}},
        "ParameterError: this member takes no part in sessions of",
    ),
}


def test_what_is_refused_reaches_the_service_and_nobody_else(tmp_path, certificates):
    """By policy, for inputs that cannot be made or encoded, for a kind that is not answered; without a value."""
    names = Participants.numbered(10, "site").names

    async def run():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                given = {"sum": lambda terms: {"v": np.array([1, 2])}}
                tasks = {
                    name: group.create_task(
                        member(
                            service,
                            certificates,
                            tmp_path,
                            name,
                            **{"answers": given} | REFUSING.get(name, ({}, ""))[0],
                        )
                    )
                    for name in names
                }
                among = await service.enrolled(names)
                vectors = (IntegerVector("v", 2, max_value=1 << 20),)
                (view,) = await service.sessions(summing("a sum", vectors, ThreatModel(10, 0.1, 0.4), among))
                result = json.loads(await service.desk.result(None, view.session))
                return view, result, {name: (await task)[0] for name, task in tasks.items()}

    view, result, ended = play(run())
    assert result["sums"] == {"v": [6, 12]}
    assert not view.excluded
    assert view.refused.keys() == REFUSING.keys()
    for name, (_, reason) in REFUSING.items():
        assert view.refused[name].startswith(reason)
        assert ended[name].phase == "refused"
        assert ended[name].reason == view.refused[name]
    assert {each.phase for name, each in ended.items() if name not in REFUSING} == {"completed"}
    assert "4711" not in repr(view) + repr(ended)
    assert ended["site-04"].own == "division by zero"  # for the member's own eyes
    assert "value at index 1 is not from" in ended["site-06"].own
    assert str(1 << 30) not in repr(view) + repr(ended)


def test_who_opts_out_is_not_summed_and_says_so(tmp_path, certificates):
    did = []

    class Consents:
        def objection(self, session, terms):
            return "" if len(did) < 2 else "consent was withdrawn"

        def note(self, one):
            did.append(one)

    async def leaving(service):
        return await member(service, certificates, tmp_path, "site-2", consents=Consents())

    view, result, _ = running(tmp_path, certificates, others={"site-2": leaving})
    assert result["sums"] == {"v": total(set(NAMES) - {"site-2"})}
    assert view.refused["site-2"] == "consent-withdrawn: consent was withdrawn"
    assert [one.what for one in did] == ["asked", "answered", "asked", "refused"]
    assert did[1].num_bytes > 0
    assert did[-1].reason == "consent-withdrawn: consent was withdrawn"


class Killed(BaseException):
    """Ends a process, in the eyes of its code."""


class Deadly:
    """A connection whose process is killed when an answer has left, or when it is about to."""

    def __init__(self, connection, sent, kills):
        self._connection, self._sent, self._kills = connection, sent, kills

    def __getattr__(self, name):
        return getattr(self._connection, name)

    async def exchange(self, *asked):
        self._sent.append(asked[1])
        kill = self._kills.pop(0) if self._kills else ""
        if kill == "before":
            raise Killed
        found = await self._connection.exchange(*asked)
        if kill == "after":
            raise Killed
        return found


KILLS = {
    "site-2": ["before", "", "after", "", "", "before"],
    "site-4": ["after", "before", "before", "", "after", "after", "before"],
}


def test_members_that_are_killed_anywhere_send_the_same_bytes(tmp_path, certificates):
    sent = {name: [] for name in KILLS}

    def dying(name):
        async def live(service):
            kills = list(KILLS[name])
            async with connected(service, certificates, name) as connection:
                while True:
                    try:
                        return await take_part(
                            Deadly(connection, sent[name], kills),
                            name,
                            {"sum": lambda terms: {"v": VALUES[name]}},
                            policy=POLICY,
                            state=tmp_path / "killed" / name,
                            sessions=1,
                            warm=False,
                        )
                    except Killed:
                        continue

        return live

    view, result, ended = running(tmp_path, certificates, others={name: dying(name) for name in KILLS})
    assert result["sums"] == {"v": total(NAMES)}
    assert not view.excluded
    for name in KILLS:
        assert ended[name][0].phase == "completed"
        assert len(sent[name]) > len(view.phases)
        assert len(set(sent[name])) == len(view.phases)  # never two answers in one phase


def test_a_service_that_restarts_in_mid_session_goes_on(tmp_path, certificates):
    """The members wait for it, and send again what they had sent."""
    seen = asyncio.Event
    started = []

    async def run():
        came = seen()

        def slowly(name):
            def give(terms):
                started.append(name)
                loop.call_soon_threadsafe(came.set)
                return {"v": VALUES[name]}

            return {"sum": give}

        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            with service_at(tmp_path, certificates, patience=0.2) as service:
                async with service.serving():
                    port = int(service.url.rpartition(":")[2])
                    tasks = [
                        group.create_task(member(service, certificates, tmp_path, name, answers=slowly(name)))
                        for name in NAMES
                    ]
                    await service.enrolled(NAMES)
                    session = await service.desk.open(a_sum())
                    await came.wait()
            with service_at(tmp_path, certificates, port=port) as again:
                async with again.serving():
                    view = await again.desk.wait(session)
                    result = json.loads(await again.desk.result(None, session))
                    ended = [(await task)[0].phase for task in tasks]
        return view, result, ended

    view, result, ended = play(run())
    assert view.state is State.COMPLETED
    assert result["sums"] == {"v": total(NAMES)}
    assert ended == ["completed"] * 5


def test_who_is_late_is_left_out_and_nobody_is_blamed(tmp_path, certificates):
    gone = threading.Event()

    async def slow(service):
        def give(terms):
            gone.wait(60)
            return {"v": VALUES["site-2"]}

        async def let_go():
            while True:
                (view,) = (await service.desk.view()).sessions or [None]
                if view is not None and view.state is not State.RUNNING:
                    gone.set()
                    return
                await asyncio.sleep(0.1)

        letting = asyncio.create_task(let_go())
        ended = await member(service, certificates, tmp_path, "site-2", answers={"sum": give})
        await letting
        return ended

    spec = a_sum(deadlines=Deadlines(30, quorum=4, grace=0.5))
    view, result, ended = running(tmp_path, certificates, others={"site-2": slow}, spec=spec)
    assert result["sums"] == {"v": total(set(NAMES) - {"site-2"})}
    assert not view.excluded
    assert not view.refused
    assert ended["site-2"][0].phase == "completed"


def test_computing_never_holds_the_event_loop(tmp_path, certificates):
    """While inputs are made for a second, the loop turns."""
    turns = []

    def give(terms):
        before = len(turns)
        deadline = threading.Event()
        deadline.wait(0.5)
        turns.append(("turned", len(turns) - before))
        return {"v": VALUES["site-2"]}

    async def computing(service):
        async def turn():
            while True:
                turns.append(None)
                await asyncio.sleep(0.01)

        turning = asyncio.create_task(turn())
        try:
            return await member(service, certificates, tmp_path, "site-2", answers={"sum": give})
        finally:
            turning.cancel()

    _, result, _ = running(tmp_path, certificates, others={"site-2": computing})
    assert result["sums"] == {"v": total(NAMES)}
    ((_, while_computing),) = [turn for turn in turns if turn]
    assert while_computing >= 3


def test_another_wire_version_ends_the_loop_with_a_sentence(tmp_path, certificates, monkeypatch):
    monkeypatch.setattr("protocols.service.connection.VERSION", 2)

    async def run():
        with service_at(tmp_path, certificates) as service:
            async with service.serving():
                connection = Connection(service.url, Identity.generate(), ca=certificates.ca)
                with pytest.raises(RequestRefusedError, match="upgrade the service") as refused:
                    await connection.enrol("a", await asyncio.to_thread(service.members.invite, "a"))
                await connection.close()
        return refused.value.status

    assert play(run()) == 426


def test_what_cannot_be_reached_is_named_after_so_long(tmp_path, certificates):
    async def run():
        async with Connection(
            "https://localhost:9", Identity.generate(), ca=certificates.ca, patience=0.3
        ) as connection:
            with pytest.raises(ServiceUnavailableError, match="https://localhost:9 cannot answer"):
                await connection.next_letter(0, 1)

    play(run())


def test_a_certificate_that_is_not_trusted_is_no_reason_to_try_again(tmp_path, certificates):
    async def run():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), Connection(service.url, Identity.generate()) as connection:
                with pytest.raises(RequestRefusedError, match="certificate"):
                    await connection.next_letter(0, 1)

    play(run())


@pytest.mark.parametrize(
    "url",
    ["http://sums.example", "ftp://x", "https://", "https://x/path", "https://u:p@x", "https://x?q", "", "https://["],
)
def test_addresses_that_are_none_are_refused(url):
    with pytest.raises(ParameterError, match="the service's address"):
        Connection(url, Identity.generate(), insecure_loopback=True)


def test_one_process_at_a_time_uses_a_folder(tmp_path):
    with Folder(tmp_path / "own") as folder:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(ParameterError, match="another process uses"):
            Folder(tmp_path / "own")
        folder.keep("ab", Kept(3, False, b"secret"))
        assert (folder.path / "ab.state").stat().st_mode & 0o777 == 0o600
        assert "secret" not in repr(folder.session("ab"))
    (tmp_path / "own" / "ab.state").write_bytes(b"SAGGDUMP")
    (tmp_path / "own" / "sequence").write_bytes(b"x")
    with Folder(tmp_path / "own") as folder:
        with pytest.raises(StateError):
            folder.session("ab")
        with pytest.raises(StateError, match="damaged"):
            _ = folder.sequence
    (tmp_path / "own").chmod(0o750)
    with pytest.raises(ParameterError, match="chmod 700"):
        Folder(tmp_path / "own")


def test_a_session_against_a_malicious_server_by_the_keys_that_members_have(tmp_path, certificates):
    """A member's key is its identity in the session; the roster is known beforehand, and others are refused."""
    identities = {name: Identity(bytes([number]) * 32) for number, name in enumerate(NAMES, 1)}
    roster = Participants({name: own.public_bytes for name, own in identities.items()})
    other = Participants(dict(roster.keys) | {"site-4": Identity.generate().public_bytes})

    async def one(service, name):
        token = await asyncio.to_thread(service.members.invite, name)
        async with Connection(service.url, identities[name], ca=certificates.ca, patience=20) as connection:
            await connection.enrol(name, token)
            given = {"sum": lambda terms: {"v": VALUES[name]}}
            known = other if name == "site-2" else roster
            return await take_part(
                connection,
                name,
                given,
                state=tmp_path / name,
                policy=POLICY,
                participants=known,
                sessions=1,
                warm=False,
            )

    async def run():
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(one(service, name)) for name in NAMES}
                among = await service.enrolled(NAMES)
                assert among == roster
                model = ThreatModel(len(NAMES), 0.2, 0.2, Adversary.MALICIOUS_SERVER)
                spec = summing("a sum", (IntegerVector("v", 2, max_value=1 << 20),), model, among)
                (view,) = await service.sessions(spec)
                result = json.loads(await service.desk.result(None, view.session))
                return view, result, {name: (await task)[0] for name, task in tasks.items()}

    view, result, ended = play(run())
    assert result["sums"] == {"v": total(set(NAMES) - {"site-2"})}
    assert ended["site-2"].phase == "refused"
    assert "site-2" in view.refused
    assert not view.excluded


def test_an_encrypted_sum_among_contributors_and_a_committee(tmp_path, certificates, monkeypatch):
    """With relays; a committee member refuses parameters that are not those which it was given before."""
    monkeypatch.setattr("protocols.paillier.written.PublicKey", partial(PublicKey, _min_bits=256))
    parameters = harness.make_parameters(3, nonce=b"over https".ljust(32))
    shares = {share.member: replace(share, key=parameters.key) for share in harness.dealt(4, 5)[1]}
    contributors, members = parameters.contributors, parameters.members

    def party_of(name):
        if name in contributors:
            own = harness.identity(contributors.number(name))
            return PaillierParty(parameters, name, own, noise=harness.noise())
        number = members.number(name)
        known = harness.make_parameters(3, nonce=bytes(32)) if number == 5 else parameters
        return PaillierParty(known, name, harness.identity(1000 + number), shares[number])

    async def one(service, name):
        party = party_of(name)
        token = await asyncio.to_thread(service.members.invite, name)
        async with Connection(service.url, party.identity, ca=certificates.ca, patience=20) as connection:
            await connection.enrol(name, token)
            given = {"sum": lambda terms: {"update": harness.update(contributors.number(name))}}
            return await take_part(connection, name, given, state=tmp_path / name, party=party, sessions=1, warm=False)

    async def run():
        names = [*contributors, *members]
        with service_at(tmp_path, certificates) as service:
            async with service.serving(), asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(one(service, name)) for name in names}
                await service.enrolled(names)
                (view,) = await service.sessions(SessionSpec("encrypted", parameters))
                result = json.loads(await service.desk.result(None, view.session)) if not view.error else None
                return view, result, {name: (await task)[0] for name, task in tasks.items()}

    view, result, ended = play(run())
    assert view.state is State.COMPLETED, view
    assert result["survivors"] == sorted(contributors)
    assert result["levels"]["update"] == harness.levels(parameters, dict.fromkeys((1, 2, 3), 1)).tolist()
    last = members.names[-1]
    assert ended[last].phase == "refused"
    assert "are not those that this member has" in view.refused[last]
    assert {each.phase for name, each in ended.items() if name != last} == {"completed"}


def test_a_relayed_contribution_that_is_refused_ends_nothing_for_a_member(monkeypatch):
    monkeypatch.setattr("protocols.paillier.written.PublicKey", partial(PublicKey, _min_bits=256))
    session = harness.Session(harness.make_parameters(3, nonce=b"relayed".ljust(32)))
    shown = session.contributors[1].reveal(session.endorse(session.commit()))
    party = PaillierParty(session.parameters, "member-1", harness.identity(1001), session.members[1]._share)
    answers = {"sum": lambda terms: {}}
    taking = client_module._Session(session.parameters.session.hex(), None, None, answers, party, None, None)
    terms = SessionSpec("encrypted", session.parameters).terms
    for number, contribution in enumerate((structs.replace(shown, signature=bytes(64)), shown)):
        letter = Letter(session.parameters.session.hex(), number, "contributions", harness.encode(contribution))
        assert asyncio.run(taking._answer(letter, terms, session.members[1])) == b""
    assert session.members[1]._accepted == {1}


def test_a_policy_for_some_private_rounds_is_for_no_more_whatever_the_process(tmp_path, certificates):
    config = PLAN.config
    demand = PrivacyDemand(np.float64(1e3), 1e-5, rounds=1, trusts_server=True, corrupt_fraction=0.0, unit=config.unit)
    policy = replace(POLICY, privacy=demand)
    names = [f"m{at:02}" for at in range(config.num_clients)]

    async def play():
        with ledger_in(tmp_path) as ledger, service_at(tmp_path, certificates, ledger=ledger) as service:

            async def one(name):
                async with connected(service, certificates, name) as connection:
                    answers = {"sum": lambda terms: private_values(name)}
                    options = {"state": tmp_path / name, "warm": False, "policy": policy}
                    first = await take_part(connection, name, answers, sessions=1, **options)
                    return first, await take_part(connection, name, answers, sessions=1, **options)

            async with service.serving():
                members = [asyncio.create_task(one(name)) for name in names]
                people = await service.enrolled(names)
                views = [(await service.sessions(paid(f"round {at}", PLAN, "study", people)))[0] for at in range(2)]
                return views, await asyncio.gather(*members)

    (first, second), ended = asyncio.run(play())
    assert (first.state, second.state) == (State.COMPLETED, State.FAILED)
    assert {(one[0].phase, two[0].phase) for one, two in ended} <= {("completed", "refused"), ("completed", "aborted")}
    assert any("has taken part in as many" in why for why in second.refused.values())
    noted = (tmp_path / names[0] / "private").read_text().splitlines()
    assert noted[0].startswith("epsilon 1000.0, delta 1e-05, rounds 1, ")
    assert noted[1:] == [first.session]
    with Folder(tmp_path / names[0]) as folder:  # or, begun again under its id, it would be a second one, uncounted
        assert folder.session(first.session) == Kept(0, True, b"")


def test_private_sessions_under_one_demand_are_not_counted_by_another(tmp_path):
    with Folder(tmp_path / "m") as folder:
        assert folder.count_private("aa", "epsilon 2.0, rounds 1", 1)
        for session in ("aa", "bb"):
            folder.forget(session)
        assert (folder.session("aa"), folder.session("bb")) == (Kept(0, True, b""), None)
        with pytest.raises(ParameterError, match=r"in 1 private sessions under the demand epsilon 2\.0, rounds 1:"):
            folder.count_private("bb", "epsilon 2.0, rounds 2", 2)
        (tmp_path / "m" / "aa.state").unlink()  # as earlier code forgot it
        assert folder.session("aa") == Kept(0, True, b"")
        (tmp_path / "m" / "private").write_text("aa\nbb")  # as it was before demands were noted
        with pytest.raises(StateError, match=r"m/private does not begin with the demand .* take a new folder"):
            folder.count_private("cc", "epsilon 2.0, rounds 3", 3)
        (tmp_path / "m" / "private").write_text("epsilon 2.0, rounds 1\naa")
    with Folder(tmp_path / "m") as again:
        assert again.count_private("aa", "epsilon 2.0, rounds 2", 2)  # whose answer has left, whatever is demanded now
        assert not again.count_private("bb", "epsilon 2.0, rounds 1", 1)


def test_an_answer_that_is_compressed_is_not_taken():
    """What is small on its way could be any size here."""

    def bomb(request):
        small = httpx.ByteStream(gzip.compress(bytes(1 << 20)))
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=small)

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = httpx.AsyncClient(transport=httpx.MockTransport(bomb))
            await connection.terms("00" * 32)

    with pytest.raises(ServiceUnavailableError, match="compressed"):
        asyncio.run(play())


@pytest.mark.parametrize("lie", ["names", "config"])
def test_a_session_that_is_not_what_its_terms_say_gets_no_inputs(tmp_path, certificates, lie):
    asked = []

    async def play():
        with service_at(tmp_path, certificates) as service:
            told = service.desk.next_letter

            def bent(terms):
                true = read_terms(terms)
                if lie == "names":
                    return structs.replace(true, participants=("aaaa", *true.participants[:-1])).encoded
                vectors = (structs.replace(true.proposed.vectors[0], name="w"),)
                config = structs.replace(true.proposed, vectors=vectors)
                return structs.replace(true, config=msgspec.msgpack.encode(config)).encoded

            async def next_letter(*asked):
                letter = await told(*asked)
                return letter and replace(letter, terms=letter.terms and bent(letter.terms))

            service.desk.next_letter = next_letter
            async with service.serving():

                def give(name):
                    return {"sum": lambda terms: asked.append(name) or {"v": VALUES[name]}}

                members = [
                    asyncio.create_task(member(service, certificates, tmp_path, name, answers=give(name)))
                    for name in NAMES
                ]
                await service.enrolled(NAMES)
                (view,) = await service.sessions(a_sum())
                return view, await asyncio.gather(*members)

    view, ended = asyncio.run(play())
    assert (view.state, asked) == (State.FAILED, [])
    assert len(view.refused) >= 4
    assert all(why.startswith("ContradictoryRequest") for why in view.refused.values())
    assert {one[0].phase for one in ended} <= {"refused", "aborted"}


def test_letters_of_a_session_that_cannot_be_answered_are_not_heaped_up(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "LINGER_SECONDS", 0.1)
    fetched = []

    class Endless:
        identity = Identity.generate()

        async def next_letter(self, after, wait):
            await asyncio.sleep(0)
            fetched.append(after)
            return Letter("ab" * 32, after + 1, "x", b"\x01")

        async def terms(self, session):
            await asyncio.Event().wait()

    async def play():
        taking = asyncio.create_task(take_part(Endless(), "me", {}, state=tmp_path / "me", warm=False))
        while len(fetched) < MOST_WAITING:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)

    asyncio.run(play())
    assert len(fetched) == MOST_WAITING


def test_who_has_letters_of_several_sessions_in_hand_takes_none_with_an_answer(tmp_path):
    """Letters are asked for when there is room for them, which an answer does not look at."""
    asked = []

    class Answered:
        identity = Identity.generate()

        async def next_letter(self, after, wait):
            await asyncio.Event().wait()

        async def exchange(self, session, body, *after):
            asked.append((session, after))
            return Receipt.ACCEPTED, None

    async def play():
        with Folder(tmp_path / "me") as folder:
            party = client_module.MaskingParty("me")
            loop = client_module._Loop(Answered(), {}, party, folder, None, print, lambda: 0.0)
            for several in (True, False):
                own = asyncio.create_task(asyncio.Event().wait())
                loop._tasks = {own: "a"} | ({asyncio.create_task(asyncio.Event().wait()): "b"} if several else {})
                await loop._send("a", b"answer", print)
                for task in loop._tasks:
                    task.cancel()

    asyncio.run(play())
    assert asked == [("a", (None, 0.0, print)), ("a", (0, client_module.WAIT_SECONDS, print))]


def test_what_is_no_letter_that_follows_is_not_taken():
    fields = {"secagg-session": "ab" * 32, "secagg-phase": "x"}
    assert letter_of(fields | {"secagg-sequence": "8"}, b"", 7).sequence == 8
    for sequence in ("7", "6", "-1", "x", ""):
        with pytest.raises(RequestRefusedError, match="no letter"):
            letter_of(fields | {"secagg-sequence": sequence}, b"", 7)
    fields["secagg-sequence"] = "8"
    for terms in ("0", "2", "4"):
        letter = letter_of(fields | {"secagg-terms": terms}, b"body", 7)
        assert (letter.terms, letter.body) == (b"body"[: int(terms)], b"body"[int(terms) :])
    for terms in ("5", "-1", "+1", "01", "1 ", "", "x"):
        with pytest.raises(RequestRefusedError, match="no letter"):
            letter_of(fields | {"secagg-terms": terms}, b"body", 7)


def test_an_answer_that_never_ends_is_left(monkeypatch):
    monkeypatch.setattr(connection_module, "MAX_ANSWER_BYTES", 1000)

    async def play():
        async with Connection("https://sums.example", Identity.generate(), patience=0.05) as connection:
            connection._client = httpx.AsyncClient(
                transport=httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(bytes(1001))))
            )
            await connection.terms("00" * 32)

    with pytest.raises(ServiceUnavailableError, match="longer than is taken"):
        asyncio.run(play())


def test_who_waits_for_a_service_is_told_so_once():
    told = []

    async def play():
        url = "http://127.0.0.1:1"
        connection = Connection(url, Identity.generate(), insecure_loopback=True, patience=1.0, told=told.append)
        async with connection:
            await connection.terms("00" * 32)

    with pytest.raises(ServiceUnavailableError):
        asyncio.run(play())
    assert len(told) == 1
    assert told[0].startswith("http://127.0.0.1:1 does not answer, and is tried again")


def test_a_session_that_waits_for_members_is_shown_until_it_begins(tmp_path):
    async def play():
        told = []
        with service_at(tmp_path, places.certificates()) as service:
            async with service.serving(), connected(service, places.certificates(), "site-1"):
                asked = Asked(title="votes", members=tuple(NAMES), vectors=(IntegerVector("votes", 2, max_value=9),))
                running = asyncio.create_task(service.once("job", asked, told.append))
                while not told:
                    await asyncio.sleep(0.01)
                assert (await service.desk.view()).waiting == tuple(told)
                missing = ("site-2", "site-3", "site-4", "site-5")
                assert told == [WaitingView("votes", 5, 1, missing, tuple(NAMES))]
                await asyncio.to_thread(service.members.invite, "site-2")
                assert (await service.desk.view()).invited == ("site-2",)
                async with contextlib.AsyncExitStack() as others:
                    for name in NAMES[1:]:
                        await others.enter_async_context(connected(service, places.certificates(), name))
                    while (view := await service.desk.view()).waiting:
                        await asyncio.sleep(0.01)
                    assert [each.title for each in view.sessions] == ["votes"]
                running.cancel()

    asyncio.run(play())


def test_a_session_that_is_opened_while_somebody_looks_is_shown(tmp_path, monkeypatch):
    with service_at(tmp_path, places.certificates()) as service:
        service.desk.waiting["job"] = WaitingView("votes", 5, 4, ("site-5",))

        def opened_before_they_are_read(store):
            service.desk.waiting.clear()
            return (), {}

        monkeypatch.setattr("protocols.service.desk.sessions_shown", opened_before_they_are_read)
        assert [each.title for each in asyncio.run(service.desk.view()).waiting] == ["votes"]


class Asking:
    """A service that asks one member, and says what it likes of the answer."""

    identity = Identity.generate()

    def __init__(self, exchange, terms=None, answer=None):
        spec = a_sum()
        server = Server(spec.config, spec.participants)
        self.session = server.session_id.hex()
        self._letter = Letter(
            self.session, 1, "advertise-keys", server.outgoing()["site-1"], terms or spec.terms.encoded
        )
        self._exchange, self.refused = exchange, []

    async def next_letter(self, after, wait):
        return self._letter if after == 0 else await asyncio.Event().wait()

    async def exchange(self, session, body, after, wait, allowed):
        return await self._exchange(allowed)

    async def refuse(self, session, kind, reason):
        self.refused.append(kind)


def asked_by(service, folder, *, kinds=("sum",), **options):
    answers = {kind: lambda terms: {"v": VALUES["site-1"]} for kind in kinds}
    options = {"state": folder / "me", "warm": False, "sessions": 1, "policy": POLICY} | options
    return asyncio.run(asyncio.wait_for(take_part(service, "site-1", answers, **options), 30))


def test_an_opt_out_holds_for_an_answer_that_is_tried_again(tmp_path):
    consents = Consents(tmp_path / "consents")

    async def exchange(allowed):
        await allowed()
        consents.opt_out("v")  # while the service does not answer
        await allowed()
        pytest.fail("it left")

    service = Asking(exchange)
    (ended,) = asked_by(service, tmp_path, consents=consents)
    assert (ended.phase, service.refused) == ("refused", ["consent-withdrawn"])
    assert [phase for phase, _ in consents.asked()[0].given] == ["advertise-keys"]  # the first try may have arrived


def test_what_left_was_given_whatever_the_service_says_of_it(tmp_path):
    consents = Consents(tmp_path / "consents")

    async def exchange(allowed):
        await allowed()
        raise RequestRefusedError(422, "MalformedMessage", "it does not count, says a service that has it")

    (ended,) = asked_by(Asking(exchange), tmp_path, consents=consents)
    (asked,) = consents.asked()
    assert (ended.phase, asked.ended) == ("excluded", "excluded")
    assert [phase for phase, _ in asked.given] == ["advertise-keys"]


def test_what_was_refused_takes_no_room(tmp_path, monkeypatch):
    """Neither terms that are none nor those of a session that is over for the member."""
    for terms, kinds in ((b"{" + b" " * 100_000, ("sum",)), (None, ())):
        service, folder = Asking(None, terms), tmp_path / f"{len(kinds)}"
        (ended,) = asked_by(service, folder, kinds=kinds)
        assert (ended.phase, service.refused) == ("refused", ["ParameterError"])
        with Folder(folder / "me") as kept:
            assert list(kept.sessions()) == [service.session]  # until its last letter, or `forget_gone`
            assert kept.terms(service.session) == b""
    monkeypatch.setattr("protocols.service.kept.MAX_KEPT_BYTES", 100)
    service = Asking(None)
    (ended,) = asked_by(service, tmp_path / "full")
    assert (ended.phase, service.refused) == ("refused", ["NoRoomError"])


def test_letters_that_take_much_are_not_heaped_up(tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 100)
    with Folder(tmp_path / "me") as folder:
        loop = client_module._Loop(Asking(None), {}, client_module.MaskingParty("me"), folder, None, print, float)
        loop._queues["ab"] = deque([Letter("ab", 1, "x", bytes(60), bytes(40))])
        assert loop._ask() is None
        assert loop._coming is None  # asked for nothing
