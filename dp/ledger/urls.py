"""From a URL to a store. Passwords in URLs are secrets: no text of ours repeats a URL that may hold one."""

from __future__ import annotations

from ..databases import place_of
from ..errors import PrivacyParameterError
from .sqlite import SqliteStore
from .store import Store


def open_store(url: str, *, create: bool, busy_seconds: float, synchronous_standby: bool = False) -> Store:
    """Return the store that a URL names; see `Ledger.open` for forms and errors."""
    place = place_of(url)
    if isinstance(place, str):
        from .postgres import PostgresStore

        return PostgresStore(place, create=create, busy_seconds=busy_seconds, synchronous_standby=synchronous_standby)
    if synchronous_standby:
        raise PrivacyParameterError("synchronous_standby is for ledgers in PostgreSQL; a file has no standby")
    return SqliteStore(place, create=create, busy_seconds=busy_seconds)
