"""Answers as they arrive, and what becomes of each: the rules by which the store lets them in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row

from secagg.errors import MalformedMessage, ParameterError, UnexpectedMessage

from ..core.machine import Receipt
from .errors import DamagedStoreError, NotInvitedError, ServiceError, UnknownSessionError
from .views import Outcome, State

MAX_ANSWERS = 16
"""So many different answers of one member are kept in one phase; an honest one sends one."""
MAX_NONCE_BYTES = 64
_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Delivery:
    """An answer as it arrives."""

    member: str
    session: str
    body: bytes = field(repr=False)
    nonce: bytes | None = field(default=None, repr=False)
    sha256: bytes | None = field(default=None, repr=False)  # of the body, where it is known
    key: bytes | None = None  # by which the request was signed that brought it

    def __post_init__(self) -> None:
        """Turn away what no database column takes: it would take others' answers of the same commit along."""
        check_id(self.session)
        if self.nonce is not None and len(self.nonce) > MAX_NONCE_BYTES:
            raise ParameterError(f"a nonce has at most {MAX_NONCE_BYTES} bytes, not {len(self.nonce)}")

    @cached_property
    def digest(self) -> str:
        """What tells it from other answers."""
        return (self.sha256 or hashlib.sha256(self.body).digest()).hex()


@dataclass(frozen=True)
class Kept:
    """A row of the inbox that holds an answer; `new` if it was not there before."""

    key: int
    outcome: Outcome | None
    new: bool


Taken = Kept | Outcome | ServiceError
Standing = Callable[[Connection, Sequence[Delivery]], Mapping[int, ServiceError]]
"""Tells in a transaction whose answers are not taken, by their places, and why."""


def everyone(connection: Connection, deliveries: Sequence[Delivery]) -> Mapping[int, ServiceError]:
    """Turn nobody away."""
    return {}


def verdict(  # noqa: PLR0911 - a table
    each: Delivery, session: Row[Any] | None, names: frozenset[str], found: Row[Any] | None, count: int
) -> Taken | None:
    """Return what an answer comes to that is not let in; None for one that is."""
    if session is None:
        return UnknownSessionError(f"there is no session {each.session}")
    if each.member not in names:
        return NotInvitedError("this member has no part in the session")
    runs = session.state == State.RUNNING
    if found is not None and (not runs or found.phase == session.phase):
        outcome = outcome_of(found)
        return Kept(found.id, outcome if runs else outcome or Outcome(Receipt.LATE), new=False)
    if not runs or session.closing:
        return Outcome(Receipt.LATE)
    if len(each.body) > session.max_bytes:
        text = f"the answer takes {len(each.body)} bytes, but may take {session.max_bytes}"
        return Outcome(None, MalformedMessage.__name__, text)
    if count >= MAX_ANSWERS:
        return Outcome(None, UnexpectedMessage.__name__, f"more than {MAX_ANSWERS} different answers in one phase")
    return None


def check_id(session: str) -> None:
    """Return if this may be a session's id; raise UnknownSessionError otherwise."""
    if not _ID.fullmatch(session):
        raise UnknownSessionError("there is no session of this id: ids are 64 hexadecimal digits")


def told_by(delivery: Delivery) -> tuple[str, str, str]:
    """Return what tells an answer from all others of a phase."""
    return delivery.session, delivery.member, delivery.digest


def inbox_row(delivery: Delivery, phase: int) -> dict[str, Any]:
    """Return an answer as the inbox has it; its body is kept apart."""
    return {
        "session": delivery.session,
        "phase": phase,
        "sender": delivery.member,
        "digest": delivery.digest,
        "size": len(delivery.body),
    }


def outcome_of(row: Any) -> Outcome | None:
    """Return what came of an answer; None where nobody has looked at it."""
    if row.outcome is None:
        return None
    try:
        return Outcome(Receipt(row.outcome) if row.outcome else None, row.error, row.reason)
    except ValueError:
        raise DamagedStoreError("the store's inbox holds an outcome that is none; restore it from a backup") from None
