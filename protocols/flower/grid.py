"""A Grid of Flower's that runs each round of training under secure aggregation; all else passes through untouched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from secagg.errors import ParameterError

from .grouped import RunGroups
from .report import RoundReport
from .rounds import Round
from .settings import SecAggSettings

TRAIN = "train"


@final
class SecAggGrid(Grid):
    """Flower's grid, with secure aggregation where a strategy asks for training.

    `send_and_receive` answers train messages with one reply: the mean of the survivors' models, weighted by
    num-examples, the sum of these, and the weighted means of the declared metrics. If there is no mean, each node's
    reply is an error. Prefer `SecAgg(strategy)`, which also refuses strategies that a mean does not serve.

    Args:
        grid: Flower's.
        settings: of the run.
        weighted_by: the key of the weight among the metrics that training returns.
        groups: of the run, where the settings plan them; when None, the plan's rule makes one reply of their means.
    """

    def __init__(
        self,
        grid: Grid,
        settings: SecAggSettings,
        *,
        weighted_by: str = "num-examples",
        groups: RunGroups | None = None,
    ) -> None:
        self._grid = grid
        self._settings = settings
        self._weighted_by = weighted_by
        self._groups = groups if groups or settings.groups is None else RunGroups(settings.groups)
        self._integers: dict[str, str] = {}
        self.reports: list[RoundReport] = []
        """One for each round of training so far."""

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages and return their replies, or one reply with the mean for all train messages.

        Raises:
            ParameterError: the strategy sends what cannot be served; or the settings and the nodes do not go together,
                and no round has had a mean yet. Later on, such a round has none.
        """
        messages = list(messages)
        training = [message for message in messages if _is_training(message)]
        if not training:
            return self._grid.send_and_receive(messages, timeout=timeout)
        if len(training) != len(messages):
            raise ParameterError("the strategy mixes training with other messages in one exchange: send them apart")
        session = Round(
            self._grid,
            self._settings,
            training,
            weighted_by=self._weighted_by,
            run_id=self._grid.run.run_id,
            integers=self._integers,
            training_timeout=timeout,
            groups=self._groups,
            trained=any(report.survivors for report in self.reports),
        )
        self.reports.append(session.report)
        return session.run()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Pass messages on, but for train messages.

        Raises:
            ParameterError: a train message, whose answer would be in clear.
        """
        messages = list(messages)
        if any(map(_is_training, messages)):
            raise ParameterError("training under secure aggregation takes several exchanges: use send_and_receive")
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Pass on."""
        return self._grid.pull_messages(message_ids)

    def get_node_ids(self) -> Iterable[int]:
        """Pass on."""
        return self._grid.get_node_ids()

    def get_nodes(self) -> Iterable[Any]:
        """Pass on, where this version of Flower has it."""
        return self._grid.get_nodes()

    def set_run(self, run: Any) -> None:
        """Pass on."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """Flower's information about the run."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message as Flower's constructor does."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)


def _is_training(message: Message) -> bool:
    return message.metadata.message_type.partition(".")[0] == TRAIN
