"""Tests of means: Student's and Welch's t, one-way analysis of variance, from each group's sums.

Rounding moves a group's mean by at most half its step, and the vector of all records by at most D = sqrt(sum n h^2);
each statistic's error reaches to what it would be if its parts moved that far apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import EstimateError, ParameterError

from .estimate import Estimate, Interval, at_least, confident, root, within
from .moments import Moments
from .significance import Test, f_tail, t_quantile, t_tails


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two groups' means, first less second.

    Attributes:
        estimate: its value, with the error of rounding.
        interval: by Student's t; it does not hold the error of rounding.
        test: of no difference, two-sided.
    """

    estimate: Estimate
    interval: Interval
    test: Test


def student(first: Moments, second: Moments, confidence: float = 0.95) -> Difference:
    """Student's t test of two groups with one variance.

    Raises:
        EstimateError: an empty group, or fewer than three records in both (`too-few-records`); both groups are constant
            (`constant`).
        ParameterError: the confidence is not between 0 and 1.
    """
    groups = (first, second)
    _peopled(groups, 3, "Student's t")
    free = first.n + second.n - 2
    scale = Fraction(1, first.n) + Fraction(1, second.n)
    square = sum((group.squares for group in groups), Fraction(0)) / free * scale
    return _compared(first, second, square, root(_moved(groups) / free * scale)[1], float(free), confidence)


def welch(first: Moments, second: Moments, confidence: float = 0.95) -> Difference:
    """Welch's t test of two groups, each with its own variance, and the degrees of Welch and Satterthwaite.

    Raises:
        EstimateError: fewer than two records in a group (`too-few-records`); both groups are constant (`constant`).
        ParameterError: the confidence is not between 0 and 1.
    """
    groups = (first, second)
    for group in groups:
        at_least(group.n, 2, "a group of Welch's t")
    parts = [group.squares / (group.n - 1) / group.n for group in groups]
    square = sum(parts, Fraction(0))
    below = sum((part**2 / (group.n - 1) for part, group in zip(parts, groups, strict=True)), Fraction(0))
    degrees = float(square**2 / below) if below else math.nan
    moved = root(sum((group.half**2 / (group.n - 1) for group in groups), Fraction(0)))[1]
    return _compared(first, second, square, moved, degrees, confidence)


@dataclass(frozen=True, slots=True)
class Variances:
    """One-way analysis of variance.

    Attributes:
        test: F, with degrees between and within groups.
        between, within: sums of squares of the rounded data, exactly.
        share: eta squared, the share of the sum of squares that lies between groups.
    """

    test: Test
    between: Fraction
    within: Fraction
    share: float


def analysis_of_variance(groups: Sequence[Moments]) -> Variances:
    """One-way analysis of variance of two or more groups.

    Raises:
        ParameterError: fewer than two groups.
        EstimateError: an empty group, or no more records than groups (`too-few-records`); all groups are constant
            (`constant`).
    """
    if len(groups) < 2:
        raise ParameterError("an analysis of variance compares two groups or more")
    _peopled(groups, len(groups) + 1, "an analysis of variance")
    n = sum(group.n for group in groups)
    above, below = len(groups) - 1, n - len(groups)
    means = [Fraction(group.mean.value) for group in groups]
    grand = sum((group.n * mean for group, mean in zip(groups, means, strict=True)), Fraction(0)) / n
    between = sum((g.n * (mean - grand) ** 2 for g, mean in zip(groups, means, strict=True)), Fraction(0))
    inside = sum((group.squares for group in groups), Fraction(0))
    if not inside:
        raise EstimateError("no group varies", reason="constant")
    value = between / inside * Fraction(below, above)
    moved = root(_moved(groups))[1]
    top, bottom = root(between), root(inside)
    low = max(top[0] - moved, Fraction(0)) ** 2 / (bottom[1] + moved) ** 2
    if bottom[0] > moved:
        high = (top[1] + moved) ** 2 / (bottom[0] - moved) ** 2
        statistic = within(value, low * Fraction(below, above), high * Fraction(below, above))
    else:
        statistic = Estimate(float(value), math.inf)
    f = float(statistic.value)
    test = Test(f, (above, below), f_tail(f, above, below), float(statistic.error))
    return Variances(test, between, inside, float(between / (between + inside)))


def _peopled(groups: Sequence[Moments], needed: int, what: str) -> None:
    for group in groups:
        at_least(group.n, 1, f"each group of {what}")
    at_least(sum(group.n for group in groups), needed, what)


def _moved(groups: Sequence[Moments]) -> Fraction:
    """The square of the most by which rounding moved the vector of all records."""
    return sum((group.n * group.half**2 for group in groups), Fraction(0))


def _compared(
    first: Moments, second: Moments, square: Fraction, moved: Fraction, degrees: float, confidence: float
) -> Difference:
    """Compare two means whose standard error has this square, and may be off by `moved`."""
    if not square:
        raise EstimateError("neither group varies", reason="constant")
    distance = Fraction(first.mean.value) - Fraction(second.mean.value)
    off = first.half + second.half
    low, high = root(square)
    if low > moved:
        ends = [(distance + sign * off) / wide for sign in (-1, 1) for wide in (low - moved, high + moved)]
        statistic = within(distance / high, min(ends), max(ends))
    else:
        statistic = Estimate(float(distance / high), math.inf)
    t = float(statistic.value)
    reach = t_quantile(confident(confidence), degrees) * float(high)
    return Difference(
        Estimate(distance, off),
        Interval(float(distance) - reach, float(distance) + reach, confidence),
        Test(t, (degrees,), t_tails(t, degrees), float(statistic.error)),
    )
