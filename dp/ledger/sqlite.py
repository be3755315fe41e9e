"""The embedded ledger: one SQLite file, written ahead and synchronised at every commit."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..databases import Failure, prepare_file, sqlite_failure
from ..errors import LedgerBusyError, LedgerCorruptError, LedgerError, LedgerStorageError
from .store import BUSY_SECONDS, Row

_MADE_BY = "secagg budget create, or create=True"
_DURABLE = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON")
_CHECKPOINT_PAGES = 1  # every commit goes on from the log into the file, so that a plain copy of the file has it


class SqliteTransaction:
    """Statements within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Any) -> list[Row]:
        """Return what a SELECT finds; raise LedgerCorruptError for bytes, which SQLite keeps in columns of any type."""
        rows = self._connection.execute(sql, values).fetchall()
        if any(isinstance(value, bytes) for row in rows for value in row):
            raise LedgerCorruptError("the ledger holds bytes where text or numbers belong; restore it from a backup")
        return rows

    def run(self, sql: str, **values: Any) -> None:
        """Execute a statement."""
        self._connection.execute(sql, values)

    def run_many(self, sql: str, many: Iterable[dict[str, Any]]) -> None:
        """Execute a statement for each set of values."""
        self._connection.executemany(sql, many)

    def has_tables(self) -> bool:
        """Tell whether the head table exists."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ledger_head'"))


class _Connection:
    """One connection, and the lock that its threads take turns by."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.turn = threading.RLock()
        self.sqlite = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


class SqliteStore:
    """A ledger's file. Threads may share it; a forked process must open its own."""

    def __init__(self, path: Path, *, create: bool, busy_seconds: float = BUSY_SECONDS) -> None:
        self.name = str(path)
        self._path = path.absolute()
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        self._opened: list[_Connection] = []
        prepare_file(path, create=create, holds="ledger", made_by=_MADE_BY, error=LedgerStorageError)
        file = _identity(self._path)
        try:
            with self._named_errors():
                for _ in range(2):
                    self._opened.append(_Connection(self._path, busy_seconds))
                    self._make_durable(self._opened[-1].sqlite)
            self._writer, self._reader = self._opened  # so that who reads does not wait for who writes
            self._log = self._path.resolve().with_name(f"{self._path.resolve().name}-wal")
            self._files = (file, _identity(self._log))
            self._check_in_place()
        except BaseException:  # an interrupt, too, must leave no connection behind
            self.close()
            raise

    def _make_durable(self, connection: sqlite3.Connection) -> None:
        ask = connection.execute
        if ask("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise LedgerStorageError(
                f"{self.name} cannot keep a write-ahead log; put the ledger on a local file system"
            )
        for pragma in (*_DURABLE, "cell_size_check = ON", f"wal_autocheckpoint = {_CHECKPOINT_PAGES}"):
            ask(f"PRAGMA {pragma}")
        if ask("PRAGMA synchronous").fetchone() != (2,):
            raise LedgerStorageError(
                f"this SQLite does not synchronise {self.name} at every commit; a ledger needs that"
            )

    def _check_in_place(self) -> None:
        """Raise LedgerStorageError if the files that are open are no longer those that the name leads to."""
        if (_identity(self._path), _identity(self._log)) != self._files:
            raise LedgerStorageError(
                f"{self.name} was removed or replaced, or its -wal file was, while this ledger was open; nothing was "
                "written. Put the right file in place, verify it against a head that you kept, and open it anew"
            )

    @contextmanager
    def write(self) -> Iterator[SqliteTransaction]:
        """Enter a transaction that holds the file's write lock from its beginning."""
        with self._transaction(self._writer, "BEGIN IMMEDIATE") as transaction:
            yield transaction

    @contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        """Enter a transaction that sees one snapshot."""
        with self._transaction(self._reader, "BEGIN") as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, on: _Connection, begin: str) -> Iterator[SqliteTransaction]:
        if os.getpid() != self._process:
            raise LedgerError(f"{self.name} was opened in another process; a forked process must open the ledger again")
        if not on.turn.acquire(timeout=self._busy_seconds):
            raise self._busy()
        try:
            with self._named_errors():
                on.sqlite.execute(begin)
                try:
                    self._check_in_place()
                    yield SqliteTransaction(on.sqlite)
                    self._check_in_place()  # what is committed into a file that is gone is lost
                    on.sqlite.execute("COMMIT")
                except BaseException:  # an interrupt, too, must leave no transaction half done
                    with suppress(sqlite3.Error):
                        on.sqlite.execute("ROLLBACK")
                    raise
        finally:
            on.turn.release()

    def _busy(self) -> LedgerBusyError:
        return LedgerBusyError(
            f"{self.name} was locked by others for {self._busy_seconds:g} s; nothing was written, try again"
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            failure = sqlite_failure(error)
            if failure is Failure.BUSY:
                raise self._busy() from error
            if failure is Failure.DAMAGED:
                raise LedgerCorruptError(
                    f"{self.name} is damaged ({error}); nothing was spent, restore it from a backup and verify it"
                ) from error
            raise LedgerStorageError(
                f"{self.name} cannot be used ({error}); mend that, then repeat the call with the same id"
            ) from error

    def close(self) -> None:
        """Close the file; harmless if repeated."""
        if os.getpid() == self._process:
            for connection in self._opened:
                connection.sqlite.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Say which file a name leads to now; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
