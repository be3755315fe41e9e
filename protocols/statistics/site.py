"""A site: a table that stays where it is, and a gate that decides which queries it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from secagg.errors import EncodingError, ParameterError, QueryRefused

from ..core.machine import Inputs
from ..core.numbers import real, whole
from ..masking.policy import ClientPolicy
from .columns import Number
from .families.registry import FAMILIES
from .journal import Entry, Journal, Rows, named_rows
from .kinds import SHAPES, Kind, Role
from .plan import Plan
from .query import Query
from .rows import Table

ANOTHER_DATASET, NOT_ALLOWED, ANOTHER_SCHEMA, DISCLOSURE = (
    "another-dataset",
    "not-allowed",
    "another-schema",
    "disclosure",
)
"""The reasons that leave a site. All that hangs on data is one of them, `disclosure`."""


@dataclass(frozen=True)
class SitePolicy:
    """What a site answers.

    Args:
        columns: names that statistics may be of and groups may be made by.
        filters: names that conditions may be on; those of `columns` when None. An id belongs in neither.
        statistics: which; all when None.
        least_difference: a query's rows are so many at least; and they are those of an earlier answer, or
            differ from them by so many at least.
        max_cells_fraction: bins, levels and cells of one statistic are at most this fraction of the site's rows. A site
            without rows answers zeros.
        min_sites: fewer sites than this are not summed with; see `client_policy`.

    Raises:
        ParameterError: a value is out of range.
    """

    columns: frozenset[str]
    filters: frozenset[str] | None = None
    statistics: frozenset[Kind] | None = None
    least_difference: int = 10
    max_cells_fraction: float = 0.5
    min_sites: int = 5

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("columns", "filters"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise ParameterError(f"{name} is one text, but must be a set of names")
            object.__setattr__(self, name, None if given is None else frozenset(given))
        if self.statistics is not None:
            object.__setattr__(self, "statistics", frozenset(Kind(kind) for kind in self.statistics))
        object.__setattr__(self, "least_difference", whole(self.least_difference, "least_difference", 1))
        real(self.max_cells_fraction, "max_cells_fraction", 0, 1)
        object.__setattr__(self, "min_sites", whole(self.min_sites, "min_sites", 2))

    @property
    def client_policy(self) -> ClientPolicy:
        """What the site's client demands of the session: by default all that a bare client does, and enough sites."""
        return ClientPolicy(min_clients=self.min_sites, min_survivors=max(2, self.min_sites - 1))


@dataclass
class Site:
    """One site's table, its policy and its memory.

    Args:
        columns: name -> array of n values: numbers with NaN where one is missing, texts with "" or None.
        policy: what it answers.
        dataset: the name that queries must give.
        journal: a file in which answers are noted before they leave. None keeps them in memory alone, for trials: a
            site that starts again has forgotten what it answered, and must be told to in so many words.
        ids: one text a row, by which rows are recognised in later queries; where they stand when None.
        log: is told why a query was refused, with figures that leave the site nowhere.

    Raises:
        ParameterError: columns of unequal lengths.
    """

    columns: Mapping[str, Any]
    policy: SitePolicy
    dataset: str
    journal: Path | str | None
    ids: Sequence[str] | None = None
    log: Callable[[str], None] = lambda text: None
    _journal: Journal = field(init=False, repr=False)
    _names: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the columns are of one table."""
        lengths = {len(values) for values in self.columns.values()}
        lengths |= set() if self.ids is None else {len(self.ids)}
        if len(lengths) > 1:
            raise ParameterError("the columns of a site, and its ids, must be of one length")
        self.length = lengths.pop() if lengths else 0
        self._names = named_rows(self.ids if self.ids is not None else map(str, range(self.length)))
        if len(np.unique(self._names)) != self.length:
            raise ParameterError("the ids of a site must be distinct")
        self._journal = Journal(self.journal)

    def __repr__(self) -> str:  # the table is private
        return f"Site({self.dataset!r})"

    def answer(self, query: Query) -> Inputs:
        """Return what the site adds to the sum that answers a query, once that is noted in the journal.

        Raises:
            QueryRefused: the site does not answer it. The log is told more.
            ParameterError: the journal cannot be kept.
        """
        self._allow(query)
        plan = Plan(query)
        table = Table(query, self.columns)
        try:
            chosen = table.selected(self.length)
            values = plan.encode(table.totals(plan, chosen))
        except EncodingError as error:
            raise self._refusal(ANOTHER_SCHEMA, str(error)) from None
        self._remember(query, np.unique(self._names[chosen]))
        return Inputs(values)

    def explain(self, query: Query) -> str:
        """Return what the site would do with a query, as one line for its own people; nothing is noted."""
        told: list[str] = []
        quiet = replace(self, log=told.append)
        quiet._journal = self._journal
        try:
            quiet._allow(query)
            chosen = Table(query, self.columns).selected(self.length)
            with self._journal.open() as journal:
                quiet._check(query, np.unique(self._names[chosen]), journal.entries)
        except QueryRefused:
            return f"refuses: {told[0].removeprefix('query refused, ')}"
        except EncodingError as error:
            return f"refuses: {ANOTHER_SCHEMA}: {error}"
        return (
            f"answers: {np.count_nonzero(chosen)} of {self.length} rows, {len(Plan(query).totals)} totals under masks"
        )

    def _refusal(self, reason: str, why: str) -> QueryRefused:
        self.log(f"query refused, {reason}: {why}")
        return QueryRefused(reason)

    def _allow(self, query: Query) -> None:
        """Refuse what needs no look at the rows."""
        policy = self.policy
        if query.dataset != self.dataset:
            raise self._refusal(ANOTHER_DATASET, f"it asks of {query.dataset!r}")
        asked = {name for one in query.statistics for name in one.columns}
        asked |= set() if query.group_by is None else {query.group_by}
        filtered = {where.column for where in query.where}
        filters = policy.columns if policy.filters is None else policy.filters
        outside = (asked - policy.columns) | (filtered - filters)
        if outside:
            raise self._refusal(NOT_ALLOWED, f"columns {sorted(outside)}")
        if policy.statistics is not None and not {one.kind for one in query.statistics} <= policy.statistics:
            raise self._refusal(NOT_ALLOWED, "a statistic")
        if not query.used <= self.columns.keys():
            raise self._refusal(ANOTHER_SCHEMA, f"there are no columns {sorted(query.used - self.columns.keys())}")
        if self.length > query.max_rows:
            raise self._refusal(DISCLOSURE, f"{self.length} rows are more than max_rows, {query.max_rows}")
        cells, most = max_cells(query), self.policy.max_cells_fraction * self.length
        if self.length and cells > 1 and cells > most:
            raise self._refusal(DISCLOSURE, f"{cells} cells are more than {most:g}, for {self.length} rows")

    def _remember(self, query: Query, rows: Rows) -> None:
        """Note an answer, unless it would tell of few rows beside an earlier one."""
        with self._journal.open() as journal:
            self._check(query, rows, journal.entries)
            journal.add(Entry(query.digest, declared(query), rows))

    def _check(self, query: Query, rows: Rows, entries: list[Entry]) -> None:
        least = self.policy.least_difference
        if self.length and len(rows) < least:  # none, too: else a refusal would tell that there is somebody
            raise self._refusal(DISCLOSURE, f"{len(rows)} rows are fewer than {least}")
        declarations = declared(query)
        for entry in entries:
            for name in entry.columns.keys() & declarations.keys():
                if entry.columns[name] != declarations[name]:
                    raise self._refusal(ANOTHER_SCHEMA, f"column {name!r} was declared otherwise before")
            apart = len(np.setxor1d(rows, entry.rows, assume_unique=True))
            if 0 < apart < least:
                raise self._refusal(DISCLOSURE, f"{apart} rows differ from an earlier answer's, fewer than {least}")


def declared(query: Query) -> dict[str, str]:
    """Return how a query declares what it reads: name -> digest. Other bounds, levels or edges would be a difference.

    Edges count where bins are asked for, under a name that no column has.
    """
    binned = {
        name
        for one in query.statistics
        for name, role in zip(one.columns, SHAPES[one.kind].roles(one.columns), strict=True)
        if role is Role.EDGES
    }
    found: dict[str, Any] = {}
    for column in query.columns:
        if column.name in query.used:
            found[column.name] = column
            if isinstance(column, Number):
                found[column.name] = Number(column.name, column.lo, column.hi, column.bits)
                found |= {f"{column.name}\nedges": column.edges} if column.name in binned else {}
    return {name: hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()[:32] for name, what in found.items()}


def max_cells(query: Query) -> int:
    """Return the most cells that one statistic of a query divides a site's rows into."""
    return len(query.groups) * max([1, *(FAMILIES[one.kind].cells(query, one) for one in query.statistics)])
