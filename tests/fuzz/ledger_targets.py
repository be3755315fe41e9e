"""The privacy ledger: amounts, URLs, payloads, and whole trails that were edited behind its back and chained anew."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dp.errors import DpError, LedgerCorruptError, LedgerError, PrivacyParameterError, UnknownBudgetError
from dp.events import GaussianEvent, LaplaceEvent, Repeated
from dp.ledger import Budget, Composition, Cost, Ledger, amounts, urls, verification, views
from dp.ledger.book import account_in, prepare, terms_in
from dp.ledger.budgets import from_microseconds
from dp.ledger.records import GENESIS, PHASES, Phase, Record, RecordKind
from dp.ledger.sqlite import SqliteStore, _Connection
from dp.sensitivity import Adjacency

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADD = Adjacency.ADD_REMOVE


def ledger_amount(data: bytes) -> None:
    """The first byte chooses the spelling: that of payloads, or what people may write."""
    text = data[1:].decode("utf-8", "replace")
    if data[:1] < b"\x80":
        with suppress(ValueError):
            if amounts.spell(amounts.read(text)) != text:
                raise AssertionError("an amount that can be spelled in two ways was accepted")
        return
    value = amounts.rational(text, "epsilon")
    if not 0 <= amounts.fraction(amounts.down(value)) <= value <= amounts.fraction(amounts.up(value)):
        raise ValueError("rounding is in the spender's favour")


def ledger_head(data: bytes) -> None:
    pin = verification._pin(data.decode("utf-8", "replace"))
    if pin is None or len(bytes.fromhex(pin[1])) != 32:
        raise ValueError("no head was taken for one")


@cache
def _offline() -> Any:
    """What stands for psycopg's `connect`: it reads what it is given, and reaches nobody."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    def connect(conninfo: str = "", **options: Any) -> None:
        make_conninfo(conninfo, **{name: value for name, value in options.items() if name != "context"})
        raise psycopg.OperationalError("nobody is reached from here")

    return connect


def ledger_url(data: bytes) -> None:
    """Nothing is opened: files are recorded, and databases not reached."""
    opened: list[str] = []

    def record(path: Any, **_: Any) -> None:
        opened.append(str(path))

    with patch.object(urls, "SqliteStore", record), patch("psycopg.connect", _offline()):
        urls.open_store(data.decode("utf-8", "replace"), create=False, busy_seconds=1.0)
    if len(opened) != 1 or "\0" in opened[0] or opened[0].startswith((":memory:", "file:")):
        raise ValueError("a file that is no place for a ledger")


class _Memory(SqliteStore):
    """The store of a file, on a database in memory."""

    def __init__(self, image: bytes | None = None) -> None:
        self.name = "memory"
        self._busy_seconds = 1.0
        self._process = os.getpid()
        self._writer = self._reader = _Connection(Path(":memory:"), self._busy_seconds)
        self._opened = [self._writer]
        if image is not None:
            self.connection.deserialize(image)

    def _check_in_place(self) -> None:
        """Memory cannot be replaced."""

    @property
    def connection(self) -> sqlite3.Connection:
        return self._writer.sqlite


@cache
def trail() -> bytes:
    """A ledger with every kind of budget and of record, as SQLite's image."""
    now = [START]
    store = _Memory()
    with store.write() as tx:
        prepare(tx, create=True, name=store.name)
    ledger = Ledger(store, lambda: now[0], trust_clock=True)
    event = GaussianEvent(16.0, ADD)
    month, end = timedelta(days=30), START + timedelta(days=900)
    ledger.create(Budget("sum", "4", "0.001", adjacency=ADD, renews=month, expires=end))
    ledger.create(Budget("renyi", "8", "0.000001", adjacency=ADD, composition=Composition.RENYI))
    ledger.create(Budget("one", "9", "0.00001", adjacency=ADD, composition=Composition.RELEASES, event=event))
    for day, (budget, spend) in enumerate(
        [
            ("sum", Cost("0.5", "0.0001", adjacency=ADD)),
            ("renyi", Repeated(LaplaceEvent(16.0, ADD, 1), 2)),
            ("one", event),
        ]
    ):
        now[0] = START + timedelta(days=day)
        for round_id in ("open", "done", "gone"):
            taken = ledger.reserve(budget, spend, round_id=round_id, participants=["ann", "bob", "cy"])
            if round_id == "done":
                ledger.commit(taken, participants=["ann", "cy"])
            elif round_id == "gone":
                ledger.release(taken, "nobody came")
    ledger.resolve(ledger.reservation("renyi", "open"), spent=True, reason="it was published")
    now[0] += timedelta(days=40)
    ledger.spend("sum", Cost("0.25", adjacency=ADD), round_id="later", participants=["bob"])
    return store.connection.serialize()


COLUMNS = ("seq", "time", "kind", "budget", "period", "round_id", "payload", "previous", "hash")
RECORD_COLUMNS = (*COLUMNS, "phase")
CELLS = (
    *(("ledger_records", name) for name in RECORD_COLUMNS),
    *(("ledger_head", name) for name in ("id", "format", "seq", "hash")),
    *(("ledger_accounts", name) for name in ("budget", "period", "seq")),
    *(("ledger_participants", name) for name in ("budget", "round_id", "participant", "counted")),
)


def _value(kind: int, data: bytes) -> Any:
    """What SQLite takes: it keeps whatever it is given in a column of any type."""
    text = data.decode("utf-8", "replace")
    match kind % 4:
        case 0:
            return text
        case 1:
            return int.from_bytes(data[:8], "big", signed=True)
        case 2:
            return data
    with suppress(ValueError):
        return float(text)
    return text


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a payload, its whole included."""
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _edited(payload: str, place: int, data: bytes) -> str:
    """The payload with another value at one of its places, or without it where there is no value."""
    facts = json.loads(payload)
    places = list(_places(facts))
    path = places[place % len(places)]
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not path:
        return text
    inner = facts
    for key in path[:-1]:
        inner = inner[key]
    if data:
        inner[path[-1]] = value
    else:
        del inner[path[-1]]
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _tamper(connection: sqlite3.Connection, data: bytes) -> None:
    """Four bytes: what to edit, in which row, where in it, and what kind of value follows."""
    what, row, where, kind = data[:4].ljust(4, b"\0")
    if what % 2:
        rows = connection.execute("SELECT seq, payload FROM ledger_records ORDER BY seq").fetchall()
        seq, payload = rows[row % len(rows)]
        new = _edited(payload, where, data[4:])
        connection.execute("UPDATE ledger_records SET payload = ? WHERE seq = ?", (new, seq))
    else:
        table, column = CELLS[where % len(CELLS)]
        ids = [found for (found,) in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]  # noqa: S608
        chosen = ids[row % len(ids)]
        if len(data) > 4:
            values = (_value(kind, data[4:]), chosen)
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", values)  # noqa: S608
        else:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (chosen,))  # noqa: S608
    if not what & 2:
        _chain(connection, hashes=not what & 4)


def _chain(connection: sqlite3.Connection, *, hashes: bool) -> None:
    """Chain all records anew, as whoever edits them can; where not even that can be done, leave them."""
    previous = GENESIS
    columns = ", ".join(COLUMNS)
    for rowid, *row in connection.execute(f"SELECT rowid, {columns} FROM ledger_records ORDER BY seq").fetchall():  # noqa: S608
        bare = Record(*row[:-2], previous, "")
        new = bare.computed_hash() if hashes else row[-1]
        connection.execute("UPDATE ledger_records SET previous = ?, hash = ? WHERE rowid = ?", (previous, new, rowid))
        previous = new
        connection.execute("UPDATE ledger_head SET seq = ?, hash = ?", (row[0], new))


@contextmanager
def _ledger(data: bytes) -> Iterator[Ledger | None]:
    store = _Memory(trail())
    try:
        _tamper(store.connection, data)
    except (sqlite3.Error, OverflowError):  # the database itself does not take it
        yield None
        return
    finally:
        if store.connection.in_transaction:
            store.connection.execute("COMMIT")
    yield Ledger(store, lambda: START + timedelta(days=50), trust_clock=True)
    store.close()


def _reads(ledger: Ledger) -> Iterator[Callable[[], Any]]:
    """Everything that a ledger can be asked."""
    yield ledger.budgets
    yield ledger.history
    for name in ("sum", "renyi", "one"):
        yield lambda name=name: ledger.status(name).fraction_taken
        yield lambda name=name: ledger.open_reservations(name)
        yield lambda name=name: ledger.participants(name)


def ledger_trail(data: bytes) -> None:
    """Either the audit finds the edit, or what it left is whole: every question has an answer, within the limits."""
    with _ledger(data) as ledger:
        if ledger is None:
            return
        try:
            ledger.verify()
            verified = True
        except LedgerError:
            verified = False
        except DpError as error:
            raise ValueError("the audit blames whoever asks for it") from error
        for read in _reads(ledger):
            try:
                read()
            except UnknownBudgetError:
                continue
            except DpError as error:
                if verified or not isinstance(error, LedgerError):
                    raise ValueError("the audit finds nothing, but the ledger cannot be read") from error
        if verified:
            with suppress(LedgerError):
                ledger.spend("sum", Cost("0.125", adjacency=ADD), round_id="next", participants=["ann"])
            ledger.verify()
            for name in ledger.budgets():
                found = ledger.status(name)
                if min(found.left.values()) < 0:
                    raise ValueError("more was spent than the budget has, and the audit finds nothing")


@cache
def _known() -> dict[str, Record]:
    """A record of each kind that opens or closes, and the terms, of each budget."""
    store = _Memory(trail())
    ledger = Ledger(store, lambda: START)
    return {f"{record.kind} {record.budget}": record for record in ledger.history()}


def ledger_payload(data: bytes) -> None:
    """The first byte chooses the record whose payload the rest is."""
    records = list(_known().values())
    like = records[data[0] % len(records)] if data else records[0]
    text = data[1:].decode("utf-8", "replace")
    record = Record(*(getattr(like, name) if name != "payload" else text for name in COLUMNS))
    try:
        if PHASES[RecordKind(record.kind)] is Phase.CREATE:
            terms = terms_in(record)
            if Budget.from_plain(record.budget, terms.budget.plain()) != terms.budget:
                raise ValueError("terms that can be written in two ways were accepted")
            views.status(terms, account_in(record), record.time)
        else:
            terms = terms_in(_known()[f"create {record.budget}"])
            opened = _known()[f"reserve {record.budget}"]
            account_in(record)
            is_opened = record.kind == RecordKind.RESERVE
            found = views.reservation(terms, record if is_opened else opened, None if is_opened else record)
            if any(not isinstance(amount, Fraction) or amount < 0 for amount in found.charge.values()):
                raise ValueError("a charge below nothing")
            from_microseconds(record.time)
    except PrivacyParameterError as error:
        raise ValueError("a record is nobody's parameter: it is corrupt or it is not") from error
    except LedgerCorruptError:
        return


TARGETS = (ledger_amount, ledger_head, ledger_url, ledger_payload, ledger_trail)
WEIGHTS = {"ledger_trail": 0.1, "ledger_url": 0.2, "ledger_payload": 0.5}
