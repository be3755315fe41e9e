"""Kaplan-Meier, Nelson-Aalen and the log-rank test from counts over a public grid of times.

Where the grid holds every time at which something happened, results are those of the records. On a coarser grid they
are those of records whose times were moved to the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from secagg.errors import EstimateError, ParameterError

from .elimination import inverse
from .estimate import Interval, at_least, normal_quantile
from .significance import Test, chi_squared_tail


@dataclass(frozen=True, slots=True)
class LifeTable:
    """What happened to a group, by public times.

    Attributes:
        times: rising. An event between two of them is counted at the later one.
        events: records whose event came, a number for each time.
        censored: records last seen at each time, still without an event then.
        beyond: records still without an event after the last time.

    Raises:
        ParameterError: times that do not rise, numbers that do not fit, or a negative count.
    """

    times: tuple[float, ...]
    events: tuple[int, ...]
    censored: tuple[int, ...]
    beyond: int = 0

    def __post_init__(self) -> None:
        if not self.times or not len(self.times) == len(self.events) == len(self.censored):
            raise ParameterError("a life table has events and censored records for each of its times")
        if any(not left < right for left, right in pairwise(self.times)):
            raise ParameterError("times must rise")
        if min(*self.events, *self.censored, self.beyond) < 0:
            raise ParameterError("counts are not negative")

    @property
    def n(self) -> int:
        """Records of the group."""
        return sum(self.events) + sum(self.censored) + self.beyond

    def at_risk(self) -> tuple[int, ...]:
        """Records with neither event nor censoring before each time."""
        left, risks = self.n, []
        for event, censored in zip(self.events, self.censored, strict=True):
            risks.append(left)
            left -= event + censored
        return tuple(risks)


@dataclass(frozen=True, slots=True)
class SurvivalPoint:
    """The curve from one time on.

    Attributes:
        time, at_risk, events: as in the table.
        survival: Kaplan and Meier's estimate, exactly.
        hazard: Nelson and Aalen's cumulative hazard, exactly.
        deviation: Greenwood's standard error of the survival; None where the survival is 0.
        interval: on the scale of logarithms, as R's `survfit` draws it, and not above 1; None where the survival is 0.
    """

    time: float
    at_risk: int
    events: int
    survival: Fraction
    hazard: Fraction
    deviation: float | None
    interval: Interval | None


def kaplan_meier(table: LifeTable, confidence: float = 0.95) -> tuple[SurvivalPoint, ...]:
    """Return the curve at every time with an event.

    Raises:
        EstimateError: no records (`too-few-records`).
        ParameterError: the confidence is not between 0 and 1.
    """
    at_least(table.n, 1, "a survival curve")
    reach = normal_quantile(confidence)
    survival, hazard, greenwood = Fraction(1), Fraction(0), Fraction(0)
    points = []
    for time, risk, events in zip(table.times, table.at_risk(), table.events, strict=True):
        if not events:
            continue
        survival *= Fraction(risk - events, risk)
        hazard += Fraction(events, risk)
        deviation = interval = None
        if survival:
            greenwood += Fraction(events, risk * (risk - events))
            wide, value = math.sqrt(greenwood), float(survival)
            deviation = value * wide
            interval = Interval(value * math.exp(-reach * wide), min(value * math.exp(reach * wide), 1.0), confidence)
        points.append(SurvivalPoint(time, risk, events, survival, hazard, deviation, interval))
    return tuple(points)


def median_survival(table: LifeTable) -> float | None:
    """Return the first time from which at most half survive, or None where the curve stays above one half.

    Raises:
        EstimateError: no records (`too-few-records`).
    """
    return next((point.time for point in kaplan_meier(table) if point.survival <= Fraction(1, 2)), None)


@dataclass(frozen=True, slots=True)
class LogRank:
    """A comparison of groups' survival.

    Attributes:
        observed: events of each group.
        expected: what they would be if no group differed, exactly.
        test: chi-squared, with one degree less than groups.
    """

    observed: tuple[int, ...]
    expected: tuple[Fraction, ...]
    test: Test


def log_rank(groups: Sequence[LifeTable]) -> LogRank:
    """Test that two or more groups have one survival curve.

    Raises:
        ParameterError: fewer than two groups, or different times.
        EstimateError: a group has no records, or none at risk together with another's at any event (`empty-margin`).
    """
    if len(groups) < 2 or any(group.times != groups[0].times for group in groups):
        raise ParameterError("a log-rank test compares two groups or more over the same times")
    expected = [Fraction(0) for _ in groups]
    spread = [[Fraction(0) for _ in groups] for _ in groups]
    risks = zip(*(group.at_risk() for group in groups), strict=True)
    events = (sum(column) for column in zip(*(group.events for group in groups), strict=True))
    for at_risk, deaths in zip(risks, events, strict=True):
        n = sum(at_risk)
        if not deaths:
            continue
        shares = [Fraction(risk, n) for risk in at_risk]
        # The hypergeometric law of which records died; a single one left has no choice.
        width = Fraction(deaths * (n - deaths), n - 1) if n > 1 else Fraction(0)
        for j, share in enumerate(shares):
            expected[j] += deaths * share
            for k, other in enumerate(shares):
                spread[j][k] += width * share * ((j == k) - other)
    observed = tuple(sum(group.events) for group in groups)
    # All groups' differences add up to 0: one of them says nothing new.
    surplus = [seen - fair for seen, fair in zip(observed, expected, strict=True)][:-1]
    try:
        statistic = float(inverse([row[:-1] for row in spread[:-1]]).form(surplus))
    except EstimateError:
        raise EstimateError(
            "a group has no records at risk together with another group's at any event: leave it out",
            reason="empty-margin",
        ) from None
    degrees = len(groups) - 1
    return LogRank(observed, tuple(expected), Test(statistic, (degrees,), chi_squared_tail(statistic, degrees)))
