"""The asyncio driver of one coordinator: who is awaited, for how long, and work off the event loop.

It takes answers from a `Mailbox` and hands it what each phase says. `Post` is a mailbox in memory, which makes the
driver usable by itself; a service has one that is durable. Everything that computes runs in threads of an executor.

    post = Post()
    driving = asyncio.create_task(Driver(Server(config, participants), post, deadlines).run())
    letter = await post.next_letter("hospital-1")
    outcome = await post.deliver("hospital-1", answer)
    result = await driving
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from secagg.errors import PeerError, SecAggError

from ..core.machine import Coordinator, Receipt
from .deadlines import Deadlines
from .views import Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Arrival:
    """An answer that waits to be looked at; `key` is its mailbox's."""

    key: int
    sender: str
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Seen:
    """An answer that was looked at: what came of it, and who must be sent it, byte for byte."""

    arrival: Arrival
    outcome: Outcome
    relay_to: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Turn:
    """What closing a phase has come to.

    Attributes:
        phase: the one that begins, or how the session ended.
        letters: name -> what each participant is to be sent.
        dump: of the coordinator, as the phase begins; empty where the session ended.
        ended: whether it did.
        seconds: after which the phase is closed at last.
        revealed: whether participants are asked for what opens the sum, or were.
        excluded: name -> why.
        result: the coordinator's, where there is one.
        error: what ended the session without a result.
    """

    phase: str
    letters: Mapping[str, bytes] = field(repr=False)
    dump: bytes = field(repr=False)
    ended: bool
    seconds: float
    revealed: bool
    excluded: Mapping[str, str]
    result: Any = field(default=None, repr=False)
    error: SecAggError | None = None


class Mailbox(Protocol):
    """Where answers come from and letters go: what of a session is durable is its mailbox's to keep."""

    @property
    def refused(self) -> frozenset[str]:
        """Who has said that it will not take part; it is not awaited."""

    async def take(self, seconds: float) -> Sequence[Arrival]:
        """Return answers that nobody has looked at, in order, as soon as there are some or someone has refused.

        Args:
            seconds: return none after so many; 0 to wait for nothing.
        """

    async def note(self, seen: Sequence[Seen], excluded: Mapping[str, str]) -> None:
        """Tell senders what came of their answers, and send on what must be relayed."""

    async def shut(self) -> None:
        """Let nothing more in: what arrives from now on is late for this phase."""

    async def turn(self, turn: Turn) -> None:
        """Keep what closing the phase has come to, and only then send its letters."""


class Driver:
    """Runs one session to its end.

    Args:
        coordinator: has sent nothing yet, or was restored as of the beginning of a phase.
        mailbox: of the session.
        deadlines: of its phases.
        executor: for all computing. One of its own with a thread for each processor when None.
        deadline: of the present phase, by the clock, where it began before; None for now.
        needed: how many answers a phase needs at least: before its deadline none is closed with fewer.
        clock: seconds since whenever: one that is never set.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        mailbox: Mailbox,
        deadlines: Deadlines | None = None,
        *,
        executor: Executor | None = None,
        deadline: float | None = None,
        needed: Callable[[str], int] = lambda phase: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.coordinator = coordinator
        self._mailbox = mailbox
        self._deadlines = deadlines or Deadlines()
        self._executor = executor
        self._deadline = deadline
        self._needed = needed
        self._clock = clock
        self._answered = 0
        self._enough_since: float | None = None

    async def begin(self) -> None:
        """Send what the first phase asks for: nothing was sent before."""
        self._deadline = None
        await self._mailbox.turn(await self._work(self._begun))

    async def run(self, *, begun: bool = False, closing: bool = False) -> Any:
        """Run the session to its end, and return its result. Cancelling it leaves the session as the mailbox keeps it.

        Args:
            begun: whether the present phase's letters were sent before.
            closing: whether the present phase was shut before.

        Raises:
            SecAggError: the session ended without a result.
        """
        if not begun and not self.coordinator.ended:
            await self.begin()
        while not self.coordinator.ended:
            if not closing:
                await self.collect()
                await self._mailbox.shut()
            closing = False
            while arrivals := await self._mailbox.take(0):
                await self.receive(arrivals)
            turn = await self._work(self._closed)
            await self._mailbox.turn(turn)
            if turn.error is not None:
                raise turn.error
        return self.coordinator.result

    async def collect(self) -> None:
        """Take answers in until nobody is awaited, or the phase has lasted long enough."""
        phase = str(self.coordinator.phase)
        own = self._deadlines.of(phase)
        asked = await self._work(lambda: len(self.coordinator.outgoing()))
        enough = max(own.enough(asked), min(asked, self._needed(phase)))
        end = self._clock() + own.seconds if self._deadline is None else self._deadline
        while True:
            if self._answered >= enough and self._enough_since is None:
                self._enough_since = self._clock()
            until = end if self._enough_since is None else min(end, self._enough_since + own.grace)
            if self._clock() >= until or not self._is_awaiting():
                return
            await self.receive(await self._mailbox.take(max(0.001, until - self._clock())))

    async def receive(self, arrivals: Sequence[Arrival], *, noted: bool = False) -> None:
        """Hand answers to the coordinator, in order; `noted` says that their senders were told before."""
        if arrivals:
            seen = await self._work(lambda: receive_all(self.coordinator, arrivals))
            self._answered += sum(each.outcome.receipt is Receipt.ACCEPTED for each in seen)
            if not noted:
                await self._mailbox.note(seen, self.coordinator.excluded)

    def _is_awaiting(self) -> bool:
        if self.coordinator.num_awaited > len(self._mailbox.refused):
            return True
        return bool(self.coordinator.awaited - self._mailbox.refused)

    def _begun(self) -> Turn:
        own = self._deadlines.of(str(self.coordinator.phase))
        self._deadline = self._clock() + own.seconds
        coordinator = self.coordinator
        return Turn(
            str(coordinator.phase),
            dict(coordinator.outgoing()),
            b"" if coordinator.ended else coordinator.dump(),
            coordinator.ended,
            own.seconds,
            coordinator.revealed,
            dict(coordinator.excluded),
        )

    def _closed(self) -> Turn:
        self._answered, self._enough_since = 0, None
        coordinator = self.coordinator
        try:
            coordinator.close_phase()
        except SecAggError as error:
            return Turn(
                str(coordinator.phase), {}, b"", True, 0.0, coordinator.revealed, dict(coordinator.excluded),
                error=error,
            )  # fmt: skip
        turn = self._begun()
        if not turn.ended:
            return turn
        return Turn(turn.phase, {}, b"", True, turn.seconds, turn.revealed, turn.excluded, result=coordinator.result)

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def receive_all(coordinator: Coordinator, arrivals: Sequence[Arrival]) -> list[Seen]:
    """Hand answers to a coordinator; return what came of each, in order.

    They are taken one after another, unless the coordinator takes many of different senders together: so to take them
    in again, in the same order, comes to the same.
    """
    together = getattr(coordinator, "receive_many", None)
    senders = [arrival.sender for arrival in arrivals]
    if together is not None and len(set(senders)) == len(senders):
        found = together({arrival.sender: arrival.body for arrival in arrivals})
        outcomes = [_outcome(found[sender]) for sender in senders]
    else:
        outcomes = [_received(coordinator, arrival) for arrival in arrivals]
    relay_to = coordinator.relay_to
    return [
        Seen(arrival, outcome, relay_to if outcome.receipt is Receipt.ACCEPTED else frozenset())
        for arrival, outcome in zip(arrivals, outcomes, strict=True)
    ]


def _received(coordinator: Coordinator, arrival: Arrival) -> Outcome:
    try:
        return _outcome(coordinator.receive(arrival.sender, arrival.body))
    except PeerError as error:
        return _outcome(error)


def _outcome(found: Receipt | PeerError) -> Outcome:
    if isinstance(found, PeerError):
        return Outcome(None, type(found).__name__, found.reason)
    return Outcome(found)
