"""Budgets made from plans: a fresh one affords what the plan promises."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction

from ..errors import PrivacyParameterError
from ..events import Event, Repeated
from ..sensitivity import check_count, check_delta, check_epsilon
from .amounts import GRID, Number, within
from .budgets import Budget
from .compositions import charge_of, limit_of
from .costs import check_unit, relation_of, unit_of
from .kinds import Composition, Kind

_ROOM = 1 + 2.0**-40
"""What a budget that is made from a cost has above it, so that roundings never tell the two apart."""


def budget_for(
    name: str,
    event: Event,
    rounds: int,
    delta: float,
    epsilon: float | None = None,
    *,
    kind: Kind | str = Kind.PROJECT,
    renews: timedelta | None = None,
    expires: datetime | None = None,
) -> Budget:
    """Return a budget of the event's adjacency and unit, a fresh one of which affords the planned rounds.

    Noise that is near to Gaussian is counted by squares of mu: what more survivors save is left for further rounds, and
    rounds of other plans may be paid, too. Samples, and noise that is too coarse, are counted as releases.

    Args:
        name: of the budget.
        event: the most that one round reveals.
        rounds: how many are planned.
        delta: in (0, 1).
        epsilon: what all rounds together may cost at delta; None for what they do cost.
        kind: as of `Budget`.
        renews: as of `Budget`.
        expires: as of `Budget`.

    Raises:
        PrivacyParameterError: the rounds cost more, or a value out of range.
    """
    from ..accounting import epsilon_of

    relation, unit = relation_of(event), unit_of(event)
    check_unit(event, unit, f"budget {name!r}")
    planned, delta = Repeated(event, check_count(rounds, "rounds")), check_delta(delta)
    cost = epsilon_of(planned, delta)
    limit = cost * _ROOM if epsilon is None else check_epsilon(epsilon)
    if cost > limit:
        raise PrivacyParameterError(
            f"{rounds} such rounds cost epsilon {cost:.6g} at delta {delta:g}, above the {limit:g} that they may cost: "
            "plan fewer of them, or more noise"
        )

    def counted_by(composition: Composition) -> Budget:
        return Budget(
            name,
            limit if composition is Composition.RELEASES else _decimal(limit),  # which is compared with costs exactly
            _decimal(delta),
            adjacency=relation,
            unit=unit,
            composition=composition,
            kind=kind,
            event=event if composition is Composition.RELEASES else None,
            renews=renews,
            expires=expires,
        )

    by_mu = counted_by(Composition.GAUSSIAN)
    try:
        affords = within(charge_of(by_mu, planned), limit_of(by_mu))
    except PrivacyParameterError:  # it cannot count them
        affords = False
    return by_mu if affords else counted_by(Composition.RELEASES)


def _decimal(value: float) -> Number:
    """Return the shortest decimal that means the same float, where the ledger can keep it."""
    decimal = Fraction(repr(value))
    return decimal if (decimal * GRID).denominator == 1 else value
