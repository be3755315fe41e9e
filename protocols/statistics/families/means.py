"""Tests of whether groups have one mean, from each level's sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from secagg.errors import EstimateError

from ..chosen import Chosen
from ..encoding import exact_sum
from ..estimates.estimate import at_least
from ..estimates.moments import Moments
from ..estimates.tests import Difference, Variances, analysis_of_variance, student, welch
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from ..rules import Rule
from .family import Family, estimated, hidden, part, tested


class Means(Family):
    """Sums of powers of a number over the rows of each level."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the rows, the sum and the sum of squares of each level."""
        name, by = one.columns
        for level, power in product(range(len(query.levels(by).levels)), range(3)):
            yield ("by", name, by, level, power), query.max_rows * query.number(name).top ** power

    def cells(self, query: Query, one: Statistic) -> int:
        """Return the number of levels."""
        return len(query.levels(one.columns[1]).levels)

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum powers of levels of the number, by levels of the other column."""
        name, by = one.columns
        for level in range(len(rows.query.levels(by).levels)):
            levels = rows.levels(name)[rows.within(name) & (rows.codes[by] == level)]
            for power in range(3):
                rows.found["by", name, by, level, power] = exact_sum((levels, power))

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing more: all that is shown hangs on the levels' numbers of rows."""

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the test and the means, if no level has few rows and few are left out."""
        name, by = one.columns
        column, names = gate.query.number(name), gate.query.levels(by).levels
        sums = [[gate.totals["by", name, by, level, power] for power in range(3)] for level in range(len(names))]
        n = sum(each[0] for each in sums)
        left_out = gate.values["rows", 0] - n
        gate.check(*(second <= column.top * first <= column.top**2 * count for count, first, second in sums))
        if gate.small([*(each[0] for each in sums), left_out]):
            yield hidden(one, Rule.CELL)
            return
        if gate.together(one, left_out):
            yield hidden(one, Rule.TOGETHER)
            return
        groups = {
            level: Moments(count, first, second, None, Fraction(column.lo), column.step)
            for level, (count, first, second) in zip(names, sums, strict=True)
        }

        def compute() -> tuple[Any, Any]:
            at_least(n, 1, "a mean")
            means = {level: part(each.mean) | {"n": each.n} for level, each in groups.items() if each.n}
            return {"means": means}, column.step / 2

        yield estimated(one, n, compute, parts=_tests(one, list(groups.values())))


def _tests(one: Statistic, groups: Sequence[Moments]) -> dict[str, Callable[[], Any]]:
    if one.kind is Kind.T_TEST:
        first, second = groups
        return {
            "student": lambda: _difference(student(first, second)),
            "welch": lambda: _difference(welch(first, second)),
        }
    peopled = [each for each in groups if each.n]
    return {"test": lambda: tested(_varied(peopled).test), "eta_squared": lambda: _varied(peopled).share}


def _varied(groups: Sequence[Moments]) -> Variances:
    if len(groups) < 2:
        raise EstimateError("fewer than two levels have rows", reason="too-few-records")
    return analysis_of_variance(groups)


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "difference": part(found.estimate),
        "interval": [found.interval.low, found.interval.high],
        "test": tested(found.test),
    }
