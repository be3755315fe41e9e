"""The loop that drives a session of any protocol, everyone on one machine: simulations, the audit and tests.

Every message goes through bytes. Participants are computed a few at a time, where they live (`places`). None runs while
the coordinator does, so `coordinator_seconds` counts the coordinator alone.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from secagg.errors import SecAggError

from ..core.machine import Coordinator, GivenInputs, Participant, Receipt
from .places import Here, Message, Place

C = TypeVar("C", bound=Coordinator)
P = TypeVar("P", bound=Participant)


@dataclass(frozen=True)
class Crossing:
    """A message on its way; `name` is the participant at the other end: sender if `to_coordinator`, else recipient."""

    phase: str
    name: str
    to_coordinator: bool
    data: bytes


Wire = Callable[[Crossing], bytes | None]
"""Returns the bytes that arrive, or None where nothing does."""


def faithful(crossing: Crossing) -> bytes | None:
    """Deliver every message as it is."""
    return crossing.data


@dataclass(frozen=True)
class Refusal:
    """What a single party would not take: in which phase, with whom, on which side, and why."""

    phase: str
    name: str
    by_coordinator: bool
    error: SecAggError


@dataclass(frozen=True)
class Cost:
    """What one participant has sent and received, and how long it computed (seconds of one processor)."""

    sent_bytes: int = 0
    received_bytes: int = 0
    seconds: float = 0.0

    def plus(self, sent_bytes: int, received_bytes: int, seconds: float) -> Cost:
        """Return the cost with one more message each way."""
        return Cost(self.sent_bytes + sent_bytes, self.received_bytes + received_bytes, self.seconds + seconds)


@dataclass
class Session(Generic[C, P]):
    """One session of any protocol.

    Args:
        coordinator: has sent nothing yet, or was restored.
        join: makes a participant when it is first sent something.
        inputs: name -> what it contributes; asked for when it is needed, on the participant's thread.
        wire: what becomes of messages on their way.
        restart: name and participant -> the one that takes the next message, such as one restored from its dump.
        restart_coordinator: the same for the coordinator.
        threads: for participants side by side.
        elsewhere: where participants live, if not here: nobody joins here then, or is asked for inputs.
        on_progress: called with the phase, how many participants have been through it, and out of how many.

    Attributes:
        participants: those here that were sent something.
        refusals: errors of single parties, which end nothing.
        costs: name -> what it cost.
        coordinator_seconds: wall-clock time in the coordinator's code.
        coordinator_processor_seconds: of processors, all its threads together, in the same code.
        phase_seconds: phase -> wall-clock time.
    """

    coordinator: C
    join: Callable[[str], P]
    inputs: Callable[[str], GivenInputs]
    wire: Wire = faithful
    restart: Callable[[str, P], P] | None = None
    restart_coordinator: Callable[[C], C] | None = None
    threads: int = 1
    elsewhere: Place | None = None
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None
    participants: dict[str, P] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))
    coordinator_seconds: float = 0.0
    coordinator_processor_seconds: float = 0.0
    phase_seconds: dict[str, float] = field(default_factory=dict)

    def run(self, silent: Mapping[str, Collection[str]] | None = None) -> Any:
        """Run to the end and return the result.

        Args:
            silent: phase -> who is sent nothing and does not answer in it; in later phases it is asked again if the
                coordinator still does.

        Raises:
            SecAggError: the session ended without a result.
        """
        while not self.coordinator.ended:
            self.step((silent or {}).get(str(self.coordinator.phase), ()))
        return self.coordinator.result

    def step(self, silent: Collection[str] = ()) -> None:
        """Let everyone but the silent answer, and close the phase; raises what ends the session."""
        self.collect(silent)
        with self._coordinating():
            self.coordinator.close_phase()

    def collect(self, silent: Collection[str] = ()) -> None:
        """Let everyone but the silent answer in this phase."""
        phase, started = str(self.coordinator.phase), time.perf_counter()
        with self._coordinating():
            outgoing = self.coordinator.outgoing()
        silent = frozenset(silent)
        recipients = [name for name in outgoing if name not in silent]
        done = 0
        for group in _groups(recipients, self._place.at_once):
            with self._coordinating():
                requests = [(name, outgoing[name]) for name in group]
            answers = ((name, answer) for name, answer in self._ask(phase, requests) if answer)
            if self.elsewhere is not None:
                self._deliver(list(answers), silent)
            else:  # each may depend on what became of the one before
                for name, answer in answers:
                    self.deliver(name, answer, silent)
            done += len(group)
            self.on_progress(phase, done, len(recipients))
        self.phase_seconds[phase] = time.perf_counter() - started

    def deliver(self, name: str, data: bytes, silent: Collection[str] = ()) -> Receipt | None:
        """Send a message to the coordinator, and on to whom it must be relayed; None if it was lost or refused."""
        return self._deliver([(name, data)], silent).get(name)

    def _deliver(self, messages: Sequence[Message], silent: Collection[str]) -> dict[str, Receipt]:
        """Send messages, one of each participant, to the coordinator; return what came of those it did not refuse."""
        phase = str(self.coordinator.phase)
        arrived = {}
        for name, data in messages:
            there = self.wire(Crossing(phase, name, True, data))
            if there is not None:
                arrived[name] = there
        if arrived and self.restart_coordinator is not None:
            self.coordinator = self.restart_coordinator(self.coordinator)
        with self._coordinating():
            outcomes = list(map(self._receive, arrived, arrived.values()))
        receipts: dict[str, Receipt] = {}
        for (name, data), outcome in zip(arrived.items(), outcomes, strict=True):
            if isinstance(outcome, SecAggError):
                self.refusals.append(Refusal(phase, name, True, outcome))
                continue
            receipts[name] = outcome
            self._place.delivered(name)
            if outcome is not Receipt.LATE:
                for recipient in sorted(self.coordinator.relay_to - frozenset(silent)):
                    self._answer(phase, recipient, data)
        return receipts

    def _receive(self, name: str, data: bytes) -> Receipt | SecAggError:
        try:
            return self.coordinator.receive(name, data)
        except SecAggError as error:
            return error

    @property
    def _place(self) -> Place:
        return self.elsewhere or Here(self.join, self.inputs, self.participants, self.restart, self.threads)

    def _answer(self, phase: str, name: str, data: bytes) -> bytes:
        """Return a participant's answer; empty if it refuses, or if the message was lost."""
        return dict(self._ask(phase, [(name, data)])).get(name, b"")

    def _ask(self, phase: str, messages: Iterable[Message]) -> Iterator[Message]:
        """Carry messages to participants and yield what each answers; who refuses answers nothing."""
        received_bytes: dict[str, int] = {}

        def arriving() -> Iterator[Message]:
            for name, data in messages:
                arrived = self.wire(Crossing(phase, name, False, data))
                if arrived is not None:
                    received_bytes[name] = len(data)
                    yield name, arrived

        for name, answer in self._place.ask(arriving()):
            if answer.error is not None:
                self.refusals.append(Refusal(phase, name, False, answer.error))
            self.costs[name] = self.costs[name].plus(len(answer.data), received_bytes[name], answer.seconds)
            yield name, answer.data

    def _coordinating(self) -> _Adding:
        return _Adding(self)


class _Adding:
    """Adds the time of a block to the coordinator's."""

    def __init__(self, session: Session[Any, Any]) -> None:
        self._session = session

    def __enter__(self) -> None:
        self._started, self._processor = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self._session.coordinator_seconds += time.perf_counter() - self._started
        self._session.coordinator_processor_seconds += time.process_time() - self._processor


def _groups(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
