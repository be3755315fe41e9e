"""Covariance and correlation of two columns, over the rows that have both numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..chosen import Chosen
from ..encoding import exact_sum
from ..estimates.estimate import Estimate
from ..estimates.moments import CoMoments, Moments, fisher_interval
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from ..rules import Rule
from ..suppression import suppress_grid
from .counts import count_statuses, decide_statuses, status_totals
from .family import Family, estimated, hidden

PRODUCTS = ((1, 0), (0, 1), (2, 0), (0, 2), (1, 1))
"""Powers of the two columns of a pair whose products are summed, over rows where both are valid."""


class Pairs(Family):
    """Sums of products."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield statuses, the rows that have both numbers, and products."""
        yield from status_totals(query, one.columns)
        first, second = one.columns
        rows = query.max_rows
        yield ("both", first, second), rows
        for i, j in PRODUCTS:
            yield ("product", first, second, i, j), rows * query.number(first).top ** i * query.number(second).top ** j

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum products of levels."""
        count_statuses(rows, one.columns)
        first, second = one.columns
        both = rows.within(first) & rows.within(second)
        a, b = rows.levels(first)[both], rows.levels(second)[both]
        rows.found["both", first, second] = len(a)
        for i, j in PRODUCTS:
            rows.found["product", first, second, i, j] = exact_sum((a, i), (b, j))

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Hide how many rows have both numbers where that betrays how many lack one of them."""
        decide_statuses(gate, one.columns)
        key: Key = ("both", *one.columns)
        if not gate.first(key):
            return
        first, second = one.columns
        both, rows = gate.values[key], gate.values["rows", 0]
        a, b = gate.values["valid", first, 0], gate.values["valid", second, 0]
        gate.check(both <= min(a, b), a + b - both <= rows)
        counts = [[both, a - both], [b - both, rows - a - b + both]]
        lines = [{0, 1} if ("valid", name, 0) in gate.hidden else set[int]() for name in one.columns]
        found = suppress_grid(
            counts, gate.policy.min_cell, hidden_rows=lines[0], hidden_columns=lines[1], last_columns=[0]
        )
        if 0 in found.small | found.others or not found.protected:
            gate.hide(key, gate.rule(found))
        elif not gate.far(one.columns, both):
            gate.hide(key, Rule.COMPLEMENTARY)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the one finding, a correlation with its interval."""
        key: Key = ("both", *one.columns)
        n = gate.shown(key)
        if n is None:
            yield hidden(one, gate.hidden[key])
            return
        both = _comoments(gate, one, n)

        def compute() -> tuple[Any, Any]:
            found = both.covariance() if one.kind is Kind.COVARIANCE else both.correlation
            return found.value, found.error

        finding = estimated(one, n, compute)
        if one.kind is Kind.CORRELATION and finding.value is not None and n >= 4:
            found = fisher_interval(n, Estimate(finding.value, finding.error))
            finding = replace(finding, interval=(found.low, found.high))
        yield finding


def _comoments(gate: Gate, one: Statistic, n: int) -> CoMoments:
    first, second = one.columns
    a, b = gate.query.number(first), gate.query.number(second)
    sums = {power: gate.totals["product", first, second, *power] for power in PRODUCTS}
    gate.check(
        sums[2, 0] <= a.top * sums[1, 0] <= a.top**2 * n,
        sums[0, 2] <= b.top * sums[0, 1] <= b.top**2 * n,
        sums[1, 1] <= min(b.top * sums[1, 0], a.top * sums[0, 1]),
    )
    x = Moments(n, sums[1, 0], sums[2, 0], None, Fraction(a.lo), a.step)
    y = Moments(n, sums[0, 1], sums[0, 2], None, Fraction(b.lo), b.step)
    return CoMoments(x, y, sums[1, 1])
