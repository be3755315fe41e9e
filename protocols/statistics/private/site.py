"""A site that answers with noise: what it demands of the session, and what its own ledger pays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dp.sensitivity import Unit
from secagg.errors import EncodingError, ParameterError, QueryRefused

from ...core.machine import Inputs
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, PrivacyDemand
from ..columns import MAX_NAME
from ..query import Query
from ..rows import Table
from ..site import ANOTHER_DATASET, ANOTHER_SCHEMA, NOT_ALLOWED, Site
from .features import Features
from .question import PrivateQuestion

if TYPE_CHECKING:
    from dp.ledger import Ledger

_MARK = "|"
_LENGTHS = frozenset(map(str, range(1, MAX_NAME + 1)))


def beginning(column: str, length: int) -> str:
    """Return the name of a column of levels that holds the first letters of a column's texts: `ward|3`.

    A site has it without saying so, unless one of its own columns is called so.
    """
    return f"{column}{_MARK}{length}"


@dataclass
class PrivateSite:
    """One site's table behind noise.

    No answer hangs on its rows: whether a site answers is seen, and no noise covers that. So few rows, small cells and
    earlier answers are no reasons here; the demand and the ledger are.

    Args:
        site: the table, and the columns, filters and statistics that its policy names.
        most: the most that one answer may cost, of which unit; `rounds` and `sampling_rate` are 1.
        ledger: pays for each answer before it leaves; None for trials, where nobody counts them.
        budget: its name in the ledger: of composition `gaussian` or `renyi`, as `NoisyPlan.rounds.budget` makes them.
        client: what the site's client demands beside privacy.
    """

    site: Site
    most: PrivacyDemand
    ledger: Ledger | None
    budget: str = ""
    client: ClientPolicy = field(default_factory=ClientPolicy)

    def __repr__(self) -> str:  # the table is private
        return f"PrivateSite({self.site.dataset!r})"

    def demand(self, question: PrivateQuestion) -> PrivacyDemand:
        """What the session must be worth to one unit: the question's price, and no more.

        Raises:
            QueryRefused: the site does not answer the question; this says so before any session.
        """
        self._allow(question)
        self._read(question.query)
        return replace(self.most, epsilon=question.epsilon, delta=question.delta)

    def client_policy(self, question: PrivateQuestion) -> ClientPolicy:
        """What the site's client demands of the session. Raises as `demand`."""
        fewest = max(self.client.min_clients, self.site.policy.min_sites)
        return replace(self.client, privacy=self.demand(question), min_clients=fewest)

    def answer(self, question: PrivateQuestion, config: RoundConfig) -> Inputs:
        """Return what the site adds to a session's sum, once its ledger has paid for that: for one session.

        Args:
            question: what the site read.
            config: of the session, as the site's own client has it: `client.config` when the inputs are asked for.

        Raises:
            QueryRefused: the site does not answer the question. The log is told more.
            ParameterError: the session is about something else, or has less noise than the question says.
            LedgerError: the budget does not allow it.
        """
        demand = self.demand(question)
        demand.check(config)
        if [spec.name for spec in config.vectors] != [question.name]:
            raise ParameterError("the session is not about this question alone: propose the configuration of its plan")
        table = self._read(question.query)
        rows = Features(question.query).rows(table, table.selected(table.length))
        if self.ledger is not None:
            answer = f"{question.digest.hex()[:16]}-{os.urandom(8).hex()}"
            self.ledger.spend(self.budget, demand.event(config), round_id=answer, unit=question.unit)
        return Inputs({question.name: rows if question.unit is Unit.RECORD else rows.sum()})

    def table(self, query: Query) -> Table:
        """Return the table of rows with consent, with the beginnings of texts that a query asks for. It stays here.

        Raises:
            EncodingError: beginnings of what has no texts.
        """
        columns, _ = self.site.present()
        for name in query.used - columns.keys():
            base, length = self._source(name)
            columns[name] = [None if value is None else str(value)[:length] for value in _texts(columns[base])]
        return Table(query, columns)

    def _read(self, query: Query) -> Table:
        """Return the table, once every column is found to be of its type."""
        try:
            table = self.table(query)
            _ = table.numbers, table.codes
        except EncodingError as error:
            raise self._refusal(ANOTHER_SCHEMA, str(error)) from None
        return table

    def _source(self, name: str) -> tuple[str, int | None]:
        """Return the column that a name is of, and how many letters of it; the name itself for all other columns."""
        base, _, length = name.rpartition(_MARK)
        if name not in self.site.columns and base in self.site.columns and length in _LENGTHS:
            return base, int(length)
        return name, None

    def _allow(self, question: PrivateQuestion) -> None:
        """Refuse by the question alone."""
        query, policy, most = question.query, self.site.policy, self.most
        if query.dataset != self.site.asked_as:
            raise self._refusal(ANOTHER_DATASET, f"it asks of {query.dataset!r}")
        asked = {name for one in query.statistics for name in one.columns}
        asked |= set() if query.group_by is None else {query.group_by}
        filters = policy.columns if policy.filters is None else policy.filters
        filtered = {where.column for where in query.where}
        sources = {name: self._source(name)[0] for name in asked | filtered}
        outside = {sources[name] for name in asked} - policy.columns
        outside |= {sources[name] for name in filtered} - filters
        if outside:
            raise self._refusal(NOT_ALLOWED, f"columns {sorted(outside)}")
        if policy.statistics is not None and not {one.kind for one in query.statistics} <= policy.statistics:
            raise self._refusal(NOT_ALLOWED, "a statistic")
        if question.unit is not most.unit or question.adjacency is not most.adjacency:
            raise self._refusal(NOT_ALLOWED, f"it is private for a {question.unit}, {question.adjacency}")
        if question.epsilon > most.epsilon or question.delta > most.delta:
            raise self._refusal(NOT_ALLOWED, f"it costs epsilon {question.epsilon:g} at delta {question.delta:g}")
        absent = set(sources.values()) - self.site.columns.keys()
        if absent:
            raise self._refusal(ANOTHER_SCHEMA, f"there are no columns {sorted(absent)}")
        otherwise = self.site.declared_otherwise(query)
        if otherwise:
            raise self._refusal(ANOTHER_SCHEMA, f"columns {sorted(otherwise)} are not declared as this site has them")

    def _refusal(self, reason: str, why: str) -> QueryRefused:
        self.site.log(f"question refused, {reason}: {why}")
        return QueryRefused(reason)


def _texts(values: Any) -> Sequence[Any]:
    """Return a column of texts as a list; raise EncodingError where it is none."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "UO":
        raise EncodingError("only a one-dimensional array of texts has beginnings")
    texts: list[Any] = array.tolist()
    return texts
