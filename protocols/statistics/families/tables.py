"""Frequencies of one column's levels, tables of two columns, and how these hang together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ..chosen import Chosen
from ..estimates.tables import (
    OddsRatio,
    chi_squared,
    common_odds_ratio,
    cramers_v,
    g_test,
    mantel_haenszel,
    odds_ratio,
)
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from ..rules import Rule
from .cells import Block, cell_keys, cell_totals, count_cells, width
from .family import Family, estimated, hidden, tested


class Counted(Family):
    """Counts of cells of levels."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the counts of all cells."""
        return cell_totals(query, one.columns)

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Count cells."""
        count_cells(rows, one.columns)

    def cells(self, query: Query, one: Statistic) -> int:
        """Return how many cells there are."""
        return math.prod(width(query, name) for name in one.columns)


class Frequencies(Counted):
    """How often each level stands in a column; `top` tells the most frequent alone."""

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Decide about the line of cells."""
        decide_line(gate, one.columns[0])

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the counts that are shown."""
        (name,) = one.columns
        names, keys = gate.query.levels(name).names, list(cell_keys(gate.query, one.columns))
        for at, key in enumerate(keys):  # a table's margin of this column
            margin: Key = ("level", name, at)
            if margin in gate.hidden:
                gate.hide(key, gate.hidden[margin])
        n = gate.shown(("rows", 0))
        if one.kind is Kind.TOP:
            yield self._top(gate, one, names, keys)
            return
        value = {"levels": list(names), "counts": [gate.shown(key) for key in keys]}
        yield Finding(one.kind, one.columns, None, value, 0, n, gate.rules(dict(zip(names, keys, strict=True))))

    def _top(self, gate: Gate, one: Statistic, names: Sequence[str], keys: Sequence[Key]) -> Finding:
        """Tell the most frequent levels, with those that are as frequent as the last; none if one of them is hidden."""
        counts = {at: gate.values[key] for at, key in enumerate(keys[:-2])}
        order = sorted(counts, key=lambda at: (-counts[at], at))
        last = counts[order[min(int(one.parameters[0]), len(order)) - 1]]
        first = [at for at in order if counts[at] >= max(last, 1)]
        gone = [gate.hidden[keys[at]] for at in first if keys[at] in gate.hidden]
        n = gate.shown(("rows", 0))
        if gone:
            return hidden(one, gone[0], n)
        value = {"levels": [names[at] for at in first], "counts": [counts[at] for at in first]}
        return Finding(one.kind, one.columns, None, value, 0, n)


class Tables(Counted):
    """Counts by two columns of levels, with their margins; what follows from cells that are shown, and from no others.

    So are tests of whether the columns hang together, and votes that weigh by public weights: one number made of cells
    may tell them all, as 1000 a + b does.
    """

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Decide about the table and its margins, once: in one way, whichever column was named first.

        Of a table and of the same one on its side other cells might be hidden, and one would show what the other hides.
        """
        if not gate.first(("table", *one.columns)):
            return
        gate.whole(cell_keys(gate.query, one.columns))
        first, second = sorted(one.columns)
        heights, widths = (range(width(gate.query, name)) for name in (first, second))
        lying = one.columns != (first, second)
        cells: list[list[Key]] = [
            [("cell", *one.columns, *((j, i) if lying else (i, j))) for j in widths] for i in heights
        ]
        counts = [[gate.values[key] for key in row] for row in cells]
        for i in heights:
            gate.derive(("level", first, i), sum(counts[i]))
        for j in widths:
            gate.derive(("level", second, j), sum(row[j] for row in counts))
        rows = gate.line([("level", first, i) for i in heights])
        columns = gate.line([("level", second, j) for j in widths])
        if not gate.grid(cells, rows, columns):  # what the margins betray is not shown beside them
            for name, many in ((first, heights), (second, widths)):
                for at in many:
                    gate.hide(("level", name, at), Rule.TABLE)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the table, or what its cells tell if all of them are shown."""
        found = {Kind.TABLE: _table, Kind.ASSOCIATION: _association, Kind.WEIGHTED: _weighted}
        yield found[one.kind](gate, one)


def _table(gate: Gate, one: Statistic) -> Finding:
    first, second = one.columns
    a, b = gate.query.levels(first), gate.query.levels(second)
    cells: list[list[Key]] = [[("cell", first, second, i, j) for j in range(b.cells)] for i in range(a.cells)]
    rows: list[Key] = [("level", first, i) for i in range(a.cells)]
    columns: list[Key] = [("level", second, j) for j in range(b.cells)]
    value = {
        "rows": list(a.names),
        "columns": list(b.names),
        "counts": [[gate.shown(key) for key in row] for row in cells],
        "row_totals": [gate.shown(key) for key in rows],
        "column_totals": [gate.shown(key) for key in columns],
    }
    keys: dict[str, Key] = {
        f"{i}, {j}": key for i, row in zip(a.names, cells, strict=True) for j, key in zip(b.names, row, strict=True)
    }
    keys |= {f"{first} {name}": key for name, key in zip(a.names, rows, strict=True)}
    keys |= {f"{second} {name}": key for name, key in zip(b.names, columns, strict=True)}
    return Finding(one.kind, one.columns, None, value, 0, gate.shown(("rows", 0)), gate.rules(keys))


def _weighted(gate: Gate, one: Statistic) -> Finding:
    """Return the votes for each level of the first column; a row has the weight of its level of the second."""
    choice, voters = one.columns
    names, weights = gate.query.levels(choice).names, list(map(Fraction, one.parameters))
    votes: list[Fraction | None] = []
    gone: dict[str, Rule] = {}
    for i, name in enumerate(names):
        keys: list[Key] = [("cell", choice, voters, i, j) for j in range(len(weights)) if weights[j]]
        behind = [gate.hidden[key] for key in keys if key in gate.hidden]
        gone |= dict.fromkeys([name], behind[0]) if behind else {}
        votes.append(None if behind else sum((gate.values[key] * weights[int(key[4])] for key in keys), Fraction(0)))
    without: list[Key] = [("level", voters, len(weights) + at) for at in range(2)]
    weightless = None if any(key in gate.hidden for key in without) else sum(gate.values[key] for key in without)
    for key in without:
        if key in gate.hidden:
            gone["weightless"] = gate.hidden[key]
    value = {"levels": list(names), "votes": votes, "weightless": weightless}
    return Finding(one.kind, one.columns, None, value, 0, gate.shown(("rows", 0)), gone or None)


def _association(gate: Gate, one: Statistic) -> Finding:
    """Test the table of the listed levels; those without rows are left out."""
    first, second = one.columns
    names = [gate.query.levels(name).levels for name in one.columns]
    keys: list[list[Key]] = [
        [("cell", first, second, i, j) for j in range(len(names[1]))] for i in range(len(names[0]))
    ]
    gone = [gate.hidden[key] for row in keys for key in row if key in gate.hidden]
    if gone:
        return hidden(one, gone[0])
    counts = [[gate.values[key] for key in row] for row in keys]
    rows = [i for i, row in enumerate(counts) if any(row)]
    columns = [j for j in range(len(names[1])) if any(row[j] for row in counts)]
    table = [[counts[i][j] for j in columns] for i in rows]
    n = sum(map(sum, table))
    if len(rows) < 2 or len(columns) < 2:
        return replace(hidden(one, Rule.UNDEFINED, n), reason="empty-margin")

    def compute() -> tuple[Any, Any]:
        value: dict[str, Any] = {
            "rows": [names[0][i] for i in rows],
            "columns": [names[1][j] for j in columns],
            "chi_squared": tested(chi_squared(table)),
            "g": tested(g_test(table)),
            "cramers_v": cramers_v(table),
        }
        if len(rows) == len(columns) == 2 and all(map(all, table)):
            value["odds_ratio"] = _ratio(odds_ratio(table))
        return value, 0

    return estimated(one, n, compute)


class Strata(Counted):
    """Tables of two by two, one a stratum: the test of Cochran, Mantel and Haenszel, and the common odds ratio."""

    apart = True

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing is shown but numbers of all strata."""
        gate.whole(cell_keys(gate.query, one.columns))

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield both, if no cell is small."""
        strata = range(len(gate.query.levels(one.columns[2]).levels))
        block = Block(gate, one.columns, [(0, 1), (0, 1), strata])
        if gate.small([*block.counts.flat, *block.left_out]):
            yield hidden(one, Rule.CELL)
            return
        if gate.together(one, block.incomplete):
            yield hidden(one, Rule.TOGETHER)
            return
        tables = [block.counts[:, :, at].tolist() for at in strata]

        def compute() -> tuple[Any, Any]:
            test, corrected = mantel_haenszel(tables), mantel_haenszel(tables, continuity=True)
            return {"test": tested(test), "with_continuity": tested(corrected)}, 0

        yield estimated(one, block.n, compute, parts={"odds_ratio": lambda: _ratio(common_odds_ratio(tables))})


def decide_line(gate: Gate, name: str) -> None:
    """Decide about the cells of one column, once."""
    if gate.first(("line", name)):
        gate.whole(cell_keys(gate.query, (name,)))
        gate.line(list(cell_keys(gate.query, (name,))))


def _ratio(found: OddsRatio) -> dict[str, Any]:
    return {"value": found.value, "interval": [found.interval.low, found.interval.high]}
