"""The ledger that several servers share: PostgreSQL, through SQLAlchemy and psycopg (extra `postgres`)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..databases import READ_ONLY, SAID, Failure, parsed_url, postgres_failure
from ..errors import (
    DpError,
    LedgerBusyError,
    LedgerCorruptError,
    LedgerError,
    LedgerStorageError,
    MissingDependencyError,
)
from .store import BUSY_SECONDS, Row

_LOCK = int.from_bytes(b"secagg-l", "big")
"""Key of the advisory lock that every writing transaction holds to its end: one writer at a time, as in SQLite."""
_READERS = 10
"""The most connections of one ledger for reading; one more writes."""


class PostgresTransaction:
    """Statements within one transaction."""

    def __init__(self, connection: Any) -> None:
        from sqlalchemy import text

        self._connection = connection
        self._text = text

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Return what a SELECT finds."""
        return [tuple(row) for row in self._connection.execute(self._text(sql), values)]

    def run(self, sql: str, **values: Any) -> None:
        """Execute a statement."""
        self._connection.execute(self._text(sql), values)

    def run_many(self, sql: str, many: Iterable[dict[str, Any]]) -> None:
        """Execute a statement for each set of values."""
        values = list(many)
        if values:
            self._connection.execute(self._text(sql), values)

    def has_tables(self) -> bool:
        """Tell whether the head table exists, where this role's search path leads."""
        return bool(self.rows("SELECT 1 WHERE to_regclass('ledger_head') IS NOT NULL"))


class PostgresStore:
    """A ledger's database. Threads may share it; a forked process must open its own."""

    def __init__(
        self, url: str, *, create: bool, busy_seconds: float = BUSY_SECONDS, synchronous_standby: bool = False
    ) -> None:
        del create  # the database must be there either way; tables are made by the ledger
        try:
            import psycopg  # noqa: F401 - only to say early that it is missing
            from sqlalchemy import create_engine
        except ImportError as error:
            raise MissingDependencyError(
                "ledgers in PostgreSQL need SQLAlchemy and psycopg: in a checkout of secagg, pip install '.[postgres]'"
            ) from error
        parsed, self.name = parsed_url(url)
        self._process = os.getpid()
        self._busy_seconds = busy_seconds
        self._synchronous_standby = synchronous_standby
        self._turn = threading.Lock()
        self._engine = create_engine(
            parsed,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            hide_parameters=True,
            pool_size=1,
            max_overflow=_READERS,
            pool_timeout=busy_seconds,
            # A pooler such as pgbouncer may give each transaction another server, which knows nothing of statements
            # that were prepared before.
            connect_args={"prepare_threshold": None, "client_encoding": "UTF8"},
        )
        try:
            with self.read() as tx:
                self._check_durable(tx)
        except BaseException:  # an interrupt, too, must leave no connection behind
            self.close()
            raise

    def _check_durable(self, tx: PostgresTransaction) -> None:
        for setting in ("fsync", "full_page_writes"):
            if tx.rows(f"SHOW {setting}") != [("on",)]:
                raise LedgerStorageError(
                    f"{self.name} runs with {setting} off, and would forget spends in a crash; turn it on"
                )
        ((encoding,),) = tx.rows("SHOW server_encoding")
        if encoding != "UTF8":
            raise LedgerStorageError(
                f"{self.name} keeps text in {encoding}, which cannot hold every name; make a database for the ledger "
                "with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
            )

    @contextmanager
    def write(self) -> Iterator[PostgresTransaction]:
        """Enter a transaction that holds the ledger's lock; each statement sees all that was committed before it."""
        begun = time.monotonic()
        # Threads queue here and not for connections, so that the others are left to those who read.
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise self._busy()
        try:
            with self._named_errors(), self._engine.begin() as connection:
                tx = PostgresTransaction(connection)
                left = self._busy_seconds - (time.monotonic() - begun)
                ((_, _, read_only, standbys),) = tx.rows(
                    "SELECT set_config('lock_timeout', :timeout, true), set_config('synchronous_commit', 'on', true), "
                    "pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', "
                    "current_setting('synchronous_standby_names')",
                    timeout=f"{max(1, int(left * 1e3))}ms",
                )
                if read_only:
                    raise LedgerStorageError(f"{self.name} {READ_ONLY}; nothing was written")
                if self._synchronous_standby and not standbys.strip():
                    raise LedgerStorageError(
                        f"{self.name} waits for no standby, and would lose spends if it failed; set its "
                        "synchronous_standby_names, or do not ask for a synchronous standby"
                    )
                tx.run("SELECT pg_advisory_xact_lock(:key)", key=_LOCK)
                yield tx
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[PostgresTransaction]:
        """Enter a transaction that sees one snapshot."""
        with self._named_errors(), self._engine.begin() as connection:
            tx = PostgresTransaction(connection)
            tx.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield tx

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Name what went wrong by SQLSTATE alone: texts of drivers may repeat parts of a URL."""
        from sqlalchemy.exc import SQLAlchemyError

        if os.getpid() != self._process:
            raise LedgerError(f"{self.name} was opened in another process; a forked process must open the ledger again")
        try:
            yield
        except DpError:
            raise
        except SQLAlchemyError as error:
            raise self._named(error) from None

    def _busy(self) -> LedgerBusyError:
        return LedgerBusyError(
            f"{self.name} was locked by others for {self._busy_seconds:g} s; nothing was written, try again"
        )

    def _named(self, error: Exception) -> LedgerError:
        failure, state = postgres_failure(error)
        if failure is Failure.BUSY:
            return self._busy()
        if state in SAID:
            kind = LedgerBusyError if state == "57014" else LedgerStorageError
            return kind(f"{self.name} {SAID[state]} (SQLSTATE {state}); nothing was written")
        if failure is Failure.DAMAGED:
            return LedgerCorruptError(
                f"{self.name} is damaged (SQLSTATE {state}); nothing was spent, restore it from a backup and verify it"
            )
        what = f"SQLSTATE {state}" if state else "no answer; check host, port, user, password and database"
        return LedgerStorageError(
            f"{self.name} cannot be used ({what}); mend that, then repeat the call with the same id"
        )

    def close(self) -> None:
        """Close all connections; harmless if repeated."""
        self._engine.dispose(close=os.getpid() == self._process)
