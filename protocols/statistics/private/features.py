"""What one row adds to the totals of a noisy answer, how much that is at most, and how the noise is shared out.

Totals come in *blocks*. A block is either cells of which each row is in one at most, or one number from -1 to 1, in the
cell of the row's group, where it is there. So a row adds a vector of norm at most 1 to each block; and a row whose
numbers are all there, at a bound, adds norm 1 to all of them at once. With block b times w_b, one row therefore moves
the totals by sqrt(sum of w_b^2) in L2, exactly: nothing is lost by bounding the blocks apart.

Numbers are centred: u = (x - middle) / (half of the range), 2 u^2 - 1 and u v all reach from -1 to 1. The noise on a
total of block b then has a variance in proportion to (sum of w^2) / w_b^2. Where k_b of the statistics read block b,
what they suffer together, the sum of k_b / w_b^2, is least for w_b^2 = sqrt(k_b) (Cauchy and Schwarz).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from secagg.errors import ParameterError

from ..chosen import Mask
from ..columns import Number
from ..kinds import BINNED, PAIRS, Key, Kind
from ..query import Query, Statistic
from ..rows import Table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_PRIVATE_TOTALS = 1 << 16
"""Until it is summed a row is a vector of so many floats."""
STATUSES = ("valid", "below", "above", "missing")
_ENTRIES = 1 << 20
"""Rows are laid out by so many floats at a time."""


def blocks_of(one: Statistic) -> tuple[Key, ...]:
    """Return the blocks that a statistic reads.

    ("rows",), ("status", column), ("power", column, 1 or 2), ("bin", column), ("cell", a, b); and for pairs, over the
    rows in which every column of every pair is valid: ("complete",), ("sum", column), ("square", column), ("product",
    a, b) with a before b in the order of names.
    """
    kind, columns = one.kind, one.columns
    if kind is Kind.COUNT:
        return (("rows",),)
    if kind in PAIRS:
        sums: list[Key] = [("sum", name) for name in columns]
        squares: list[Key] = [("square", name) for name in columns] if kind is Kind.CORRELATION else []
        return (("complete",), *sums, *squares, ("product", *sorted(columns)))
    if kind is Kind.TABLE:
        return (("cell", *columns),)
    (name,) = columns
    if kind in BINNED:
        return (("bin", name),)
    powers: list[Key] = [("power", name, power) for power in (1, 2)]
    return (("status", name), *powers[: {Kind.MISSING: 0, Kind.MEAN: 1}.get(kind, 2)])


@dataclass(frozen=True)
class Features:
    """The totals of a query that are given with noise.

    Args:
        query: of supported kinds.

    Raises:
        ParameterError: it needs more than 2^16 totals.
    """

    query: Query

    def __post_init__(self) -> None:
        """Count before anything is made."""
        if self.length > MAX_PRIVATE_TOTALS:
            raise ParameterError(
                f"the question needs {self.length} totals, and may need {MAX_PRIVATE_TOTALS}: ask for fewer bins"
            )

    @cached_property
    def groups(self) -> int:
        """How many cells the rows are divided into; 1 without groups."""
        return 1 if self.query.group_by is None else self.query.levels(self.query.group_by).cells

    @cached_property
    def uses(self) -> Mapping[Key, int]:
        """Block -> how many of the statistics read it, in the order in which blocks lie side by side."""
        uses: dict[Key, int] = {}
        for one in self.query.statistics:
            for block in blocks_of(one):
                uses[block] = uses.get(block, 0) + 1
        return uses

    def cells(self, block: Key) -> int:
        """Return how many totals a block has for each group."""
        match block:
            case ("status", _):
                return len(STATUSES)
            case ("bin", str(name)):
                return len(self.query.number(name).edges) + 2
            case ("cell", str(first), str(second)):
                return self.query.levels(first).cells * self.query.levels(second).cells
        return 1

    @cached_property
    def places(self) -> Mapping[Key, slice]:
        """Block -> where its totals are: group by group, the cells of each side by side."""
        places, start = dict[Key, slice](), 0
        for block in self.uses:
            end = start + self.cells(block) * self.groups
            places[block] = slice(start, end)
            start = end
        return places

    @property
    def length(self) -> int:
        """How many totals there are."""
        return sum(self.cells(block) for block in self.uses) * self.groups

    @cached_property
    def weights(self) -> Floats:
        """What each total is multiplied by before noise is added: float64 (length,)."""
        weights = np.empty(self.length)
        for block, place in self.places.items():
            weights[place] = self.uses[block] ** 0.25
        return weights

    @property
    def sensitivity(self) -> float:
        """The most that one row adds to the weighted totals, in L2."""
        return math.sqrt(math.fsum(math.sqrt(uses) for uses in self.uses.values()))

    @cached_property
    def paired(self) -> tuple[str, ...]:
        """Columns of pairs, in the order of their names."""
        return tuple(sorted({str(block[1]) for block in self.uses if block[0] == "sum"}))

    def rows(self, table: Table, chosen: Mask) -> Rows:
        """Return what the chosen rows add."""
        return Rows(self, table, np.flatnonzero(chosen))


class Rows:
    """Weighted rows, which are made when they are read, each time: iterates over float64 (some rows, length).

    Args:
        features: what a row adds.
        table: the site's.
        chosen: indices of rows.
    """

    def __init__(self, features: Features, table: Table, chosen: Ints) -> None:
        self._features, self._table, self._chosen = features, table, chosen

    def __repr__(self) -> str:  # rows are private
        return "Rows()"

    def __iter__(self) -> Iterator[Floats]:
        """Yield the rows, some at a time."""
        at_once = max(1, _ENTRIES // self._features.length)
        for start in range(0, len(self._chosen), at_once):
            yield self._laid_out(self._chosen[start : start + at_once])

    def sum(self) -> Floats:
        """Return what they add up to: float64 (length,)."""
        total = np.zeros(self._features.length)
        for rows in self:
            total += rows.sum(axis=0)
        return total

    def _laid_out(self, at: Ints) -> Floats:
        features, query = self._features, self._features.query
        numbers = {name: values[at] for name, values in self._table.numbers.items()}
        codes = {name: cells[at] for name, cells in self._table.codes.items()}
        group = np.zeros(len(at), dtype=np.int64) if query.group_by is None else codes[query.group_by]
        statuses = {name: status_of(query.number(name), values) for name, values in numbers.items()}
        centred = {name: centred_of(query.number(name), values) for name, values in numbers.items()}
        complete = np.ones(len(at), dtype=np.bool_)
        for name in features.paired:
            complete &= statuses[name] == 0
        out = np.zeros((len(at), features.length))
        for block, place in features.places.items():
            cell, value = np.zeros(len(at), dtype=np.int64), np.ones(len(at))
            match block:
                case ("status", str(name)):
                    cell = statuses[name]
                case ("bin", str(name)):
                    cell = bin_of(query.number(name).edges, numbers[name])
                case ("cell", str(first), str(second)):
                    cell = codes[first] * query.levels(second).cells + codes[second]
                case ("power", str(name), power):
                    value = np.where(statuses[name] == 0, centred[name] if power == 1 else square(centred[name]), 0)
                case ("complete",):
                    value = complete.astype(np.float64)
                case ("sum", str(name)):
                    value = np.where(complete, centred[name], 0)
                case ("square", str(name)):
                    value = np.where(complete, square(centred[name]), 0)
                case ("product", str(first), str(second)):
                    value = np.where(complete, centred[first] * centred[second], 0)
            out[np.arange(len(at)), place.start + group * features.cells(block) + cell] = value
        out *= features.weights
        return out


def status_of(column: Number, values: Floats) -> Ints:
    """Return the index in `STATUSES` of each value: int64 (n,)."""
    where = [(values >= column.lo) & (values <= column.hi), values < column.lo, values > column.hi]
    return np.select(where, [0, 1, 2], 3).astype(np.int64)


def centred_of(column: Number, values: Floats) -> Floats:
    """Return each value's distance from the middle of its bounds, in halves of the range: -1 to 1, 0 for others."""
    middle, half = middle_and_half(column)
    centred, valid = np.zeros(len(values)), (values >= column.lo) & (values <= column.hi)
    centred[valid] = np.clip((values[valid] - middle) / half, -1.0, 1.0)
    return centred


def middle_and_half(column: Number) -> tuple[float, float]:
    """Return the middle of a column's bounds, and half of their distance."""
    return column.lo / 2 + column.hi / 2, column.hi / 2 - column.lo / 2


def square(centred: Floats) -> Floats:
    """Return 2 u^2 - 1, which reaches from -1 to 1 as u does."""
    return 2 * centred**2 - 1


def bin_of(edges: tuple[float, ...], values: Floats) -> Ints:
    """Return how many edges each value has reached, as section 41.1 has bins; one more than there are for NaN."""
    place = np.searchsorted(np.array(edges), values, side="right")
    place[values == edges[-1]] = len(edges) - 1
    place[np.isnan(values)] = len(edges) + 1
    return place.astype(np.int64)
