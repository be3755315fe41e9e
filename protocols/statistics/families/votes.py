"""Votes: approvals, Borda's points, and how many sites agree."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from secagg.errors import EncodingError

from ..chosen import Chosen
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key
from ..query import Query, Statistic
from ..rules import Rule
from .cells import cell_totals, count_cells, width
from .family import Family, hidden
from .tables import decide_line


class Approval(Family):
    """A column a candidate; its first level is an approval."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the counts of each candidate's levels."""
        for name in one.columns:
            yield from cell_totals(query, (name,))

    def cells(self, query: Query, one: Statistic) -> int:
        """Return the most cells of a column."""
        return max(width(query, name) for name in one.columns)

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Count levels."""
        for name in one.columns:
            count_cells(rows, (name,))

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Decide about each candidate's line of cells."""
        for name in one.columns:
            decide_line(gate, name)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the approvals of each candidate."""
        keys: dict[str, Key] = {name: ("cell", name, 0) for name in one.columns}
        value = {"candidates": list(keys), "approvals": [gate.shown(key) for key in keys.values()]}
        yield Finding(one.kind, one.columns, None, value, 0, gate.shown(("rows", 0)), gate.rules(keys))


class Borda(Family):
    """A column of ranks a candidate: 1 is the best of m. A ballot is valid if it has every rank once."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the valid ballots, and each candidate's sum of ranks."""
        yield ("ballots", *one.columns), query.max_rows
        for at in range(len(one.columns)):
            yield ("ranks", *one.columns, at), query.max_rows * len(one.columns)

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum the ranks of valid ballots."""
        ranks = np.stack([rows.numbers[name] for name in one.columns], axis=1)
        valid = (np.sort(ranks, axis=1) == np.arange(1, len(one.columns) + 1)).all(axis=1)
        rows.found["ballots", *one.columns] = int(np.count_nonzero(valid))
        sums = ranks[valid].astype(np.int64).sum(axis=0).tolist()
        for at, total in enumerate(sums):
            rows.found["ranks", *one.columns, at] = total

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing is shown unless there are many valid ballots."""

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the points: for each ballot, as many as there are candidates behind."""
        ballots = gate.values["ballots", *one.columns]
        if gate.small([ballots, gate.values["rows", 0] - ballots]):
            yield hidden(one, Rule.CELL)
            return
        ranks = [gate.totals["ranks", *one.columns, at] for at in range(len(one.columns))]
        m = len(ranks)
        gate.check(2 * sum(ranks) == ballots * m * (m + 1), *(ballots <= total <= m * ballots for total in ranks))
        points = [m * ballots - total for total in ranks]
        if gate.small(points) or gate.small([ballots * (m - 1) - each for each in points]):
            yield hidden(one, Rule.CELL)
            return
        if gate.together(one, gate.values["rows", 0] - ballots):
            yield hidden(one, Rule.TOGETHER)
            return
        yield Finding(one.kind, one.columns, None, {"candidates": list(one.columns), "points": points}, 0, ballots)


class Consensus(Family):
    """The share of sites in which the first of two levels has at least a share of the rows that have either."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield one bit for a site that has such rows, and one for a site that agrees."""
        yield ("speaks", *one.columns), 1
        yield ("agrees", *one.columns), 1

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Compare the site's share with the query's, exactly."""
        (name,) = one.columns
        first, second = (int(np.count_nonzero(rows.codes[name] == at)) for at in (0, 1))
        agrees = bool(first + second) and first >= Fraction(one.parameters[0]) * (first + second)
        rows.found["speaks", name] = int(first + second > 0)
        rows.found["agrees", name] = int(agrees)

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Nothing is shown unless many sites are on each side."""

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the share of sites that agree."""
        speaks, agrees = (gate.values[what, *one.columns] for what in ("speaks", "agrees"))
        least = gate.policy.min_sites
        if not agrees <= speaks <= gate.sites:
            raise EncodingError("the totals are of no data: some input was none")
        if any(0 < count < least for count in (agrees, speaks - agrees, gate.sites - speaks)) or not speaks:
            yield hidden(one, Rule.SITES)
            return
        value = {"sites": speaks, "agree": agrees, "share": Fraction(agrees, speaks)}
        yield Finding(one.kind, one.columns, None, value, 0, gate.shown(("rows", 0)))
