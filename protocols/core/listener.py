"""What happens in a session, for logs and metrics: numbers and names, and nothing that is secret.

A coordinator calls its listener after each step, once the step is whole and no lock is held. What a listener raises
goes to whoever took the step, which stands all the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec


class PhaseOpened(msgspec.Struct, frozen=True):
    """A phase begins: so many are asked."""

    phase: str
    asked: int


class MessageAccepted(msgspec.Struct, frozen=True):
    """A participant has answered, with so many bytes."""

    phase: str
    sender: str
    num_bytes: int


class ParticipantExcluded(msgspec.Struct, frozen=True):
    """A participant's message was bad: the kind of error, and its text."""

    phase: str
    name: str
    error: str
    reason: str


class PhaseClosed(msgspec.Struct, frozen=True):
    """A phase ends: who has not answered, how long it was open, and how long closing it took (seconds)."""

    phase: str
    answered: int
    missing: frozenset[str]
    open_seconds: float
    closing_seconds: float


class SessionEnded(msgspec.Struct, frozen=True):
    """The session is over; `error` is the kind of error that ended it, or None with a result."""

    survivors: int
    error: str | None = None
    reason: str = ""


Transition = PhaseOpened | MessageAccepted | ParticipantExcluded | PhaseClosed | SessionEnded
Listener = Callable[[Transition], None]


def ignore(transition: Transition) -> None:
    """Listen to nothing."""


class Step:
    """A step is taken alone; listeners hear of it when it is whole and the lock is free.

    An interrupt in these lines themselves may leave the lock held: then nobody can take a step any more.
    """

    __slots__ = ("_listener", "_lock", "_transitions")

    def __init__(self, lock: threading.RLock, listener: Listener) -> None:
        """Take the coordinator's lock, and whom to tell what the block puts into the list that it is given."""
        self._lock, self._listener = lock, listener
        self._transitions: list[Transition] = []

    def __enter__(self) -> list[Transition]:
        self._lock.acquire()
        return self._transitions

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        for transition in self._transitions:
            self._listener(transition)
