"""The embedded ledger: one SQLite file, written ahead and synchronised at every commit."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import LedgerBusyError, LedgerCorruptError, LedgerError, LedgerStorageError
from .store import BUSY_SECONDS, Row

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DURABLE = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON")
_CHECKPOINT_PAGES = 4000  # a spend writes about 7 pages; fewer checkpoints are fewer synchronisations
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


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


class SqliteStore:
    """A ledger's file. Threads may share it; a forked process must open its own."""

    def __init__(self, path: Path, *, create: bool, busy_seconds: float = BUSY_SECONDS) -> None:
        self.name = str(path)
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._process = os.getpid()
        _prepare_file(path, create=create)
        with self._named_errors():
            self._connection = sqlite3.connect(
                path.absolute(), timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        try:
            with self._named_errors():
                self._make_durable()
        except BaseException:  # an interrupt, too, must leave no connection behind
            self._connection.close()
            raise

    def _make_durable(self) -> None:
        ask = self._connection.execute
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

    @contextmanager
    def write(self) -> Iterator[SqliteTransaction]:
        """Enter a transaction that holds the file's write lock from its beginning."""
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction

    @contextmanager
    def read(self) -> Iterator[SqliteTransaction]:
        """Enter a transaction that sees one snapshot."""
        with self._transaction("BEGIN") as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[SqliteTransaction]:
        if os.getpid() != self._process:
            raise LedgerError(f"{self.name} was opened in another process; a forked process must open the ledger again")
        with self._lock, self._named_errors():
            self._connection.execute(begin)
            try:
                yield SqliteTransaction(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:  # an interrupt, too, must leave no transaction half done
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                raise LedgerBusyError(
                    f"{self.name} was locked by others for {self._busy_seconds:g} s; nothing was written, try again"
                ) from error
            if code in _CORRUPT or isinstance(error, sqlite3.IntegrityError):
                raise LedgerCorruptError(
                    f"{self.name} is damaged ({error}); nothing was spent, restore it from a backup and verify it"
                ) from error
            raise LedgerStorageError(
                f"{self.name} cannot be used ({error}); mend that, then repeat the call with the same id"
            ) from error

    def close(self) -> None:
        """Close the file; harmless if repeated."""
        if os.getpid() == self._process:
            self._connection.close()


def _prepare_file(path: Path, *, create: bool) -> None:
    """Make the file, for its owner only, or check that it is there and nobody else's to read."""
    try:
        if create:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                directory = os.open(path.absolute().parent, os.O_RDONLY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        status = path.stat()
    except FileNotFoundError:
        where = path.absolute()  # a relative path may be meant from another folder
        raise LedgerStorageError(
            f"{where} cannot be made: there is no such folder; make it, or name another"
            if create
            else f"there is no ledger at {where}; check the path, or make it: secagg budget create, or create=True"
        ) from None
    except OSError as error:
        raise LedgerStorageError(f"{path} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise LedgerStorageError(f"{path} is no file; a ledger needs one of its own")
    if status.st_mode & _FOR_OTHERS:
        raise LedgerStorageError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); close it with: chmod 600 {path}"
        )
