"""From a privacy goal to the least noise that meets it, and back. Every search ends on the private side.

A returned multiplier has been checked against the very accountant that will be asked again later: what it grants is
within the goal. The tolerance says how much noise may be wasted, never how much privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from .accounting import Method, closed_epsilon, epsilon_of, one_integer
from .analytic import gaussian_noise_multiplier, smallest
from .discrete import UNSEEN, discrete_gaussian_delta
from .errors import PrivacyParameterError
from .events import DiscreteGaussianEvent, Event, FixedSizeSampled, GaussianEvent, PoissonSampled, Repeated
from .pld import INTERVAL, WIDEST, check_interval
from .rational import Real, exact, number, positive
from .sensitivity import (
    Adjacency,
    Norm,
    Sensitivity,
    check_count,
    check_delta,
    check_epsilon,
    float_above,
    named,
    round_up,
)

_ROUGH = 40.0  # searches begin on a grid that many times coarser
_STEPS = 60
_WIDEST = 230.0  # logarithm of the most and the least noise that is tried: 1e100, where events end, and 1e-100


def gaussian_sigma(epsilon: float, delta: float, sensitivity: Sensitivity, dimension: int = 1) -> float:
    """Return the least sigma of Gaussian noise for (epsilon, delta) and this sensitivity, rounded up.

    Source: Balle, Wang (2018), exact for every epsilon.

    Args:
        epsilon: > 0, finite; any size.
        delta: in (0, 1).
        sensitivity: of the query, in any norm; it is turned into an L2 bound.
        dimension: entries of the query, needed where the sensitivity is in another norm.

    Raises:
        PrivacyParameterError: a goal that no Gaussian noise meets, named.
    """
    bound = sensitivity.bound(Norm.L2, dimension)
    sigma = round_up(gaussian_noise_multiplier(epsilon, delta) * bound)
    return _raised(lambda x: epsilon_of(GaussianEvent(x / bound, sensitivity.adjacency), delta), epsilon, sigma)


def laplace_scale(epsilon: float, sensitivity: Sensitivity, dimension: int = 1) -> Fraction:
    """Return the least scale of Laplace noise for pure epsilon-DP: exactly (L1 sensitivity) / epsilon.

    Continuous and discrete Laplace noise alike. The quotient is a Fraction, hence not rounded at all.
    """
    check_epsilon(epsilon)
    return exact(sensitivity.bound(Norm.L1, dimension), "sensitivity") / exact(epsilon, "epsilon")


def laplace_epsilon(scale: Real, sensitivity: Sensitivity, dimension: int = 1) -> float:
    """Return the epsilon of Laplace noise of this scale, rounded up.

    Raises:
        PrivacyParameterError: scale <= 0, NaN or infinite.
    """
    bound = exact(sensitivity.bound(Norm.L1, dimension), "sensitivity")
    return float_above(bound / positive(scale, "scale"))


def discrete_gaussian_sigma(epsilon: float, delta: float, sensitivity: float, dimension: int = 1) -> float:
    """Return the least sigma of discrete Gaussian noise on integers that move by `sensitivity` in L2.

    One integer: theorem 7 of Canonne, Kamath, Steinke (2020), exactly. Vectors: the Gaussian they are as private as
    (`dp.discrete`); below sigma = 2 the zCDP of theorem 4. The result is checked; delta is not monotone in sigma on
    the finest scale, so "least" means that no sigma less by a part in 10**9 passed on the way.

    Args:
        epsilon: > 0.
        delta: in (0, 1).
        sensitivity: L2 norm of the largest change, at least 1 (integers move by whole steps).
        dimension: number of integers.

    Raises:
        PrivacyParameterError: impossible goals; a sensitivity below 1.
    """
    epsilon, delta = check_epsilon(epsilon), check_delta(delta)
    check_count(dimension, "dimension")
    if exact(sensitivity, "sensitivity") < 1:
        raise PrivacyParameterError(
            f"sensitivity = {sensitivity} is below 1, but integers move by whole steps; use a finer grid"
        )
    sensitivity = number(sensitivity, "sensitivity", math.inf)
    start = gaussian_noise_multiplier(epsilon, delta) * sensitivity

    def event(sigma: float) -> Event:
        return DiscreteGaussianEvent(sigma, sensitivity, dimension, Adjacency.ADD_REMOVE)

    def good(sigma: float) -> bool:
        integer = one_integer(event(sigma))
        if integer is not None and delta >= 2 * UNSEEN:
            return discrete_gaussian_delta(*integer, epsilon) <= delta
        if closed_epsilon(event(sigma), delta) <= epsilon:
            return True
        return dimension > 1 and epsilon_of(event(sigma), delta, Method.RDP) <= epsilon

    def spent(sigma: float) -> float:
        closed = closed_epsilon(event(sigma), delta)
        return closed if dimension == 1 else min(closed, epsilon_of(event(sigma), delta, Method.RDP))

    low, high = start / 2, start
    while not good(high):
        low, high = high, high * 1.25
    return _raised(spent, epsilon, smallest(good, low, high, 1e-9))


def noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    rounds: int,
    sampling_rate: float = 1.0,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    method: Method = Method.AUTO,
    tolerance: float = 1e-5,
    interval: float = INTERVAL,
) -> float:
    """Return the least sigma / sensitivity of Gaussian noise that keeps `rounds` releases within (epsilon, delta).

    Searched on a coarse grid of the loss distribution first, and then settled on the fine one, from nearby.

    Args:
        epsilon: the goal for all rounds together, > 0.
        delta: the goal for all rounds together, in (0, 1).
        rounds: number of releases, >= 1.
        sampling_rate: probability, in (0, 1], with which each record takes part in a round.
        adjacency: what the sensitivity is stated for.
        method: accountant to satisfy.
        tolerance: relative excess of noise that is accepted, > 0.
        interval: grid of the loss distribution.

    Raises:
        PrivacyParameterError: an impossible goal.
        MissingDependencyError: without the extra `dp` (not needed by AUTO at rate 1).
    """
    epsilon, delta, rounds = check_epsilon(epsilon), check_delta(delta), check_count(rounds, "rounds")
    method = named(Method, method)
    PoissonSampled(sampling_rate, GaussianEvent(1.0, adjacency))
    if sampling_rate == 1 and method == Method.AUTO:
        one = gaussian_noise_multiplier(epsilon, delta) * math.sqrt(rounds)
        return _raised(lambda x: epsilon_of(Repeated(GaussianEvent(x, adjacency), rounds), delta), epsilon, one)

    def event(multiplier: float) -> Event:
        return Repeated(PoissonSampled(sampling_rate, GaussianEvent(multiplier, adjacency)), rounds)

    return least_parameter(event, epsilon, delta, method=method, tolerance=tolerance, interval=interval)


def fixed_size_noise_multiplier(
    epsilon: float, delta: float, *, rounds: int, batch: int, population: int, tolerance: float = 1e-5
) -> float:
    """Return the least multiplier for samples of a fixed size without replacement, for replace-one adjacency (RDP)."""

    def event(multiplier: float) -> Event:
        return Repeated(FixedSizeSampled(batch, population, GaussianEvent(multiplier, Adjacency.REPLACE_ONE)), rounds)

    return least_parameter(event, epsilon, delta, method=Method.RDP, tolerance=tolerance)


def least_parameter(
    event: Callable[[float], Event],
    epsilon: float,
    delta: float,
    *,
    method: Method = Method.AUTO,
    tolerance: float = 1e-5,
    interval: float = INTERVAL,
) -> float:
    """Return the least x > 0 for which event(x) stays within (epsilon, delta), for noise that grows with x.

    The result r is checked: epsilon_of(event(r), delta) <= epsilon. It exceeds the least by about r * tolerance.

    Raises:
        PrivacyParameterError: epsilon or tolerance <= 0, delta outside (0, 1), NaN or infinite; a bad interval; a goal
            that no noise reaches, or that is met without noise.
    """
    epsilon, delta, method = check_epsilon(epsilon), check_delta(delta), named(Method, method)
    tolerance, interval = number(tolerance, "tolerance"), check_interval(interval)

    def spent(x: float, grid: float = 1.0) -> float:
        return epsilon_of(event(x), delta, method, min(grid * interval, WIDEST))

    start = 1.0
    if method != Method.RDP:
        start = _search(lambda x: spent(x, _ROUGH), epsilon, start, 0.5, 1e-3)
    return _raised(spent, epsilon, _search(spent, epsilon, start, 0.5, tolerance))


def _raised(spent: Callable[[float], float], epsilon: float, result: float, step: float = 2.0**-50) -> float:
    """Return `result`, or the first above it with which the account agrees."""
    while spent(result) > epsilon:
        result, step = result * (1 + step), 2 * step
    return result


def _search(spent: Callable[[float], float], epsilon: float, start: float, step: float, tolerance: float) -> float:
    """Return x with spent(x) <= epsilon, at most about `tolerance` above the least: falsi in logarithms.

    Epsilon falls at least as fast as noise grows, so that a step of what is missing from it, or of `step`, is enough
    where `start` is near. What is aimed at is an eighth of the tolerance below epsilon, where the search may end.
    """
    low = high = math.log(start)
    above = below = math.nan

    def excess(log_x: float) -> float:
        value = spent(math.exp(log_x))
        return 100.0 if math.isinf(value) else math.log(max(value, 1e-12) / epsilon)

    aim = tolerance / 8
    value = excess(high)
    step = min(step, abs(value) + aim)
    if value > 0:
        while value > 0:
            if high >= _WIDEST:
                raise PrivacyParameterError(
                    f"no noise reaches epsilon = {epsilon} at this delta; raise epsilon or delta, or use fewer rounds"
                )
            low, below, high = high, value, min(high + step, _WIDEST)
            value, step = excess(high), 2 * step
        above = value
    else:
        while value <= 0:
            if low <= -_WIDEST:
                raise PrivacyParameterError(
                    f"epsilon = {epsilon} is met without noise; lower it, or let the event depend on its noise"
                )
            high, above, low = low, value, max(low - step, -_WIDEST)
            value, step = excess(low), 2 * step
        below = value
    side = 0
    for _ in range(_STEPS):
        if high - low <= tolerance / 4:
            break
        middle = high - (above + aim) * (high - low) / (above - below)
        middle = min(max(middle, low + (high - low) * 1e-3), high - (high - low) * 1e-3)
        value = excess(middle)
        if value <= 0:
            high, above, below = middle, value, below / 2 if side < 0 else below
            side = -1
        else:
            low, below, above = middle, value, above / 2 if side > 0 else above
            side = 1
        if -2 * aim < value <= 0:
            break
    return math.exp(high)
