"""A number with its error, an interval, and roots of rationals between rational bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from secagg.errors import EstimateError, ParameterError

_BITS = 80
"""Roots are bounded to this many bits, more than a float holds."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of the rounded data.

    Attributes:
        value: a rational where the statistic is one, else the nearest float.
        error: the statistic of the data before rounding is at most this far from `value`; `inf` where the rounding is
            too coarse for any bound. It says nothing about sampling.
    """

    value: Fraction | float
    error: Fraction | float

    def contains(self, number: Fraction | float) -> bool:
        """Tell whether the number is within the error of the value, compared as rationals."""
        return self.error == math.inf or abs(Fraction(number) - Fraction(self.value)) <= Fraction(self.error)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval: both ends and the share of samples in which it holds the true value."""

    low: float
    high: float
    confidence: float


def root(square: Fraction) -> tuple[Fraction, Fraction]:
    """Bound the square root of a rational that is not negative: below and above, equal where the root is rational.

    Else both have few bits, however many the rational has.
    """
    above, below = square.numerator, square.denominator
    root_above, root_below = math.isqrt(above), math.isqrt(below)
    if root_above**2 == above and root_below**2 == below:
        exact = Fraction(root_above, root_below)
        return exact, exact
    shift = _BITS - (above.bit_length() - below.bit_length()) // 2
    whole = math.isqrt((above << 2 * shift) // below if shift >= 0 else above // (below << -2 * shift))
    unit = Fraction(1, 1 << shift) if shift >= 0 else Fraction(1 << -shift)
    return whole * unit, (whole + 1) * unit


def upwards(number: Fraction) -> float:
    """Return the least float that is not below the number; `inf` beyond the greatest."""
    try:
        nearest = float(number)
    except OverflowError:
        return math.inf
    return nearest if nearest >= number else math.nextafter(nearest, math.inf)


def within(value: Fraction, low: Fraction, high: Fraction) -> Estimate:
    """Return the float nearest to `value`, with an error that reaches both bounds of what it may have been."""
    nearest = float(value)
    return Estimate(nearest, upwards(max(high - Fraction(nearest), Fraction(nearest) - low, Fraction(0))))


def confident(confidence: float) -> float:
    """Return the confidence; raise ParameterError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise ParameterError(f"a confidence of {confidence} is not possible: choose one between 0 and 1, such as 0.95")
    return confidence


def normal_quantile(confidence: float) -> float:
    """Return how many deviations a two-sided interval of a normal law reaches to either side."""
    return NormalDist().inv_cdf((1 + confident(confidence)) / 2)


def at_least(n: int, needed: int, what: str) -> None:
    """Raise EstimateError when there are fewer records than a statistic needs."""
    if n < needed:
        raise EstimateError(f"{what} needs at least {needed} records, not {n}", reason="too-few-records")
