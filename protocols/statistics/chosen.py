"""The rows that a query selects at a site, as numbers and levels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .encoding import quantise
from .kinds import Key
from .query import Query

Mask = npt.NDArray[np.bool_]


class Chosen:
    """The rows that a query selects, as its families count them.

    Attributes:
        query: what is asked.
        numbers, codes: columns of numbers, and of levels as cells, of the chosen rows alone.
        group: the group of each row, 0 without groups, -1 for a row of a cell that is not summed.
        members: for each group, which rows are in it.
        found: the totals so far, at first the rows of each group.
    """

    def __init__(
        self,
        query: Query,
        numbers: Mapping[str, npt.NDArray[np.float64]],
        codes: Mapping[str, npt.NDArray[np.int64]],
        count: int,
    ) -> None:
        self.query, self.numbers, self.codes = query, numbers, codes
        grouping = query.group_by
        self.group = np.zeros(count, dtype=np.int64)
        if grouping is not None:
            names = query.levels(grouping).names
            places = [query.groups.index(name) if name in query.groups else -1 for name in names]
            self.group = np.array(places, dtype=np.int64)[self.codes[grouping]]
        self.members = [self.group == at for at in range(len(self.query.groups))]
        self.found: dict[Key, int] = {
            ("rows", at): int(np.count_nonzero(members)) for at, members in enumerate(self.members)
        }
        self._within: dict[str, Mask] = {}
        self._levels: dict[str, npt.NDArray[np.int64]] = {}

    def within(self, name: str) -> Mask:
        """Return which rows have a number within the column's bounds."""
        if name not in self._within:
            column, values = self.query.number(name), self.numbers[name]
            self._within[name] = (values >= column.lo) & (values <= column.hi)
        return self._within[name]

    def levels(self, name: str) -> npt.NDArray[np.int64]:
        """Return the level of each row's number, 0 where it is not within the bounds."""
        if name not in self._levels:
            within = self.within(name)
            self._levels[name] = np.zeros(len(within), dtype=np.int64)
            self._levels[name][within] = quantise(self.query.number(name), self.numbers[name][within])
        return self._levels[name]
