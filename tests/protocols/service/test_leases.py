"""Several processes behind one store: one runs a session, and whoever lost it changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from protocols.core.machine import Receipt
from protocols.service.deadlines import Deadlines
from protocols.service.deliveries import Delivery, Kept
from protocols.service.desk import Desk
from protocols.service.driver import Driver, Turn, receive_all
from protocols.service.errors import LostLeaseError
from protocols.service.jobs import prepared, taken_up
from protocols.service.owning import Lease, Owner
from protocols.service.store import Store
from protocols.service.tables import CONTENTS, SESSIONS
from protocols.service.views import Outcome, State

from .desk_parties import NAMES, Members, client, result_of, running, sum_of_seven, total


@pytest.fixture
def stores(url: str) -> Iterator[tuple[Store, Store]]:
    """What two processes have open."""
    first, second = Store(url, create=True), Store(url)
    yield first, second
    first.close()
    second.close()


def expire(store: Store) -> None:
    """Let all leases end, as if their owners had been silent for long."""
    with store.write() as connection:
        connection.execute(update(SESSIONS).values(lease=0.0))


def opened(store: Store) -> str:
    new = prepared(sum_of_seven())
    assert store.add(new)
    return new.session


def begin(owner: Owner, lease: Lease) -> Any:
    """Send the first phase's letters; return what runs the session."""
    work = taken_up(owner.load(lease), lambda transition: None, 1)
    owner.turn(lease, 0, Driver(work.coordinator, None)._begun(), 5)  # type: ignore[arg-type]
    return work


def answers_of(store: Store, session: str) -> list[Delivery]:
    letters = {name: store.letter(name, 0) for name in NAMES}
    return [Delivery(name, session, client(name).respond(letter.body)) for name, letter in letters.items() if letter]


def test_one_owns_until_its_lease_ends(stores: tuple[Store, Store]) -> None:
    session = opened(stores[0])
    first, second = (Owner(store, 30.0) for store in stores)
    (lease,) = first.claim(10)
    assert lease == Lease(session, 1)
    assert second.claim(10) == []
    assert first.renew([lease]) == {session}
    expire(stores[0])
    (taken,) = second.claim(10)
    assert taken == Lease(session, 2)
    assert first.renew([lease]) == set()
    assert second.renew([taken]) == {session}
    for step in (first.load, first.shut, first.hold, lambda one: first.fail(one, ValueError())):
        with pytest.raises(LostLeaseError):
            step(lease)
    first.leave(lease)  # changes nothing
    assert first.claim(10) == []
    second.leave(taken)
    assert first.claim(10, besides=[session]) == []
    assert first.claim(10) == [Lease(session, 3)]


def test_who_lost_the_lease_in_the_middle_of_closing_closes_nothing(stores: tuple[Store, Store]) -> None:
    session = opened(stores[0])
    first, second = (Owner(store, 30.0) for store in stores)
    (lease,) = first.claim(10)
    work = begin(first, lease)
    deliveries = answers_of(stores[1], session)
    kept = stores[1].take(deliveries)
    assert all(isinstance(each, Kept) and each.new for each in kept)
    arrivals = first.answers(lease, 0, 0, noted=False)
    assert [arrival.sender for arrival in arrivals] == list(NAMES)
    seen = receive_all(work.coordinator, arrivals[:4])
    first.note(lease, 0, "advertise-keys", seen, {})
    first.shut(lease)
    # From here on nothing more is let in, but copies are known.
    late = stores[0].take([Delivery(NAMES.names[0], session, b"another"), deliveries[0], deliveries[-1]])
    assert late[0] == Outcome(Receipt.LATE)
    assert [isinstance(each, Kept) and each.new for each in late[1:]] == [False, False]
    # The first owner goes on computing, and does not know that it was thought dead.
    receive_all(work.coordinator, arrivals[4:])
    expire(stores[1])
    (taken,) = second.claim(10)
    loaded = second.load(taken)
    assert (loaded.closing, loaded.phase, loaded.begun) == (True, 0, True)
    again = taken_up(loaded, lambda transition: None, 1)
    told = receive_all(again.coordinator, second.answers(taken, 0, 0, noted=True))
    assert [(each.arrival.sender, each.outcome) for each in told] == [(s.arrival.sender, s.outcome) for s in seen]
    receive_all(again.coordinator, second.answers(taken, 0, 0, noted=False))
    for each in (work, again):
        each.coordinator.close_phase()
    assert work.coordinator.dump() == again.coordinator.dump()
    turns = [Driver(each.coordinator, None)._begun() for each in (work, again)]  # type: ignore[arg-type]
    with pytest.raises(LostLeaseError):
        first.turn(lease, 1, turns[0], 5)
    with pytest.raises(LostLeaseError):
        first.note(lease, 0, "advertise-keys", seen, {})
    with pytest.raises(LostLeaseError):
        first.end(lease, 0, turns[0], b"{}", None)
    with pytest.raises(LostLeaseError):
        first.fail(lease, ValueError())
    second.turn(taken, 1, turns[1], 5)
    letters = [stores[0].letter(name, 0) for name in NAMES]
    assert {letter.phase for letter in letters if letter} == {"share-keys"}
    # A copy of what was taken in in the phase before is the coordinator's to know.
    (fresh,) = stores[0].take([deliveries[0]])
    assert isinstance(fresh, Kept)
    assert fresh.new
    (outcome,) = receive_all(again.coordinator, second.answers(taken, 1, 0, noted=False))
    assert outcome.outcome.receipt is Receipt.DUPLICATE


def test_a_session_that_was_left_alone_gets_its_time_back(stores: tuple[Store, Store]) -> None:
    opened(stores[0])
    first, second = (Owner(store, 30.0) for store in stores)
    (lease,) = first.claim(10)
    begin(first, lease)
    before = first.load(lease).seconds_left
    with stores[0].write() as connection:
        now = stores[0].now(connection)
        connection.execute(update(SESSIONS).values(lease=now - 1000.0))
    (taken,) = second.claim(10)
    assert 1000.0 <= second.load(taken).seconds_left - before <= 1060.0


def test_deadlines_are_by_the_clock_of_the_store(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be ahead of this machine's, or behind."""
    opened(stores[0])
    monkeypatch.setattr(Store, "now", lambda store, connection: time.time() - 5000.0)
    owner = Owner(stores[0], 30.0)
    (lease,) = owner.claim(10)
    begin(owner, lease)
    assert 0 < owner.load(lease).seconds_left <= 60.0


def test_all_take_answers_in_and_any_goes_on(url: str) -> None:
    """Three desks: two run, and the one that owns is stopped again and again; members speak to whichever."""

    async def play() -> None:
        stores = [Store(url, create=True) for _ in range(3)]
        front, *backs = (Desk(store, poll=0.02, lease=0.3, workers=1) for store in stores)
        spec = sum_of_seven(deadlines=Deadlines(60))
        sessions = [await front.open(spec) for _ in range(2)]
        tasks = [asyncio.create_task(desk.run()) for desk in backs]

        async def before(name: str, phase: str) -> None:
            await asyncio.sleep(0.1)  # so that sessions are under way when their owners are stopped

        async def shuffle() -> None:
            for at in range(6):
                await asyncio.sleep(0.15)
                tasks[at % 2].cancel()
                await asyncio.gather(tasks[at % 2], return_exceptions=True)
                tasks[at % 2] = asyncio.create_task(backs[at % 2].run())

        moving = asyncio.create_task(shuffle())
        async with asyncio.timeout(60):
            seen = await asyncio.gather(
                *(
                    Members(desk, client, before=before).play(spec, session)
                    for desk, session in zip((front, backs[0]), sessions, strict=True)
                )
            )
            await moving
        for each in seen:
            assert (each.state, each.error) == (State.COMPLETED, "")
            result = await result_of(front, each.session)
            assert result["survivors"] == list(NAMES)
            assert result["sums"]["v"] == total(NAMES)
        with stores[0].read() as connection:
            assert max(connection.execute(select(SESSIONS.c.epoch)).scalars()) > 1  # one was taken over
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for desk, store in zip((front, *backs), stores, strict=True):
            desk.close()
            store.close()

    asyncio.run(play())


def test_a_damaged_dump_is_a_named_error_of_its_session_alone(tmp_path: Path) -> None:
    async def play() -> None:
        store = Store(tmp_path / "service.db", create=True)
        broken = prepared(sum_of_seven())
        store.add(broken)
        with store.write() as connection:
            dump = broken.dump[:-1] + bytes([broken.dump[-1] ^ 1])
            connection.execute(update(CONTENTS).values(dump=dump))
        ledger: Any = object()  # nothing is paid
        async with running(store, ledger=ledger) as desk, asyncio.timeout(30):
            seen = await desk.wait(broken.session)
            assert (seen.error, "damaged" in seen.reason) == ("StateError", True)
            fine = await Members(desk, client).play(sum_of_seven())
            assert fine.state is State.COMPLETED
            # A row that cannot be read keeps no other session waiting.
            with store.write() as connection:
                spoilt = update(SESSIONS).where(SESSIONS.c.id == broken.session)
                connection.execute(spoilt.values(orders="no orders", held=True))
            assert (await Members(desk, client).play(sum_of_seven())).state is State.COMPLETED
            with store.write() as connection:
                connection.execute(update(SESSIONS).values(names="no names"))
            assert (await desk.session_view(fine.session)).participants == ()  # or `serve` would end with it
        store.close()

    asyncio.run(play())


def test_an_observer_that_fails_and_an_error_of_ours_end_no_other_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def observe(session: str, transition: object) -> None:
        raise ValueError("the observer's own")

    def kept(self: object, result: object) -> bytes:
        raise KeyError("a secret")

    async def play() -> None:
        store = Store(tmp_path / "service.db", create=True)
        async with running(store, observe=observe) as desk, asyncio.timeout(30):
            seen = await Members(desk, client).play(sum_of_seven())
            assert seen.state is State.COMPLETED
            monkeypatch.setattr("protocols.service.jobs.Work.kept", kept)
            seen = await Members(desk, client).play(sum_of_seven())
            assert (seen.state, seen.error, seen.reason) == (
                State.FAILED,
                "RuntimeError",
                "an internal error: KeyError",
            )
        store.close()

    asyncio.run(play())


def test_a_turn_says_nothing_of_what_is_in_it() -> None:
    turn = Turn("x", {"a": b"secret"}, b"secret", False, 0.0, False, {}, result="secret")
    assert "secret" not in repr(turn)
