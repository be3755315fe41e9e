"""A ledger copied to another place, record by record, and verified there."""

from __future__ import annotations

from ..errors import LedgerConflictError, LedgerCorruptError
from .book import Book, prepare
from .records import PHASES, Phase, Record
from .store import Store, Transaction
from .verification import Verified, verify

_PAGE = 1000
_RECORDS = "seq, time, kind, budget, period, phase, round_id, payload, previous, hash"
_PARTICIPANTS = "budget, round_id, participant, counted"


def copied(book: Book, target: Store) -> Verified:
    """Copy all that a transaction sees to a store, and return what the copy holds; close the store.

    Raises:
        LedgerConflictError: the store holds a ledger.
        LedgerCorruptError: the ledger contradicts itself, or the copy is another one.
    """
    try:
        found = verify(book)
        with target.write() as tx:
            if tx.has_tables():
                raise LedgerConflictError(f"{target.name} holds a ledger already; copy to another place")
            prepare(tx, create=True, name=target.name)
            _fill(tx, book)
        with target.read() as tx:
            if verify(Book(tx, 0)) != found:
                raise LedgerCorruptError(f"the copy in {target.name} is not what was copied; make another one")
        return found
    finally:
        target.close()


def _fill(tx: Transaction, book: Book) -> None:
    done = 0
    while page := book.following(done, _PAGE):
        _insert(tx, "ledger_records", _RECORDS, [_row(record) for record in page])
        for record in page:
            if PHASES[record.kind] is Phase.OPEN:  # type: ignore[index]
                rows = book.tx.rows(
                    f"SELECT {_PARTICIPANTS} FROM ledger_participants "  # noqa: S608 - constants
                    "WHERE budget = :budget AND round_id = :round_id",
                    budget=record.budget,
                    round_id=record.round_id,
                )
                _insert(tx, "ledger_participants", _PARTICIPANTS, rows)
        done = page[-1].seq
    accounts = book.tx.rows("SELECT budget, period, seq FROM ledger_accounts")
    _insert(tx, "ledger_accounts", "budget, period, seq", accounts)
    if book.last is not None:
        tx.run("UPDATE ledger_head SET seq = :seq, hash = :hash WHERE id = 1", seq=book.last.seq, hash=book.last.hash)


def _row(record: Record) -> tuple[object, ...]:
    return tuple(vars(record).get(name, str(PHASES[record.kind])) for name in _RECORDS.split(", "))  # type: ignore[index]


def _insert(tx: Transaction, table: str, columns: str, rows: list[tuple[object, ...]]) -> None:
    names = columns.split(", ")
    values = ", ".join(f":{name}" for name in names)
    tx.run_many(
        f"INSERT INTO {table} ({columns}) VALUES ({values})",  # noqa: S608 - constants
        [dict(zip(names, row, strict=True)) for row in rows],
    )
