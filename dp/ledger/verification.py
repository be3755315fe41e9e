"""The audit: recompute the chain, replay what it says, and compare with everything that the ledger would answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import LedgerCorruptError, PrivacyParameterError
from .amounts import Amounts, minus, plus, within
from .book import Account, Book, Terms, account_in, terms_in
from .compositions import gives
from .records import GENESIS, PHASES, Phase, Record, RecordKind
from .views import reservation

_PAGE = 1000


@dataclass(frozen=True)
class Verified:
    """A trail without contradiction: its head ("number:hash", worth keeping elsewhere), and what it holds."""

    head: str
    records: int
    budgets: int
    open_reservations: int


def verify(book: Book, head: str | None = None) -> Verified:
    """Verify the whole ledger; raise LedgerCorruptError at the first contradiction.

    Checks that numbers follow one another, hashes chain, times do not run back, records hold what their kind does, each
    round is opened once, before its budget expires, and closed at most once, amounts follow from one another and stay
    within limits, participants are those that were hashed, and that head, accounts and the kept `head` agree with the
    trail.
    """
    pin = None if head is None else _pin(head)
    replay = _Replay(book)
    previous: Record | None = None
    while page := book.following(previous.seq if previous else 0, _PAGE):
        for record in page:
            _check_link(previous, record)
            if pin is not None and pin[0] == record.seq and pin[1] != record.hash:
                raise _rewritten(record.seq)
            replay.follow(record)
            previous = record
    end = previous.seq if previous else 0
    if pin is not None and pin[0] > end:
        raise _cut(end, pin[0])
    last = (book.last.seq, book.last.hash) if book.last else (0, GENESIS)
    if last != ((previous.seq, previous.hash) if previous else (0, GENESIS)):
        raise LedgerCorruptError("the trail does not end with its head", seq=end)
    replay.compare()
    return Verified(head_of(book), end, len(replay.terms), len(replay.open))


def head_of(book: Book) -> str:
    """Return the head of the trail, "number:hash"."""
    return f"{book.last.seq}:{book.last.hash}" if book.last else f"0:{GENESIS}"


def check_head(book: Book, head: str) -> None:
    """Raise LedgerCorruptError unless the trail goes through a head that was kept; the rest is left to `verify`."""
    seq, hashed = _pin(head)
    end = book.last.seq if book.last else 0
    if seq > end:
        raise _cut(end, seq)
    found = book.following(seq - 1, 1) if seq else []
    if seq and (not found or (found[0].seq, found[0].hash) != (seq, hashed)):
        raise _rewritten(seq)


def _cut(end: int, seq: int) -> LedgerCorruptError:
    return LedgerCorruptError(
        f"the trail ends with record {end}, the head that you kept names {seq}: its end was cut off, as by an old "
        "backup or a standby that took over without it; resolve what is missing by hand",
        seq=end,
    )


def _rewritten(seq: int) -> LedgerCorruptError:
    return LedgerCorruptError(
        f"record {seq} has another hash than the head that you kept: the trail was rewritten", seq=seq
    )


def _pin(head: object) -> tuple[int, str]:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", head) if isinstance(head, str) else None
    if found is None or (found[1] == "0" and found[2] != GENESIS):
        raise PrivacyParameterError(
            "a head is a number, a colon and 64 hexadecimal digits, as an earlier verification printed it"
        )
    return int(found[1]), found[2]


def _check_link(previous: Record | None, record: Record) -> None:
    wanted = (previous.seq + 1, previous.hash) if previous else (1, GENESIS)
    if record.seq != wanted[0]:
        raise LedgerCorruptError(f"record {wanted[0]} is missing: the trail goes on with {record.seq}", seq=wanted[0])
    if record.previous != wanted[1]:
        raise LedgerCorruptError(
            f"record {record.seq} does not follow from record {wanted[0] - 1}: the trail was rewritten there",
            seq=record.seq,
        )
    if previous is not None and record.time < previous.time:
        raise LedgerCorruptError(f"record {record.seq} is older than the one before it", seq=record.seq)


class _Replay:
    """What follows from the trail so far."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.terms: dict[str, Terms] = {}
        self.accounts: dict[tuple[str, int], tuple[Account, int]] = {}
        self.open: dict[tuple[str, str], Record] = {}
        self.ever: set[tuple[str, str]] = set()

    def follow(self, record: Record) -> None:
        """Take one record into account; raise LedgerCorruptError if it contradicts what came before."""
        phase = PHASES.get(record.kind)  # type: ignore[call-overload]
        if phase is None:
            raise _contradiction(record, f"is of the unknown kind {record.kind!r}")
        if not record.says_what_it_should():
            raise _contradiction(record, "does not hold what a record of its kind holds, or more than that")
        if phase is Phase.CREATE:
            expected = self._create(record)
        elif record.budget not in self.terms:
            raise _contradiction(record, f"is of budget {record.budget!r}, which nobody created")
        else:
            expected = self._reserve(record) if phase is Phase.OPEN else self._close(record)
        if account_in(record) != expected:
            raise _contradiction(record, "says that its account came to something else than follows from the trail")
        self.accounts[record.budget, record.period] = (expected, record.seq)

    def _create(self, record: Record) -> Account:
        terms = terms_in(record)
        if record.budget in self.terms or record.round_id or record.period:
            raise _contradiction(record, "creates a budget for the second time, or out of place")
        try:
            given = gives(terms.budget, terms.limit)
        except PrivacyParameterError:  # these terms give no limit at all
            given = False
        if not given:
            raise _contradiction(record, "has another limit than its terms allow")
        self.terms[record.budget] = terms
        nothing = (0,) * len(terms.limit)
        return Account(0, nothing, nothing, 0)

    def _before(self, record: Record) -> Account:
        nothing = (0,) * len(self.terms[record.budget].limit)
        known = self.accounts.get((record.budget, record.period))
        return known[0] if known else Account(record.period, nothing, nothing, 0)

    def _reserve(self, record: Record) -> Account:
        terms, key = self.terms[record.budget], (record.budget, record.round_id)
        charge = self._charge(record, len(terms.limit))
        if key in self.ever:
            raise _contradiction(record, "reserves for a round for the second time")
        if record.period != terms.budget.period_at(terms.created, record.time):
            raise _contradiction(record, "is filed in another period than its time")
        if terms.budget.is_over(record.time):
            raise _contradiction(record, "reserves when its budget had expired")
        self.ever.add(key)
        self.open[key] = record
        before = self._before(record)
        after = Account(before.period, before.spent, plus(before.held, charge), before.open + 1)
        if not within(after.taken, terms.limit):
            raise _contradiction(record, "exceeds its budget")
        self.book.check_participants(record, counted=False)
        return after

    def _close(self, record: Record) -> Account:
        opened = self.open.pop((record.budget, record.round_id), None)
        if opened is None or opened.period != record.period:
            raise _contradiction(record, "closes a round that is not open, or in another period")
        reserved = opened.amounts("charge")
        charge = self._charge(record, len(reserved))
        if not within(charge, reserved):
            raise _contradiction(record, "costs more than was reserved")
        if charge != self._stated(record, charge, reserved):
            raise _contradiction(record, "costs something else than what it says")
        if record.kind == RecordKind.COMMIT:
            self.book.check_participants(record, counted=True)
        else:
            self.book.check_participants(opened, counted=True)  # nobody was excused
        reservation(self.terms[record.budget], opened, record)  # what the ledger shows of it can be read
        before = self._before(record)
        held = minus(before.held, reserved)
        return Account(before.period, plus(before.spent, charge), held, before.open - 1)

    def _stated(self, record: Record, charge: Amounts, reserved: Amounts) -> Amounts:
        """Return what a closing record charges if it charges what it says; what a cost amounts to is believed."""
        facts = record.facts()
        if record.kind == RecordKind.COMMIT:
            return reserved if facts["cost"] is None else charge
        if facts["spent"] and record.kind == RecordKind.RELEASE:
            raise _contradiction(record, "gives back what it says was spent")
        return reserved if facts["spent"] else (0,) * len(reserved)

    def _charge(self, record: Record, kinds: int) -> Amounts:
        charge = record.amounts("charge")
        if len(charge) != kinds:
            raise _contradiction(record, f"has {len(charge)} amounts where its budget has {kinds}")
        return charge

    def compare(self) -> None:
        """Raise LedgerCorruptError unless the other tables hold what follows from the trail, and nothing else."""
        for opened in self.open.values():
            self.book.check_participants(opened, counted=True)  # nobody is excused before the round is committed
            reservation(self.terms[opened.budget], opened, None)
        accounts = self.book.tx.rows("SELECT budget, period, seq FROM ledger_accounts")
        if {(budget, period): seq for budget, period, seq in accounts} != {
            key: seq for key, (_, seq) in self.accounts.items()
        }:
            raise LedgerCorruptError("the accounts do not follow from the trail: rows were removed, added or changed")
        strangers = self.book.tx.rows(
            "SELECT budget, round_id FROM ledger_participants AS p WHERE NOT EXISTS (SELECT 1 FROM ledger_records AS r "
            "WHERE r.phase = 'open' AND r.budget = p.budget AND r.round_id = p.round_id) LIMIT 1"
        )
        if strangers:
            raise LedgerCorruptError(f"round {strangers[0][1]!r} has participants and no record")
        misfiled = self.book.tx.rows(
            "SELECT seq FROM ledger_records WHERE phase <> CASE kind WHEN 'create' THEN 'create' "
            "WHEN 'reserve' THEN 'open' ELSE 'close' END ORDER BY seq LIMIT 1"
        )
        if misfiled:
            raise LedgerCorruptError(f"record {misfiled[0][0]} is misfiled", seq=misfiled[0][0])


def _contradiction(record: Record, what: str) -> LedgerCorruptError:
    msg = f"record {record.seq} ({record.kind}, round {record.round_id!r} of {record.budget!r}) {what}"
    return LedgerCorruptError(msg, seq=record.seq)
