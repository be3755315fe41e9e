"""The gate between the sum and the analyst: which counts are shown, and which rule hides the others.

Every count that is released is a cell of a line (cells that add up to the number of rows) or of a table with two
margins. Margins are taken to be known, since another query may ask for them. Moments are given where the number of
their rows is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from secagg.errors import EncodingError

from .kinds import Key, Kind
from .query import Query, Statistic
from .release import ReleasePolicy
from .rules import Rule
from .suppression import Hidden, suppress_grid, suppress_line


class Kin(Protocol):
    """What a gate must know of a family of statistics."""

    @property
    def apart(self) -> bool:
        """Whether its cells are decided about apart from those of other families."""


@dataclass
class Gate:
    """Which counts of a sum are shown: what families decide with, and what they look at.

    Args:
        query: what was asked.
        totals: over all sites.
        sites: how many are in the sum.
        policy: what is shown.
        families: kind -> its family; kinds of one family are of the same sums.

    Attributes:
        values: count -> what it is: the totals, and counts that follow from them.
        hidden: count -> the rule that hides it.
        records: rows in all.
    """

    query: Query
    totals: Mapping[Key, int]
    sites: int
    policy: ReleasePolicy
    families: Mapping[Kind, Kin]
    values: dict[Key, int] = field(init=False)
    hidden: dict[Key, Rule] = field(init=False)
    records: int = field(init=False)

    def __post_init__(self) -> None:
        """Decide about the groups."""
        self.values, self.hidden = dict(self.totals), {}
        self._done = set[Key]()
        self._counted = dict[str, dict[int, set[frozenset[str]]]]()  # column -> rows -> the sets of columns
        groups: list[Key] = [("rows", at) for at in range(len(self.query.groups))]
        self.records = sum(self.values[group] for group in groups)
        self._groups = self.line(groups) if len(groups) > 1 else set[int]()

    def shown(self, key: Key) -> int | None:
        """Return a count, or None where it is hidden."""
        return None if key in self.hidden else self.values[key]

    def rules(self, keys: Mapping[str, Key]) -> dict[str, Rule] | None:
        """Return name -> rule of those of some counts that are hidden; None for none."""
        return {what: self.hidden[key] for what, key in keys.items() if key in self.hidden} or None

    def first(self, what: Key) -> bool:
        """Tell whether this is asked for the first time: what two statistics share is decided once."""
        new = what not in self._done
        self._done.add(what)
        return new

    def derive(self, key: Key, value: int) -> None:
        """Add a count that follows from totals; raise EncodingError for one below 0, which no data have."""
        if value < 0:
            raise EncodingError("the totals are of no data: some input was none")
        self.values[key] = value

    def hide(self, key: Key, rule: Rule) -> None:
        """Hide a count."""
        self.hidden[key] = rule

    def small(self, counts: Iterable[int]) -> bool:
        """Tell whether some count is from 1 to below the least cell; raise EncodingError for one below 0."""
        counts = list(counts)
        if min(counts, default=0) < 0:
            raise EncodingError("the totals are of no data: some input was none")
        return any(0 < count < self.policy.min_cell for count in counts)

    def whole(self, cells: Iterable[Key]) -> None:
        """Raise EncodingError unless these cells add up to the rows."""
        if sum(self.values[key] for key in cells) != self.records:
            raise EncodingError("the totals are of no data: some input was none")

    def far(self, columns: Sequence[str], count: int) -> bool:
        """Tell whether the rows with numbers in these columns are all rows, or far from others that share a column.

        Else sums over two sets of rows that differ by few would tell the sum over those few. Two sets of as many rows
        need not be one set.
        """
        own = frozenset(columns)
        for name in columns:
            for many, sets in self._counted.get(name, {}).items():
                if abs(count - many) >= self.policy.min_cell or (count == many == self.records):
                    continue
                # Of two sets of which one holds the other, as many rows are the same rows.
                if count != many or not all(own <= others or others <= own for others in sets):
                    return False
        for name in columns:
            self._counted.setdefault(name, {}).setdefault(count, set()).add(own)
        return True

    def together(self, one: Statistic, left_out: int) -> bool:
        """Tell whether other statistics of the query may tell what this one hides, or tell with it of few rows.

        Args:
            one: hides by a rule of its own.
            left_out: rows that it is not of. If there are none, its sums are over the same rows as all others.
        """
        if self.policy.min_cell == 1:
            return False
        family = self.families[one.kind]
        for other in self.query.statistics:
            beside = self.families[other.kind]
            if not set(one.columns) & set(other.columns) or (beside is family and other.columns == one.columns):
                continue
            if left_out or family.apart or beside.apart:
                return True
        return False

    def check(self, *possible: bool) -> None:
        """Raise EncodingError unless all of this holds, which it does for the totals of any data."""
        if not all(possible):
            raise EncodingError("the totals are of no data: some input was none")

    def enough(self, rows: int, coefficients: int) -> bool:
        """Tell whether there are enough rows for so many coefficients."""
        return coefficients <= self.policy.max_coefficients * rows

    def partition(self, cells: Sequence[Sequence[Key]], last: Sequence[int] = ()) -> None:
        """Decide about a line, or about a table of groups by cells whose column margins nobody is shown here."""
        if len(cells) == 1:
            self.line(cells[0], last)
            return
        margins = [sum(column) for column in zip(*self._counts(cells), strict=True)]
        found = suppress_line(margins, self.policy.min_cell, last)
        self.grid(cells, self._groups, found.small | found.others, last)

    def line(self, cells: Sequence[Key], last: Sequence[int] = ()) -> set[int]:
        """Hide cells of a line; return which."""
        found = suppress_line([self.values[key] for key in cells], self.policy.min_cell, last)
        return self._hide(cells, found)

    def grid(
        self,
        cells: Sequence[Sequence[Key]],
        rows: set[int] | frozenset[int],
        columns: set[int] | frozenset[int],
        last: Sequence[int] = (),
    ) -> bool:
        """Hide cells of a table; return whether all that are hidden are protected."""
        found = suppress_grid(
            self._counts(cells), self.policy.min_cell, hidden_rows=rows, hidden_columns=columns, last_columns=last
        )
        self._hide([key for row in cells for key in row], found)
        return found.protected

    def rule(self, found: Hidden) -> Rule:
        """Return the rule by which suppression hides a cell: one word for all, or it would tell which are small."""
        return Rule.CELL if found.protected else Rule.TABLE

    def _counts(self, cells: Sequence[Sequence[Key]]) -> list[list[int]]:
        return [[self.values[key] for key in row] for row in cells]

    def _hide(self, cells: Sequence[Key], found: Hidden) -> set[int]:
        gone = set(found.small | found.others) if found.protected else set(range(len(cells)))
        for at in sorted(gone):
            self.hide(cells[at], self.rule(found))
        return gone
