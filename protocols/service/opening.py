"""The database of a store: how it is opened, and the transactions in it, with errors of ours. SQLite or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from dp.databases import READ_ONLY, SAID, Failure, parsed_url, place_of, postgres_failure, prepare_file, sqlite_failure
from dp.errors import DpError, MissingDependencyError
from secagg.errors import ParameterError

from .errors import DamagedStoreError, ServiceError, StoreBusyError, StoreError
from .tables import FORMAT, HEAD, METADATA

BUSY_SECONDS = 30.0
_READERS = 8
_LOCK = int.from_bytes(b"secagg-s", "big")
"""Key of the advisory lock under which tables are made and letters are numbered: numbers grow as they are committed."""
_PAGE_BYTES = 16384
"""An answer fills hundreds of pages of SQLite's own size, each of which is written twice and read twice."""
_PRAGMAS = ("synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON", "cell_size_check = ON")


class Database:
    """Transactions in one database. Threads may share it; a forked process must open its own.

    Args:
        url: a path or sqlite:///path; postgresql://user@host/database (extra `postgres`).
        create: make file and tables if there are none.
        busy_seconds: how long to wait for others' transactions.

    Raises:
        ParameterError: no URL of a store.
        StoreError: no store there, or no durable one.
        MissingDependencyError: PostgreSQL without the extra `postgres`.
    """

    def __init__(self, url: str | Path, *, create: bool = False, busy_seconds: float = BUSY_SECONDS) -> None:
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._file: Path | None = None
        try:
            place = place_of(url, "store")
            if isinstance(place, Path):
                self.name = str(place)
                self._open_sqlite(place, create)
            else:
                parsed, self.name = parsed_url(place)
                self._open_postgres(parsed)
        except MissingDependencyError:
            raise
        except DpError as error:
            raise ParameterError(str(error)) from None
        try:
            self._settle(create)
        except BaseException:  # an interrupt, too, must leave no connection behind
            self.close()
            raise

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self._file is not None

    def _open_sqlite(self, path: Path, create: bool) -> None:
        prepare_file(path, create=create, holds="store", made_by="secagg serve, or create=True", error=StoreError)
        self._file = path.absolute()
        self._identity = _identity(self._file)
        url = URL.create("sqlite+pysqlite", database=str(self._file))
        arguments = {"timeout": self._busy_seconds, "check_same_thread": False}
        self._writer = create_engine(
            url,
            hide_parameters=True,
            connect_args=arguments,
            pool_size=1,
            max_overflow=0,
            pool_timeout=self._busy_seconds,
        )
        self._reader = create_engine(
            url,
            hide_parameters=True,
            connect_args=arguments,
            pool_size=_READERS,
            max_overflow=0,
            pool_timeout=self._busy_seconds,
        )
        for engine, begin in ((self._writer, "BEGIN IMMEDIATE"), (self._reader, "BEGIN")):
            event.listen(engine, "connect", _set_up)
            event.listen(engine, "begin", _beginning(begin))

    def _open_postgres(self, parsed: Any) -> None:
        try:
            import psycopg  # noqa: F401 - only to say early that it is missing
        except ImportError as error:
            raise MissingDependencyError(
                "stores in PostgreSQL need psycopg: in a checkout of secagg, pip install '.[postgres]'"
            ) from error
        self._writer = self._reader = create_engine(
            parsed,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            hide_parameters=True,
            pool_size=_READERS,
            pool_timeout=self._busy_seconds,
            # A pooler such as pgbouncer may give each transaction another server, which knows nothing of statements
            # that were prepared before.
            connect_args={"prepare_threshold": None, "client_encoding": "UTF8"},
        )
        with self.read() as connection:
            for setting in ("fsync", "full_page_writes"):
                if connection.execute(text(f"SHOW {setting}")).scalar() != "on":
                    raise StoreError(f"{self.name} runs with {setting} off, and would forget what it kept; turn it on")

    def _settle(self, create: bool) -> None:
        """Make the tables, or check that they are there and of this format."""
        if create:
            with self.write() as connection:
                self.number(connection)
                METADATA.create_all(connection)
                if connection.execute(select(HEAD.c.format)).first() is None:
                    connection.execute(insert(HEAD).values(id=1, format=FORMAT))
        with self.read() as connection:
            found = None
            if self._writer.dialect.has_table(connection, HEAD.name):
                found = connection.execute(select(HEAD.c.format)).scalar()
        if found is None:
            raise StoreError(f"{self.name} holds no store of this service; check the name, or make one: create=True")
        if found != FORMAT:
            raise StoreError(
                f"{self.name} holds a store of format {found}, but this release reads format {FORMAT}: let the release "
                "that made it end its sessions, then name another store and invite members anew"
            )

    def ensure(self, metadata: MetaData) -> None:
        """Make further tables, unless they are there."""
        with self.write() as connection:
            self.number(connection)
            metadata.create_all(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Enter a transaction: leaving it makes it durable, an exception undoes it.

        In SQLite no other writer's overlaps it; in PostgreSQL rows are to be locked (`with_for_update`).

        Raises:
            StoreBusyError: others held the store for too long.
            DamagedStoreError: the database finds itself damaged.
            StoreError: it fails, in or at the end of the transaction.
        """
        if not self.is_sqlite:
            with self._named_errors(), self._writer.begin() as connection:
                self._prepare_postgres(connection)
                yield connection
            return
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise self._busy()
        try:
            with self._named_errors(), self._writer.begin() as connection:
                self._check_in_place()
                yield connection
                self._check_in_place()  # what is committed into a file that is gone is lost
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Enter a transaction that sees one state of the store and changes nothing; raises as `write`."""
        with self._named_errors(), self._reader.begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            yield connection

    def now(self, connection: Connection) -> float:
        """Return the time, by one clock for all processes of the store: seconds since 1970."""
        if self.is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def number(self, connection: Connection) -> None:
        """Take the turn to number letters, to the end of the transaction."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    def close(self) -> None:
        """Close all connections; harmless if repeated."""
        for engine in self._engines:
            engine.dispose(close=os.getpid() == self._process)

    @property
    def _engines(self) -> list[Engine]:
        return [self._writer, self._reader] if hasattr(self, "_reader") else []

    def _prepare_postgres(self, connection: Connection) -> None:
        read_only = connection.execute(
            text(
                "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', "
                "set_config('lock_timeout', :timeout, true), set_config('synchronous_commit', 'on', true)"
            ),
            {"timeout": f"{max(1, int(self._busy_seconds * 1e3))}ms"},
        ).scalar()
        if read_only:
            raise StoreError(f"{self.name} {READ_ONLY}; nothing was written")

    def _check_in_place(self) -> None:
        if self._file is not None and _identity(self._file) != self._identity:
            raise StoreError(
                f"{self.name} was removed or replaced while the store was open; nothing was written. Put the right "
                "file in place, and start anew"
            )

    def _busy(self) -> StoreBusyError:
        return StoreBusyError(
            f"{self.name} was locked by others for {self._busy_seconds:g} s; nothing was written, try again"
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        if os.getpid() != self._process:
            raise ServiceError(f"{self.name} was opened in another process; a forked process must open the store again")
        try:
            yield
        except SQLAlchemyError as error:
            raise self._named(error) from None
        except sqlite3.Error as error:  # of a connection that is being set up
            raise self._named_sqlite(error) from None

    def _named(self, error: SQLAlchemyError) -> StoreError:
        inner = getattr(error, "orig", None)
        if isinstance(inner, sqlite3.Error):
            return self._named_sqlite(inner)
        failure, state = postgres_failure(error)
        if failure is Failure.BUSY:
            return self._busy()
        if state in SAID:
            kind = StoreBusyError if state == "57014" else StoreError
            return kind(f"{self.name} {SAID[state]} (SQLSTATE {state}); nothing was written")
        if failure is Failure.DAMAGED:
            return DamagedStoreError(f"{self.name} is damaged (SQLSTATE {state}); restore it from a backup")
        what = f"SQLSTATE {state}" if state else "no answer; check host, port, user, password and database"
        return StoreError(f"{self.name} cannot be used ({what}); nothing was written, try again when that is mended")

    def _named_sqlite(self, error: sqlite3.Error) -> StoreError:
        match sqlite_failure(error):
            case Failure.BUSY:
                return self._busy()
            case Failure.DAMAGED:
                return DamagedStoreError(f"{self.name} is damaged ({error}); restore it from a backup")
            case _:
                return StoreError(f"{self.name} cannot be used ({error}); nothing was written")


def _set_up(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin as they are told to
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a file that is made now
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StoreError("the store's file system keeps no write-ahead log; put the store on a local one")
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _beginning(statement: str) -> Any:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
