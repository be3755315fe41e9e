"""What a private session has reserved is released once, wherever it is cancelled, stopped or killed on its way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dp.errors import LedgerConflictError, UnknownBudgetError
from dp.ledger import Ledger, ReservationStatus
from protocols.service import running as running_module
from protocols.service.desk import Desk
from protocols.service.jobs import paid
from protocols.service.paying import Purse
from protocols.service.sessions import Payment
from protocols.service.store import Store

from .desk_parties import running
from .test_desk_jobs import CLINICS, PLAN, ledger_in, status

STEPS = ("claim", "load", "hold", "reserve", "turn")
"""What a process does for a session until its first letters are there, each in a thread."""
LEASES = {"cancelled": 10.0, "stopped": 2.0, "killed": 0.3}
"""Seconds. Who was stopped as it claimed a session leaves it claimed, which the next one waits out."""


class Killed(BaseException):
    """Ends a thread, as SIGKILL does."""


class Held:
    """Stops the process before or after a step until it is let go; it goes on from there, or dies there."""

    def __init__(self, desk: Desk, step: str, *, after: bool, dies: bool) -> None:
        self.reached, self._go = threading.Event(), threading.Event()
        owner: Any = desk._purse if step == "reserve" else desk._runner.owner
        true: Callable[..., Any] = getattr(owner, step)

        def held(*arguments: Any, **more: Any) -> Any:
            if not after:
                self._wait(dies)
            done = true(*arguments, **more)
            if after and (step != "claim" or done):
                self._wait(dies)
            return done

        setattr(owner, step, held)

    def _wait(self, dies: bool) -> None:
        self.reached.set()
        assert self._go.wait(60)
        if dies:
            raise Killed

    def let_go(self) -> None:
        self._go.set()


def releases(ledger: Ledger) -> int:
    return sum(record.kind == "release" for record in ledger.history("study"))


def reservation(ledger: Ledger, session: str) -> ReservationStatus | None:
    try:
        return status(ledger, session)
    except UnknownBudgetError:
        return None


async def play(folder: Path, step: str, after: bool, how: str) -> None:
    store = Store(folder / "service.db", create=True)
    with ledger_in(folder) as ledger:
        first = Desk(store, ledger=ledger, poll=0.02, lease=LEASES[how], workers=2)
        at = Held(first, step, after=after, dies=how == "killed")
        if how == "killed":
            first._runner.owner.leave = lambda lease: None  # type: ignore[method-assign]
        session = await first.open(paid("private", PLAN, "study", CLINICS))
        task = asyncio.create_task(first.run())
        await asyncio.to_thread(at.reached.wait, 60)
        if how != "cancelled":
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with running(store, ledger=ledger) as second:
            if how != "cancelled":  # whoever comes next goes on with the session
                while not (await second.session_view(session)).phases:
                    await asyncio.sleep(0.02)
            await second.cancel(session)
            await asyncio.sleep(0.1)  # the other process has looked at what is owed, more than once
            at.let_go()
            if how == "cancelled":
                await asyncio.sleep(0.05)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            first.close()
            known = reservation(ledger, session)  # no thread is left that could make one
            for _ in range(500):
                if reservation(ledger, session) is not ReservationStatus.RESERVED:
                    break
                await asyncio.sleep(0.02)
            assert reservation(ledger, session) is not ReservationStatus.RESERVED, "it stays reserved for ever"
            assert known is not None or (how == "cancelled" and step in ("claim", "load", "hold"))
            await asyncio.sleep(0.2)
            assert releases(ledger) == (known is not None)
    store.close()


def test_a_ledger_that_knows_of_nothing_is_asked_no_longer_than_last_letters_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "PAUSE_SECONDS", 0.0)

    async def play() -> list[int]:
        store = Store(tmp_path / "service.db", create=True)
        with ledger_in(tmp_path) as ledger:
            desk = Desk(store, ledger=ledger)
            session = await desk.open(paid("private", PLAN, "study", CLINICS))
            owner = desk._runner.owner
            (lease,) = owner.claim(1)
            owner.hold(lease)
            await desk.cancel(session)
            owing = []
            for seconds in (7 * 24 * 3600.0, -1.0):
                monkeypatch.setattr(running_module, "KEEP_SECONDS", seconds)
                desk._runner._asked.clear()
                await desk._runner._settle()
                owing.append(len(owner.owing()))
            desk.close()
        store.close()
        return owing

    assert asyncio.run(play()) == [1, 0]


def test_what_was_committed_is_reserved_no_second_time(tmp_path: Path) -> None:
    """As a store from before would have it, which has forgotten that the session was run."""
    payment = Payment.of(PLAN, "study")
    with ledger_in(tmp_path) as ledger:
        purse = Purse(ledger)
        for _ in range(2):  # whoever takes over reserves once more
            purse.reserve("ab" * 32, payment, PLAN.config, CLINICS)
        for _ in range(2):
            purse.commit("ab" * 32, payment, PLAN.config, CLINICS)
        with pytest.raises(LedgerConflictError):
            purse.reserve("ab" * 32, payment, PLAN.config, CLINICS)


@pytest.mark.parametrize("how", ["cancelled", "stopped", "killed"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_reservation_is_released_once_whatever_the_order(
    step: str, when: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_module, "PAUSE_SECONDS", 0.02)
    asyncio.run(asyncio.wait_for(play(tmp_path, step, when == "after", how), 90))
