"""One site's totals: which rows a query selects, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import EncodingError, ParameterError

from .chosen import Chosen, Mask
from .columns import Levels, Number
from .families.registry import FAMILIES, once
from .kinds import Key
from .plan import Plan
from .query import Operator, Query

_EXACT = 1 << 53
_COMPARE = {
    Operator.EQUAL: np.equal,
    Operator.NOT_EQUAL: np.not_equal,
    Operator.LESS: np.less,
    Operator.AT_MOST: np.less_equal,
    Operator.GREATER: np.greater,
    Operator.AT_LEAST: np.greater_equal,
}


def settled(name: str, values: Any) -> npt.NDArray[Any]:
    """Return a column as an array whose type is settled: one row more cannot make it another one.

    Arrays of numbers, of texts and of what no question reads stay as they are. Lists, and arrays of objects, become
    float64 (n,) with NaN for None if they have numbers alone, and texts or None otherwise.

    Raises:
        ParameterError: numbers and texts in one column, or other things; whole numbers in a list that floats do not
            hold; a masked array, whose mask says what nobody may read.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ParameterError(f"column {name!r} is a masked array: fill it, with NaN, None or '' for missing values")
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    given = list(values)
    known = [each for each in given if not _nothing(each)]
    if all(isinstance(each, str) for each in known) and (known or isinstance(values, np.ndarray)):
        column = np.empty(len(given), dtype=object)
        column[:] = [None if _nothing(each) else each for each in given]
        return column
    if not all(isinstance(each, int | float | np.integer | np.floating | np.bool_) for each in known):
        raise ParameterError(f"column {name!r} must have numbers, or texts, alone: convert it")
    if any(isinstance(each, int | np.integer) and not -_EXACT <= each <= _EXACT for each in known):
        raise ParameterError(f"column {name!r} has integers beyond 2^53, which floats do not hold: give names as texts")
    return np.array([math.nan if each is None else float(each) for each in given])


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def numbers(values: Any, name: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers as float64 (n,), NaN where one is missing.

    Raises:
        EncodingError: no one-dimensional array of numbers, or a masked one.
    """
    array = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray) or array.ndim != 1 or array.dtype.kind not in "fiub":
        raise EncodingError(f"column {name!r} must be a one-dimensional array of numbers, with NaN for missing ones")
    if array.dtype.kind in "iu" and array.size and not -_EXACT <= int(array.min()) <= int(array.max()) <= _EXACT:
        raise EncodingError(f"column {name!r} has integers beyond 2^53, which floats do not hold")
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

    def cell(value: Any) -> int:
        nothing = value is None or value == "" or (isinstance(value, float) and math.isnan(value))
        return missing if nothing else known.get(str(value), other)

    return np.array([cell(value) for value in array.tolist()], dtype=np.int64)


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

    def read(self) -> None:
        """Read every column that the query uses; raise EncodingError where one is of another type."""
        _ = self.numbers, self.codes

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
        rows = Chosen(
            self.query,
            {name: values[chosen] for name, values in self.numbers.items()},
            {name: cells[chosen] for name, cells in self.codes.items()},
            int(np.count_nonzero(chosen)),
        )
        for one in once(self.query.statistics):
            FAMILIES[one.kind].count(rows, one)
        return {key: rows.found[key] for key in plan.totals}
