"""The store: what desks of all processes write and read. Everything here blocks; it is called in threads.

The inbox is the truth. An answer that was let in is durable, and belongs to the phase in which it was let in; whoever
runs the session takes it in, now or after a crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Table, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from secagg.errors import ParameterError

from .deliveries import Delivery, Kept, Standing, Taken, check_id, everyone, inbox_row, outcome_of, told_by, verdict
from .errors import (
    CancelledSessionError,
    DamagedStoreError,
    NotInvitedError,
    ReplayedRequestError,
    UnknownSessionError,
)
from .opening import Database
from .statements import (
    ADDRESSEES,
    ANSWERS_OF,
    FIRST_LETTERS,
    KEEP_BODIES,
    LAST_LETTER,
    LET_IN,
    NAMES_OF,
    OPEN_SESSIONS,
    OUTCOMES_OF,
    TERMS_OF,
)
from .tables import (
    BODIES,
    CONTENTS,
    INBOX,
    JOBS,
    LETTERS,
    NONCES,
    PHASES,
    REFUSALS,
    SESSIONS,
    WITH_CONTENTS,
)
from .views import Letter, Outcome, State

NONCE_SECONDS = 600.0
"""So long a nonce is remembered; requests are refused that are older than a part of it."""
LETTERS_A_SECOND = 10_000
"""More, in the long run, than a store writes: so many numbers are left for each second of the clock."""
MAX_TEXT = 500


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

    def _settle(self, create: bool) -> None:
        super()._settle(create)
        if create:
            with self.write() as connection:
                self.number(connection)
                self._number_beyond_copies(connection)

    def _number_beyond_copies(self, connection: Connection) -> None:
        """Number letters from now on by the clock at least.

        A store that is new, or restored from a backup, would else give numbers again that its members have seen. They
        ask for later ones alone, and would never hear of a session.
        """
        facts = {"letters": LETTERS.name, "least": int(self.now(connection) * LETTERS_A_SECOND)}
        if self.is_sqlite:
            raised = "UPDATE sqlite_sequence SET seq = max(seq, :least) WHERE name = :letters RETURNING seq"
            if connection.execute(text(raised), facts).first() is None:  # no letter was ever written
                connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:letters, :least)"), facts)
        else:
            of = "pg_get_serial_sequence(:letters, 'id')"
            connection.execute(text(f"SELECT setval({of}, greatest(:least, nextval({of})))"), facts)

    def add(self, new: NewSession, *, after: str | None = None, last: bool = False) -> bool:
        """Keep a session; whoever owns it next begins it. Return whether it is new: a job's number is used once.

        Args:
            new: the session.
            after: the session of the same job that it follows.
            last: none follows it.

        Raises:
            ParameterError: the session was there before, and not as this number of the job.
        """
        with self.write() as connection:
            values = {
                name: getattr(new, name) for name in ("title", "protocol", "adversary", "to_members", "max_bytes")
            }
            values |= {"names": msgspec.json.encode(new.names).decode(), "orders": new.orders.decode()}
            values |= {"id": new.session, "job": new.job, "number": new.number, "state": State.RUNNING.value}
            values["followed"] = last
            made = self.added(connection, SESSIONS, values | {"created": self.now(connection)})
            if made:
                contents = {"session": new.session, "terms": new.terms, "dump": new.dump}
                connection.execute(insert(CONTENTS).values(contents))
            if after is not None:
                connection.execute(update(SESSIONS).where(SESSIONS.c.id == after).values(followed=True))
            same = (SESSIONS.c.job == new.job, SESSIONS.c.number == new.number)
            if not made and (new.job is None or connection.execute(select(SESSIONS.c.id).where(*same)).first() is None):
                raise ParameterError(
                    "this session was opened before: parameters serve one session, with a nonce of its own; make new "
                    "ones for each (secagg paillier round)"
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

    def take(self, deliveries: Sequence[Delivery], standing: Standing = everyone) -> list[Taken]:
        """Let answers in, in one transaction; return for each what came of it, or why it was turned away."""
        with self.write() as connection:
            taken: dict[int, Taken] = dict(standing(connection, deliveries))
            known_ids = sorted({each.session for each in deliveries})
            sessions: Any = {row.id: row for row in connection.execute(OPEN_SESSIONS, {"sessions": known_ids})}
            names = {session: self._names_of(connection, session) for session in sessions}
            self._check_nonces(connection, deliveries, taken)
            known, counts = self._answers(connection, deliveries, sessions)
            rows: dict[tuple[str, str, str], int] = {}  # of answers of this transaction, by what tells them apart
            fresh: list[int] = []
            for at, each in enumerate(deliveries):
                if at in taken:
                    continue
                key = told_by(each)
                session = sessions.get(each.session)
                found = verdict(each, session, names.get(each.session, frozenset()), known.get(key), counts[key[:2]])
                if found is not None:
                    taken[at] = found
                elif key not in rows:
                    counts[key[:2]] += 1
                    rows[key] = 0
                    fresh.append(at)
            if fresh:
                values = [inbox_row(deliveries[at], sessions[deliveries[at].session].phase) for at in fresh]
                numbers = dict(zip(fresh, connection.scalars(LET_IN, values).all(), strict=True))
                for at, number in numbers.items():
                    taken[at] = Kept(number, None, new=True)
                    rows[told_by(deliveries[at])] = number
                bodies = [{"answer": number, "body": deliveries[at].body} for at, number in numbers.items()]
                connection.execute(KEEP_BODIES, bodies)
        return [taken.get(at) or Kept(rows[told_by(each)], None, new=False) for at, each in enumerate(deliveries)]

    def outcomes(self, keys: Iterable[int]) -> dict[int, Outcome]:
        """Return what came of those answers that were looked at."""
        with self.read() as connection:
            found = connection.execute(OUTCOMES_OF, {"keys": list(keys)}).all()
        return {row.id: outcome for row in found if (outcome := outcome_of(row)) is not None}

    def letter(self, member: str, after: int) -> Letter | None:
        """Return a member's first letter after a number."""
        return self.letters([(member, after)])[0][0]

    def letters(self, asked: Iterable[tuple[str, int]]) -> list[tuple[Letter | None, bool]]:
        """Return for each member its first letter after a number, and whether there are more.

        A letter of a session's first phase comes with the terms.
        """
        with self.read() as connection:
            found: list[Any] = [
                connection.execute(FIRST_LETTERS, {"of": name, "after": after}).all() for name, after in asked
            ]
            begun = sorted({rows[0].session for rows in found if rows and rows[0].phase == 0})
            terms = (
                {row.session: row.terms for row in connection.execute(TERMS_OF, {"sessions": begun})} if begun else {}
            )
        return [(_letter(rows[0], terms) if rows else None, len(rows) > 1) for rows in found]

    def last_letter(self) -> int:
        """Return the number of the last letter of all."""
        with self.read() as connection:
            return connection.scalar(LAST_LETTER) or 0

    def addressees(self, after: int) -> dict[str, int]:
        """Return who has letters after a number, and the number of the last one of each."""
        with self.read() as connection:
            return {row.member: row.last for row in connection.execute(ADDRESSEES, {"after": after})}

    def refuse(self, member: str, session: str, kind: str, text: str) -> None:
        """Note that a member will not take part; only its first refusal counts."""
        self.part_of(member, session)
        with self.write() as connection:
            row = {"session": session, "member": member, "kind": _short(kind), "reason": _short(text)}
            connection.execute(self.insert_once(REFUSALS).values(**row, at=self.now(connection)))

    def part_of(self, member: str, session: str) -> None:
        """Return if a member has a part in a session; raise UnknownSessionError or NotInvitedError otherwise."""
        check_id(session)
        names = self._names.get(session)
        if names is None:
            with self.read() as connection:
                names = self._names_of(connection, session)
        if member not in names:
            raise NotInvitedError("this member has no part in the session")

    def row(self, session: str, *columns: Any) -> Row[Any]:
        """Return columns of a session, and of its contents; raise UnknownSessionError where there is none."""
        check_id(session)
        query = select(*columns).select_from(WITH_CONTENTS).where(SESSIONS.c.id == session)
        with self.read() as connection:
            row = connection.execute(query).first()
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
                values: dict[str, Any] = {"error": CancelledSessionError.__name__, "reason": why}
                self.finish(connection, session, names, "aborted", state=State.FAILED, **values)
            return names

    def finish(
        self,
        connection: Connection,
        session: str,
        names: Iterable[str],
        phase: str,
        *,
        state: State,
        result: bytes | None = None,
        **values: Any,
    ) -> None:
        """End a session within a transaction: what it had is deleted, and a last letter tells everyone."""
        now = self.now(connection)
        connection.execute(update(CONTENTS).where(CONTENTS.c.session == session).values(dump=b"", result=result))
        connection.execute(
            update(SESSIONS)
            .where(SESSIONS.c.id == session)
            .values(state=state.value, ended=now, closing=False, owner=None, **values)
        )
        connection.execute(
            update(PHASES).where(PHASES.c.session == session, PHASES.c.closed.is_(None)).values(closed=now)
        )
        connection.execute(delete(LETTERS).where(LETTERS.c.session == session))
        answers = select(INBOX.c.id).where(INBOX.c.session == session)
        connection.execute(delete(BODIES).where(BODIES.c.answer.in_(answers)))
        last = [{"member": name, "session": session, "phase": -1, "name": phase, "body": b""} for name in sorted(names)]
        if last:
            connection.execute(insert(LETTERS), last)

    def clear(self, seconds: float) -> None:
        """Forget nonces that are too old to be used again, and of sessions that ended so many seconds ago last letters.

        Forget their terms, too, unless their job still has to follow: a payload is as large as a model.
        """
        with self.write() as connection:
            now = self.now(connection)
            connection.execute(delete(NONCES).where(NONCES.c.at < now - NONCE_SECONDS))
            over = select(SESSIONS.c.id).where(SESSIONS.c.ended < now - seconds)
            connection.execute(delete(LETTERS).where(LETTERS.c.session.in_(over)))
            connection.execute(delete(INBOX).where(INBOX.c.session.in_(over)))
            done = over.where(SESSIONS.c.job.is_(None) | SESSIONS.c.followed)
            asked = (CONTENTS.c.session.in_(done), func.length(CONTENTS.c.terms) > 0)
            connection.execute(update(CONTENTS).where(*asked).values(terms=b""))

    def job_sessions(self, names: Iterable[str]) -> tuple[list[Row[Any]], set[str]]:
        """Return sessions of jobs that have ended and were not followed, and jobs that were begun or have ended."""
        wanted = list(names)
        with self.read() as connection:
            rows = connection.execute(
                select(SESSIONS, CONTENTS.c.terms, CONTENTS.c.result)
                .select_from(WITH_CONTENTS)
                .where(SESSIONS.c.job.in_(wanted), SESSIONS.c.state != State.RUNNING, SESSIONS.c.followed.is_(False))
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

    def _check_nonces(self, connection: Connection, deliveries: Sequence[Delivery], taken: dict[int, Taken]) -> None:
        """Turn away answers whose nonce was used; note those of the others."""
        first: dict[tuple[str, str], int] = {}
        for at, each in enumerate(deliveries):
            if at in taken or each.nonce is None:
                continue
            if first.setdefault((each.member, each.nonce.hex()), at) != at:
                taken[at] = ReplayedRequestError("this request was served before: sign a new one for each try")
        if not first:
            return
        now = self.now(connection)
        rows = [{"member": member, "nonce": nonce, "at": now} for member, nonce in sorted(first)]
        made = connection.execute(self._nonces, rows).all()
        for used in first.keys() - {(row.member, row.nonce) for row in made}:
            taken[first[used]] = ReplayedRequestError("this request was served before: sign a new one for each try")

    @cached_property
    def _nonces(self) -> Any:
        return self.insert_once(NONCES).returning(NONCES.c.member, NONCES.c.nonce)

    def _answers(
        self, connection: Connection, deliveries: Sequence[Delivery], sessions: Mapping[str, Row[Any]]
    ) -> tuple[dict[tuple[str, str, str], Row[Any]], Counter[tuple[str, str]]]:
        """Return the rows of answers that were let in before, and how many a member has in the present phase.

        Of an answer that came in several phases the row is the newest one's.
        """
        whose = {"sessions": list(sessions), "senders": sorted({each.member for each in deliveries})}
        found: Any = connection.execute(ANSWERS_OF, whose).all()
        counts = Counter((row.session, row.sender) for row in found if row.phase == sessions[row.session].phase)
        return {(row.session, row.sender, row.digest): row for row in found}, counts

    def _names_of(self, connection: Connection, session: str) -> frozenset[str]:
        """Return who takes part in a session, which never changes; raise UnknownSessionError where there is none."""
        names = self._names.get(session)
        if names is None:
            text = connection.scalar(NAMES_OF, {"session": session})
            if text is None:
                raise UnknownSessionError(f"there is no session {session}")
            if len(self._names) > 1000:
                self._names.clear()
            names = self._names[session] = frozenset(read_names(text))
        return names


def _letter(row: Row[Any], terms: Mapping[str, bytes]) -> Letter:
    first = terms.get(row.session, b"") if row.phase == 0 else b""
    return Letter(row.session, row.id, row.name, row.body, terms=first)


def read_names(text: str) -> tuple[str, ...]:
    """Return the names that a session keeps; raise DamagedStoreError where they are none."""
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        raise DamagedStoreError("the store's names of participants cannot be read; restore it from a backup") from None


def _short(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:MAX_TEXT])
