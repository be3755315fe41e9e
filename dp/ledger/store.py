"""What the ledger asks of a database, and the tables in it. The same statements serve SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

TABLES = (
    "CREATE TABLE ledger_head (id INTEGER PRIMARY KEY, format INTEGER NOT NULL, seq BIGINT NOT NULL, "
    "hash TEXT NOT NULL)",
    "CREATE TABLE ledger_records (seq BIGINT PRIMARY KEY, time BIGINT NOT NULL, kind TEXT NOT NULL, "
    "budget TEXT NOT NULL, period BIGINT NOT NULL, phase TEXT NOT NULL, round_id TEXT NOT NULL, "
    "payload TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL, UNIQUE (phase, budget, round_id))",
    "CREATE INDEX ledger_records_of_period ON ledger_records (budget, period, seq)",
    "CREATE INDEX ledger_records_of_budget ON ledger_records (budget, seq)",
    "CREATE TABLE ledger_accounts (budget TEXT NOT NULL, period BIGINT NOT NULL, seq BIGINT NOT NULL, "
    "PRIMARY KEY (budget, period))",
    "CREATE TABLE ledger_participants (budget TEXT NOT NULL, round_id TEXT NOT NULL, participant TEXT NOT NULL, "
    "counted INTEGER NOT NULL, PRIMARY KEY (budget, round_id, participant))",
    "CREATE INDEX ledger_rounds_of_participant ON ledger_participants (budget, participant)",
)
BUSY_SECONDS = 30.0
"""How long a ledger waits for others' transactions before it raises LedgerBusyError."""

Row = tuple[Any, ...]


class Transaction(Protocol):
    """One transaction: all of it happens, durably, or nothing."""

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Return what a SELECT finds; parameters are `:name`."""

    def run(self, sql: str, **values: Any) -> None:
        """Execute a statement."""

    def run_many(self, sql: str, many: Iterable[dict[str, Any]]) -> None:
        """Execute a statement for each set of values."""

    def has_tables(self) -> bool:
        """Tell whether the ledger's head table exists."""


class Store(Protocol):
    """A database that holds one ledger."""

    @property
    def name(self) -> str:
        """Say which database, without secrets."""

    def write(self) -> AbstractContextManager[Transaction]:
        """Enter a transaction that no other writer's overlaps; leaving it makes it durable, an exception undoes it.

        Raises:
            LedgerBusyError: others held the database for too long.
            LedgerStorageError: the database fails, in or at the end of the transaction.
            LedgerCorruptError: the database finds itself damaged.
        """

    def read(self) -> AbstractContextManager[Transaction]:
        """Enter a transaction that sees one state of the database and changes nothing; raises as `write`."""

    def close(self) -> None:
        """Give the database back."""
