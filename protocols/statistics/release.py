"""The gate between the sum and the analyst: which counts are shown, and which rule hides the others.

Every count that is released is a cell of a line (cells that add up to the number of rows) or of a table with two
margins. Margins are taken to be known, since another query may ask for them. Moments are given where the number of
their rows is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from secagg.errors import ParameterError

from ..core.numbers import whole
from .plan import STATUSES, Key, Plan
from .query import BINNED, MOMENTS, PAIRS, Kind
from .suppression import Hidden, suppress_grid, suppress_line


class Rule(StrEnum):
    """Which rule hides something."""

    SITES = "sites"
    """Fewer sites are in the sum than the policy asks for: nothing is shown."""
    RECORDS = "records"
    """Fewer rows are in the sum than the policy asks for: nothing is shown."""
    CELL = "cell"
    """From 1 to below `min_cell` rows."""
    COMPLEMENTARY = "complementary"
    """It would betray such a cell by subtraction."""
    TABLE = "table"
    """The margins alone bound some cell too closely: the whole table is hidden."""
    UNDEFINED = "undefined"
    """Nothing is hidden: these data have no such number, as a constant has no correlation."""


@dataclass(frozen=True)
class ReleasePolicy:
    """What an analyst is shown of a sum.

    Args:
        min_cell: counts from 1 to below this are hidden, and what would betray them. 1 hides nothing.
        min_records: fewer rows in all, and nothing is shown.
        min_sites: fewer sites in the sum, and nothing is shown.

    Raises:
        ParameterError: a value is out of range.
    """

    min_cell: int = 10
    min_records: int = 10
    min_sites: int = 3

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("min_cell", "min_records", "min_sites"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1))

    @classmethod
    def preset(cls, name: str) -> ReleasePolicy:
        """Return a policy whose least cell is that of others; raise ParameterError where there is no such name.

        `cms`: 11, the cell size of the Centers for Medicare and Medicaid Services. `datashield`: 3, DataSHIELD's
        default `nfilter.tab`. The other values are the defaults here.
        """
        least = {"cms": 11, "datashield": 3}
        if name not in least:
            raise ParameterError(f"preset is {name!r:.60}, but must be one of {', '.join(least)}")
        return cls(min_cell=least[name])


@dataclass
class Gate:
    """Which counts of a sum are shown.

    Args:
        plan: of the query.
        totals: over all sites.
        policy: what is shown.

    Attributes:
        values: count -> what it is: the totals, and ("missing", column, group), ("bin missing", column, group),
            ("level", column, level) with the second column of a table as ("level", column, level), too.
        hidden: count -> the rule that hides it.
    """

    plan: Plan
    totals: Mapping[Key, int]
    policy: ReleasePolicy
    values: dict[Key, int] = field(init=False)
    hidden: dict[Key, Rule] = field(init=False)

    def __post_init__(self) -> None:
        """Decide about each partition of the rows, in the order of the statistics."""
        self.values, self.hidden = dict(self.totals), {}
        groups = [("rows", group) for group in range(self.plan.groups)]
        self.records = sum(self.values[group] for group in groups)
        least = self.policy.min_cell
        self._near = [apart for apart in range(1 - least, least) if apart]
        self._both: dict[str, set[int]] = {}
        self._groups = self._line(groups) if len(groups) > 1 else set[int]()
        done = set[tuple[str, ...]]()
        for one in self.plan.query.statistics:
            if one.kind in (Kind.MISSING, *MOMENTS, *PAIRS):
                for name in one.columns:
                    if (name,) not in done:
                        done.add((name,))
                        self._statuses(name)
            if one.kind in BINNED and ("bins", *one.columns) not in done:
                done.add(("bins", *one.columns))
                self._bins(one.columns[0])
            elif one.kind in PAIRS and one.columns not in done:
                done.add(one.columns)
                self._pair(*one.columns)
            elif one.kind is Kind.TABLE:
                self._table(*one.columns)

    def shown(self, key: Key) -> int | None:
        """Return a count, or None where it is hidden."""
        return None if key in self.hidden else self.values[key]

    def _statuses(self, name: str) -> None:
        columns = ("valid", "below", "above", "missing")
        for group in range(self.plan.groups):
            known = sum(self.values[status, name, group] for status in STATUSES)
            self.values["missing", name, group] = self.values["rows", group] - known
        self._partition([[(status, name, group) for status in columns] for group in range(self.plan.groups)], last=[0])

    def _bins(self, name: str) -> None:
        cells = range(len(self.plan.query.number(name).edges) + 1)
        for group in range(self.plan.groups):
            known = sum(self.values["bin", name, at, group] for at in cells)
            self.values["bin missing", name, group] = self.values["rows", group] - known
        self._partition(
            [
                [*(("bin", name, at, group) for at in cells), ("bin missing", name, group)]
                for group in range(self.plan.groups)
            ]
        )

    def _pair(self, first: str, second: str) -> None:
        """Hide how many rows have both numbers where that betrays how many lack one of them."""
        both, rows = self.values["both", first, second], self.values["rows", 0]
        a, b = self.values["valid", first, 0], self.values["valid", second, 0]
        counts = [[both, a - both], [b - both, rows - a - b + both]]
        lines = [{0, 1} if ("valid", name, 0) in self.hidden else set[int]() for name in (first, second)]
        found = suppress_grid(
            counts, self.policy.min_cell, hidden_rows=lines[0], hidden_columns=lines[1], last_columns=[0]
        )
        key: Key = ("both", first, second)
        if 0 in found.small | found.others or not found.protected:
            self.hidden[key] = self._rule(0, found)
        elif any(both + apart in self._both.get(name, ()) for name in (first, second) for apart in self._near):
            self.hidden[key] = Rule.COMPLEMENTARY  # the rows of two pairs of one column would differ by few
        else:
            for name in (first, second):
                self._both.setdefault(name, set()).add(both)

    def _table(self, first: str, second: str) -> None:
        heights, widths = (range(self.plan.query.levels(name).cells) for name in (first, second))
        cells: list[list[Key]] = [[("cell", first, second, i, j) for j in widths] for i in heights]
        for i in heights:
            self.values["level", first, i] = sum(self.values[key] for key in cells[i])
        for j in widths:
            self.values["level", second, j] = sum(row[j] for row in self._counts(cells))
        rows = self._line([("level", first, i) for i in heights])
        columns = self._line([("level", second, j) for j in widths])
        if not self._grid(cells, rows, columns):  # what the margins betray is not shown beside them
            margins = [("level", first, i) for i in heights] + [("level", second, j) for j in widths]
            self.hidden |= dict.fromkeys(margins, Rule.TABLE)

    def _partition(self, cells: Sequence[Sequence[Key]], last: Sequence[int] = ()) -> None:
        """Decide about a line, or about a table of groups by cells whose column margins nobody is shown here."""
        if len(cells) == 1:
            self._line(cells[0], last)
            return
        margins = [sum(column) for column in zip(*self._counts(cells), strict=True)]
        found = suppress_line(margins, self.policy.min_cell, last)
        self._grid(cells, self._groups, found.small | found.others, last)

    def _counts(self, cells: Sequence[Sequence[Key]]) -> list[list[int]]:
        return [[self.values[key] for key in row] for row in cells]

    def _line(self, cells: Sequence[Key], last: Sequence[int] = ()) -> set[int]:
        """Hide cells of a line; return which."""
        found = suppress_line([self.values[key] for key in cells], self.policy.min_cell, last)
        return self._hide(cells, found)

    def _grid(
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

    def _hide(self, cells: Sequence[Key], found: Hidden) -> set[int]:
        gone = set(found.small | found.others) if found.protected else set(range(len(cells)))
        for at in sorted(gone):
            self.hidden[cells[at]] = self._rule(at, found)
        return gone

    def _rule(self, at: int, found: Hidden) -> Rule:
        if at in found.small:
            return Rule.CELL
        return Rule.COMPLEMENTARY if found.protected else Rule.TABLE
