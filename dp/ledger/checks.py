"""What the ledger asks of its callers before it writes, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from numbers import Integral
from typing import Any

from ..errors import BudgetExceededError, LedgerConflictError, PrivacyParameterError, UnknownBudgetError
from ..rational import positive
from ..sensitivity import Unit
from .amounts import Amounts, minus, spell
from .book import Account, Book, Terms
from .budgets import Budget, check_name
from .compositions import charge_of, check_achieved
from .costs import Spend, check_unit, relation_of
from .kinds import Composition
from .records import Phase, Record
from .views import named

LONGEST_REASON = 1000
LONGEST_WAIT = 2**31 / 1000
"""In seconds; both databases count milliseconds in 32 bits."""


def opened_in(book: Book, budget: str, round_id: str) -> Record:
    """Return the record that opened a round; raise UnknownBudgetError if there is none."""
    opened = book.find(Phase.OPEN, budget, round_id)
    if opened is None:
        raise UnknownBudgetError(
            f"budget {budget!r} has no reservation for round {round_id!r}; reserve before the round"
        )
    return opened


def actual_charge(budget: Budget, actual: Spend) -> Amounts | None:
    """Return what a round's actual cost takes, None where all that was reserved is charged."""
    check_relation(budget, actual)
    if budget.composition is Composition.RELEASES:
        check_achieved(budget, actual)
        return None
    return charge_of(budget, actual)


def check_relation(budget: Budget, spend: Spend, unit: Unit | str | None = None) -> None:
    """Raise PrivacyParameterError unless a spend is stated for the budget's adjacency and unit, whoever states it."""
    if unit not in (None, budget.unit):
        raise PrivacyParameterError(
            f"the spend is to count for one {unit}, budget {budget.name!r} counts what one {budget.unit} loses: pay "
            f"from a budget of unit '{unit}', such as plan.budget(name) or `secagg budget create --unit {unit}` makes"
        )
    relation = relation_of(spend)
    if relation is not budget.adjacency:
        raise PrivacyParameterError(
            f"the spend is stated for {relation} adjacency, budget {budget.name!r} for {budget.adjacency}; they do "
            "not add up: state the sensitivity for the budget's adjacency"
        )
    check_unit(spend, budget.unit, f"budget {budget.name!r}")


def check_same(record: Record, facts: dict[str, Any]) -> None:
    """Raise LedgerConflictError unless the record says the same: then this is a call that is repeated."""
    before = record.facts()
    if any(before.get(name) != value for name, value in facts.items()):
        raise LedgerConflictError(
            f"round {record.round_id!r} of budget {record.budget!r} was used before with another cost, reason or other "
            f"participants (record {record.seq}); take a new id"
        )


def check_repeated(record: Record, facts: dict[str, Any], again: bool) -> None:
    """Raise LedgerConflictError unless a round that was opened before may be named in the same words once more."""
    check_same(record, facts)
    if not again:
        raise LedgerConflictError(
            f"round {record.round_id!r} of budget {record.budget!r} was used before (record {record.seq}), and one "
            "round is charged once. A round that runs again takes a new id; if this repeats a call for the same run, "
            "say so: again=True, or --again"
        )


def flag(value: object, name: str) -> bool:
    """Return a bool, Python's or numpy's; raise PrivacyParameterError for anything else."""
    if isinstance(value, bool) or type(value).__module__ == "numpy":
        plain = value if isinstance(value, bool) else getattr(value, "item", lambda: None)()
        if isinstance(plain, bool):
            return plain
    raise PrivacyParameterError(f"{name} = {value!r} must be True or False")


def check_kind(value: object, kind: type, name: str) -> None:
    """Raise PrivacyParameterError unless a value is what a parameter takes."""
    if not isinstance(value, kind):
        raise PrivacyParameterError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")


def check_whole(value: object, name: str) -> int:
    """Return a whole number of at least 0, Python's or numpy's; raise PrivacyParameterError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 0:
        raise PrivacyParameterError(f"{name} = {value!r} must be a whole number of at least 0")
    return int(value)


def check_seconds(value: object, name: str) -> float:
    """Return a time above 0 and below `LONGEST_WAIT` as a float; raise PrivacyParameterError for anything else."""
    if positive(value, name) >= LONGEST_WAIT:
        raise PrivacyParameterError(
            f"{name} = {value} must be a time in seconds, below {LONGEST_WAIT} (2**31 ms, 24 days)"
        )
    return float(value)  # type: ignore[arg-type]


def check_participants(participants: Collection[str]) -> list[str]:
    """Return the names in order; raise PrivacyParameterError for bad ones and repetitions."""
    if isinstance(participants, str) or not isinstance(participants, Collection):
        raise PrivacyParameterError(
            f"participants must be a collection of names, such as a list, not {type(participants).__name__}"
        )
    names = sorted(check_name(name, "participant") for name in participants)
    for one, other in pairwise(names):
        if one == other:
            raise PrivacyParameterError(f"participant {one!r} is named twice")
    return names


def check_reason(reason: str, *, needed: bool) -> str:
    """Return a reason that can be kept."""
    return "" if reason == "" and not needed else check_name(reason, "reason", LONGEST_REASON)


def shown(terms: Terms, amounts: Amounts) -> str:
    """Say amounts to people."""
    pairs = zip(terms.budget.composition.counted, amounts, strict=True)
    return ", ".join(f"{name} {float(spell(units)):.10g}" for name, units in pairs)


def exceeded(terms: Terms, account: Account, charge: Amounts) -> BudgetExceededError:
    """Return the refusal, with what was asked, what is left, and what can be done."""
    composition, left = terms.budget.composition, minus(terms.limit, account.taken)
    spent = any(rest * 1000 < limit for rest, limit in zip(left, terms.limit, strict=True))
    remedies = ["it is spent: stop here" if spent else "ask for less, as with more noise"]
    if account.open:
        remedies.append(f"resolve what {account.open} open reservations hold ({shown(terms, account.held)})")
    renewal = terms.budget.renewal_after(terms.created, account.period)
    if renewal is not None:
        remedies.append(f"wait for the renewal at {renewal:%Y-%m-%d %H:%M} UTC")
    return BudgetExceededError(
        f"budget {terms.budget.name!r} would be exceeded: asked {shown(terms, charge)}; left {shown(terms, left)} of "
        f"{shown(terms, terms.limit)}; {', or '.join(remedies)}",
        budget=terms.budget.name,
        asked=named(composition, charge),
        left=named(composition, left),
        limit=named(composition, terms.limit),
    )
