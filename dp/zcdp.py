"""Zero-concentrated DP: conversions to and from (epsilon, delta), and what composes by simple sums.

Source: Bun, Steinke (2016); conversions of Canonne, Kamath, Steinke (2020), corollary 13: rho-zCDP implies
delta = inf over alpha > 1 of exp((alpha - 1)(alpha rho - epsilon)) (1 - 1/alpha)**alpha / (alpha - 1). Every alpha
gives a valid bound, so that an inexact minimum is never optimistic.
"""

from __future__ import annotations

import math
from fractions import Fraction

from .analytic import smallest
from .rational import exact, number, positive
from .sensitivity import check_count, check_delta, check_epsilon, float_above, round_up


def zcdp_delta(rho: float, epsilon: float) -> float:
    """Return a delta for which rho-zCDP implies (epsilon, delta)-DP.

    Raises:
        PrivacyParameterError: rho <= 0 or epsilon < 0, NaN or infinite.
    """
    rho = number(rho, "rho", math.inf)
    epsilon = check_epsilon(epsilon, zero=True)
    low, high = 1.0, (epsilon + 1) / (2 * rho) + 2
    for _ in range(80):
        alpha = (low + high) / 2
        if not low < alpha < high:
            break
        slope = (2 * alpha - 1) * rho - epsilon - math.log1p(1 / (alpha - 1))
        low, high = (alpha, high) if slope < 0 else (low, alpha)
    alpha = high
    # log(1 - 1/alpha) = -log(1 + 1/(alpha - 1)), which keeps its digits where alpha is next to 1.
    loss, shift = (alpha - 1) * (alpha * rho - epsilon), alpha * math.log1p(1 / (alpha - 1))
    exponent = loss - shift - math.log(alpha - 1)
    doubt = 2.0**-50 * ((alpha - 1) * (alpha * rho + epsilon) + shift + 1)  # more than their rounding
    return min(1.0, round_up(math.exp(min(0.0, exponent + doubt)) * (1 + 1e-14)))


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Return the least epsilon that `zcdp_delta` grants for delta, rounded up.

    Raises:
        PrivacyParameterError: rho <= 0; delta outside (0, 1).
    """
    rho = number(rho, "rho", math.inf)
    delta = check_delta(delta)
    if zcdp_delta(rho, 0.0) <= delta:
        return 0.0
    high = rho + 2 * math.sqrt(rho * math.log(1 / delta)) + 1e-12  # Bun and Steinke's bound is never smaller
    while zcdp_delta(rho, high) > delta:
        high *= 2
    return smallest(lambda epsilon: zcdp_delta(rho, epsilon) <= delta, 0.0, high)


def zcdp_rho(epsilon: float, delta: float) -> float:
    """Return the largest rho whose `zcdp_delta` stays within delta at epsilon, rounded down.

    Raises:
        PrivacyParameterError: epsilon <= 0; delta outside (0, 1).
    """
    epsilon, delta = check_epsilon(epsilon), check_delta(delta)
    low = high = 1 / (2 * epsilon + 2)
    while zcdp_delta(1 / high, epsilon) > delta:
        low, high = high, 2 * high
    inverse = smallest(lambda x: zcdp_delta(1 / x, epsilon) <= delta, low, high)
    rho, step = math.nextafter(1 / inverse, 0.0), 2.0**-52  # and down until it is certain
    while zcdp_delta(rho, epsilon) > delta:
        rho, step = rho * (1 - step), 2 * step
    return rho


def gaussian_rho(noise_multiplier: float) -> float:
    """Return rho = 1 / (2 noise_multiplier**2), for Gaussian and discrete Gaussian noise alike, rounded up.

    It is infinite where that is beyond floats.
    """
    return float_above(1 / (2 * positive(noise_multiplier, "noise_multiplier") ** 2))


def basic_composition(guarantees: list[tuple[float, float]]) -> tuple[float, float]:
    """Return (sum of epsilons, sum of deltas), rounded up: always valid, rarely tight."""
    epsilon = delta = Fraction(0)
    for e, d in guarantees:
        check_epsilon(e, zero=True)
        check_delta(d, zero=True)
        epsilon, delta = epsilon + exact(e, "epsilon"), delta + exact(d, "delta")
    return float_above(epsilon), min(1.0, float_above(delta))


def advanced_composition(epsilon: float, delta: float, count: int, slack: float) -> tuple[float, float]:
    """Return the guarantee of `count` adaptive (epsilon, delta) mechanisms, spending `slack` of delta.

    Source: Dwork, Rothblum, Vadhan (2010), with the mean loss epsilon * tanh(epsilon / 2) of Dwork, Rothblum (2016):
    (epsilon sqrt(2 k log(1 / slack)) + k epsilon tanh(epsilon / 2), k delta + slack). Never worse than the basic sum.
    """
    epsilon, delta, slack = check_epsilon(epsilon), check_delta(delta, zero=True), check_delta(slack)
    count = check_count(count, "count")
    grown = epsilon * math.sqrt(2 * count * math.log(1 / slack)) + count * epsilon * math.tanh(epsilon / 2)
    return round_up(min(grown, count * epsilon)), min(1.0, round_up(count * delta + slack))
