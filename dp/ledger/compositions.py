"""How spends add up: four ways, each a filter that stays sound when spends are chosen in view of earlier results.

SUM adds epsilons and deltas (basic composition; Rogers, Roth, Ullman, Vadhan 2016, show that the plain sum is a valid
filter). GAUSSIAN adds the squares of mu = sensitivity / sigma of Gaussian DP (Smith, Thakurta 2022; Koskela, Tobaben,
Honkela 2022: the plain sum is a valid filter, and as tight as composition fixed beforehand). RENYI adds Renyi
divergences at one order fixed beforehand (Feldman, Zrnic 2021; Lecuyer 2021: at a fixed order the plain sum is a valid
filter). RELEASES counts equal releases, as many as an accountant allows. All keep a few whole numbers, whatever the
length of the history.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

from ..analytic import gaussian_epsilon, gaussian_limit
from ..errors import PrivacyParameterError
from ..events import (
    ApproximateEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
    flatten,
)
from ..rational import exact
from ..sensitivity import round_up
from .amounts import GRID, Amounts, down, fraction, up
from .budgets import Budget
from .costs import Cost, Spend
from .kinds import Composition, conversion

MOST_RELEASES = 1_000_000
_CLOSE = Fraction(1, 10**12)
"""How far apart, at most, two machines' limits of Gaussian noise for the same goal are, as a part of them."""
_BEYOND = Fraction(10) ** 308
"""An epsilon that no budget allows, and still a float."""
_LEAST = Fraction(1, 10**12)
"""An epsilon that is near enough to nothing for a search."""
_LARGEST_EXPONENT = 700
"""Of a float."""
_STRAIGHT = 20.0
"""Logarithms of epsilon, over its limit, up to which a search takes them to lie near a line."""


def limit_of(budget: Budget) -> Amounts:
    """Return what a budget allows in one period, in grid units.

    Raises:
        PrivacyParameterError: not even the smallest release would fit.
    """
    epsilon, delta = budget.epsilon, budget.delta
    match budget.composition:
        case Composition.SUM:
            return (int(epsilon * GRID), int(delta * GRID))
        case Composition.GAUSSIAN:
            return (down(gaussian_limit(float(epsilon), float(delta))),)
        case Composition.RENYI:
            added, margin = _conversion(budget)
            allowed = float(epsilon) - added - margin
            if not allowed > 0:
                raise PrivacyParameterError(
                    f"order = {budget.order} leaves nothing of epsilon = {float(epsilon):g} at "
                    f"delta = {float(delta):g}; give a higher order, or leave it out"
                )
            return (int(exact(allowed, "limit") * GRID),)
    return (_most_releases(budget) * GRID,)


def gives(budget: Budget, limit: Amounts) -> bool:
    """Tell whether these terms give such a limit; logarithms may differ by machine, within what they are rounded down.

    What a budget of releases allows is believed: only an accountant could recompute it. A limit has as many amounts as
    its composition counts.

    Raises:
        PrivacyParameterError: these terms give none.
    """
    match budget.composition:
        case Composition.SUM:
            return limit == limit_of(budget)
        case Composition.RENYI:
            _, margin = _conversion(budget)
            return abs(fraction(limit[0] - limit_of(budget)[0])) <= margin
        case Composition.GAUSSIAN:
            given = limit_of(budget)[0]
            return abs(limit[0] - given) <= given * _CLOSE
    return True


def _conversion(budget: Budget) -> tuple[float, float]:
    """Return what turns a divergence into an epsilon, and a margin above all rounding, there and back."""
    added = conversion(budget.order or math.inf, float(budget.delta))
    return added, 1e-12 * (float(budget.epsilon) + abs(added))


def charge_of(budget: Budget, spend: Spend) -> Amounts:
    """Return what a spend takes from a budget, in grid units, rounded up.

    Raises:
        PrivacyParameterError: the budget cannot count such a spend; the text says what to do.
    """
    match budget.composition:
        case Composition.SUM:
            return _sum_charge(spend)
        case Composition.GAUSSIAN:
            return _gaussian_charge(spend)
        case Composition.RENYI:
            return _renyi_charge(budget, spend)
    return _release_charge(budget, spend)


def guarantee_of(budget: Budget, total: Amounts) -> tuple[Fraction, Fraction]:
    """Return the (epsilon, delta) that spends of these total amounts have cost together, rounded up; 0 for nothing."""
    if not any(total):
        return Fraction(0), Fraction(0)
    if budget.composition is Composition.SUM:
        return fraction(total[0]), fraction(total[1])
    if budget.composition is Composition.GAUSSIAN:
        return _gaussian_epsilon(budget, fraction(total[0])), budget.delta
    if budget.composition is Composition.RENYI:
        epsilon = float(fraction(total[0])) + conversion(budget.order or math.inf, float(budget.delta))
        return Fraction(max(0.0, round_up(epsilon))), budget.delta
    count = total[0] // GRID
    return _releases_epsilon(budget, count), budget.delta


def group_guarantee_of(budget: Budget, total: Amounts, size: int) -> tuple[Fraction, Fraction]:
    """Return the (epsilon, delta) that so many units have together, of spends of these total amounts, rounded up.

    Gaussian DP of mu is Gaussian DP of mu size for them (Dong, Roth, Su 2022), and releases are what they are for a
    group (`dp.groups`). Of an epsilon and a delta follow epsilon size, and delta (1 + e**epsilon + ... +
    e**((size - 1) epsilon)), by going from one to the next.
    """
    if budget.composition is Composition.GAUSSIAN and any(total):
        return _gaussian_epsilon(budget, fraction(total[0]) * size**2), budget.delta
    if budget.composition is Composition.RELEASES and any(total):
        with suppress(PrivacyParameterError):  # where nothing better is known of a group
            return _releases_epsilon(budget, total[0] // GRID, size), budget.delta
    epsilon, delta = guarantee_of(budget, total)
    if not delta or size == 1:
        return epsilon * size, delta
    if epsilon * size > _LARGEST_EXPONENT:
        return epsilon * size, Fraction(1)
    one = float(epsilon)
    steps = math.expm1(size * one) / math.expm1(one) * (1 + 1e-12) if one else size
    return epsilon * size, min(Fraction(1), delta * Fraction(steps))


def _sum_charge(spend: Spend) -> Amounts:
    if isinstance(spend, Cost):
        return up(spend.epsilon), up(spend.delta)
    epsilon, delta = Fraction(0), Fraction(0)
    for part, count in flatten(spend):
        match part:
            case ApproximateEvent():
                epsilon += count * exact(part.epsilon, "epsilon")
                delta += count * exact(part.delta, "delta")
            case LaplaceEvent():
                epsilon += count / exact(part.noise_multiplier, "noise_multiplier")
            case DiscreteLaplaceEvent():
                epsilon += count * part.sensitivity / exact(part.scale, "scale")
            case _:
                raise PrivacyParameterError(
                    f"a budget of composition 'sum' cannot count {type(part).__name__}; state its guarantee as "
                    "Cost(epsilon, delta), for instance by dp.epsilon_of, or take composition 'renyi'"
                )
    return up(epsilon), up(delta)


def _gaussian_charge(spend: Spend) -> Amounts:
    """Return the sum of squared mu, for Gaussian noise and discrete noise that is near to it."""
    from ..nearness import ideal

    if isinstance(spend, Cost):
        raise PrivacyParameterError(
            "a budget of composition 'gaussian' counts events of Gaussian noise; reserve the event of the release, or "
            "make a budget of composition 'sum', which takes stated costs"
        )
    total = Fraction(0)
    for part, count in flatten(spend):
        leaf = part if isinstance(part, PoissonSampled | FixedSizeSampled) else ideal(part)
        if not isinstance(leaf, GaussianEvent):
            raise PrivacyParameterError(
                f"a budget of composition 'gaussian' cannot count {part}, whose noise is not Gaussian or not near "
                "enough to it; make a budget of composition 'renyi', which takes all events, or 'releases' of this one"
            )
        total += count / exact(leaf.noise_multiplier, "noise_multiplier") ** 2
    return (up(total),)


def _gaussian_epsilon(budget: Budget, total: Fraction) -> Fraction:
    multiplier = 1 / math.sqrt(total) * (1 - 1e-15)
    epsilon = gaussian_epsilon(multiplier, float(budget.delta))
    # What fits the limit fits the goal: the search for epsilon may end a rounding above it.
    within = up(total) <= limit_of(budget)[0]
    return min(exact(epsilon, "epsilon"), budget.epsilon) if within else exact(epsilon, "epsilon")


def _renyi_charge(budget: Budget, spend: Spend) -> Amounts:
    if isinstance(spend, Cost):
        if spend.delta:
            raise PrivacyParameterError(
                f"delta = {float(spend.delta):g}: a Renyi budget counts events; reserve the event of the release"
            )
        spend = ApproximateEvent(round_up(float(spend.epsilon)), 0.0, spend.adjacency)
    import numpy as np

    from ..rdp import rdp_curve

    order = budget.order or math.inf
    divergence = float(rdp_curve(spend, np.array([order]))[0]) * (1 + 1e-14)
    if not 0 < divergence < math.inf:
        raise PrivacyParameterError(
            f"the event has no finite Renyi divergence at order {order:g}; add noise, or make a budget of lower order"
        )
    return (up(exact(round_up(divergence), "divergence")),)


def _release_charge(budget: Budget, spend: Spend) -> Amounts:
    count = 1
    while isinstance(spend, Repeated) and spend != budget.event:
        count *= spend.count
        spend = spend.event
    if spend != budget.event:
        raise PrivacyParameterError(
            f"the budget counts releases of {budget.event}, and this is {spend}; reserve the planned event, or make a "
            "budget of composition 'renyi', which takes them all"
        )
    return (count * GRID,)


def check_achieved(budget: Budget, spend: Spend) -> None:
    """Raise PrivacyParameterError unless the achieved event is the release that the budget counts, with no less noise.

    To cost less epsilon at one delta, alone, is not enough: releases of another kind may add up to more.
    """
    if isinstance(spend, Cost) or budget.event is None:
        raise PrivacyParameterError("a budget of releases keeps the achieved event; give an event")
    if not _all_as_private(spend, budget.event):
        raise PrivacyParameterError(
            f"the budget counts releases of {budget.event}, and what was achieved is not that with more noise or as "
            f"much, but {spend}; do not release the result"
        )


def _all_as_private(achieved: Event, planned: Event) -> bool:
    """Tell whether events of equal parts have as much noise in each."""
    ours, theirs = list(flatten(achieved)), list(flatten(planned))
    same = len(ours) == len(theirs)
    return same and all(n == m and _as_private(a, p) for (a, n), (p, m) in zip(ours, theirs, strict=True))


def _as_private(achieved: Event, planned: Event) -> bool:
    """Tell whether an event is another one with more independent noise on top, at every epsilon and delta."""
    match achieved, planned:
        case PoissonSampled(), PoissonSampled():
            return achieved.rate == planned.rate and _all_as_private(achieved.event, planned.event)
        case SummedDiscreteGaussianEvent(), SummedDiscreteGaussianEvent():
            return achieved.clients >= planned.clients and replace(achieved, clients=planned.clients) == planned
        case GaussianEvent(), GaussianEvent():
            more = achieved.noise_multiplier >= planned.noise_multiplier
            return more and achieved.adjacency == planned.adjacency
    return achieved == planned


def _most_releases(budget: Budget) -> int:
    """Return how many releases fit, `MOST_RELEASES` at most; what is returned has been checked, not interpolated."""
    first = _releases_epsilon(budget, 1)
    if first > budget.epsilon:
        raise PrivacyParameterError(
            f"one release costs epsilon = {float(first):.6g} at delta = "
            f"{float(budget.delta):g}, above the limit of {float(budget.epsilon):g}; add noise or raise the limit"
        )
    last = _releases_epsilon(budget, MOST_RELEASES)
    if last <= budget.epsilon:
        return MOST_RELEASES
    fits, too_many = 1, MOST_RELEASES
    goal = _log(budget.epsilon)
    below, above, side = _log(first) - goal, _log(last) - goal, 0
    while too_many - fits > 1:
        # Falsi with halving (Illinois) in logarithms, where epsilon is nearly straight, or bisection where it is not.
        share = below / (below - above) if below < above < _STRAIGHT else 0.5
        middle = min(max(round(fits * (too_many / fits) ** share), fits + 1), too_many - 1)
        epsilon = _releases_epsilon(budget, middle)
        if epsilon <= budget.epsilon:
            fits, below, above, side = middle, _log(epsilon) - goal, above / 2 if side < 0 else above, -1
        else:
            too_many, above, below, side = middle, _log(epsilon) - goal, below / 2 if side > 0 else below, 1
    return fits


def _log(value: Fraction) -> float:
    return math.log(max(value, _LEAST))


def _releases_epsilon(budget: Budget, count: int, group: int = 1) -> Fraction:
    from ..accounting import epsilon_of
    from ..groups import group_event

    event: Event | None = budget.event
    if event is None:
        raise PrivacyParameterError("a budget of releases needs the event of one release")
    if group > 1:
        event = group_event(event, group)
    epsilon = epsilon_of(Repeated(event, count), float(budget.delta))
    return exact(epsilon, "epsilon") if math.isfinite(epsilon) else _BEYOND
