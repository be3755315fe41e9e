"""From a URL to a store. Passwords in URLs are secrets: no text of ours repeats a URL that may hold one."""

from __future__ import annotations

from pathlib import Path

from ..errors import PrivacyParameterError
from .sqlite import SqliteStore
from .store import Store

_FORMS = "a path, sqlite:///path, or postgresql://user@host/database"


def open_store(url: str, *, create: bool, busy_seconds: float, synchronous_standby: bool = False) -> Store:
    """Return the store that a URL names; see `Ledger.open` for forms and errors."""
    if not isinstance(url, str | Path) or not str(url) or "\0" in str(url):
        raise PrivacyParameterError(f"a ledger is named by {_FORMS}")
    scheme, separator, rest = str(url).partition("://")
    if scheme in {"postgres", "postgresql", "postgresql+psycopg"} and separator:
        from .postgres import PostgresStore

        return PostgresStore(
            f"postgresql+psycopg://{rest}",
            create=create,
            busy_seconds=busy_seconds,
            synchronous_standby=synchronous_standby,
        )
    if scheme == "sqlite" and separator:
        path = rest.removeprefix("/")
        if path == rest or "?" in path:
            raise PrivacyParameterError(
                "write sqlite:///path for a relative path, sqlite:////path for an absolute one, without options"
            )
    elif separator:
        raise PrivacyParameterError(f"no ledger is kept in {scheme!r} databases; give {_FORMS}")
    else:
        path = str(url)
    if synchronous_standby:
        raise PrivacyParameterError("synchronous_standby is for ledgers in PostgreSQL; a file has no standby")
    if not path or path.startswith((":memory:", "file:")):
        raise PrivacyParameterError(f"a ledger must outlive its process: memory is no place for it; give {_FORMS}")
    return SqliteStore(Path(path), create=create, busy_seconds=busy_seconds)
