"""Which sets of rows an answer gives sums of: the cells of a few partitions of the rows that it selected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .chosen import Mask
from .families.registry import once
from .kinds import BINNED, SHAPES, Kind, Role
from .query import Query, Statistic
from .rows import Table

Codes = npt.NDArray[np.uint32]
"""The cell of each row, from 1; 0 for a row that is in none."""
Cells = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Disjoint sets of rows, over each of which an answer tells the same sums.

    Attributes:
        columns: those whose powers or products are summed; none where rows are counted.
        codes: (n,), the cell of each row, 0 for none.
    """

    columns: tuple[str, ...]
    codes: Codes


def partitions_of(query: Query, table: Table, chosen: Mask) -> list[Partition]:
    """Return the partitions that an answer to a query sums over, the selected rows as the first.

    A kind of statistic that is not named here is taken to sum its numbers over each cell of its levels.

    Args:
        query: what is asked.
        table: with its n rows.
        chosen: (n,), which of them the query selects.

    Returns:
        Each partition once, with codes (n,): cells are numbered from 1 as they occur.

    Raises:
        EncodingError: a column is not what the query says that it is.
    """
    found: dict[tuple[tuple[str, ...], bytes], Partition] = {}
    for columns, cells in _cells(query, table, len(chosen)):
        codes = np.zeros(len(chosen), dtype=np.uint32)
        inside = chosen & (cells >= 0)
        codes[inside] = np.unique(cells[inside], return_inverse=True)[1] + 1
        found.setdefault((columns, codes.tobytes()), Partition(columns, codes))
    return list(found.values())


def _cells(query: Query, table: Table, length: int) -> Iterator[tuple[tuple[str, ...], Cells]]:
    """Yield columns and cells, -1 for rows in none: of all rows, for the selected ones are picked later."""
    everyone = np.zeros(length, dtype=np.int64)
    group, summed = everyone, np.ones(length, dtype=np.bool_)
    if query.group_by is not None:
        group, names = table.codes[query.group_by], query.levels(query.group_by).names
        told = frozenset(query.groups)
        summed = np.array([name in told for name in names])[group]
    yield (), everyone
    yield (), group
    for one in once(query.statistics):
        yield from _of(one, query, table, group, summed)


def _of(
    one: Statistic, query: Query, table: Table, group: Cells, summed: Mask
) -> Iterator[tuple[tuple[str, ...], Cells]]:
    """Yield a statistic's own. Rows of groups that are not summed are counted all the same: that tells no more."""
    roles = dict(zip(one.columns, SHAPES[one.kind].roles(one.columns), strict=True))
    cells = group
    for name, role in roles.items():
        if role is Role.EDGES:
            cells = cells * (len(query.number(name).edges) + 2) + _bins(query, name, table, closed=one.kind in BINNED)
        elif role is not Role.NUMBER:
            cells = cells * query.levels(name).cells + table.codes[name]
    yield (), cells
    numeric = [name for name, role in roles.items() if role is Role.NUMBER]
    within = np.ones(len(group), dtype=np.bool_)
    for name in numeric:
        column, values = query.number(name), table.numbers[name]
        valid = (values >= column.lo) & (values <= column.hi)
        within &= valid
        yield (), cells * 4 + np.select([valid, values < column.lo, values > column.hi], [0, 1, 2], 3)
    if len(numeric) > 1:
        yield (), cells * 2 + within
    if numeric and one.kind is not Kind.MISSING:
        yield tuple(sorted(numeric)), np.where(within & summed, cells, -1)
        yield tuple(sorted(numeric)), np.where(within & summed, 0, -1)


def _bins(query: Query, name: str, table: Table, *, closed: bool) -> Cells:
    """Return the bin of each number, the last one for those that are missing; `closed` as in a histogram."""
    edges, values = np.array(query.number(name).edges), table.numbers[name]
    place = np.searchsorted(edges, values, side="right")
    if closed:
        place[values == edges[-1]] = len(edges) - 1
    place[np.isnan(values)] = len(edges) + 1
    return place.astype(np.int64)
