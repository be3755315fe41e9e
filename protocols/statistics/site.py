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
from .beginnings import base_in, base_of, beginnings_of, with_beginnings
from .chosen import Mask
from .columns import Column, Levels, Number, text
from .combinations import laid_open, systems
from .consent import Consent
from .differences import least_apart, same
from .dominance import greatest_share
from .families.registry import FAMILIES
from .journal import Adding, Entry, Journal, Rows, named_rows
from .kinds import SHAPES, Kind, Role, kind_of
from .partitions import Partition, partitions_of
from .plan import Plan
from .query import Query
from .rows import Table, settled

ANOTHER_DATASET, NOT_ALLOWED, ANOTHER_SCHEMA, TOO_MANY_ANSWERS, DISCLOSURE = (
    "another-dataset",
    "not-allowed",
    "another-schema",
    "too-many-answers",
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
        least_difference: a query's rows are so many at least; its cells are those of earlier answers, or differ from
            them by so many at least; and no combination of all answers is about fewer.
        max_cells_fraction: bins, levels and cells of one statistic are at most this fraction of the site's rows. A site
            without rows answers zeros.
        max_dominance: no row makes a greater share of a sum over its cell than this; 1 admits all.
        max_answers: so many different questions are answered; a repeated one is none. Beyond them, only these.
        max_refusals: so many different questions are refused for what the rows are; beyond them, nothing new is
            answered until somebody has looked: each refusal tells that some rows are few.
        min_sites: fewer sites than this are not summed with; see `client_policy`.

    Raises:
        ParameterError: a value is out of range.
    """

    columns: frozenset[str]
    filters: frozenset[str] | None = None
    statistics: frozenset[Kind] | None = None
    least_difference: int = 10
    max_cells_fraction: float = 0.5
    max_dominance: float = 0.9
    max_answers: int = 500
    max_refusals: int = 20
    min_sites: int = 5

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("columns", "filters", "statistics"):
            given = getattr(self, name)
            if isinstance(given, str):
                raise ParameterError(f"{name} is one text, but must be a set of names")
            named = {kind_of(one) if name == "statistics" else text(one, f"a name in {name}") for one in given or ()}
            object.__setattr__(self, name, None if given is None else frozenset(named))
        object.__setattr__(self, "least_difference", whole(self.least_difference, "least_difference", 1))
        for name in ("max_cells_fraction", "max_dominance"):
            object.__setattr__(self, name, real(getattr(self, name), name, 0, 1))
        object.__setattr__(self, "max_answers", whole(self.max_answers, "max_answers", 1))
        object.__setattr__(self, "max_refusals", whole(self.max_refusals, "max_refusals", 1))
        object.__setattr__(self, "min_sites", whole(self.min_sites, "min_sites", 2))

    @property
    def client_policy(self) -> ClientPolicy:
        """What the site's client demands of the session: by default all that a bare client does, and enough sites."""
        return ClientPolicy(min_clients=self.min_sites, min_survivors=max(2, self.min_sites - 1))


@dataclass
class Site:
    """One site's table, its policy and its memory.

    Args:
        columns: name -> array or list of n values: numbers with NaN or None where one is missing, or texts with "",
            None or NaN.
        policy: what it answers.
        dataset: the name that queries must give; with `consent`, followed by its purpose.
        journal: a file in which answers are noted before they leave. None keeps them in memory alone, for trials: a
            site that starts again has forgotten what it answered, and must be told to in so many words.
        ids: one text a row, by which rows are recognised in later queries; where they stand when None.
        log: is told why a query was refused, with figures that leave the site nowhere.
        consent: whose rows count; all when None. The others are as if they were not there.
        schema: how columns must be declared: bounds, bits, levels, and edges if it has some. What is not in it, the
            first question that is answered declares: an analyst's bounds make a count of those beyond them.

    Raises:
        ParameterError: columns of unequal lengths, or one that has numbers and texts, whole numbers in a list that
            floats do not hold, or a mask.
    """

    columns: Mapping[str, Any]
    policy: SitePolicy
    dataset: str
    journal: Path | str | None
    ids: Sequence[str] | None = None
    log: Callable[[str], None] = lambda text: None
    consent: Consent | None = None
    schema: Sequence[Column] = ()
    _journal: Journal = field(init=False, repr=False)
    _names: Rows = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check that the columns are of one table, and settle of which type each is: no row decides that later."""
        self.columns = {name: settled(name, values) for name, values in self.columns.items()}
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

    @property
    def asked_as(self) -> str:
        """The name that queries must give."""
        return self.dataset if self.consent is None else self.consent.dataset(self.dataset)

    def declared_otherwise(self, query: Query) -> set[str]:
        """Return the columns that a query declares otherwise than the site's schema; beginnings follow from levels."""
        stated = {column.name: column for column in self.schema}
        for name in query.used - stated.keys():
            length = base_of(name)[1]
            column = stated.get(base_in(self.columns, name))
            if column is not None and length is not None:
                stated[name] = beginnings_of(column, length) if isinstance(column, Levels) else column
        return {name for name in stated.keys() & query.used if not _as_stated(query.column(name), stated[name])}

    def outside(self, query: Query) -> set[str]:
        """Return the columns that a query asks of, or filters by, and that the policy does not name."""
        asked = {name for one in query.statistics for name in one.columns}
        asked |= set() if query.group_by is None else {query.group_by}
        filtered = {where.column for where in query.where}
        columns, filters = self.policy.columns, self.policy.filters
        filters = columns if filters is None else filters
        return {
            name
            for names, named in ((asked, columns), (filtered, filters))
            for name in names
            if not {name, base_in(self.columns, name)} & named
        }

    def absent(self, query: Query) -> set[str]:
        """Return the columns that a query reads, and that the table does not have."""
        return {base_in(self.columns, name) for name in query.used} - self.columns.keys()

    def present(self) -> tuple[dict[str, Any], Rows]:
        """Return the columns as a query meets them, and the names of their rows: of people who have agreed.

        Raises:
            ParameterError: the table does not say who has.
        """
        if self.consent is None:
            return dict(self.columns), self._names
        agreed = self.consent.rows(self.columns, self.ids)
        return {name: values[agreed] for name, values in self.columns.items()}, self._names[agreed]

    def answer(self, query: Query) -> Inputs:
        """Return what the site adds to the sum that answers a query, once that is noted in the journal.

        Raises:
            QueryRefused: the site does not answer it. The log is told more.
            ParameterError: the journal cannot be kept, or the table does not say who has agreed.
        """
        plan = Plan(query)
        with self._journal.open() as journal:
            try:
                self._allow(query, journal)
                rows = self._read(query)
                entry = self._check(query, rows, journal)
                values = plan.encode(rows.table.totals(plan, rows.chosen))
            except QueryRefused as refusal:
                if refusal.reason == DISCLOSURE and not any(each.query == query.digest for each in journal.entries):
                    journal.add(Entry(query.digest, {}, self._names[:0], []))
                raise
            except EncodingError as error:
                raise self._refusal(ANOTHER_SCHEMA, str(error)) from None
            if entry is not None:
                journal.add(entry)
        return Inputs(values)

    def explain(self, query: Query) -> str:
        """Return what the site would do with a query, as one line for its own people; nothing is noted."""
        told: list[str] = []
        quiet = replace(self, log=told.append)
        quiet._journal = self._journal
        try:
            with self._journal.open() as journal:
                quiet._allow(query, journal)
                rows = quiet._read(query)
                quiet._check(query, rows, journal)
        except QueryRefused:
            return f"refuses: {told[0].removeprefix('query refused, ')}"
        selected, totals = np.count_nonzero(rows.chosen), len(Plan(query).totals)
        return f"answers: {selected} of {len(rows.chosen)} rows, {totals} totals under masks"

    def _refusal(self, reason: str, why: str) -> QueryRefused:
        self.log(f"query refused, {reason}: {why}")
        return QueryRefused(reason)

    def _read(self, query: Query) -> _Read:
        """Return what a query selects, unless it is refused without a look at what was answered before."""
        columns, names = self.present()
        length, policy = len(names), self.policy
        if self.consent is not None and length < self.consent.least_share * self.length:
            raise self._refusal(DISCLOSURE, f"{length} of {self.length} rows have consent, too small a share")
        if length > query.max_rows:
            raise self._refusal(DISCLOSURE, f"{length} rows are more than max_rows, {query.max_rows}")
        cells, most = max_cells(query), policy.max_cells_fraction * length
        if length and cells > 1 and cells > most:
            raise self._refusal(DISCLOSURE, f"{cells} cells are more than {most:g}, for {length} rows")
        try:
            table = Table(query, with_beginnings(columns, query.used))
            table.read()
        except EncodingError as error:  # of a whole column, whatever is selected
            raise self._refusal(ANOTHER_SCHEMA, str(error)) from None
        chosen = table.selected(length)
        selected = np.count_nonzero(chosen)
        if length and selected < policy.least_difference:  # none, too: else a refusal tells that there is somebody
            raise self._refusal(DISCLOSURE, f"{selected} rows are fewer than {policy.least_difference}")
        partitions = partitions_of(query, table, chosen)
        share = greatest_share(query, table, chosen, policy.least_difference)
        if share > policy.max_dominance:
            raise self._refusal(DISCLOSURE, f"one row makes {share:.3g} of a sum, more than {policy.max_dominance}")
        return _Read(table, chosen, names, partitions)

    def _allow(self, query: Query, journal: Adding) -> None:
        """Refuse what needs no look at the rows. So these refusals tell nothing of them."""
        policy = self.policy
        if query.dataset != self.asked_as:
            raise self._refusal(ANOTHER_DATASET, f"it asks of {query.dataset!r}, not of {self.asked_as!r}")
        outside = self.outside(query)
        if outside:
            raise self._refusal(NOT_ALLOWED, f"columns {sorted(outside)}")
        if policy.statistics is not None and not {one.kind for one in query.statistics} <= policy.statistics:
            raise self._refusal(NOT_ALLOWED, "a statistic")
        absent = self.absent(query)
        if absent:
            raise self._refusal(ANOTHER_SCHEMA, f"there are no columns {sorted(absent)}")
        declarations = declared(query)
        otherwise = self.declared_otherwise(query)
        if otherwise:
            raise self._refusal(ANOTHER_SCHEMA, f"columns {sorted(otherwise)} are not declared as this site has them")
        for earlier in journal.entries:
            for name in earlier.columns.keys() & declarations.keys():
                if earlier.columns[name] != declarations[name]:
                    raise self._refusal(ANOTHER_SCHEMA, f"column {name!r} was declared otherwise before")
        if any(each.query == query.digest for each in journal.entries):
            return
        refused = sum(not each.partitions for each in journal.entries)
        if refused >= policy.max_refusals:
            raise self._refusal(TOO_MANY_ANSWERS, f"{refused} questions were refused for what the rows are")
        answered = len(journal.entries) - refused
        if answered >= policy.max_answers:  # before a look at the rows: refusals beyond it would tell of them, unnoted
            raise self._refusal(TOO_MANY_ANSWERS, f"{answered} questions were answered")

    def _check(self, query: Query, rows: _Read, journal: Adding) -> Entry | None:
        """Return an entry for the journal, None where the same answer is noted; refuse what tells of few rows."""
        least, declarations = self.policy.least_difference, declared(query)
        entry = journal.entry(query.digest, declarations, rows.names, rows.partitions)
        earlier = [each for each in journal.entries if each.partitions]
        if any(each.query == entry.query and same(each.partitions, entry.partitions) for each in earlier):
            return None
        answers = [each.partitions for each in earlier]
        if len(answers) >= self.policy.max_answers:  # it was asked before: of what has changed since
            raise self._refusal(DISCLOSURE, f"{len(answers)} questions were answered, this one over other cells")
        apart = least_apart(answers, entry.partitions, least)
        if apart:
            raise self._refusal(DISCLOSURE, f"{apart} rows differ from an earlier answer's, fewer than {least}")
        for system in systems(answers, entry.partitions, least):
            try:
                told = laid_open(system, least)
            except ValueError as error:
                raise self._refusal(DISCLOSURE, f"with earlier answers, this would sum over {error}") from None
            if told:
                raise self._refusal(DISCLOSURE, f"with earlier answers, this tells of {told} rows, fewer than {least}")
        return entry


@dataclass(frozen=True)
class _Read:
    """What a query reads of a table: its rows that count, which of them it selects, and the cells that it sums over."""

    table: Table
    chosen: Mask
    names: Rows
    partitions: list[Partition]


def _as_stated(given: Column, stated: Column) -> bool:
    if isinstance(given, Number) and isinstance(stated, Number) and not (given.edges and stated.edges):
        return (given.lo, given.hi, given.bits) == (stated.lo, stated.hi, stated.bits)
    return given == stated


def declared(query: Query) -> dict[str, str]:
    """Return how a query declares what it reads: name -> digest. Other bounds, levels or edges would be a difference.

    Edges count where bins are asked for, and a consensus's share, under names that no column has. Beginnings count as
    the column that they are read from, which has one length, or none, for all queries.
    """
    binned = {
        name
        for one in query.statistics
        for name, role in zip(one.columns, SHAPES[one.kind].roles(one.columns), strict=True)
        if role is Role.EDGES
    }
    found: dict[str, Any] = {}
    for column in query.columns:
        if column.name in query.used and isinstance(column, Number):
            found[column.name] = Number(column.name, column.lo, column.hi, column.bits)
            found |= {f"{column.name}\nedges": column.edges} if column.name in binned else {}
        elif column.name in query.used:
            found[base_of(column.name)[0]] = column
    for one in query.statistics:
        if one.kind is Kind.CONSENSUS:
            found[f"{one.columns[0]}\nshare"] = one.parameters
    return {name: hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()[:32] for name, what in found.items()}


def max_cells(query: Query) -> int:
    """Return the most cells that one statistic of a query divides a site's rows into."""
    return len(query.groups) * max([1, *(FAMILIES[one.kind].cells(query, one) for one in query.statistics)])
