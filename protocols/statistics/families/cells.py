"""Counts of rows by several columns at once: cells of levels, and of bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from ..chosen import Chosen
from ..columns import Levels
from ..gate import Gate
from ..kinds import Key
from ..query import Query


def width(query: Query, name: str) -> int:
    """Return how many cells a column has: levels, other and missing, or edges reached, and missing."""
    column = query.column(name)
    return column.cells if isinstance(column, Levels) else len(column.edges) + 2


def cell_keys(query: Query, columns: Sequence[str]) -> Iterator[Key]:
    """Yield the key of each cell, the last column's fastest."""
    for at in product(*(range(width(query, name)) for name in columns)):
        yield ("cell", *columns, *at)


def cell_totals(query: Query, columns: Sequence[str]) -> Iterator[tuple[Key, int]]:
    """Yield the totals of all cells."""
    for key in cell_keys(query, columns):
        yield key, query.max_rows


def count_cells(rows: Chosen, columns: Sequence[str]) -> None:
    """Count a site's rows in each cell, unless that is done."""
    if ("cell", *columns, *(0 for _ in columns)) in rows.found:
        return
    place, size = np.zeros(len(rows.group), dtype=np.int64), 1
    for name in columns:
        place = place * width(rows.query, name) + _cells(rows, name)
        size *= width(rows.query, name)
    counts = np.bincount(place, minlength=size).tolist()
    rows.found.update(zip(cell_keys(rows.query, columns), counts, strict=True))


def _cells(rows: Chosen, name: str) -> np.typing.NDArray[np.int64]:
    if name in rows.codes:
        return rows.codes[name]
    values, edges = rows.numbers[name], rows.query.number(name).edges
    reached = np.searchsorted(np.array(edges), values, side="right")
    return np.where(np.isnan(values), len(edges) + 1, reached).astype(np.int64)


class Block:
    """Cells of some columns in a sum, of which some places in each are used; all other rows are incomplete."""

    def __init__(self, gate: Gate, columns: Sequence[str], used: Sequence[Sequence[int]]) -> None:
        keys: list[Key] = [("cell", *columns, *at) for at in product(*used)]
        self.counts = np.array([gate.values[key] for key in keys], dtype=object).reshape([len(each) for each in used])
        self.n = int(self.counts.sum()) if prod(self.counts.shape) else 0
        self.incomplete = gate.values["rows", 0] - self.n
        widths = [width(gate.query, name) for name in columns]
        every = np.array([gate.values[key] for key in cell_keys(gate.query, columns)], dtype=object).reshape(widths)
        axes = range(len(columns))
        self.left_out = [self.incomplete]
        """Rows that are not used: of all, and of each place that is used."""
        for axis, places in enumerate(used):
            others = tuple(other for other in axes if other != axis)
            totals, kept = every.sum(axis=others), self.counts.sum(axis=others)
            self.left_out += [totals[place] - kept[at] for at, place in enumerate(places)]
