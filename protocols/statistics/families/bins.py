"""Histogram, ECDF, quantiles and the median, from counts between public edges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from ..chosen import Chosen
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from ..rules import Rule
from ..suppression import suppress
from .family import Family, hidden


class Bins(Family):
    """Counts of values in bins, below and above them."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the rows of each group and bin."""
        (name,) = one.columns
        for group, at in product(range(len(query.groups)), range(len(query.number(name).edges) + 1)):
            yield ("bin", name, at, group), query.max_rows

    def cells(self, query: Query, one: Statistic) -> int:
        """Return the number of bins."""
        return len(query.number(one.columns[0]).edges) - 1

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Count as numpy's histogram: bins are closed below and open above, but the last holds its upper edge, too."""
        (name,) = one.columns
        if ("bin", name, 0, 0) in rows.found:
            return
        edges, values = np.array(rows.query.number(name).edges), rows.numbers[name]
        place = np.searchsorted(edges, values, side="right")
        place[values == edges[-1]] = len(edges) - 1
        known = ~np.isnan(values) & (rows.group >= 0)
        width = len(edges) + 1
        counts = np.bincount(rows.group[known] * width + place[known], minlength=len(rows.members) * width)
        for at, count in enumerate(counts.tolist()):
            rows.found["bin", name, at % width, at // width] = count

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Decide about bins and what has no number, once for each column."""
        (name,) = one.columns
        if not gate.first(("bins", name)):
            return
        bins, groups = range(len(gate.query.number(name).edges) + 1), range(len(gate.query.groups))
        for group in groups:
            known = sum(gate.values["bin", name, at, group] for at in bins)
            gate.derive(("bin missing", name, group), gate.values["rows", group] - known)
        cells: list[list[Key]] = [
            [*(("bin", name, at, group) for at in bins), ("bin missing", name, group)] for group in groups
        ]
        if ("valid", name, 0) not in gate.values:
            gate.partition(cells)
            return
        _beside_statuses(gate, name, cells)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield what the counts that are shown tell, and nothing else."""
        for at, group in enumerate(gate.query.groups):
            yield _histogram(gate, one, at, group) if one.kind is Kind.HISTOGRAM else _shares(gate, one, at, group)


def _beside_statuses(gate: Gate, name: str, cells: list[list[Key]]) -> None:
    """Decide about bins where the column's statuses are shown, too: as one line, whose bins add up to the valid rows.

    Where edges do not reach from bound to bound, or by groups, statuses that are shown may tell a bin that is hidden
    and the other way round: statuses and moments stay hidden then, if anything is.
    """
    column, before = gate.query.number(name), dict(gate.hidden)
    statuses: list[list[Key]] = [
        [(status, name, group) for status in ("valid", "below", "above", "missing")] for group in range(len(cells))
    ]
    if len(cells) == 1 and (column.edges[0], column.edges[-1]) == (column.lo, column.hi):
        (line,), (names,) = cells, statuses
        for key in names:
            gate.hidden.pop(key, None)
        at = range(len(line) + 1)  # the bins, what is missing, and what is valid
        values = [*(gate.values[key] for key in line), gate.values[names[0]]]
        inner, valid = range(1, len(line) - 2), len(line)
        gate.check(sum(values[place] for place in inner) == values[valid])
        identities: list[dict[int, int]] = [
            dict.fromkeys(inner, 1) | {valid: -1},
            {0: 1, len(line) - 2: 1, len(line) - 1: 1, valid: 1},
        ]
        found = suppress(values, identities, gate.policy.min_cell, last=[valid])
        gone = found.small | found.others if found.protected else frozenset(at)
        same = {valid: names[0], 0: names[1], len(line) - 2: names[2], len(line) - 1: names[3]}
        for place in gone:
            if place < len(line):
                gate.hide(line[place], gate.rule(found))
            if place in same:
                gate.hide(same[place], gate.rule(found))
        return
    gate.partition(cells)
    if (
        gate.hidden != before
        or any(key in gate.hidden for row in statuses for key in row)
        or _straddled(gate, cells, statuses)
    ):
        for row in statuses:
            for key in row:
                gate.hide(key, Rule.TOGETHER)


def _straddled(gate: Gate, cells: list[list[Key]], statuses: list[list[Key]]) -> bool:
    """Tell whether few rows are between a bound and the edge next to it."""
    for row, names in zip(cells, statuses, strict=True):
        bins, (valid, below, above, _) = [gate.values[key] for key in row], (gate.values[key] for key in names)
        apart = (bins[0] - below, bins[-2] - above, sum(bins[1:-2]) - valid)
        if any(0 < abs(count) < gate.policy.min_cell for count in apart):
            return True
    return False


def _histogram(gate: Gate, one: Statistic, at: int, group: str | None) -> Finding:
    (name,) = one.columns
    edges = gate.query.number(name).edges
    bins: list[Key] = [("bin", name, place, at) for place in range(1, len(edges))]
    outside: dict[str, Key] = {
        "below": ("bin", name, 0, at),
        "above": ("bin", name, len(edges), at),
        "missing": ("bin missing", name, at),
    }
    value: dict[str, Any] = {"edges": list(edges), "counts": [gate.shown(key) for key in bins]}
    value |= {what: gate.shown(key) for what, key in outside.items()}
    labels = {f"bin {place}": key for place, key in enumerate(bins, 1)}
    return Finding(one.kind, one.columns, group, value, 0, gate.shown(("rows", at)), gate.rules(labels | outside))


def _shares(gate: Gate, one: Statistic, at: int, group: str | None) -> Finding:
    (name,) = one.columns
    edges = gate.query.number(name).edges
    known = _cumulated(gate, name, at)
    if known is None:
        keys: list[Key] = [("rows", at), ("bin missing", name, at)]
        rules = [gate.hidden[key] for key in keys if key in gate.hidden]
        return hidden(one, rules[0] if rules else Rule.COMPLEMENTARY, group=group)
    n, low, high = known
    if n == 0:
        return Finding(one.kind, one.columns, group, None, None, 0, Rule.UNDEFINED, reason="too-few-records")
    if one.kind is Kind.ECDF:
        shares = [Fraction(least, n) if least == most else None for least, most in zip(low, high, strict=True)]
        gone = {f"edge {place}": Rule.COMPLEMENTARY for place, share in enumerate(shares) if share is None}
        return Finding(one.kind, one.columns, group, {"edges": list(edges), "shares": shares}, 0, n, gone or None)
    quantiles = one.parameters or (0.5,)
    brackets = [bracket(edges, low, high, n, each) for each in quantiles]
    return Finding(one.kind, one.columns, group, {"quantiles": list(quantiles), "brackets": brackets}, 0, n)


def _cumulated(gate: Gate, name: str, group: int) -> tuple[int, list[int], list[int]] | None:
    """Return how many rows have a number, and bounds on how many are below each edge: from what is shown alone."""
    total, absent = gate.shown(("rows", group)), gate.shown(("bin missing", name, group))
    shown = [gate.shown(("bin", name, at, group)) for at in range(len(gate.query.number(name).edges) + 1)]
    least = [count or 0 for count in shown]
    if total is not None and absent is not None:
        n = total - absent
    elif None not in shown:
        n = sum(least)
    else:
        return None
    low, high = [], []
    for at in range(1, len(shown)):
        before, after = sum(least[:at]), n - sum(least[at:])
        low.append(after if None not in shown[at:] else before)
        high.append(before if None not in shown[:at] else after)
    return n, low, high


def bracket(
    edges: Sequence[float], low: Sequence[int], high: Sequence[int], n: int, quantile: float
) -> tuple[float | None, float | None]:
    """Return two edges with the quantile between them; None for an end that is beyond the edges.

    The quantile is numpy's default, between the order statistics of the ranks around (n - 1) quantile, from 0.

    Args:
        edges: ascending.
        low: at least so many values are below each edge, those at the last edge counted as below it.
        high: at most so many.
        n: how many values there are.
        quantile: in (0, 1).
    """
    rank = Fraction(quantile) * (n - 1)
    lower, upper = math.floor(rank), math.ceil(rank)
    below = [edge for edge, most in zip(edges, high, strict=True) if most <= lower]
    above = [edge for edge, least in zip(edges, low, strict=True) if least > upper]
    return (below[-1] if below else None, above[0] if above else None)
