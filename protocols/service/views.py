"""What the service hands from its store to HTTP and to the page: names, counts, times, and nothing that is secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ..core.machine import Receipt

_MOST_NAMED = 8


@dataclass(frozen=True)
class Letter:
    """A message that waits for a member.

    Attributes:
        session: which session it belongs to, in hex.
        sequence: grows from letter to letter of one member.
        phase: in which the session was when it was written.
        body: the message.
        terms: the session's, with a letter of its first phase.
    """

    session: str
    sequence: int
    phase: str
    body: bytes = field(repr=False)
    terms: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Outcome:
    """What came of an answer.

    Attributes:
        receipt: what came of it; None where it is kept but was not looked at yet, or was refused.
        error: kind of error for which it was refused; empty if it was not.
        reason: the error's sentence.
    """

    receipt: Receipt | None
    error: str = ""
    reason: str = ""


class State(StrEnum):
    """How a session stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True)
class PhaseView:
    """One phase of a session.

    Attributes:
        name: of the phase.
        asked: who was asked.
        answered: who has answered.
        needed: how many answers the phase needs at least.
        opened, closed, deadline: seconds since 1970; `closed` is None while it is open.
        received_bytes: of all answers.
    """

    name: str
    asked: tuple[str, ...]
    answered: tuple[str, ...]
    needed: int
    opened: float
    deadline: float
    closed: float | None = None
    received_bytes: int = 0

    @property
    def awaited(self) -> tuple[str, ...]:
        """Who was asked and has not answered."""
        return tuple(sorted(set(self.asked) - set(self.answered)))


@dataclass(frozen=True)
class SessionView:
    """One session.

    Attributes:
        session: its id, in hex.
        title: what its operator calls it.
        protocol: "masking" or "paillier".
        adversary: against whom it protects.
        state: how it stands.
        participants: who was invited.
        phases: those that were closed, then the open one.
        excluded: name -> why its message was bad.
        refused: name -> why it would not take part.
        error, reason: what ended it without a result.
        result: JSON of what it gave, once it has.
        created, ended: seconds since 1970.
    """

    session: str
    title: str
    protocol: str
    adversary: str
    state: State
    participants: tuple[str, ...]
    phases: tuple[PhaseView, ...]
    excluded: Mapping[str, str]
    refused: Mapping[str, str]
    created: float
    ended: float | None = None
    error: str = ""
    reason: str = ""
    result: str = ""


@dataclass(frozen=True)
class MemberView:
    """Someone who has enrolled.

    Attributes:
        name: as everyone knows it.
        fingerprint: the first 16 hexadecimal digits of its public key's SHA-256.
        seen: when it last asked, in seconds since 1970; None if it never did.
        wire: the wire version that it speaks; None if it never asked.
        revoked: whether it may no longer take part.
    """

    name: str
    fingerprint: str
    seen: float | None
    wire: int | None
    revoked: bool


@dataclass(frozen=True)
class BudgetView:
    """A privacy budget: what is spent and reserved of it.

    Attributes:
        subject: the ledger's name of it.
        epsilon: its limit.
        delta: the same.
        spent: epsilon spent, what is reserved included.
    """

    subject: str
    epsilon: float
    delta: float
    spent: float


@dataclass(frozen=True)
class WaitingView:
    """A session that has not begun, since not all its members can take part yet.

    Attributes:
        title: what its operator calls it.
        needed: how many members it is for.
        able: how many of these can take part.
        missing: who cannot, where they were named; empty where any will do.
        names: who was named; empty where any will do.
    """

    title: str
    needed: int
    able: int
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say so in a line."""
        named, more = ", ".join(self.missing[:_MOST_NAMED]), len(self.missing) - _MOST_NAMED
        lacking = f"; missing: {named}{f' and {more:,} more' if more > 0 else ''}" if named else ""
        return f"{self.able:,} of {self.needed:,} members can take part{lacking}"


@dataclass(frozen=True)
class ServiceView:
    """All that a service has to show.

    Attributes:
        sessions: those that run, then the newest that have ended; not all of them.
        members: who has enrolled.
        budgets: of the ledger.
        waiting: sessions that have not begun.
        invited: those who have not enrolled yet.
        counts: how many sessions there are in each state.
    """

    sessions: tuple[SessionView, ...]
    members: tuple[MemberView, ...]
    budgets: tuple[BudgetView, ...]
    waiting: tuple[WaitingView, ...] = ()
    invited: tuple[str, ...] = ()
    counts: Mapping[State, int] = field(default_factory=dict)
