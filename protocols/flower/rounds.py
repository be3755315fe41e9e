"""One round of training at the server: a session over the nodes' updates, and a reply that carries the mean.

In groups, a session for each, and a reply for each mean or for what a rule makes of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import final

from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from dp.errors import LedgerError
from secagg.errors import EncodingError, ParameterError, SecAggError, StateError, ThresholdError
from secagg.randomness import SYSTEM, RandomBytes

from ..masking.config import RoundConfig
from ..masking.result import RoundResult
from ..masking.server import Server
from ..privacy.plans import PrivatePlan
from .announcement import Announcement, node_id_of, pack_node_ids
from .content import Model, content_digest
from .envelope import RECORD, REFUSED
from .grouped import GroupedRound, RunGroups
from .mean import private_mean, weighted_mean
from .report import RoundReport
from .session import Session
from .settings import SecAggSettings


@final
class Round:
    """One round of training.

    Args:
        grid: Flower's.
        settings: of the run.
        messages: the strategy's train messages, one for each node.
        weighted_by: the key of the weight among the metrics that training returns.
        run_id: Flower's.
        integers: arrays that were of integers when the run began, with their dtypes; what is new is added.
        training_timeout: seconds to wait for masked inputs; without limit when None.
        groups: of the run, where the settings plan them.
        trained: whether a round of the run has had a mean. Then whatever ends this round costs the run no more than it.
        random: where the session's nonce, and the question for identities, come from.

    Raises:
        ParameterError: the messages cannot be served; nothing has been sent.
    """

    def __init__(
        self,
        grid: Grid,
        settings: SecAggSettings,
        messages: Sequence[Message],
        *,
        weighted_by: str,
        run_id: int,
        integers: dict[str, str],
        training_timeout: float | None,
        groups: RunGroups | None = None,
        trained: bool = False,
        random: RandomBytes = SYSTEM,
    ) -> None:
        self._settings = settings
        self._trained = trained
        self._weighted_by = weighted_by
        self._run_id = run_id
        self._training_timeout = training_timeout
        self._groups = groups
        self._random = random
        self._messages = {message.metadata.dst_node_id: message for message in messages}
        self._content = _common_content(messages, self._messages)
        self._array_key, arrays = _only_arrays(self._content)
        try:
            self._model = Model.of(arrays)
            integers |= self._model.integer_dtypes()
            if integers.keys() != set(self._model.keys("integers")):
                self._model = self._model.with_integers(integers)
                self._content = RecordDict({**self._content, self._array_key: self._model.record()})
        except EncodingError as error:
            raise ParameterError(f"the strategy sends a model that cannot be averaged: {error}") from None
        self.report = RoundReport(len(self._messages))
        self._session = Session(grid, settings, self._messages, self.report, run_id=run_id, random=random)

    def run(self) -> list[Message]:
        """Return one reply with the mean, or, if there is no mean, an error for each node.

        In groups, there is one reply for each group's mean where the strategy compares them.

        Raises:
            ParameterError: no node can take part, or the numbers of nodes and settings do not go together, and no round
                of the run has had a mean.
        """
        start = time.perf_counter()
        try:
            self._check_number()
            replies = self._aggregate_in_groups() if self._groups else self._aggregate()
        except (SecAggError, LedgerError) as error:  # too few are left, an impossible sum, or nothing left to pay with
            self.report.error = str(error)
            if isinstance(error, ParameterError) and not self._trained:
                raise  # the settings or the apps; later on, what was trained so far is not to be lost over it
            if isinstance(error, ThresholdError):
                self.report.error += self.report.commonest_failure
        self.report.seconds["server"] = time.perf_counter() - start - sum(self.report.seconds.values())
        self.report.log()
        if self.report.error is not None:
            failures, whole = self.report.failures, f"the round has no mean: {self.report.error}"
            return [
                Message(Error(REFUSED, failures.get(node, whole)), reply_to=message)
                for node, message in self._messages.items()
            ]
        return replies

    def _check_number(self) -> None:
        if len(self._messages) < 2:
            raise ParameterError(
                f"the strategy trains on {len(self._messages)} node, but a sum hides nothing with fewer than 2: raise "
                "min_train_nodes or fraction_train"
            )
        if self._groups is not None:
            self._groups.check_number(len(self._messages))

    def _aggregate(self) -> list[Message]:
        """Run all phases, and return the one reply."""
        identities = self._session.identities()
        nodes = sorted(identities or self._messages)
        announcement = self._announcement(nodes, tuple(identities[node] for node in nodes) if identities else ())
        try:
            planned = self._planned(len(nodes), announcement.context)
        except ParameterError as error:
            self._planned(len(self._messages), announcement.context)  # raises if not even all that were asked would do
            raise ThresholdError(
                f"{len(nodes)} of {len(self._messages)} nodes said who they are, which are too few: {error}",
                needed=len(self._messages),
                have=len(nodes),
            ) from None
        result = self._run_session(planned, announcement)
        mean_of = private_mean if isinstance(planned, PrivatePlan) else weighted_mean
        arrays, metrics = mean_of(result, self._settings, self._model, self._weighted_by, self.report)
        self.report.survivors = frozenset(map(node_id_of, result.survivors))
        return [self._reply(min(self.report.survivors), arrays, metrics)]

    def _aggregate_in_groups(self) -> list[Message]:
        """Draw the groups, if they are not drawn yet, run all their sessions, and return the replies."""
        if self._groups is None:
            raise StateError("these settings plan no groups")
        grouped = GroupedRound(
            self._groups,
            self._session,
            self._settings,
            self._announcement((), ()),
            self._content,
            self._model,
            self._training_timeout,
            self.report,
            self._random,
        )
        return [self._reply(*result) for result in grouped.results()]

    def _announcement(self, nodes: Sequence[int], identities: tuple[bytes, ...]) -> Announcement:
        return Announcement(
            run_id=self._run_id,
            message_type=next(iter(self._messages.values())).metadata.message_type,
            node_ids=pack_node_ids(nodes),
            identities=identities,
            content=content_digest(self._content),
            weighted_by=self._weighted_by,
            metrics=tuple(self._settings.metric_lengths.items()),
            max_clipped_fraction=self._settings.max_clipped_fraction,
        )

    def _reply(self, node: int, arrays: ArrayRecord, metrics: MetricRecord) -> Message:
        content = RecordDict({self._array_key: arrays, "metrics": metrics})
        return Message(content, reply_to=self._messages[node])

    def _planned(self, num_nodes: int, context: bytes) -> PrivatePlan | RoundConfig:
        """Return what a session of so many nodes is; raise ParameterError if nothing serves that number."""
        floats, integers = self._model.length("floats"), self._model.length("integers")
        plan = self._settings.private_plan(num_nodes, floats, context)
        return plan or self._settings.round_config(num_nodes, floats, integers, context)

    def _run_session(self, planned: PrivatePlan | RoundConfig, announcement: Announcement) -> RoundResult:
        """Run all phases; where a budget pays, between reservation and commitment."""
        participants, privacy = announcement.participants(), self._settings.privacy
        with privacy.account() if privacy else nullcontext() as account:
            if account is None or isinstance(planned, RoundConfig):
                config = planned if isinstance(planned, RoundConfig) else planned.config
                server = Server(config, participants, random=self._random)
                self._session.run(server, announcement, self._content, self._training_timeout)
                return server.result
            with planned.reserving(*account, participants, random=self._random) as paid:
                self._session.run(paid.server(), announcement, self._content, self._training_timeout)
                return paid.commit()


def _common_content(messages: Sequence[Message], by_node: Mapping[int, Message]) -> RecordDict:
    """Return the content that all messages share.

    A server that gives nodes different models can tell from the sum who is who; nodes are bound to one content.
    """
    if len(by_node) != len(messages):
        raise ParameterError("the strategy sends two train messages to one node: send one to each")
    first = messages[0]
    same_type = {message.metadata.message_type for message in messages}
    if len(same_type) != 1:
        raise ParameterError(f"the strategy mixes the types {sorted(same_type)} in one exchange: send them apart")
    expected = content_digest(first.content)
    for message in messages:
        if message.content is not first.content and content_digest(message.content) != expected:
            raise ParameterError(
                "the strategy sends nodes different models or configurations, but nodes train under secure aggregation "
                "only if all get the same"
            )
    if RECORD in first.content:
        raise ParameterError(f"the strategy sends a record named {RECORD!r}, which is the adapter's: rename it")
    return first.content


def _only_arrays(content: RecordDict) -> tuple[str, ArrayRecord]:
    arrays = list(content.array_records.items())
    if len(arrays) != 1:
        raise ParameterError(f"the strategy sends {len(arrays)} ArrayRecords, but the update of one is summed")
    return arrays[0]
