"""What sessions are for: Paillier sums, statistics through the gate, training, and private rounds that are paid."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.ledger import Budget, Composition, Ledger, ReservationStatus
from dp.sensitivity import Adjacency
from protocols.core.machine import Participant
from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking.config import RoundConfig
from protocols.paillier.contributor import Contributor
from protocols.paillier.member import CommitteeMember
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.written import read_parameters, write_parameters
from protocols.privacy.payment import round_id_of
from protocols.privacy.plans import PrivatePlan
from protocols.service.deadlines import Deadlines
from protocols.service.desk import Desk
from protocols.service.errors import StoreBusyError
from protocols.service.jobs import asking, paid
from protocols.service.jobsteps import Ended
from protocols.service.sessions import Kind, SessionSpec, read_terms
from protocols.service.store import Store
from protocols.service.views import State
from protocols.statistics.answer import release
from protocols.statistics.facts import answer_facts
from protocols.statistics.plan import Plan
from protocols.statistics.query import asked
from protocols.statistics.release import ReleasePolicy
from secagg.errors import ParameterError
from secagg.paillier import PublicKey
from tests.protocols.paillier.harness import dealt, identity, levels, make_parameters, noise, update
from tests.protocols.statistics.tables_of_sites import query, sites

from .desk_parties import COUNT, NAMES, Members, client, model, result_of, running, serving, sum_of_seven

LAST = NAMES.names[-1]


@pytest.fixture
def small_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.paillier.written.PublicKey", partial(PublicKey, _min_bits=256))


def party(parameters: RoundParameters) -> Callable[[str], Participant]:
    """A Paillier party by name."""
    shares = {share.member: replace(share, key=parameters.key) for share in dealt(4, 5)[1]}

    def join(name: str) -> Participant:
        if name in parameters.contributors:
            own = identity(parameters.contributors.number(name))
            return Contributor(parameters, name, own, noise=noise())
        number = parameters.members.number(name)
        return CommitteeMember(parameters, shares[number], identity(1000 + number))

    return join


@pytest.mark.usefixtures("small_keys")
def test_paillier_with_relays_and_who_vanishes(tmp_path: Path) -> None:
    parameters = make_parameters(5, nonce=b"service".ljust(32))
    contributors, members = parameters.contributors.names, parameters.members.names

    def values(name: str) -> Any:
        return {"update": update(parameters.contributors.number(name))} if name in contributors else None

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path) as desk:
            silent = {"contributions": {contributors[2]}, "openings": {members[0]}}
            deadlines = Deadlines(60, phases={"contributions": Deadlines(60, quorum=4), "openings": Deadlines(60, 4)})
            spec = SessionSpec("encrypted", parameters, deadlines=deadlines)
            party_of = party(parameters)
            seen = await Members(desk, party_of, values, silent=silent).play(spec)
            assert (seen.state, seen.error, seen.protocol) == (State.COMPLETED, "", "paillier")
            result = await result_of(desk, seen.session)
            left = dict.fromkeys((1, 2, 4, 5), 1)
            assert result["levels"]["update"] == levels(parameters, left).tolist()
            assert result["survivors"] == [contributors[at - 1] for at in left]
            terms = read_terms(await desk.terms(members[0], seen.session))
            assert terms.proposed == parameters
            with pytest.raises(ParameterError, match="opened before"):
                await desk.open(spec)

    asyncio.run(play())


@pytest.mark.usefixtures("small_keys")
@pytest.mark.parametrize("after", [False, True])
def test_a_job_with_parameters_that_were_used_before_ends_by_name(tmp_path: Path, after: bool) -> None:
    parameters = make_parameters(5, nonce=b"twice".ljust(32))

    def job(before: Ended | None) -> SessionSpec | None:
        return SessionSpec("encrypted", parameters) if before is not None or not after else sum_of_seven()

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path) as desk:
            session = await desk.open(SessionSpec("encrypted", parameters))
            desk.jobs["job"] = job
            if after:
                while len(view := (await desk.view()).sessions) < 2:
                    await asyncio.sleep(0.02)
                (own,) = {each.session for each in view} - {session}
                await Members(desk, client).play(sum_of_seven(), own)
            while (ended := desk.store.job("job")) is None:
                await asyncio.sleep(0.02)
            assert ended.error == "ParameterError"
            assert "was opened before: parameters serve one session" in ended.reason
            assert (await desk.session_view(session)).state is State.RUNNING

    asyncio.run(play())


@pytest.mark.usefixtures("small_keys")
def test_paillier_parameters_are_written_in_one_way() -> None:
    parameters = make_parameters(5, max_weight=7, corrupt_members=1, min_contributors=3)
    written = write_parameters(parameters)
    assert read_parameters(written) == parameters
    assert read_parameters(written).session == parameters.session
    for bent in (written[:-1], written + b"\0", b"", b"\xc1", written.replace(b"nearest", b"farness")):
        with pytest.raises(ParameterError):
            read_parameters(bent)


def test_statistics_pass_the_gate_and_totals_are_kept_nowhere(tmp_path: Path) -> None:
    one = query(asked("mean", "age"), asked("histogram", "age"), asked("count"), group_by="ward")
    tables = sites(3, [400] * COUNT)
    by_name = dict(zip(NAMES, tables.values(), strict=True))
    policy = ReleasePolicy(min_cell=11)

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path) as desk:
            members = Members(desk, client, lambda name: by_name[name].answer(one))
            seen = await members.play(asking("ages", one, model(), NAMES, policy))
            assert not members.errors
            facts = await result_of(desk, seen.session)
            totals: dict[Any, int] = {}
            for site in by_name.values():
                rows = site._read(one)
                for key, total in rows.table.totals(Plan(one), rows.chosen).items():
                    totals[key] = totals.get(key, 0) + total
            expected = json.loads(json.dumps(answer_facts(release(Plan(one), totals, COUNT, policy))))
            assert facts == {"version": 1, "kind": "statistics"} | expected
            assert any(each["suppressed"] for each in facts["results"])
            terms = read_terms(await desk.terms(LAST, seen.session))
            assert terms.asked == one
        with Store(tmp_path / "service.db").read() as connection:
            row = connection.exec_driver_sql("SELECT dump FROM service_contents").one()
            bodies = connection.exec_driver_sql("SELECT count(*) FROM service_bodies").scalar()
        assert (row.dump, bodies) == (b"", 0)  # whatever the gate hides is in neither

    asyncio.run(play())


def test_terms_that_do_not_sum_their_query_are_refused() -> None:
    one, other = query(asked("mean", "age")), query(asked("count"))
    config = RoundConfig(model(), Plan(other).vectors)
    with pytest.raises(ParameterError, match="does not sum"):
        SessionSpec("x", config, NAMES, Kind.STATISTICS, query=one)


def test_training_follows_from_round_to_round(tmp_path: Path) -> None:
    config = RoundConfig(model(), (FloatVector("change", 3, clip=8.0, value_bits=24),))
    asked_for: list[int] = []

    def training(before: Ended | None) -> SessionSpec | None:
        """Move towards everyone's mean."""
        number = 0 if before is None else before.number + 1
        asked_for.append(number)
        if number == 3:
            return None
        weights = np.zeros(3)
        if before is not None:
            mean = np.array(before.result["sums"]["change"]) / len(before.result["survivors"])
            weights = np.frombuffer(before.terms.payload, dtype=np.float64) + mean
        return SessionSpec(f"round {number}", config, NAMES, Kind.TRAINING, payload=weights.tobytes())

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path, jobs={"train": training}) as desk:
            done = 0
            seen: list[str] = []
            while done < 3:
                view = await desk.view()
                fresh = [each for each in view.sessions if each.session not in seen]
                if not fresh:
                    await asyncio.sleep(0.02)
                    continue
                session = fresh[0].session
                seen.append(session)
                terms = read_terms(await desk.terms(LAST, session))
                weights = np.frombuffer(terms.payload, dtype=np.float64)
                targets = {name: np.full(3, at / 4) for at, name in enumerate(NAMES)}
                spec = SessionSpec(terms.title, config, NAMES, Kind.TRAINING, payload=terms.payload)
                members = Members(desk, client, lambda name, w=weights, t=targets: {"change": (t[name] - w) / 2})
                ended = await members.play(spec, session)
                assert ended.state is State.COMPLETED
                done += 1
            assert np.allclose(weights, 0.75 * np.ones(3) * (1 - 0.5**2), atol=1e-4)
            while desk.store.job("train") is None:
                await asyncio.sleep(0.02)
            assert desk.store.job("train").error == ""  # type: ignore[union-attr]
            assert len((await desk.view()).sessions) == 3
        # Another process of the store makes nothing again.
        store = Store(tmp_path / "service.db")
        async with running(store, jobs={"train": training}) as desk:
            await asyncio.sleep(0.1)
            assert len((await desk.view()).sessions) == 3
        store.close()

    asyncio.run(play())
    assert sorted(asked_for) == [0, 1, 2, 3]


def test_a_job_that_fails_has_a_named_error_and_ends_nothing_else(tmp_path: Path) -> None:
    def broken(before: Ended | None) -> SessionSpec | None:
        raise ValueError("a secret")

    def fine(before: Ended | None) -> SessionSpec | None:
        return None if before else sum_of_seven()

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path, jobs={"broken": broken, "fine": fine}) as desk:
            while not (view := await desk.view()).sessions:
                await asyncio.sleep(0.02)
            seen = await Members(desk, client).play(sum_of_seven(), view.sessions[0].session)
            assert seen.state is State.COMPLETED
            while desk.store.job("fine") is None or desk.store.job("broken") is None:
                await asyncio.sleep(0.02)
            job = desk.store.job("broken")
            assert job is not None
            assert (job.error, "secret" in job.reason) == ("ValueError", False)

    asyncio.run(play())


def test_a_job_that_hangs_keeps_no_other_waiting_and_ends_by_name(tmp_path: Path) -> None:
    """What it returns later is dropped."""
    goes_on, returned = threading.Event(), threading.Event()

    def hangs(before: Ended | None) -> SessionSpec | None:
        goes_on.wait(60)
        returned.set()
        return sum_of_seven()

    def fine(before: Ended | None) -> SessionSpec | None:
        return None if before else sum_of_seven()

    async def play() -> None:
        jobs = {"fine": fine, "hangs": hangs}
        async with asyncio.timeout(60), serving(tmp_path, jobs=jobs, job_seconds=0.5) as desk:
            while not (view := await desk.view()).sessions:
                await asyncio.sleep(0.02)
            seen = await Members(desk, client).play(sum_of_seven(), view.sessions[0].session)
            assert seen.state is State.COMPLETED
            while desk.store.job("fine") is None or (ended := desk.store.job("hangs")) is None:
                await asyncio.sleep(0.02)
            assert (ended.error, ended.reason) == ("JobDeadlineError", "it has not returned within 0.5 s")
            goes_on.set()
            await asyncio.to_thread(returned.wait, 60)
            await asyncio.sleep(0.2)
            assert len((await desk.view()).sessions) == 1

    asyncio.run(play())


def test_a_desk_ends_while_a_job_hangs_and_the_next_one_calls_it_again(tmp_path: Path) -> None:
    goes_on, calls = threading.Event(), []

    def hangs(before: Ended | None) -> SessionSpec | None:
        calls.append(before)
        if len(calls) == 1:
            goes_on.wait(60)
        return sum_of_seven()

    async def play() -> None:
        store = Store(tmp_path / "service.db", create=True)
        async with asyncio.timeout(60):
            async with running(store, jobs={"hangs": hangs}):
                while not calls:
                    await asyncio.sleep(0.02)
            goes_on.set()  # too late for that desk
            await asyncio.sleep(0.2)
            assert store.job("hangs") is None
            async with running(store, jobs={"hangs": hangs}) as desk:
                while not (view := await desk.view()).sessions:
                    await asyncio.sleep(0.02)
                assert (len(calls), len(view.sessions)) == (2, 1)
        store.close()

    asyncio.run(play())


def test_a_job_that_the_store_fails_is_called_again_and_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.service.jobsteps._PAUSE_SECONDS", 0.05)
    calls = []

    def job(before: Ended | None) -> SessionSpec | None:
        calls.append(before)
        if len(calls) == 1:
            raise StoreBusyError("by others")
        if len(calls) == 2:
            raise SystemExit("a secret")
        return None

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path, jobs={"job": job}) as desk:
            while (ended := desk.store.job("job")) is None:
                await asyncio.sleep(0.02)
            assert (ended.error, ended.reason) == ("SystemExit", "the job's own code has failed")

    asyncio.run(play())
    assert len(calls) == 2


def test_a_job_that_is_too_late_ends_though_the_store_failed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, failures = threading.Event(), []
    end_job = Store.end_job

    def fails_once(store: Store, *arguments: Any) -> None:
        if not failures:
            failures.append(arguments)
            raise StoreBusyError("by others")
        end_job(store, *arguments)

    monkeypatch.setattr(Store, "end_job", fails_once)

    async def play() -> None:
        jobs = {"hangs": lambda before: goes_on.wait(60) and None}
        async with asyncio.timeout(60), serving(tmp_path, jobs=jobs, job_seconds=0.2) as desk:
            while (ended := desk.store.job("hangs")) is None:
                await asyncio.sleep(0.02)
            assert (ended.error, len(failures)) == ("JobDeadlineError", 1)
            goes_on.set()

    asyncio.run(play())


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), 1e9])
def test_seconds_for_jobs_are_checked(tmp_path: Path, seconds: float) -> None:
    store = Store(tmp_path / "service.db", create=True)
    with pytest.raises(ParameterError, match="job_seconds"):
        Desk(store, job_seconds=seconds)
    store.close()


PLAN = PrivatePlan(
    threat_model=ThreatModel(12, 0.1, 0.25), length=3, l2_clip=1.0, epsilon=4.0, delta=1e-5, min_participants=2
)
CLINICS = Participants(f"clinic-{at:02}" for at in range(1, 13))


def but_in(phase: str, enough: int) -> Deadlines:
    return Deadlines(60, phases={phase: Deadlines(60, quorum=enough)})


def short(phase: str) -> Deadlines:
    return Deadlines(60, phases={phase: Deadlines(0.5)})


def ledger_in(folder: Path, epsilon: float = 8.0) -> Ledger:
    ledger = Ledger.open(str(folder / "ledger.db"), create=True)
    ledger.create(Budget("study", epsilon, "1e-5", adjacency=Adjacency.ADD_REMOVE, composition=Composition.RENYI))
    return ledger


def status(ledger: Ledger, session: str) -> ReservationStatus:
    return ledger.reservation("study", round_id_of(bytes.fromhex(session))).status


def private_values(name: str) -> dict[str, Any]:
    return {PLAN.config.vectors[0].name: np.array([0.5, 0.0, -0.5])}


def test_private_rounds_are_paid_and_refused_beyond_the_budget(tmp_path: Path) -> None:
    async def play() -> None:
        with ledger_in(tmp_path) as ledger:
            async with asyncio.timeout(60), serving(tmp_path, ledger=ledger) as desk:
                spec = paid("private", PLAN, "study", CLINICS, deadlines=but_in("masked-input", 11))
                gone = {"masked-input": {CLINICS.names[0]}}
                seen = await Members(desk, client, private_values, silent=gone).play(spec)
                assert (seen.state, seen.error) == (State.COMPLETED, "")
                assert status(ledger, seen.session) is ReservationStatus.COMMITTED
                counted = {view.participant for view in ledger.participants("study") if view.rounds}
                assert counted == set(CLINICS.names[1:])
                (budget,) = (await desk.view()).budgets
                assert (budget.subject, budget.epsilon) == ("study", 8.0)
                assert 0 < budget.spent <= 8.0
                result = await result_of(desk, seen.session)
                assert len(result["sums"][PLAN.config.vectors[0].name]) == 3
                # Before anything is asked for that opens the sum, a failure costs nothing.
                few = Members(desk, client, private_values, silent={"share-keys": CLINICS.names[3:]})
                failed = await few.play(paid("few", PLAN, "study", CLINICS, deadlines=short("share-keys")))
                assert failed.error == "ThresholdError"
                while status(ledger, failed.session) is ReservationStatus.RESERVED:
                    await asyncio.sleep(0.02)
                assert status(ledger, failed.session) is ReservationStatus.RELEASED
                # Afterwards it does.
                late = Members(desk, client, private_values, silent={"unmasking": CLINICS.names[1:]})
                failed = await late.play(paid("late", PLAN, "study", CLINICS, deadlines=short("unmasking")))
                assert (failed.error, failed.phases[-1].name) == ("ThresholdError", "unmasking")
                assert status(ledger, failed.session) is ReservationStatus.RESERVED
                big = replace(PLAN, epsilon=60.0, delta=1e-5)
                dear = await desk.wait(await desk.open(paid("dear", big, "study", CLINICS)))
                assert dear.error == "BudgetExceededError"
                assert await desk.next_letter(CLINICS.names[0], 0, 0) is not None  # the last letters alone
                none = await desk.wait(await desk.open(paid("none", PLAN, "another", CLINICS)))
                assert none.error == "UnknownBudgetError"
                cancelled = await desk.open(paid("off", PLAN, "study", CLINICS))
                while not (await desk.session_view(cancelled)).phases:
                    await asyncio.sleep(0.02)
                await desk.cancel(cancelled)
                await desk.wait(cancelled)
                while status(ledger, cancelled) is ReservationStatus.RESERVED:
                    await asyncio.sleep(0.02)
                assert status(ledger, cancelled) is ReservationStatus.RELEASED

    asyncio.run(play())


def test_a_private_session_needs_a_ledger_and_a_payment(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="paid from a budget"):
        SessionSpec("x", PLAN.config, CLINICS)
    with pytest.raises(ParameterError, match="only a private session"):
        replace(paid("x", PLAN, "study", CLINICS), config=sum_of_seven().config, participants=NAMES)

    async def play() -> None:
        async with asyncio.timeout(60), serving(tmp_path) as desk:
            with pytest.raises(ParameterError, match="a ledger"):
                await desk.open(paid("x", PLAN, "study", CLINICS))

    asyncio.run(play())


def test_a_crash_after_the_reveal_counts_as_spent_until_the_session_ends(tmp_path: Path) -> None:
    """The process dies when members were asked for what opens the sum; another one ends the session, and commits."""

    async def play() -> None:
        with ledger_in(tmp_path) as ledger:
            store = Store(tmp_path / "service.db", create=True)
            front = Desk(store, ledger=ledger, poll=0.02)
            spec = paid("private", PLAN, "study", CLINICS)
            asked, died = asyncio.Event(), asyncio.Event()

            async def before(name: str, phase: str) -> None:
                if phase == "unmasking":
                    asked.set()
                    await died.wait()

            session = await front.open(spec)
            first = Desk(store, ledger=ledger, poll=0.02, lease=0.2)
            task = asyncio.create_task(first.run())
            playing = asyncio.create_task(Members(front, client, private_values, before=before).play(spec, session))
            await asked.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with store.read() as connection:
                row = connection.exec_driver_sql("SELECT state, revealed, held FROM service_sessions").one()
            assert tuple(row) == ("running", True, True)
            assert status(ledger, session) is ReservationStatus.RESERVED
            died.set()
            async with running(store, ledger=ledger):
                seen = await playing
            assert seen.state is State.COMPLETED
            assert status(ledger, session) is ReservationStatus.COMMITTED
            front.close()
            first.close()
            store.close()

    asyncio.run(play())
