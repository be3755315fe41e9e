"""A site that answers with noise: what it demands of the session, and what its own ledger pays."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dp.sensitivity import Unit
from secagg.errors import EncodingError, ParameterError, QueryRefused

from ...core.machine import Inputs
from ...masking.config import RoundConfig
from ...masking.policy import ClientPolicy, PrivacyDemand
from ..beginnings import with_beginnings
from ..query import Query
from ..rows import Table
from ..site import ANOTHER_DATASET, ANOTHER_SCHEMA, NOT_ALLOWED, Site
from .features import Features
from .question import PrivateQuestion

if TYPE_CHECKING:
    from dp.ledger import Ledger


@dataclass
class PrivateSite:
    """One site's table behind noise.

    No answer hangs on its rows: whether a site answers is seen, and no noise covers that. So few rows, small cells and
    earlier answers are no reasons here; the demand and the ledger are.

    Args:
        site: the table, and the columns, filters and statistics that its policy names.
        most: the most that one answer may cost, of which unit. Its `rounds` and `sampling_rate` are 1: an answer is of
            one session, and of all rows.
        ledger: pays for each answer before it leaves; None for trials, where nobody counts them.
        budget: its name in the ledger: of composition `gaussian` or `renyi`, as `NoisyPlan.rounds.budget` makes them.
        client: what the site's client demands beside privacy.

    Raises:
        ParameterError: `most` counts on several rounds, or on rows that are left out.
    """

    site: Site
    most: PrivacyDemand
    ledger: Ledger | None
    budget: str = ""
    client: ClientPolicy = field(default_factory=ClientPolicy)

    def __post_init__(self) -> None:
        """Refuse a demand that no answer honours."""
        if (self.most.rounds, self.most.sampling_rate) != (1, 1):
            raise ParameterError(
                f"most has rounds {self.most.rounds} and sampling_rate {self.most.sampling_rate}, but both must be 1: "
                "an answer is one session's, and has every row that the question selects"
            )

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
        table, length = self._read(question.query)
        rows = Features(question.query).rows(table, table.selected(length))
        if self.ledger is not None:
            answer = f"{question.digest.hex()[:16]}-{os.urandom(8).hex()}"
            self.ledger.spend(self.budget, demand.event(config), round_id=answer, unit=question.unit)
        return Inputs({question.name: rows if question.unit is Unit.RECORD else rows.sum()})

    def table(self, query: Query) -> tuple[Table, int]:
        """Return the table of rows with consent, and how many these are; both stay here.

        It has the beginnings of texts that the query asks for.

        Raises:
            EncodingError: beginnings of what has no texts.
        """
        columns, rows = self.site.present()
        return Table(query, with_beginnings(columns, query.used)), len(rows)

    def _read(self, query: Query) -> tuple[Table, int]:
        """Return the table, once every column is found to be of its type."""
        try:
            table, length = self.table(query)
            table.read()
        except EncodingError as error:
            raise self._refusal(ANOTHER_SCHEMA, str(error)) from None
        return table, length

    def _allow(self, question: PrivateQuestion) -> None:
        """Refuse by the question alone."""
        query, policy, most = question.query, self.site.policy, self.most
        if query.dataset != self.site.asked_as:
            raise self._refusal(ANOTHER_DATASET, f"it asks of {query.dataset!r}")
        outside = self.site.outside(query)
        if outside:
            raise self._refusal(NOT_ALLOWED, f"columns {sorted(outside)}")
        if policy.statistics is not None and not {one.kind for one in query.statistics} <= policy.statistics:
            raise self._refusal(NOT_ALLOWED, "a statistic")
        if question.unit is not most.unit or question.adjacency is not most.adjacency:
            raise self._refusal(NOT_ALLOWED, f"it is private for a {question.unit}, {question.adjacency}")
        if question.epsilon > most.epsilon or question.delta > most.delta:
            raise self._refusal(NOT_ALLOWED, f"it costs epsilon {question.epsilon:g} at delta {question.delta:g}")
        absent = self.site.absent(query)
        if absent:
            raise self._refusal(ANOTHER_SCHEMA, f"there are no columns {sorted(absent)}")
        otherwise = self.site.declared_otherwise(query)
        if otherwise:
            raise self._refusal(ANOTHER_SCHEMA, f"columns {sorted(otherwise)} are not declared as this site has them")

    def _refusal(self, reason: str, why: str) -> QueryRefused:
        self.site.log(f"question refused, {reason}: {why}")
        return QueryRefused(reason)
