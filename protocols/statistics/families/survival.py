"""Survival curves and the area under the ROC curve, from bins that are merged until none is small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..estimates.order import area_under_curve
from ..estimates.survival import LifeTable, SurvivalPoint, kaplan_meier, log_rank, median_survival
from ..finding import Finding
from ..gate import Gate
from ..query import Query, Statistic
from ..rules import Rule
from .cells import Block, cell_keys
from .family import estimated, hidden, tested
from .tables import Counted

Counts = npt.NDArray[Any]
"""Of Python's integers, the bins along the first axis."""


class Survival(Counted):
    """Times since a start and what they end in: the first level is the event, the second that nothing was seen yet.

    A time is moved to the last edge that it has reached. The last edge ends what is looked at.
    """

    apart = True

    def cells(self, query: Query, one: Statistic) -> int:
        """Return how many bins of time and groups there are."""
        groups = len(query.levels(one.columns[2]).levels) if len(one.columns) > 2 else 1
        return (len(query.number(one.columns[0]).edges) - 1) * groups

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing is shown but merged cells."""
        gate.whole(cell_keys(gate.query, one.columns))

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the curve of each group, and the test of all."""
        edges = gate.query.number(one.columns[0]).edges
        names: list[str | None] = [None] if len(one.columns) < 3 else [*gate.query.levels(one.columns[2]).levels]
        used = [range(1, len(edges) + 1), (0, 1)] + ([range(len(names))] if len(one.columns) > 2 else [])
        block = Block(gate, one.columns, used)
        counts = block.counts.reshape(len(edges), 2, len(names))
        beyond = counts[-1].sum(axis=0)
        ends = _life_ends(gate, counts[:-1], beyond)
        if ends is None or gate.small(block.left_out):
            yield hidden(one, Rule.CELL)
            return
        if gate.together(one, block.incomplete):
            yield hidden(one, Rule.TOGETHER)
            return
        merged = merge(counts[:-1], ends)
        after = block.counts.reshape(counts.shape)[ends[-1] if ends else 0 :].sum(axis=(0, 1))
        times = tuple(edges[end - 1] for end in ends)

        tables = [
            LifeTable(times, tuple(merged[:, 0, at]), tuple(merged[:, 1, at]), int(after[at]))
            for at in range(len(names))
        ]
        peopled = [table for table in tables if table.n]

        def compute() -> tuple[Any, Any]:
            curves = [_curve(name, table) for name, table in zip(names, tables, strict=True)]
            return {"times": list(times), "curves": curves}, 0

        parts = {"log_rank": lambda: _compared(peopled)} if len(peopled) > 1 else {}
        yield estimated(one, block.n, compute, parts=parts)


class Discrimination(Counted):
    """Scores of positive rows, those of the first level, and of negative ones, those of the second."""

    apart = True

    def cells(self, query: Query, one: Statistic) -> int:
        """Return the number of bins."""
        return len(query.number(one.columns[0]).edges) - 1

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing is shown but merged cells."""
        gate.whole(cell_keys(gate.query, one.columns))

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the bracket of the area."""
        bins = len(gate.query.number(one.columns[0]).edges) + 1
        block = Block(gate, one.columns, [range(bins), (0, 1)])
        ends = merged_ends(block.counts, gate.policy.min_cell)
        if ends and ends[-1] < bins:  # what is left over joins those before
            ends[-1] = bins
            while ends and gate.small(merge(block.counts, ends).flat):
                ends = [*ends[:-2], bins] if len(ends) > 1 else []
        if not ends or gate.small(block.left_out):
            yield hidden(one, Rule.CELL)
            return
        if gate.together(one, block.incomplete):
            yield hidden(one, Rule.TOGETHER)
            return
        counts = merge(block.counts, ends)

        def compute() -> tuple[Any, Any]:
            area = area_under_curve(counts[:, 0].tolist(), counts[:, 1].tolist())
            positives, negatives = counts.sum(axis=0).tolist()
            value = {"low": area.low, "high": area.high, "positives": positives, "negatives": negatives}
            return value, 0

        yield estimated(one, block.n, compute)


def merged_ends(counts: Counts, least: int) -> list[int]:
    """Return where neighbouring bins must end, from the first on, for no merged count to be from 1 to below `least`.

    What is behind the last end is too small, or there is nothing.
    """
    ends, start = [], 0
    for end in range(1, len(counts) + 1):
        together = counts[start:end].sum(axis=0)
        if not any(0 < count < least for count in together.flat):
            ends.append(end)
            start = end
    return ends


def merge(counts: Counts, ends: list[int]) -> Counts:
    """Return the counts of bins that are merged up to each end; what is behind the last end is left out."""
    rows = [counts[start:end].sum(axis=0) for start, end in pairwise([0, *ends])]
    return np.array(rows, dtype=object).reshape(len(ends), *counts.shape[1:])


def _life_ends(gate: Gate, counts: Counts, beyond: Counts) -> list[int] | None:
    """Return where merged times end, so that no count is small, nor that of rows seen after the last; None if none."""
    ends = merged_ends(counts, gate.policy.min_cell)
    while True:
        start = ends[-1] if ends else 0
        if not gate.small((beyond + counts[start:].sum(axis=(0, 1))).flat):
            return ends or None
        if not ends:
            return None
        ends.pop()


def _compared(groups: Sequence[LifeTable]) -> dict[str, Any]:
    test = log_rank(groups)
    return tested(test.test) | {"observed": list(test.observed), "expected": list(test.expected)}


def _curve(name: str | None, table: LifeTable) -> dict[str, Any]:
    points = kaplan_meier(table) if table.n else ()
    return {
        "group": name,
        "n": table.n,
        "beyond": table.beyond,
        "median": median_survival(table) if table.n else None,
        "points": [_point(point) for point in points],
    }


def _point(point: SurvivalPoint) -> dict[str, Any]:
    interval = point.interval
    return {
        "time": point.time,
        "at_risk": point.at_risk,
        "events": point.events,
        "survival": point.survival,
        "hazard": point.hazard,
        "deviation": point.deviation,
        "interval": None if interval is None else [interval.low, interval.high],
    }
