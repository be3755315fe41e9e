"""What the ledger answers: frozen values, with amounts as exact Fractions by name ("epsilon", "delta", ...)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fractions import Fraction

from ..errors import LedgerCorruptError, PrivacyParameterError
from ..sensitivity import float_above
from .amounts import Amounts, fraction, plus
from .book import Account, Book, Terms
from .budgets import Budget, from_microseconds
from .compositions import group_guarantee_of, guarantee_of
from .costs import Spend, from_plain
from .kinds import Composition
from .records import UNREADABLE, Phase, Record, RecordKind


class ReservationStatus(StrEnum):
    """RESERVED counts as spent until it is committed, released or resolved."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    RELEASED = "released"


@dataclass(frozen=True)
class Reservation:
    """What a round took from a budget. `charge` is what counts: the reserved, then the committed, or nothing."""

    budget: str
    round_id: str
    status: ReservationStatus
    cost: Spend
    charge: dict[str, Fraction]
    period: int
    opened: datetime
    closed: datetime | None
    participants: int
    reason: str


@dataclass(frozen=True)
class Status:
    """What a budget's present period has come to; `held` is what open reservations hold, and counts as spent.

    `epsilon` at `delta` is the guarantee for all that is spent or held in this period, an upper bound. `open` counts
    the open reservations of this period. `expired`: nothing more can be reserved.
    """

    budget: Budget
    limit: dict[str, Fraction]
    spent: dict[str, Fraction]
    held: dict[str, Fraction]
    left: dict[str, Fraction]
    epsilon: float
    delta: float
    open: int
    period: int
    created: datetime
    renewal: datetime | None
    expired: bool

    @property
    def fraction_taken(self) -> float:
        """Return how much of the budget is spent or held, from 0 to 1: that of what is scarcest."""
        shares = [(self.spent[k] + self.held[k]) / self.limit[k] for k in self.limit if self.limit[k]]
        return float_above(max(shares))


@dataclass(frozen=True)
class Lifetime:
    """What all periods of a budget have come to together; a limit holds for each period alone.

    `epsilon` at `delta` is the guarantee for all that was ever spent or is held, an upper bound. `periods` counts those
    in which anything was spent or held. `group` says of how many units together epsilon and delta are.
    """

    budget: str
    periods: int
    spent: dict[str, Fraction]
    held: dict[str, Fraction]
    epsilon: float
    delta: float
    group: int


@dataclass(frozen=True)
class ParticipantView:
    """What one participant has been part of. `epsilon` at `delta` covers all periods, open reservations included."""

    participant: str
    rounds: tuple[Reservation, ...]
    total: dict[str, Fraction]
    epsilon: float
    delta: float


def named(composition: Composition, amounts: Amounts) -> dict[str, Fraction]:
    """Return amounts by name."""
    return {name: fraction(units) for name, units in zip(composition.counted, amounts, strict=True)}


def _floats(budget: Budget, guarantee: tuple[Fraction, Fraction]) -> tuple[float, float]:
    """Return epsilon and delta rounded up; a delta that was converted at is the float that it was."""
    epsilon, delta = guarantee
    return float_above(epsilon), float_above(delta) if budget.composition is Composition.SUM else float(delta)


def charge_in(opened: Record, closed: Record | None) -> Amounts:
    """Return what a round has cost: what was committed, or all that was reserved while nothing closed it."""
    return (closed or opened).amounts("charge")


def reservation(terms: Terms, opened: Record, closed: Record | None) -> Reservation:
    """Return what two records say of a round."""
    facts, ending = opened.facts(), closed.facts() if closed else {}
    charge = charge_in(opened, closed)
    try:
        cost = from_plain(ending.get("cost") or facts["cost"])
        status = ReservationStatus.RESERVED
        if closed is not None:
            gone = closed.kind == RecordKind.RELEASE or (closed.kind == RecordKind.RESOLVE and not ending["spent"])
            status = ReservationStatus.RELEASED if gone else ReservationStatus.COMMITTED
        return Reservation(
            opened.budget,
            opened.round_id,
            status,
            cost,
            named(terms.budget.composition, charge),
            opened.period,
            from_microseconds(opened.time),
            None if closed is None else from_microseconds(closed.time),
            int((ending.get("participants") or facts["participants"])["count"]),
            str(ending.get("reason", "")),
        )
    except UNREADABLE as error:
        why = f": {error}" if isinstance(error, PrivacyParameterError) else ""
        raise LedgerCorruptError(
            f"record {opened.seq} or its end is not what this version writes{why}", seq=opened.seq
        ) from None


def status(terms: Terms, account: Account, now: int) -> Status:
    """Return what an account has come to."""
    composition = terms.budget.composition
    taken = account.taken
    epsilon, delta = _floats(terms.budget, guarantee_of(terms.budget, taken))
    return Status(
        terms.budget,
        named(composition, terms.limit),
        named(composition, account.spent),
        named(composition, account.held),
        named(composition, tuple(limit - used for limit, used in zip(terms.limit, taken, strict=True))),
        epsilon,
        delta,
        account.open,
        account.period,
        from_microseconds(terms.created),
        terms.budget.renewal_after(terms.created, account.period),
        terms.budget.is_over(now),
    )


def lifetime(book: Book, terms: Terms, group: int) -> Lifetime:
    """Return what all accounts of a budget have come to together, for a group of so many units."""
    found = book.tx.rows("SELECT period FROM ledger_accounts WHERE budget = :budget", budget=terms.budget.name)
    accounts = [book.account(terms, period) for (period,) in found]
    used = [account for account in accounts if any(account.taken)]
    spent = held = (0,) * len(terms.limit)
    for account in used:
        spent, held = plus(spent, account.spent), plus(held, account.held)
    composition = terms.budget.composition
    epsilon, delta = _floats(terms.budget, group_guarantee_of(terms.budget, plus(spent, held), group))
    return Lifetime(
        terms.budget.name,
        len(used),
        named(composition, spent),
        named(composition, held),
        epsilon,
        delta,
        group,
    )


def open_reservations(book: Book, terms: Terms) -> list[Reservation]:
    """Return the reservations that nothing closed, of all periods, oldest first."""
    found = book.tx.rows(
        "SELECT round_id FROM ledger_records AS opened WHERE phase = 'open' AND budget = :budget AND NOT EXISTS "
        "(SELECT 1 FROM ledger_records AS closed WHERE closed.phase = 'close' AND closed.budget = opened.budget "
        "AND closed.round_id = opened.round_id) ORDER BY seq",
        budget=terms.budget.name,
    )
    records = [book.find(Phase.OPEN, terms.budget.name, round_id) for (round_id,) in found]
    return [reservation(terms, opened, None) for opened in records if opened]


def participants(book: Book, terms: Terms, only: str | None = None) -> list[ParticipantView]:
    """Return who took part in the budget's rounds, by name, and what each has spent; or one participant alone."""
    condition, values = "WHERE budget = :budget AND counted = 1", {"budget": terms.budget.name}
    if only is not None:
        condition, values = condition + " AND participant = :participant", values | {"participant": only}
    rows = book.tx.rows(f"SELECT participant, round_id FROM ledger_participants {condition}", **values)  # noqa: S608 - constants
    rounds: dict[str, tuple[Reservation, Amounts, int]] = {}
    for round_id in {round_id for _, round_id in rows}:
        opened, closed = (book.find(phase, terms.budget.name, round_id) for phase in (Phase.OPEN, Phase.CLOSE))
        if opened is None:
            raise LedgerCorruptError(f"round {round_id!r} has participants and no record")
        rounds[round_id] = (reservation(terms, opened, closed), charge_in(opened, closed), opened.seq)
    by_name: dict[str, list[str]] = {}
    for name, round_id in rows:
        by_name.setdefault(name, []).append(round_id)
    views = []
    for name in sorted(by_name):
        mine = sorted((rounds[round_id] for round_id in by_name[name]), key=lambda found: found[2])
        total: Amounts = (0,) * len(terms.limit)
        for _, charge, _ in mine:
            total = plus(total, charge)
        guarantee = _floats(terms.budget, guarantee_of(terms.budget, total))
        entries = tuple(entry for entry, _, _ in mine)
        views.append(ParticipantView(name, entries, named(terms.budget.composition, total), *guarantee))
    return views
