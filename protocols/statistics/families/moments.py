"""Mean, variance, deviation and skewness of one column, from sums of powers."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

from secagg.errors import EstimateError

from ..chosen import Chosen
from ..encoding import exact_sum
from ..estimates.moments import Moments
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from .counts import count_statuses, decide_statuses, status_totals
from .family import Family, estimated, hidden

POWERS = {Kind.MEAN: 1, Kind.VARIANCE: 2, Kind.DEVIATION: 2, Kind.SKEWNESS: 3}
"""Kind -> the highest power that is summed."""


class Powers(Family):
    """Sums of powers over the rows whose number is valid."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield statuses, then powers of each group."""
        yield from status_totals(query, one.columns)
        (name,) = one.columns
        for power, group in product(range(1, POWERS[one.kind] + 1), range(len(query.groups))):
            yield ("power", name, power, group), query.max_rows * query.number(name).top ** power

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum powers of levels."""
        count_statuses(rows, one.columns)
        (name,) = one.columns
        for at, members in enumerate(rows.members):
            levels = rows.levels(name)[members & rows.within(name)]
            for power in range(1, POWERS[one.kind] + 1):
                if ("power", name, power, at) not in rows.found:
                    rows.found["power", name, power, at] = exact_sum((levels, power))

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Moments are shown where the number of their rows is."""
        decide_statuses(gate, one.columns)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the moment of each group."""
        for at, group in enumerate(gate.query.groups):
            key = ("valid", one.columns[0], at)
            n = gate.shown(key)
            if n is None:
                yield hidden(one, gate.hidden[key], group=group)
            else:
                yield estimated(one, n, lambda at=at, n=n: _moment(gate, one, at, n), group)  # type: ignore[misc]


def _moment(gate: Gate, one: Statistic, group: int, n: int) -> tuple[Any, Any]:
    (name,) = one.columns
    column = gate.query.number(name)
    sums = [gate.totals["power", name, power, group] for power in range(1, POWERS[one.kind] + 1)]
    powers = [n, *sums]
    gate.check(*(after <= before * column.top for before, after in pairwise(powers)))
    if one.kind is Kind.MEAN:
        if n == 0:
            raise EstimateError("there are no rows", reason="too-few-records")
        return Fraction(column.lo) + column.step * Fraction(sums[0], n), column.step / 2
    cubes = sums[2] if len(sums) > 2 else None
    moments = Moments(n, sums[0], sums[1], cubes, Fraction(column.lo), column.step)
    if one.kind is Kind.VARIANCE:
        found = moments.variance()
    else:
        found = moments.deviation if one.kind is Kind.DEVIATION else moments.skewness
    return found.value, found.error
