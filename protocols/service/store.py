"""The store: what desks of all processes write and read. Everything here blocks; it is called in threads.

The inbox is the truth. An answer that was let in is durable, and belongs to the phase in which it was let in; whoever
runs the session takes it in, now or after a crash.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Table, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from secagg.errors import MalformedMessage, ParameterError, UnexpectedMessage

from ..core.machine import Receipt
from .errors import (
    CancelledSessionError,
    DamagedStoreError,
    NotInvitedError,
    ReplayedRequestError,
    ServiceError,
    UnknownSessionError,
)
from .opening import Database
from .tables import INBOX, JOBS, LETTERS, NONCES, PHASES, REFUSALS, SESSIONS
from .views import Letter, Outcome, State

MAX_ANSWERS = 16
"""So many different answers of one member are kept in one phase; an honest one sends one."""
NONCE_SECONDS = 600.0
"""So long a nonce is remembered; requests are refused that are older than a part of it."""
MAX_NONCE_BYTES = 64
MAX_TEXT = 500
_ID = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Delivery:
    """An answer as it arrives."""

    member: str
    session: str
    body: bytes = field(repr=False)
    nonce: bytes | None = field(default=None, repr=False)
    sha256: bytes | None = field(default=None, repr=False)  # of the body, where it is known

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


@dataclass(frozen=True)
class NewSession:
    """A session that is to be kept: what `jobs.prepared` makes of a `SessionSpec`."""

    session: str
    title: str
    protocol: str
    adversary: str
    terms: bytes = field(repr=False)
    names: tuple[str, ...]
    orders: bytes = field(repr=False)
    to_members: bool
    max_bytes: int
    dump: bytes = field(repr=False)
    job: str | None = None
    number: int | None = None


class Store(Database):
    """A service's store; see `opening.Database` for arguments, errors and transactions."""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self._names: dict[str, frozenset[str]] = {}

    def add(self, new: NewSession, *, after: str | None = None) -> bool:
        """Keep a session; whoever owns it next begins it. Return whether it is new: a job's number is used once.

        Args:
            new: the session.
            after: the session of the same job that it follows.

        Raises:
            ParameterError: the session was there before, without a job.
        """
        with self.write() as connection:
            values = {
                name: getattr(new, name)
                for name in ("title", "protocol", "adversary", "terms", "to_members", "max_bytes", "dump")
            }
            values |= {"names": msgspec.json.encode(new.names).decode(), "orders": new.orders.decode()}
            values |= {"id": new.session, "job": new.job, "number": new.number, "state": State.RUNNING.value}
            made = self.added(connection, SESSIONS, values | {"created": self.now(connection)})
            if after is not None:
                connection.execute(update(SESSIONS).where(SESSIONS.c.id == after).values(followed=True))
            if not made and new.job is None:
                raise ParameterError(
                    "this session was opened before: parameters serve one session, with a nonce of its own"
                )
            return made

    def insert_once(self, table: Table) -> Any:
        """Return an INSERT that leaves rows alone that are there."""
        make = sqlite.insert if self.is_sqlite else postgresql.insert
        return make(table).on_conflict_do_nothing()

    def use_nonce(self, connection: Connection, member: str, nonce: bytes) -> bool:
        """Note a member's nonce; return whether it is new."""
        row = {"member": member, "nonce": nonce.hex(), "at": self.now(connection)}
        return self.added(connection, NONCES, row)

    def added(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
        """Add a row, unless one like it is there; return whether it was added."""
        key = next(iter(table.primary_key))
        return connection.execute(self.insert_once(table).values(row).returning(key)).first() is not None

    def take(self, deliveries: Sequence[Delivery]) -> list[Taken]:
        """Let answers in, in one transaction; return for each what came of it, or why it was turned away."""
        taken: dict[int, Taken] = {}
        with self.write() as connection:
            sessions = self._locked(connection, {each.session for each in deliveries})
            self._check_nonces(connection, deliveries, taken)
            known = self._known(connection, deliveries)
            counts = self._counts(connection, deliveries)
            rows: dict[tuple[str, str, str], int] = {}  # of answers of this transaction, by what tells them apart
            fresh: list[int] = []
            for at, each in enumerate(deliveries):
                if at in taken:
                    continue
                key = _told_by(each)
                verdict = self._verdict(each, sessions.get(each.session), known.get(key), counts[key[:2]])
                if verdict is not None:
                    taken[at] = verdict
                elif key not in rows:
                    counts[key[:2]] += 1
                    rows[key] = 0
                    fresh.append(at)
            if fresh:
                values = [_inbox_row(deliveries[at], sessions[deliveries[at].session].phase) for at in fresh]
                ids = connection.scalars(insert(INBOX).returning(INBOX.c.id, sort_by_parameter_order=True), values)
                for at, key in zip(fresh, ids, strict=True):
                    taken[at] = Kept(key, None, new=True)
                    rows[_told_by(deliveries[at])] = key
        return [taken.get(at) or Kept(rows[_told_by(each)], None, new=False) for at, each in enumerate(deliveries)]

    def _verdict(  # noqa: PLR0911 - a table
        self, each: Delivery, session: Row[Any] | None, found: Row[Any] | None, count: int
    ) -> Taken | None:
        """Return what an answer comes to that is not let in; None for one that is."""
        if session is None:
            return UnknownSessionError(f"there is no session {each.session}")
        if each.member not in self._names_of(session.id, session.names):
            return NotInvitedError("this member has no part in the session")
        runs = session.state == State.RUNNING
        if found is not None and (not runs or found.phase == session.phase):
            outcome = _outcome(found)
            return Kept(found.id, outcome if runs else outcome or Outcome(Receipt.LATE), new=False)
        if not runs or session.closing:
            return Outcome(Receipt.LATE)
        if len(each.body) > session.max_bytes:
            text = f"the answer takes {len(each.body)} bytes, but may take {session.max_bytes}"
            return Outcome(None, MalformedMessage.__name__, text)
        if count >= MAX_ANSWERS:
            return Outcome(None, UnexpectedMessage.__name__, f"more than {MAX_ANSWERS} different answers in one phase")
        return None

    def outcomes(self, keys: Iterable[int]) -> dict[int, Outcome]:
        """Return what came of those answers that were looked at."""
        with self.read() as connection:
            found = connection.execute(
                select(INBOX.c.id, INBOX.c.outcome, INBOX.c.error, INBOX.c.reason).where(
                    INBOX.c.id.in_(list(keys)), INBOX.c.outcome.is_not(None)
                )
            ).all()
        return {row.id: outcome for row in found if (outcome := _outcome(row)) is not None}

    def letter(self, member: str, after: int) -> Letter | None:
        """Return a member's first letter after a number."""
        return self.letters([(member, after)])[0]

    def letters(self, asked: Iterable[tuple[str, int]]) -> list[Letter | None]:
        """Return for each member its first letter after a number."""
        first = (
            select(LETTERS)
            .where(LETTERS.c.member == bindparam("of"), LETTERS.c.id > bindparam("after"))
            .order_by(LETTERS.c.id)
            .limit(1)
        )
        with self.read() as connection:
            rows = [connection.execute(first, {"of": member, "after": after}).first() for member, after in asked]
        return [None if r is None else Letter(r.session, r.id, r.name, r.body, first=r.phase == 0) for r in rows]

    def last_letter(self) -> int:
        """Return the number of the last letter of all."""
        with self.read() as connection:
            return connection.execute(select(func.max(LETTERS.c.id))).scalar() or 0

    def addressees(self, after: int) -> set[str]:
        """Return who has letters after a number."""
        with self.read() as connection:
            return set(connection.scalars(select(LETTERS.c.member).where(LETTERS.c.id > after).distinct()))

    def refuse(self, member: str, session: str, kind: str, text: str) -> None:
        """Note that a member will not take part; only its first refusal counts."""
        self.part_of(member, session)
        with self.write() as connection:
            row = {"session": session, "member": member, "kind": _short(kind), "reason": _short(text)}
            connection.execute(self.insert_once(REFUSALS).values(**row, at=self.now(connection)))

    def part_of(self, member: str, session: str) -> None:
        """Return if a member has a part in a session; raise UnknownSessionError or NotInvitedError otherwise."""
        check_id(session)
        if session not in self._names:
            row = self.row(session, SESSIONS.c.id, SESSIONS.c.names)
            self._names_of(row.id, row.names)
        if member not in self._names[session]:
            raise NotInvitedError("this member has no part in the session")

    def row(self, session: str, *columns: Any) -> Row[Any]:
        """Return columns of a session; raise UnknownSessionError where there is none."""
        check_id(session)
        with self.read() as connection:
            row = connection.execute(select(*columns).where(SESSIONS.c.id == session)).first()
        if row is None:
            raise UnknownSessionError(f"there is no session {session}")
        return row

    def cancel(self, session: str, reason: str) -> tuple[str, ...]:
        """End a session without a result, unless it has ended; return who takes part."""
        check_id(session)
        with self.write() as connection:
            self.number(connection)
            row = connection.execute(
                select(SESSIONS.c.state, SESSIONS.c.names).where(SESSIONS.c.id == session).with_for_update()
            ).first()
            if row is None:
                raise UnknownSessionError(f"there is no session {session}")
            names = read_names(row.names)
            if row.state == State.RUNNING:
                why = _short(reason) or "the operator ended the session"
                values = {"error": CancelledSessionError.__name__, "reason": why}
                self.finish(connection, session, names, "aborted", state=State.FAILED, **values)
            return names

    def finish(
        self, connection: Connection, session: str, names: Iterable[str], phase: str, *, state: State, **values: Any
    ) -> None:
        """End a session within a transaction: what it had is deleted, and a last letter tells everyone."""
        now = self.now(connection)
        connection.execute(
            update(SESSIONS)
            .where(SESSIONS.c.id == session)
            .values(state=state.value, ended=now, dump=b"", closing=False, owner=None, **values)
        )
        connection.execute(
            update(PHASES).where(PHASES.c.session == session, PHASES.c.closed.is_(None)).values(closed=now)
        )
        connection.execute(delete(LETTERS).where(LETTERS.c.session == session))
        connection.execute(update(INBOX).where(INBOX.c.session == session).values(body=None))
        last = [{"member": name, "session": session, "phase": -1, "name": phase, "body": b""} for name in sorted(names)]
        connection.execute(insert(LETTERS), last)

    def clear(self, seconds: float) -> None:
        """Forget nonces that are too old to be used again, and last letters that are older than so many seconds."""
        with self.write() as connection:
            now = self.now(connection)
            connection.execute(delete(NONCES).where(NONCES.c.at < now - NONCE_SECONDS))
            over = select(SESSIONS.c.id).where(SESSIONS.c.ended < now - seconds)
            connection.execute(delete(LETTERS).where(LETTERS.c.session.in_(over)))
            connection.execute(delete(INBOX).where(INBOX.c.session.in_(over)))

    def job_sessions(self, names: Iterable[str]) -> tuple[list[Row[Any]], set[str]]:
        """Return sessions of jobs that have ended and were not followed, and jobs that were begun or have ended."""
        wanted = list(names)
        with self.read() as connection:
            rows = connection.execute(
                select(SESSIONS).where(
                    SESSIONS.c.job.in_(wanted), SESSIONS.c.state != State.RUNNING, SESSIONS.c.followed.is_(False)
                )
            ).all()
            begun = connection.scalars(select(SESSIONS.c.job).where(SESSIONS.c.job.in_(wanted)).distinct())
            return list(rows), set(begun) | set(connection.scalars(select(JOBS.c.name)))

    def end_job(self, name: str, after: str | None, error: str = "", reason: str = "") -> None:
        """Note that a job has ended."""
        with self.write() as connection:
            row = {"name": name, "ended": self.now(connection), "error": error, "reason": _short(reason)}
            connection.execute(self.insert_once(JOBS).values(row))
            if after is not None:
                connection.execute(update(SESSIONS).where(SESSIONS.c.id == after).values(followed=True))

    def job(self, name: str) -> Row[Any] | None:
        """Return how a job ended; None if it has not."""
        with self.read() as connection:
            return connection.execute(select(JOBS).where(JOBS.c.name == name)).first()

    def _locked(self, connection: Connection, sessions: set[str]) -> dict[str, Row[Any]]:
        """Lock sessions, so that none is closing unseen; in one order, so that nobody waits in a circle."""
        wanted = (SESSIONS.c.id, SESSIONS.c.names, SESSIONS.c.state, SESSIONS.c.phase, SESSIONS.c.closing)
        rows: Any = connection.execute(
            select(*wanted, SESSIONS.c.max_bytes)
            .where(SESSIONS.c.id.in_(sorted(sessions)))
            .order_by(SESSIONS.c.id)
            .with_for_update()
        ).all()
        return {row.id: row for row in rows}

    def _check_nonces(self, connection: Connection, deliveries: Sequence[Delivery], taken: dict[int, Taken]) -> None:
        """Turn away answers whose nonce was used; note those of the others."""
        first: dict[tuple[str, str], int] = {}
        for at, each in enumerate(deliveries):
            if each.nonce is not None and first.setdefault((each.member, each.nonce.hex()), at) != at:
                taken[at] = ReplayedRequestError("this request was served before: sign a new one for each try")
        if not first:
            return
        now = self.now(connection)
        rows = [{"member": member, "nonce": nonce, "at": now} for member, nonce in sorted(first)]
        made = connection.execute(self.insert_once(NONCES).returning(NONCES.c.member, NONCES.c.nonce), rows).all()
        for used in first.keys() - {(row.member, row.nonce) for row in made}:
            taken[first[used]] = ReplayedRequestError("this request was served before: sign a new one for each try")

    def _known(self, connection: Connection, deliveries: Sequence[Delivery]) -> dict[tuple[str, str, str], Row[Any]]:
        """Return the rows of answers that were let in before, each in the newest phase in which it was."""
        wanted = (INBOX.c.id, INBOX.c.session, INBOX.c.phase, INBOX.c.sender, INBOX.c.digest)
        rows: Any = connection.execute(
            select(*wanted, INBOX.c.outcome, INBOX.c.error, INBOX.c.reason).where(
                INBOX.c.session.in_({each.session for each in deliveries}),
                INBOX.c.sender.in_({each.member for each in deliveries}),
                INBOX.c.digest.in_({each.digest for each in deliveries}),
            )
        ).all()
        return {(row.session, row.sender, row.digest): row for row in sorted(rows, key=lambda row: row.phase)}

    def _counts(self, connection: Connection, deliveries: Sequence[Delivery]) -> Counter[tuple[str, str]]:
        """Return how many answers of members are there in the present phases."""
        rows = connection.execute(
            select(INBOX.c.session, INBOX.c.sender, func.count())
            .join(SESSIONS, and_(SESSIONS.c.id == INBOX.c.session, SESSIONS.c.phase == INBOX.c.phase))
            .where(
                INBOX.c.session.in_({each.session for each in deliveries}),
                INBOX.c.sender.in_({each.member for each in deliveries}),
            )
            .group_by(INBOX.c.session, INBOX.c.sender)
        ).all()
        return Counter({(session, sender): count for session, sender, count in rows})

    def _names_of(self, session: str, names: str) -> frozenset[str]:
        if session not in self._names:
            if len(self._names) > 1000:
                self._names.clear()
            self._names[session] = frozenset(read_names(names))
        return self._names[session]


def check_id(session: str) -> None:
    """Return if this may be a session's id; raise UnknownSessionError otherwise."""
    if not _ID.fullmatch(session):
        raise UnknownSessionError("there is no session of this id: ids are 64 hexadecimal digits")


def _told_by(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.session, delivery.member, delivery.digest


def _inbox_row(delivery: Delivery, phase: int) -> dict[str, Any]:
    return {
        "session": delivery.session,
        "phase": phase,
        "sender": delivery.member,
        "digest": delivery.digest,
        "size": len(delivery.body),
        "body": delivery.body,
    }


def _outcome(row: Any) -> Outcome | None:
    """Return what came of an answer; None where nobody has looked at it."""
    if row.outcome is None:
        return None
    try:
        return Outcome(Receipt(row.outcome) if row.outcome else None, row.error, row.reason)
    except ValueError:
        raise DamagedStoreError("the store's inbox holds an outcome that is none; restore it from a backup") from None


def read_names(text: str) -> tuple[str, ...]:
    """Return the names that a session keeps; raise DamagedStoreError where they are none."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        raise DamagedStoreError("the store's names of participants cannot be read; restore it from a backup") from None


def _short(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT])
