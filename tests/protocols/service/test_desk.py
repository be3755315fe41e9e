"""Sessions through the desk end in the exact sum of whoever took part, or in a named error."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from protocols.core.listener import PhaseClosed, SessionEnded, Transition
from protocols.core.machine import Receipt
from protocols.core.threat_model import Adversary
from protocols.masking.transitions import ServerPhase
from protocols.service.deadlines import Deadlines
from protocols.service.errors import (
    NoResultError,
    NotInvitedError,
    ReplayedRequestError,
    StoreError,
    UnknownSessionError,
)
from protocols.service.jobs import Work, prepared
from protocols.service.sessions import Audience, read_terms
from protocols.service.showing import sessions_shown
from protocols.service.store import Store
from protocols.service.tables import SESSIONS
from protocols.service.views import Letter, State
from protocols.simulation.masked import collected_phases
from secagg.errors import ParameterError

from .desk_parties import (
    COUNT,
    NAMES,
    VALUES,
    Members,
    accepted,
    but_one_in,
    client,
    result_of,
    running,
    serving,
    sum_of_seven,
    total,
)

LAST = NAMES.names[-1]
OTHERS = NAMES.names[:-1]


@pytest.mark.parametrize("adversary", Adversary)
def test_whoever_vanishes_the_sum_is_exact(adversary: Adversary, tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:

            async def vanish(phase: ServerPhase) -> None:
                members = Members(desk, lambda name: client(name, adversary), silent={phase: {LAST}})
                seen = await members.play(sum_of_seven(adversary, deadlines=but_one_in(phase)))
                assert (seen.state, seen.error) == (State.COMPLETED, ""), phase
                result = await result_of(desk, seen.session)
                gone = phase in (ServerPhase.CONSISTENCY_CHECK, ServerPhase.UNMASKING)
                survivors = list(NAMES if gone else OTHERS)
                assert result["survivors"] == survivors
                assert result["sums"]["v"] == total(survivors)
                assert set(members.ends) == set(OTHERS)
                (closed,) = [each for each in seen.phases if each.name == phase]
                assert closed.awaited == (LAST,)
                assert all(each.closed and each.received_bytes for each in seen.phases)

            await asyncio.gather(*map(vanish, collected_phases(adversary)))

    asyncio.run(play())


def test_too_few_are_a_named_error_and_the_other_session_goes_on(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:
            gone = {"masked-input": NAMES.names[2:]}
            members = Members(desk, client, silent=gone)
            few = members.play(sum_of_seven(deadlines=Deadlines(60, phases={"masked-input": Deadlines(0.5)})))
            whole = Members(desk, client).play(sum_of_seven(deadlines=Deadlines(60)))
            failed, done = await asyncio.gather(few, whole)
            assert (failed.state, failed.error) == (State.FAILED, "ThresholdError")
            assert done.state is State.COMPLETED
            with pytest.raises(NoResultError, match="ThresholdError"):
                await desk.result(None, failed.session)
            assert set(members.ends.values()) == {"aborted"}

    asyncio.run(play())


def test_a_deadline_closes_a_phase(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:
            slow = Deadlines(60, phases={"share-keys": Deadlines(1.0)})
            members = Members(desk, client, silent={"share-keys": {LAST}})
            seen = await members.play(sum_of_seven(deadlines=slow))  # which nothing else ends
            (share_keys,) = (phase for phase in seen.phases if phase.name == "share-keys")
            assert share_keys.closed is not None
            assert share_keys.closed - share_keys.opened > 0.99
            if seen.state is State.FAILED:  # a machine so slow that others were late as well
                assert seen.error == "ThresholdError"
                return
            result = await result_of(desk, seen.session)
            assert LAST not in result["survivors"]
            assert result["sums"]["v"] == total(result["survivors"])

    asyncio.run(play())


def test_a_quorum_closes_no_phase_below_what_it_needs(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:

            async def before(name: str, phase: str) -> None:
                if name in NAMES.names[3:]:
                    await asyncio.sleep(0.2)  # three, who come first, are the quorum

            spec = sum_of_seven(deadlines=Deadlines(60, quorum=0.3))
            seen = await Members(desk, client, before=before).play(spec)
            assert seen.state is State.COMPLETED
            result = await result_of(desk, seen.session)
            assert len(result["survivors"]) >= seen.phases[0].needed == 6
            assert result["sums"]["v"] == total(result["survivors"])

    asyncio.run(play())


def test_copies_late_ones_and_liars(tmp_path: Path) -> None:
    first, second, third = NAMES.names[:3]
    kept: dict[tuple[str, str], bytes] = {}

    def bend(name: str, phase: str, answer: bytes) -> list[bytes]:
        kept[name, phase] = answer
        if name == first:
            return [answer, answer]  # a retry
        if name == second and phase == "masked-input":
            return [kept[second, "advertise-keys"], answer]  # one that is late
        if name == third and phase == "masked-input":
            return [answer[:-1] + bytes([answer[-1] ^ 1])]  # damaged, or a lie
        return [answer]

    async def play() -> None:
        heard = []
        async with serving(tmp_path, observe=lambda session, what: heard.append((session, what))) as desk:
            members = Members(desk, client, bend=bend)
            seen = await members.play(sum_of_seven(deadlines=Deadlines(60)))
            assert seen.state is State.COMPLETED
            assert set(seen.excluded) == {third}
            result = await result_of(desk, seen.session)
            assert result["survivors"] == [name for name in NAMES if name != third]
            assert result["sums"]["v"] == total(result["survivors"])
            assert accepted(members.outcomes[first, "share-keys"]) == [Receipt.ACCEPTED, Receipt.DUPLICATE]
            assert accepted(members.outcomes[second, "masked-input"]) == [Receipt.LATE, Receipt.ACCEPTED]
            (lie,) = members.outcomes[third, "masked-input"]
            assert (lie.receipt, lie.error) == (None, "MalformedMessage")
            # After the end everything is late, but what was taken in is known.
            again = await desk.deliver(first, seen.session, kept[first, "unmasking"])
            assert again.receipt is Receipt.DUPLICATE
            assert (await desk.deliver(first, seen.session, b"another")).receipt is Receipt.LATE
            while not isinstance(heard[-1][1], SessionEnded):
                await asyncio.sleep(0.01)
            kinds = [type(what) for session, what in heard if session == seen.session]
            assert kinds.count(PhaseClosed) == len(seen.phases)
            assert kinds.count(SessionEnded) == 1
            assert heard[-1] == (seen.session, SessionEnded(COUNT - 1))

    asyncio.run(play())


def test_who_refuses_is_not_awaited(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:

            def values(name: str) -> object:
                return {"v": VALUES[name] if name != LAST else VALUES[name] * -1}

            members = Members(desk, client, values=values)
            seen = await members.play(sum_of_seven(deadlines=Deadlines(60)))
            assert seen.state is State.COMPLETED
            assert list(seen.refused) == [LAST]
            assert seen.refused[LAST].startswith("EncodingError: ")
            assert (await result_of(desk, seen.session))["sums"]["v"] == total(OTHERS)

    asyncio.run(play())


def test_terms_and_results_are_for_those_they_are_for(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:
            own, public = sum_of_seven(), sum_of_seven(results_to=Audience.MEMBERS)
            private, shared = await asyncio.gather(*(Members(desk, client).play(spec) for spec in (own, public)))
            terms = read_terms(await desk.terms(LAST, private.session))
            assert (terms.proposed, terms.participants) == (own.config, NAMES.names)
            with pytest.raises(NoResultError, match="operator"):
                await desk.result(LAST, private.session)
            facts = json.loads(await desk.result(LAST, shared.session))
            assert facts["sums"]["v"] == total(NAMES)
            for ask in (desk.terms, desk.result):
                with pytest.raises(NotInvitedError):
                    await ask("a stranger", shared.session)
                with pytest.raises(UnknownSessionError):
                    await ask(LAST, "00" * 32)
            running = await desk.open(sum_of_seven())
            with pytest.raises(NoResultError, match="not ended"):
                await desk.result(None, running)
            view = await desk.view()
            assert view.sessions[0].session == running
            assert len(view.sessions) == 3

    asyncio.run(play())


def test_answers_that_have_no_place(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:
            session = await desk.open(sum_of_seven())
            with pytest.raises(NotInvitedError):
                await desk.deliver("a stranger", session, b"x")
            with pytest.raises(NotInvitedError):
                await desk.refuse("a stranger", session, "kind", "text")
            for unknown in ("00" * 32, "", "x\0" * 100):
                for ask in (partial(desk.deliver, LAST, unknown, b"x"), partial(desk.session_view, unknown)):
                    with pytest.raises(UnknownSessionError):
                        await ask()
            with pytest.raises(ParameterError, match="nonce"):
                await desk.deliver(LAST, session, b"x", nonce=bytes(65))
            letter = await desk.next_letter(LAST, 0, 10)
            assert letter is not None
            answer = client(LAST).respond(letter.body)
            outcome = await desk.deliver(LAST, session, answer, nonce=b"n" * 16)
            assert outcome.receipt is Receipt.ACCEPTED
            with pytest.raises(ReplayedRequestError):
                await desk.deliver(LAST, session, answer, nonce=b"n" * 16)
            # Another member may draw the same nonce; the same answer in another's name is a lie of that other.
            other = await desk.deliver(OTHERS[0], session, answer, nonce=b"n" * 16)
            assert other.error == "UnexpectedMessage"
            long = await desk.deliver(OTHERS[1], session, bytes(10_000_000))
            assert long.error == "MalformedMessage"
            assert "10000000 bytes" in long.reason
            for at in range(20):
                last = await desk.deliver(OTHERS[2], session, bytes([at]))
            assert (last.error, "different answers" in last.reason) == ("UnexpectedMessage", True)
            view = await desk.session_view(session)
            assert view.phases[0].answered == (LAST,)
            # Rubbish excludes its sender; what the store turned away by its length excludes nobody.
            assert set(view.excluded) == {OTHERS[2]}

    asyncio.run(play())


def test_an_operator_ends_a_session(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path) as desk:
            session = await desk.open(sum_of_seven())
            letter = await desk.next_letter(LAST, 0, 10)
            assert letter is not None
            await desk.cancel(session, "not today")
            seen = await desk.wait(session)
            assert (seen.state, seen.error, seen.reason) == (State.FAILED, "CancelledSessionError", "not today")
            last = await desk.next_letter(LAST, letter.sequence, 10)
            assert last is not None
            assert (last.body, last.phase) == (b"", "aborted")
            late = await desk.deliver(LAST, session, client(LAST).respond(letter.body))
            assert late.receipt is Receipt.LATE
            await desk.cancel(session, "again")
            assert (await desk.session_view(session)).reason == "not today"
            with pytest.raises(UnknownSessionError):
                await desk.cancel("00" * 32)

    asyncio.run(play())


def test_what_is_heard_of_an_end_is_what_the_store_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, list[SessionEnded]] = {}

    def observe(session: str, what: Transition) -> None:
        if isinstance(what, SessionEnded):
            heard.setdefault(session, []).append(what)

    async def end_of(session: str) -> list[SessionEnded]:
        while session not in heard:
            await asyncio.sleep(0.01)
        return heard[session]

    def no_room(work: Work, result: Any) -> bytes:
        raise ParameterError("it cannot be kept")

    async def play() -> None:
        async with serving(tmp_path, observe=observe, lease=0.3) as desk, asyncio.timeout(30):
            cancelled = await desk.open(sum_of_seven())
            await desk.next_letter(LAST, 0, 10)
            await desk.cancel(cancelled, "not today")
            assert await end_of(cancelled) == [SessionEnded(0, "CancelledSessionError", "not today")]
            monkeypatch.setattr(Work, "kept", no_room)
            seen = await Members(desk, client).play(sum_of_seven())
            assert seen.state is State.FAILED
            assert await end_of(seen.session) == [SessionEnded(0, "ParameterError", "it cannot be kept")]
        assert all(len(ends) == 1 for ends in heard.values())

    asyncio.run(play())


@pytest.mark.parametrize("column", ["orders", "names"])
def test_a_session_whose_rows_are_damaged_ends(tmp_path: Path, column: str) -> None:
    async def play() -> None:
        store = Store(tmp_path / "service.db", create=True)
        new = prepared(sum_of_seven())
        store.add(new)
        with store.write() as connection:
            connection.execute(update(SESSIONS).values({column: "no"}))
        heard: list[Transition] = []
        async with running(store, observe=lambda _, what: heard.append(what)) as desk, asyncio.timeout(10):
            while not heard:
                await asyncio.sleep(0.01)
            view = await desk.wait(new.session)
            assert (view.state, view.error) == (State.FAILED, "DamagedStoreError")
            assert view.participants == (() if column == "names" else NAMES.names)
            assert [type(what) for what in heard] == [SessionEnded]
            if column == "orders":
                assert (await desk.next_letter(LAST, 0, 10)) is not None  # everyone is told
        store.close()

    asyncio.run(play())


def test_why_a_session_waits_for_the_store_is_said_once(tmp_path: Path) -> None:
    told: list[str] = []

    async def play() -> None:
        async with serving(tmp_path, told=told.append) as desk:
            for _ in range(3):
                await desk._runner._tried(broken)

    async def broken() -> None:
        raise StoreError("it is gone")

    asyncio.run(play())
    assert [sentence.endswith(": it is gone") for sentence in told] == [True]


def test_a_store_that_is_gone_is_borne_though_nobody_can_be_told(tmp_path: Path) -> None:
    def unheard(sentence: str) -> None:
        raise OSError("standard error was closed")

    async def play() -> None:
        async with serving(tmp_path, told=unheard) as desk:
            desk._runner._say(StoreError("it is gone"))

    asyncio.run(play())


def test_sessions_that_run_are_shown_first_and_all_are_counted(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "service.db", create=True)) as store:
        going, *ended = (prepared(sum_of_seven()) for _ in range(4))
        for new in (going, *ended):
            store.add(new)
        for each in ended:
            store.cancel(each.session, "")
        shown, counts = sessions_shown(store, 2)
    assert [view.session for view in shown] == [going.session, ended[-1].session]
    assert counts == {State.RUNNING: 1, State.COMPLETED: 0, State.FAILED: 3}


def test_within_a_process_nobody_waits_for_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with serving(tmp_path, poll=1000.0) as desk:
            told = desk.next_letter

            async def next_letter(member: str, after: int, wait: float) -> Letter | None:
                letter = await told(member, after, 59)
                assert letter is not None
                return letter

            monkeypatch.setattr(desk, "next_letter", next_letter)
            seen = await Members(desk, client).play(sum_of_seven())
            assert seen.state is State.COMPLETED

    asyncio.run(play())


def test_what_came_of_answers_is_shown_at_once_and_written_before_the_phase_is_over(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(tmp_path, poll=1000.0) as desk:
            session = await desk.open(sum_of_seven())
            for name in NAMES.names[:2]:
                letter = await desk.next_letter(name, 0, 10)
                assert letter is not None
                answer = client(name).respond(letter.body)
                assert (await desk.deliver(name, session, answer)).receipt is Receipt.ACCEPTED
                view = await desk.session_view(session)
                assert name in view.phases[0].answered
            assert (await desk.view()).sessions[0].phases[0].answered == NAMES.names[:2]

    asyncio.run(play())
