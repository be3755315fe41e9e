"""Leases: which process runs a session, and what it alone may write. Everything here blocks; it is called in threads.

A process holds a session by an epoch. Whoever takes a session over raises it, and every write of an owner asks for its
own: one that was thought dead, and comes back, changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
from sqlalchemy import Connection, case, delete, func, insert, select, update

from .driver import Arrival, Seen, Turn
from .errors import DamagedStoreError, LostLeaseError
from .showing import shown
from .statements import ANY_FREE, BODIES_OF, EXCLUDE, FENCE, FREE, NAMES_OF, NOTE, NOTED, REFUSED, UNSEEN, WRITE_LETTERS
from .store import Store, read_names
from .tables import BODIES, CONTENTS, INBOX, LETTERS, PHASES, SESSIONS, WITH_CONTENTS
from .views import State

MOST_AT_ONCE = 64
MOST_BYTES_AT_ONCE = 32 << 20


@dataclass(frozen=True)
class Lease:
    """A session that this process runs, and the epoch by which it does."""

    session: str
    epoch: int


@dataclass(frozen=True)
class Loaded:
    """What an owner begins from: the session as of the beginning of its phase."""

    terms: bytes = field(repr=False)
    orders: bytes = field(repr=False)
    dump: bytes = field(repr=False)
    names: tuple[str, ...]
    phase: int
    begun: bool
    closing: bool
    held: bool
    seconds_left: float


@dataclass(frozen=True)
class Owing:
    """A session without a result that a ledger may hold a reservation of: whether it was revealed, and ended when."""

    session: str
    orders: bytes = field(repr=False)
    revealed: bool
    seconds_ago: float


class Owner:
    """One process's leases.

    Args:
        store: of the sessions.
        seconds: for which a lease holds without renewal.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self.name = secrets.token_hex(8)
        self._store = store
        self._seconds = seconds

    def claim(self, most: int, besides: Iterable[str] = ()) -> list[Lease]:
        """Take sessions that nobody runs, the oldest first; their deadlines move by the time that nobody ran them.

        Args:
            most: so many at most.
            besides: sessions that are left alone.
        """
        others = list(besides)
        with self._store.read() as connection:
            free = {"now": self._store.now(connection), "besides": others}
            if connection.execute(ANY_FREE, free).first() is None:
                return []  # which is so nearly always, and keeps no writer waiting
        with self._store.write() as connection:
            now = self._store.now(connection)
            rows = connection.execute(
                select(SESSIONS.c.id, SESSIONS.c.epoch, SESSIONS.c.phase, SESSIONS.c.begun, SESSIONS.c.lease)
                .where(FREE)
                .order_by(SESSIONS.c.created)
                .limit(most)
                .with_for_update(skip_locked=True),
                {"now": now, "besides": others},
            ).all()
            for row in rows:
                # Its last renewal was a lease before the end of the lease, or nobody ran it since it was left.
                idle = max(0.0, now - row.lease) + self._seconds if row.begun else 0.0
                values = {"owner": self.name, "epoch": row.epoch + 1, "lease": now + self._seconds}
                connection.execute(
                    update(SESSIONS)
                    .where(SESSIONS.c.id == row.id)
                    .values(**values, deadline=SESSIONS.c.deadline + idle)
                )
                connection.execute(
                    update(PHASES)
                    .where(PHASES.c.session == row.id, PHASES.c.phase == row.phase)
                    .values(deadline=PHASES.c.deadline + idle)
                )
            return [Lease(row.id, row.epoch + 1) for row in rows]

    def renew(self, leases: Iterable[Lease]) -> set[str]:
        """Prolong leases; return the sessions that are still this process's."""
        held = {lease.session: lease.epoch for lease in leases}
        with self._store.write() as connection:
            rows = connection.execute(
                select(SESSIONS.c.id, SESSIONS.c.epoch)
                .where(
                    SESSIONS.c.id.in_(sorted(held)), SESSIONS.c.owner == self.name, SESSIONS.c.state == State.RUNNING
                )
                .order_by(SESSIONS.c.id)
                .with_for_update()
            ).all()
            own = {row.id for row in rows if row.epoch == held[row.id]}
            lease = self._store.now(connection) + self._seconds
            connection.execute(update(SESSIONS).where(SESSIONS.c.id.in_(sorted(own))).values(lease=lease))
            return own

    def leave(self, lease: Lease) -> None:
        """Give a session to whoever wants it, if it is still this process's."""
        with self._store.write() as connection:
            own = (SESSIONS.c.id == lease.session, SESSIONS.c.owner == self.name, SESSIONS.c.epoch == lease.epoch)
            now = self._store.now(connection)
            connection.execute(update(SESSIONS).where(*own).values(owner=None, lease=now))

    def load(self, lease: Lease) -> Loaded:
        """Return what to begin from. Raises LostLeaseError, StoreError."""
        with self._store.read() as connection:
            row = connection.execute(
                select(SESSIONS, CONTENTS.c.terms, CONTENTS.c.dump)
                .select_from(WITH_CONTENTS)
                .where(
                    SESSIONS.c.id == lease.session,
                    SESSIONS.c.epoch == lease.epoch,
                    SESSIONS.c.state == State.RUNNING,
                )
            ).first()
            now = self._store.now(connection)
        if row is None:
            raise _lost(lease)
        return Loaded(
            row.terms,
            row.orders.encode(),
            row.dump,
            read_names(row.names),
            row.phase,
            row.begun,
            row.closing,
            row.held,
            row.deadline - now,
        )

    def look(
        self, lease: Lease, phase: int, after: int, known: Mapping[int, bytes]
    ) -> tuple[list[Arrival], bool, frozenset[str]]:
        """Return answers of a phase that nobody has looked at, as `answers` does, and who will not take part.

        Between these it says whether there may be more answers.
        """
        with self._store.read() as connection:
            refused = frozenset(connection.scalars(REFUSED, {"session": lease.session}))
            return *self._answers(connection, lease, phase, after, known, noted=False), refused

    def answers(
        self,
        lease: Lease,
        phase: int,
        after: int,
        known: Mapping[int, bytes] = MappingProxyType({}),
        *,
        noted: bool,
    ) -> list[Arrival]:
        """Return answers of a phase that come after a row, in order, a bounded number of bytes at a time.

        Args:
            lease: of the session.
            phase: its number.
            after: the last row that was read.
            known: row -> its answer, of those that need not be read.
            noted: whether to return those that were looked at, or the others.
        """
        with self._store.read() as connection:
            return self._answers(connection, lease, phase, after, known, noted=noted)[0]

    def note(self, lease: Lease, phase: int, name: str, seen: Sequence[Seen], excluded: Mapping[str, str]) -> None:
        """Write down what came of answers, with the letters that relay them."""
        with self._store.write() as connection:
            relaying = any(each.relay_to for each in seen)
            if relaying:
                self._store.number(connection)
            self._fence(connection, lease)
            connection.execute(
                NOTE,
                [
                    {
                        "key": each.arrival.key,
                        "receipt": each.outcome.receipt or "",
                        "kind": each.outcome.error,
                        "text": each.outcome.reason,
                    }
                    for each in seen
                ],
            )
            relayed = {"session": lease.session, "phase": phase, "name": name, "relayed": True}
            letters = [
                relayed | {"member": member, "body": each.arrival.body}
                for each in seen
                for member in sorted(each.relay_to)
            ]
            if letters:
                connection.execute(WRITE_LETTERS, letters)
            connection.execute(EXCLUDE, {"of": lease.session, "written": msgspec.json.encode(dict(excluded)).decode()})

    def hold(self, lease: Lease) -> None:
        """Write down that a ledger may hold a reservation, before it does."""
        with self._store.write() as connection:
            self._fence(connection, lease)
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == lease.session).values(held=True))

    def shut(self, lease: Lease) -> None:
        """Let nothing more into the present phase."""
        with self._store.write() as connection:
            self._fence(connection, lease)
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == lease.session).values(closing=True))

    def turn(self, lease: Lease, phase: int, turn: Turn, needed: int) -> None:
        """Begin a phase: its dump, its letters and its deadline are there as a whole, or not at all.

        Args:
            lease: of the session.
            phase: the number of the phase that begins; 0 for the first.
            turn: what begins it.
            needed: how many answers it needs at least.
        """
        with self._store.write() as connection:
            self._store.number(connection)
            self._fence(connection, lease)
            now = self._store.now(connection)
            deadline = now + turn.seconds
            if phase:
                self._close_phase(connection, lease, phase - 1, now)
            connection.execute(
                update(SESSIONS)
                .where(SESSIONS.c.id == lease.session)
                .values(
                    phase=phase,
                    begun=True,
                    closing=False,
                    revealed=turn.revealed,
                    deadline=deadline,
                    excluded=msgspec.json.encode(dict(turn.excluded)).decode(),
                )
            )
            connection.execute(update(CONTENTS).where(CONTENTS.c.session == lease.session).values(dump=turn.dump))
            connection.execute(
                insert(PHASES).values(
                    session=lease.session,
                    phase=phase,
                    name=turn.phase,
                    asked=msgspec.json.encode(sorted(turn.letters)).decode(),
                    needed=needed,
                    opened=now,
                    deadline=deadline,
                )
            )
            letters = [
                {"member": name, "session": lease.session, "phase": phase, "name": turn.phase, "body": body}
                for name, body in turn.letters.items()
            ]
            if letters:
                connection.execute(WRITE_LETTERS, letters)

    def end(self, lease: Lease, phase: int, turn: Turn, result: bytes | None, error: Exception | None) -> None:
        """End a session with its result, or with the error that ended it."""
        with self._store.write() as connection:
            self._store.number(connection)
            self._fence(connection, lease)
            names = self._names(connection, lease)
            self._close_phase(connection, lease, phase, self._store.now(connection))
            values: dict[str, Any] = {
                "revealed": turn.revealed,
                "excluded": msgspec.json.encode(dict(turn.excluded)).decode(),
                "result": result,
                "shown": "" if result is None else shown(result),
                "error": "" if error is None else type(error).__name__,
                "reason": "" if error is None else str(error),
            }
            state = State.FAILED if result is None else State.COMPLETED
            ended = "aborted" if result is None else "completed"
            self._store.finish(connection, lease.session, names, ended, state=state, **values)

    def fail(self, lease: Lease, error: Exception) -> tuple[str, ...]:
        """End a session that cannot be run; return who takes part."""
        with self._store.write() as connection:
            self._store.number(connection)
            self._fence(connection, lease)
            try:
                names = self._names(connection, lease)
            except DamagedStoreError:  # nobody can be told
                names = ()
            values: dict[str, Any] = {"error": type(error).__name__, "reason": str(error)}
            self._store.finish(connection, lease.session, names, "aborted", state=State.FAILED, **values)
            return names

    def ended(self, lease: Lease) -> tuple[str | None, str] | None:
        """Return by what error a session has ended that nobody took over, and why; None while it has not."""
        query = select(SESSIONS.c.state, SESSIONS.c.error, SESSIONS.c.reason)
        with self._store.read() as connection:
            own = (SESSIONS.c.id == lease.session, SESSIONS.c.epoch == lease.epoch)
            row = connection.execute(query.where(*own, SESSIONS.c.state != State.RUNNING)).first()
        return None if row is None else (row.error or None, row.reason)

    def settled(self, session: str) -> None:
        """Write down that no ledger holds a reservation of a session that may be released."""
        with self._store.write() as connection:
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == session).values(held=False))

    def owing(self) -> list[Owing]:
        """Return sessions without a result whose reservations may be open."""
        with self._store.read() as connection:
            rows = connection.execute(
                select(SESSIONS.c.id, SESSIONS.c.orders, SESSIONS.c.revealed, SESSIONS.c.ended).where(
                    SESSIONS.c.state == State.FAILED, SESSIONS.c.held.is_(True)
                )
            ).all()
            now = self._store.now(connection) if rows else 0.0
        return [Owing(row.id, row.orders.encode(), row.revealed, now - row.ended) for row in rows]

    def _answers(
        self,
        connection: Connection,
        lease: Lease,
        phase: int,
        after: int,
        known: Mapping[int, bytes],
        *,
        noted: bool,
    ) -> tuple[list[Arrival], bool]:
        which = {"session": lease.session, "phase": phase, "after": after, "most": MOST_AT_ONCE}
        listed = connection.execute(NOTED if noted else UNSEEN, which).all()
        rows: list[Any] = []
        total = 0
        for row in listed:
            total += row.size
            if total > MOST_BYTES_AT_ONCE and rows:
                break
            rows.append(row)
        bodies = {row.id: body for row in rows if (body := known.get(row.id)) is not None}
        unknown = [row.id for row in rows if row.id not in bodies]
        if unknown:
            bodies |= {row.answer: row.body for row in connection.execute(BODIES_OF, {"keys": unknown})}
        if len(bodies) < len(rows):
            raise DamagedStoreError("an answer of a phase that is open is gone; restore the store from a backup")
        arrivals = [Arrival(row.id, row.sender, bodies[row.id]) for row in rows]
        return arrivals, len(rows) < len(listed) or len(listed) == MOST_AT_ONCE

    def _close_phase(self, connection: Connection, lease: Lease, phase: int, now: float) -> None:
        """Keep who answered, and forget what: bodies of answers, and letters of the phase that nobody relays."""
        own = (INBOX.c.session == lease.session, INBOX.c.phase == phase)
        answered = connection.scalars(select(INBOX.c.sender).where(*own, INBOX.c.outcome == "accepted"))
        size = connection.execute(
            select(func.sum(case((INBOX.c.outcome.is_not(None), INBOX.c.size), else_=0))).where(*own)
        )
        connection.execute(
            update(PHASES)
            .where(PHASES.c.session == lease.session, PHASES.c.phase == phase)
            .values(
                answered=msgspec.json.encode(sorted(set(answered))).decode(), closed=now, bytes=int(size.scalar() or 0)
            )
        )
        connection.execute(delete(BODIES).where(BODIES.c.answer.in_(select(INBOX.c.id).where(*own))))
        connection.execute(
            delete(LETTERS).where(
                LETTERS.c.session == lease.session, LETTERS.c.phase <= phase, LETTERS.c.relayed.is_(False)
            )
        )

    def _fence(self, connection: Connection, lease: Lease) -> None:
        """Lock the session; raise LostLeaseError unless it is this process's and runs."""
        row = connection.execute(FENCE, {"session": lease.session}).first()
        if row is None or (row.owner, row.epoch, row.state) != (self.name, lease.epoch, State.RUNNING):
            raise _lost(lease)

    def _names(self, connection: Connection, lease: Lease) -> tuple[str, ...]:
        return read_names(connection.scalar(NAMES_OF, {"session": lease.session}) or "")


def _lost(lease: Lease) -> LostLeaseError:
    return LostLeaseError(f"session {lease.session[:16]} is run by another process, or has ended")
