"""The two steps of a round within a transaction: what opens it, and what closes it."""

from __future__ import annotations

from typing import Any

from ..errors import BudgetExpiredError, LedgerConflictError, LedgerCorruptError, PrivacyParameterError
from . import views
from .amounts import Amounts, minus, plus, within
from .book import Account, Book, Terms
from .checks import check_same, exceeded, shown
from .records import Phase, Record, RecordKind, spelled
from .views import Reservation


def open_round(
    book: Book, terms: Terms, charge: Amounts, round_id: str, facts: dict[str, Any], names: list[str]
) -> Record:
    """Append the reservation of a round; raise BudgetExceededError or BudgetExpiredError if the budget refuses."""
    if terms.budget.is_over(book.now):
        raise BudgetExpiredError(
            f"budget {terms.budget.name!r} expired at {terms.budget.expires:%Y-%m-%d %H:%M} UTC; create another one"
        )
    period = terms.budget.period_at(terms.created, book.now)
    account = book.account(terms, period)
    if not within(plus(account.taken, charge), terms.limit):
        raise exceeded(terms, account, charge)
    after = Account(period, account.spent, plus(account.held, charge), account.open + 1)
    record = book.append(RecordKind.RESERVE, terms, after, round_id, facts)
    book.enrol(terms.budget.name, round_id, names)
    return record


def close_round(
    book: Book,
    terms: Terms,
    opened: Record,
    kind: RecordKind,
    charge: Amounts | None,
    facts: dict[str, Any],
    absent: list[str],
) -> Reservation:
    """Append what ended a round, and return its reservation; nothing changes where the same has ended it before.

    Raises:
        LedgerConflictError: it ended otherwise.
        PrivacyParameterError: it cost more than was reserved.
    """
    name, round_id = terms.budget.name, opened.round_id
    reserved = opened.amounts("charge")
    charge = reserved if charge is None else charge
    facts = facts | {"charge": spelled(charge)}
    # Nothing follows the last record, so nothing can have closed what it opened.
    is_last = book.last is not None and book.last.seq == opened.seq
    closed = None if is_last else book.find(Phase.CLOSE, name, round_id)
    if closed is not None:
        if closed.kind != kind:
            status = views.reservation(terms, opened, closed).status
            raise LedgerConflictError(f"round {round_id!r} was {status} before ({closed.kind}), and that stands")
        check_same(closed, facts)
        return views.reservation(terms, opened, closed)
    if not within(charge, reserved):
        raise PrivacyParameterError(
            f"the round cost {shown(terms, charge)}, but {shown(terms, reserved)} was reserved: do not publish its "
            "result; resolve the reservation"
        )
    account = book.account(terms, opened.period)
    held = minus(account.held, reserved)
    if min(held) < 0 or account.open < 1:
        raise LedgerCorruptError(
            f"the account of {name!r} holds less than round {round_id!r} reserved; restore from a backup",
            seq=opened.seq,
        )
    after = Account(account.period, plus(account.spent, charge), held, account.open - 1)
    closed = book.append(kind, terms, after, round_id, facts)
    book.excuse(name, round_id, absent)
    return views.reservation(terms, opened, closed)
