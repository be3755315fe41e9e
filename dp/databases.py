"""Databases by URL, for ledgers and whoever else keeps things durably: what a URL names, and what failures mean.

Passwords in URLs are secrets: no text of ours repeats a URL that may hold one.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from .errors import PrivacyParameterError

FORMS = "a path, sqlite:///path, or postgresql://user@host/database"
POSTGRES = "postgresql+psycopg"
READ_ONLY = "takes no writes: it is a standby, or its default_transaction_read_only is on"
SAID = {
    "25006": READ_ONLY,
    "57014": "ended a statement: its statement_timeout is too short for this wait, or somebody cancelled it",
    "53300": "has no connection left: raise its max_connections, or open fewer of them",
}
"""SQLSTATE -> what it means here."""
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SQLITE_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
_SQLITE_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_POSTGRES_BUSY = {"55P03", "40001", "40P01"}
_POSTGRES_DAMAGED = {"23", "XX"}


class Failure(StrEnum):
    """What a database's error comes to."""

    BUSY = "busy"
    DAMAGED = "damaged"
    OTHER = "other"


def place_of(url: str | Path, holds: str = "ledger") -> Path | str:
    """Return what a URL names: a file's path, or a URL of PostgreSQL for SQLAlchemy.

    Args:
        url: a path, sqlite:///path, or postgresql://user@host/database.
        holds: what is kept there, for texts.

    Raises:
        PrivacyParameterError: none of these, or memory, which outlives nothing.
    """
    if not isinstance(url, str | Path) or not str(url) or "\0" in str(url):
        raise PrivacyParameterError(f"a {holds} is named by {FORMS}")
    scheme, separator, rest = str(url).partition("://")
    if scheme in {"postgres", "postgresql", POSTGRES} and separator:
        return f"{POSTGRES}://{rest}"
    if scheme == "sqlite" and separator:
        path = rest.removeprefix("/")
        if path == rest or "?" in path:
            raise PrivacyParameterError(
                "write sqlite:///path for a relative path, sqlite:////path for an absolute one, without options"
            )
    elif separator:
        raise PrivacyParameterError(f"no {holds} is kept in {scheme!r} databases; give {FORMS}")
    else:
        path = str(url)
    if not path or path.startswith((":memory:", "file:")):
        raise PrivacyParameterError(f"a {holds} must outlive its process: memory is no place for it; give {FORMS}")
    return Path(path)


def parsed_url(url: str) -> tuple[Any, str]:
    """Return SQLAlchemy's URL of a PostgreSQL database, and the database's name without secrets.

    Raises:
        PrivacyParameterError: it is none, or holds what would end in texts.
        ImportError: SQLAlchemy is missing.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise PrivacyParameterError(
            "that is no URL of a database; write postgresql://user@host/database (the URL is not repeated here)"
        ) from None
    # Options may hold secrets as well, and a host with an @ is the rest of a password that was not quoted.
    place = parsed.host or "local"
    if "@" in place or "@" in (parsed.username or ""):
        raise PrivacyParameterError("user, password or host hold an @; write it as %40 (the URL is not repeated here)")
    port = f":{parsed.port}" if parsed.port else ""
    name = f"postgresql://{place}{port}/{parsed.database or ''}"
    if not name.isprintable():
        raise PrivacyParameterError("host or database of the URL hold characters that cannot be shown; mend them")
    if "plugin" in parsed.query:
        raise PrivacyParameterError("the URL names a plugin, and nothing is loaded for one; leave it out")
    return parsed, name


def prepare_file(path: Path, *, create: bool, holds: str, made_by: str, error: type[Exception]) -> None:
    """Make the file, for its owner only, or check that it is there and nobody else's to read.

    Args:
        path: of the file.
        create: whether to make it.
        holds: what is kept there, and `made_by` what makes it, for texts.
        made_by: the same.
        error: what to raise.
    """
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
        raise error(
            f"{where} cannot be made: there is no such folder; make it, or name another"
            if create
            else f"there is no {holds} at {where}; check the path, or make it: {made_by}"
        ) from None
    except OSError as failure:
        raise error(f"{path} cannot be opened: {failure.strerror}") from failure
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path} is no file; a {holds} needs one of its own")
    if status.st_mode & _FOR_OTHERS:
        raise error(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):o}); close it with: chmod 600 {path}"
        )


def sqlite_failure(error: sqlite3.Error) -> Failure:
    """Say what an error of SQLite comes to."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_BUSY:
        return Failure.BUSY
    if code in _SQLITE_DAMAGED or isinstance(error, sqlite3.IntegrityError):
        return Failure.DAMAGED
    return Failure.OTHER


def postgres_failure(error: Exception) -> tuple[Failure, str]:
    """Say what an error that SQLAlchemy raised for PostgreSQL comes to, and what its SQLSTATE says; empty for none.

    The state alone: texts of drivers may repeat parts of a URL.
    """
    from sqlalchemy.exc import TimeoutError as NoConnectionError

    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state in _POSTGRES_BUSY or isinstance(error, NoConnectionError):
        return Failure.BUSY, state or ""
    if state is not None and state[:2] in _POSTGRES_DAMAGED:
        return Failure.DAMAGED, state
    return Failure.OTHER, state or ""
