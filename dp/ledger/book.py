"""The open book within one transaction: finds records, trusts none that does not carry its hash, appends new ones.

Everything that a spend needs is found by key, so that its time does not grow with the history (but for the depth of
the database's trees): the head, the last record, the budget's first record, the last record of its period, the round's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from ..errors import LedgerClockError, LedgerCorruptError, LedgerError, PrivacyParameterError, UnknownBudgetError
from .amounts import Amounts
from .budgets import MICROSECOND, Budget, from_microseconds
from .records import (
    FORMAT,
    GENESIS,
    PHASES,
    UNREADABLE,
    Phase,
    Record,
    RecordKind,
    chained,
    participants_digest,
    spelled,
)
from .store import TABLES, Transaction

FARTHEST_AHEAD = timedelta(days=31)
"""How far a clock may be ahead of the last record and is still believed."""
_COLUMNS = "seq, time, kind, budget, period, round_id, payload, previous, hash"


@dataclass(frozen=True)
class Terms:
    """A budget as the trail has it: its terms, what they allow, and when (microseconds) it was created."""

    budget: Budget
    limit: Amounts
    created: int


@dataclass(frozen=True)
class Account:
    """What one period of a budget has come to: committed, held by open reservations, and how many are open."""

    period: int
    spent: Amounts
    held: Amounts
    open: int

    @property
    def taken(self) -> Amounts:
        """Spent or held: an open reservation counts as spent."""
        return tuple(a + b for a, b in zip(self.spent, self.held, strict=True))

    def facts(self) -> dict[str, Any]:
        """Return what a record says of the account after it."""
        return {"spent": spelled(self.spent), "held": spelled(self.held), "open": self.open}


def prepare(tx: Transaction, *, create: bool, name: str) -> None:
    """Make the tables if there are none and `create` allows it; refuse another format."""
    if not tx.has_tables():
        if not create:
            raise LedgerError(
                f"there is no ledger in {name}; check the name, or make it: secagg budget create, or create=True"
            )
        for statement in TABLES:
            tx.run(statement)
        tx.run("INSERT INTO ledger_head VALUES (1, :format, 0, :hash)", format=FORMAT, hash=GENESIS)
    head = tx.rows("SELECT format FROM ledger_head WHERE id = 1")
    if head != [(FORMAT,)]:
        raise LedgerError(f"{name} is a ledger of format {head[0][0] if head else None}, this version reads {FORMAT}")


class Book:
    """One transaction's view. The head is checked against the last record on opening."""

    def __init__(self, tx: Transaction, now: int) -> None:
        self.tx = tx
        self._accounts: dict[tuple[str, int], Account] = {}  # as this transaction has left them
        head = tx.rows("SELECT seq, hash FROM ledger_head WHERE id = 1")
        last = self._records("ORDER BY seq DESC LIMIT 1")
        expected = [(last[0].seq, last[0].hash)] if last else [(0, GENESIS)]
        if head != expected:
            raise LedgerCorruptError(
                f"the trail ends with record {expected[0][0]}, its head says {head[0][0] if head else None}: records "
                "were removed or added; restore the ledger from a backup",
                seq=expected[0][0],
            )
        self.last = last[0] if last else None
        self._clock = now
        # A clock that was set back does not bring an earlier period back.
        self.now = max(now, self.last.time) if self.last else now

    def check_clock(self) -> None:
        """Raise LedgerClockError if the clock is too far ahead of the last record: what is written stays in force."""
        if self.last is not None and self._clock - self.last.time > FARTHEST_AHEAD // MICROSECOND:
            raise LedgerClockError(
                f"the clock says {from_microseconds(self._clock):%Y-%m-%d %H:%M} UTC, the last record is of "
                f"{from_microseconds(self.last.time):%Y-%m-%d %H:%M}, more than {FARTHEST_AHEAD.days} days before: "
                "nothing was written. Set the clock right; if it is, say so: trust_clock=True, or --trust-clock"
            )

    def _records(self, condition: str, **values: Any) -> list[Record]:
        found = [Record(*row) for row in self.tx.rows(f"SELECT {_COLUMNS} FROM ledger_records {condition}", **values)]  # noqa: S608 - conditions are constants of this package
        for record in found:
            record.check()
        return found

    def following(self, seq: int, count: int) -> list[Record]:
        """Return up to `count` records after `seq`, in order, each of which carries its hash."""
        return self._records("WHERE seq > :seq ORDER BY seq LIMIT :count", seq=seq, count=count)

    def history(self, budget: str | None, last: int | None) -> list[Record]:
        """Return the last so many records in order, or all, of one budget or of all."""
        of_budget = "" if budget is None else "WHERE budget = :budget "
        values: dict[str, Any] = {} if budget is None else {"budget": budget}
        if last is None:
            return self._records(f"{of_budget}ORDER BY seq", **values)
        return self._records(f"{of_budget}ORDER BY seq DESC LIMIT :count", count=max(0, last), **values)[::-1]

    def find(self, phase: Phase, budget: str, round_id: str = "") -> Record | None:
        """Return the record that opened or closed a round, or created a budget; None if there is none."""
        found = self._records(
            "WHERE phase = :phase AND budget = :budget AND round_id = :round_id",
            phase=str(phase),
            budget=budget,
            round_id=round_id,
        )
        if not found:
            return None
        if PHASES.get(found[0].kind) is not phase:  # type: ignore[call-overload]
            raise LedgerCorruptError(
                f"record {found[0].seq} is filed as {phase}, but is a {found[0].kind}; restore from a backup",
                seq=found[0].seq,
            )
        return found[0]

    def terms(self, name: str) -> Terms:
        """Return a budget's terms; raise UnknownBudgetError if there is no such budget."""
        record = self.find(Phase.CREATE, name)
        if record is None:
            raise UnknownBudgetError(f"there is no budget {name!r}; see `secagg budget status`, or create it")
        return terms_in(record)

    def account(self, terms: Terms, period: int) -> Account:
        """Return what a period has come to: what its last record says, nothing where there is none."""
        name = terms.budget.name
        if (name, period) in self._accounts:
            return self._accounts[name, period]
        last = self._records(
            "WHERE budget = :budget AND period = :period ORDER BY seq DESC LIMIT 1", budget=name, period=period
        )
        filed = self.tx.rows(
            "SELECT seq FROM ledger_accounts WHERE budget = :budget AND period = :period", budget=name, period=period
        )
        if filed != [(record.seq,) for record in last]:
            raise LedgerCorruptError(
                f"the account of {name!r}, period {period}, ends with record {filed[0][0] if filed else None}, the "
                f"trail with {last[0].seq if last else None}: rows were removed; restore the ledger from a backup",
                seq=last[0].seq if last else None,
            )
        nothing = (0,) * len(terms.limit)
        return account_in(last[0]) if last else Account(period, nothing, nothing, 0)

    def append(self, kind: RecordKind, terms: Terms, account: Account, round_id: str, facts: dict[str, Any]) -> Record:
        """Write the next record, which says what the account has come to, and move head and account to it."""
        name = terms.budget.name
        whole = facts | {"after": account.facts()}
        record = chained(self.last, self.now, kind, name, account.period, round_id, whole)
        self.tx.run(
            f"INSERT INTO ledger_records ({_COLUMNS}, phase) VALUES "  # noqa: S608 - a constant
            "(:seq, :time, :kind, :budget, :period, :round_id, :payload, :previous, :hash, :phase)",
            **vars(record),
            phase=str(PHASES[kind]),
        )
        self.tx.run(
            "INSERT INTO ledger_accounts (budget, period, seq) VALUES (:budget, :period, :seq) "
            "ON CONFLICT (budget, period) DO UPDATE SET seq = excluded.seq",
            budget=name,
            period=account.period,
            seq=record.seq,
        )
        self.tx.run("UPDATE ledger_head SET seq = :seq, hash = :hash WHERE id = 1", seq=record.seq, hash=record.hash)
        self.last = record
        self._accounts[name, account.period] = account
        return record

    def participants(self, budget: str, round_id: str, *, counted: bool) -> list[str]:
        """Return a round's participants in order: all who were reserved for, or those who counted in the end."""
        found = self.tx.rows(
            "SELECT participant, counted FROM ledger_participants WHERE budget = :budget AND round_id = :round_id",
            budget=budget,
            round_id=round_id,
        )
        # Exactly 1, as the views ask: any other mark would hide a participant from them.
        return sorted(name for name, mark in found if mark == 1 or not counted)

    def check_participants(self, record: Record, *, counted: bool) -> None:
        """Raise LedgerCorruptError unless the participants filed are those that the record has hashed."""
        found = participants_digest(self.participants(record.budget, record.round_id, counted=counted))
        if record.facts().get("participants") != found:
            raise LedgerCorruptError(
                f"the participants of round {record.round_id!r} are not those of record {record.seq}", seq=record.seq
            )

    def enrol(self, budget: str, round_id: str, participants: Iterable[str]) -> None:
        """File a round's participants."""
        self.tx.run_many(
            "INSERT INTO ledger_participants (budget, round_id, participant, counted) "
            "VALUES (:budget, :round_id, :participant, 1)",
            [{"budget": budget, "round_id": round_id, "participant": name} for name in participants],
        )

    def excuse(self, budget: str, round_id: str, participants: Iterable[str]) -> None:
        """Mark participants whose data did not enter the release after all."""
        self.tx.run_many(
            "UPDATE ledger_participants SET counted = 0 "
            "WHERE budget = :budget AND round_id = :round_id AND participant = :participant",
            [{"budget": budget, "round_id": round_id, "participant": name} for name in participants],
        )


@lru_cache(maxsize=256)
def terms_in(record: Record) -> Terms:
    """Return the terms that a create record holds; raise LedgerCorruptError if it holds none."""
    try:
        budget = Budget.from_plain(record.budget, record.facts()["terms"])
    except UNREADABLE as error:
        why = f": {error}" if isinstance(error, PrivacyParameterError) else ""
        raise LedgerCorruptError(
            f"record {record.seq} holds no terms that this version reads{why}", seq=record.seq
        ) from None
    limit = record.amounts("limit")
    if len(limit) != len(budget.composition.counted):
        raise LedgerCorruptError(
            f"record {record.seq} has {len(limit)} limits for {len(budget.composition.counted)} amounts", seq=record.seq
        )
    return Terms(budget, limit, record.time)


def account_in(record: Record) -> Account:
    """Return what a record says that its account has come to."""
    spent, held = record.amounts("after", "spent"), record.amounts("after", "held")
    count = record.facts()["after"].get("open")
    if len(spent) != len(held) or isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise LedgerCorruptError(f"record {record.seq} does not say what its account has come to", seq=record.seq)
    return Account(record.period, spent, held, count)
