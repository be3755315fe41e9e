"""What happens in a session, for logs and metrics: numbers and names, and nothing that is secret.

A coordinator calls its listener after each step, once the step is whole and no lock is held. What a listener raises
goes to whoever took the step, which stands all the same.
"""

from __future__ import annotations

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


class Telling:
    """A block in which a listener's transitions are listed; it hears of them when the block ends, also by an error.

    Enter it before a lock, so that the lock is free by then.
    """

    __slots__ = ("_listener", "_transitions")

    def __init__(self, listener: Listener) -> None:
        """Take whom to tell."""
        self._listener = listener
        self._transitions: list[Transition] = []

    def __enter__(self) -> list[Transition]:
        return self._transitions

    def __exit__(self, *error: object) -> None:
        for transition in self._transitions:
            self._listener(transition)
