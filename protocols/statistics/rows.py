"""One site's totals: which rows a query selects, and what they add up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import EncodingError

from .columns import Levels, Number
from .encoding import exact_sum, quantise
from .plan import PRODUCTS, STATUSES, Key, Plan
from .query import BINNED, MOMENTS, PAIRS, Kind, Operator, Query

Mask = npt.NDArray[np.bool_]
_COMPARE = {
    Operator.EQUAL: np.equal,
    Operator.NOT_EQUAL: np.not_equal,
    Operator.LESS: np.less,
    Operator.AT_MOST: np.less_equal,
    Operator.GREATER: np.greater,
    Operator.AT_LEAST: np.greater_equal,
}


def numbers(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers as float64 (n,), NaN where one is missing.

    Raises:
        EncodingError: no one-dimensional array of numbers, or a masked one.
    """
    array = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray) or array.ndim != 1 or array.dtype.kind not in "fiub":
        raise EncodingError(f"column {name!r} must be a one-dimensional array of numbers, with NaN for missing ones")
    return array.astype(np.float64)


def codes(column: Levels, values: Any) -> npt.NDArray[np.int64]:
    """Return a column of texts as indices of its cells: int64 (n,).

    Raises:
        EncodingError: no one-dimensional array of texts, integers or None.
    """
    array = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray) or array.ndim != 1 or array.dtype.kind not in "UOiub":
        raise EncodingError(f"column {column.name!r} must be a one-dimensional array of texts")
    known: dict[Any, int] = {level: at for at, level in enumerate(column.levels)}
    other, missing = len(column.levels), len(column.levels) + 1
    found = [missing if value is None or value == "" else known.get(str(value), other) for value in array.tolist()]
    return np.array(found, dtype=np.int64)


@dataclass(frozen=True)
class Table:
    """A site's columns as a query reads them, every row of them.

    Args:
        query: what is asked.
        columns: name -> array of n values.

    Raises:
        EncodingError: from the methods: a column is not what the query says that it is.
    """

    query: Query
    columns: Mapping[str, Any]

    @cached_property
    def numbers(self) -> dict[str, npt.NDArray[np.float64]]:
        """Columns of numbers."""
        used = (column for column in self.query.columns if column.name in self.query.used)
        return {one.name: numbers(self.columns[one.name], one.name) for one in used if isinstance(one, Number)}

    @cached_property
    def codes(self) -> dict[str, npt.NDArray[np.int64]]:
        """Columns of levels, as cells."""
        used = (column for column in self.query.columns if column.name in self.query.used)
        return {one.name: codes(one, self.columns[one.name]) for one in used if isinstance(one, Levels)}

    def selected(self, length: int) -> Mask:
        """Return which of so many rows meet all conditions."""
        chosen = np.ones(length, dtype=np.bool_)
        for where in self.query.where:
            column = self.query.column(where.column)
            if isinstance(column, Number):
                values = self.numbers[where.column]
                if where.operator is Operator.KNOWN:
                    chosen &= (values >= column.lo) & (values <= column.hi)
                else:
                    chosen &= ~np.isnan(values) & _COMPARE[where.operator](values, float(where.constant or 0.0))
            else:
                cells = self.codes[where.column]
                if where.operator is Operator.KNOWN:
                    chosen &= cells < len(column.levels)
                else:
                    level = column.levels.index(str(where.constant))
                    chosen &= (cells != len(column.levels) + 1) & _COMPARE[where.operator](cells, level)
        return chosen

    def totals(self, plan: Plan, chosen: Mask) -> dict[Key, int]:
        """Return the totals of the chosen rows, in the plan's order."""
        return _Totals(plan, self, chosen).all()


class _Totals:
    """The totals of some rows, those of one statistic after the other."""

    def __init__(self, plan: Plan, table: Table, chosen: Mask) -> None:
        self.plan, self.query = plan, plan.query
        self.found: dict[Key, int] = {}
        self.codes = {name: cells[chosen] for name, cells in table.codes.items()}
        self.numbers = {name: values[chosen] for name, values in table.numbers.items()}
        grouping = self.query.group_by
        count = int(np.count_nonzero(chosen))
        group = np.zeros(count, dtype=np.int64) if grouping is None else self.codes[grouping]
        self.members = [group == at for at in range(plan.groups)]
        self.group = group
        self.within: dict[str, Mask] = {}
        self.levels: dict[str, npt.NDArray[np.int64]] = {}

    def all(self) -> dict[Key, int]:
        for at, members in enumerate(self.members):
            self.found["rows", at] = int(np.count_nonzero(members))
        for one in self.query.statistics:
            if one.kind in (Kind.MISSING, *MOMENTS, *PAIRS):
                for name in one.columns:
                    self._statuses(name)
            if one.kind in MOMENTS:
                self._powers(one.columns[0], MOMENTS[one.kind])
            elif one.kind in BINNED:
                self._bins(one.columns[0])
            elif one.kind in PAIRS:
                self._products(*one.columns)
            elif one.kind is Kind.TABLE:
                self._cells(*one.columns)
        return {key: self.found[key] for key in self.plan.totals}

    def _statuses(self, name: str) -> None:
        if name in self.within:
            return
        column, values = self.query.number(name), self.numbers[name]
        below, above = values < column.lo, values > column.hi
        within = (values >= column.lo) & (values <= column.hi)
        for at, members in enumerate(self.members):
            for status, mask in zip(STATUSES, (within, below, above), strict=True):
                self.found[status, name, at] = int(np.count_nonzero(members & mask))
        self.within[name] = within
        self.levels[name] = np.zeros(len(values), dtype=np.int64)
        self.levels[name][within] = quantise(column, values[within])

    def _powers(self, name: str, highest: int) -> None:
        for at, members in enumerate(self.members):
            levels = self.levels[name][members & self.within[name]]
            for power in range(1, highest + 1):
                if ("power", name, power, at) not in self.found:
                    self.found["power", name, power, at] = exact_sum((levels, power))

    def _bins(self, name: str) -> None:
        if ("bin", name, 0, 0) in self.found:
            return
        edges, values = np.array(self.query.number(name).edges), self.numbers[name]
        # As numpy's histogram: bins are closed below and open above, but the last holds its upper edge, too.
        place = np.searchsorted(edges, values, side="right")
        place[values == edges[-1]] = len(edges) - 1
        known = ~np.isnan(values)
        width = len(edges) + 1
        counts = np.bincount(self.group[known] * width + place[known], minlength=self.plan.groups * width)
        for at, count in enumerate(counts.tolist()):
            self.found["bin", name, at % width, at // width] = count

    def _products(self, first: str, second: str) -> None:
        both = self.within[first] & self.within[second]
        a, b = self.levels[first][both], self.levels[second][both]
        self.found["both", first, second] = len(a)
        for i, j in PRODUCTS:
            self.found["product", first, second, i, j] = exact_sum((a, i), (b, j))

    def _cells(self, first: str, second: str) -> None:
        width = self.query.levels(second).cells
        size = self.query.levels(first).cells * width
        counts = np.bincount(self.codes[first] * width + self.codes[second], minlength=size)
        for at, count in enumerate(counts.tolist()):
            self.found["cell", first, second, at // width, at % width] = count
