"""Where participants live. A driver hands a place bytes for them, and gets their answers, what they cost, refusals.

`Here` is this process. `workers.Workers` are others, in each of which a `Here` answers: one way to answer for both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from secagg.errors import SecAggError

from ..core.machine import GivenInputs, Inputs, Participant, take_inputs

P = TypeVar("P", bound=Participant)

Message = tuple[str, bytes]
"""Whose it is, and what arrives there."""


@dataclass(frozen=True)
class Answer:
    """What a participant says to a message; empty if it says nothing, or would not take it: then `error` says why.

    `seconds` is how long it computed, of one processor, without its inputs being made.
    """

    data: bytes
    seconds: float
    error: SecAggError | None = None


class Place(Protocol):
    """Participants, wherever they are. Nobody computes but while `ask` runs."""

    @property
    def at_once(self) -> int:
        """How many to ask at a time, which bounds how many answers are in memory before the coordinator takes them."""

    def ask(self, messages: Iterable[Message]) -> Iterator[tuple[str, Answer]]:
        """Give each participant, once a call, its message; yield the answers in the same order."""

    def delivered(self, name: str) -> None:
        """Tell a participant that the coordinator has its answer."""


@dataclass
class Here(Generic[P]):
    """Participants in this process, on as many threads as are asked for.

    On a single thread, a message is taken only when the answer to the one before was: each may depend on that.
    """

    join: Callable[[str], P]
    inputs: Callable[[str], GivenInputs]
    participants: dict[str, P] = field(default_factory=dict)
    restart: Callable[[str, P], P] | None = None
    threads: int = 1
    at_once: int = 16

    def ask(self, messages: Iterable[Message]) -> Iterator[tuple[str, Answer]]:
        """Give each participant its message; yield the answers in the same order."""
        if self.threads == 1:
            yield from map(self._answer, messages)
            return
        with ThreadPoolExecutor(self.threads) as pool:
            answers = list(pool.map(self._answer, messages))
        yield from answers

    def delivered(self, name: str) -> None:
        """Tell a participant that the coordinator has its answer."""
        if name in self.participants:
            self.participants[name].delivered()

    def _answer(self, message: Message) -> tuple[str, Answer]:
        name, data = message
        started, drawing = time.thread_time(), 0.0

        def inputs() -> Inputs:
            nonlocal drawing
            before = time.thread_time()
            made = take_inputs(self.inputs(name))
            drawing += time.thread_time() - before
            return made

        if name not in self.participants:
            self.participants[name] = self.join(name)
        elif self.restart is not None:
            self.participants[name] = self.restart(name, self.participants[name])
        answer, refused = b"", None
        try:
            answer = self.participants[name].respond(data, inputs)
        except SecAggError as error:
            refused = error
        return name, Answer(answer, time.thread_time() - started - drawing, refused)
