"""What happens in a session, for logs and metrics: numbers and names, and nothing that is secret.

A coordinator calls its listener after each step, once the step is whole and no lock is held. What a listener raises
goes to whoever took the step, which stands all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class PhaseOpened:
    """A phase begins: so many are asked."""

    phase: str
    asked: int


@dataclass(frozen=True)
class MessageAccepted:
    """A participant has answered, with so many bytes."""

    phase: str
    sender: str
    num_bytes: int


@dataclass(frozen=True)
class ParticipantExcluded:
    """A participant's message was bad: the kind of error, and its text."""

    phase: str
    name: str
    error: str
    reason: str


@dataclass(frozen=True)
class PhaseClosed:
    """A phase ends: who has not answered, how long it was open, and how long closing it took (seconds)."""

    phase: str
    answered: int
    missing: frozenset[str]
    open_seconds: float
    closing_seconds: float


@dataclass(frozen=True)
class SessionEnded:
    """The session is over; `error` is the kind of error that ended it, or None with a result."""

    survivors: int
    error: str | None = None
    reason: str = ""


Transition = PhaseOpened | MessageAccepted | ParticipantExcluded | PhaseClosed | SessionEnded
Listener = Callable[[Transition], None]


def ignore(transition: Transition) -> None:
    """Listen to nothing."""
