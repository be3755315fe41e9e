"""One round at the server: the protocol's exchanges over Flower's grid, and one reply that carries the mean.

The model travels with the message that asks for masked input, so that training is in no key exchange's deadline.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import final

import msgspec
from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.serverapp import Grid

from dp.errors import LedgerError
from secagg.errors import (
    AuthenticationFailed,
    EncodingError,
    ParameterError,
    PeerError,
    SecAggError,
    ThresholdError,
)
from secagg.signatures import verify

from ..core import framing
from ..core.identity_files import read_participants
from ..core.participants import Participants
from ..masking import wire
from ..masking.messages import ToClient
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from ..privacy.plans import PrivatePlan
from .announcement import Announcement, pack_node_ids
from .content import Model, content_digest
from .envelope import NONCE_BYTES, RECORD, REFUSED, field, identity_question, seal
from .logs import INFO, WARNING, log
from .mean import private_mean, weighted_mean
from .report import RoundReport
from .settings import SecAggSettings

IDENTITIES = "identities"
_SHOWN = 5
_MOD_MISSING = "is secagg_mod missing in the node's app, ClientApp(mods=[secagg_mod]), or not the first of its mods?"
_TTL_MARGIN = 5.0


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
    ) -> None:
        self._grid = grid
        self._settings = settings
        self._weighted_by = weighted_by
        self._run_id = run_id
        self._training_timeout = training_timeout
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

    def run(self) -> list[Message]:
        """Return one reply with the mean, or, if there is no mean, an error for each node.

        Raises:
            ParameterError: no node can take part, or the numbers of nodes and settings do not go together.
        """
        start = time.perf_counter()
        try:
            content = self._aggregate()
        except ParameterError:
            raise
        except (SecAggError, LedgerError) as error:  # too few are left, an impossible sum, or nothing left to pay with
            self.report.error = f"{error}{self._told_most() if isinstance(error, ThresholdError) else ''}"
        self.report.seconds["server"] = time.perf_counter() - start - sum(self.report.seconds.values())
        self._tell()
        if self.report.error is not None:
            return [self._failed(node) for node in self._messages]
        return [Message(content, reply_to=self._messages[min(self.report.survivors)])]

    @property
    def _some_message(self) -> Message:
        return next(iter(self._messages.values()))

    def _aggregate(self) -> RecordDict:
        """Run all exchanges, and return the content of the one reply."""
        nodes, identities = self._participants()
        announcement = Announcement(
            run_id=self._run_id,
            message_type=self._some_message.metadata.message_type,
            node_ids=pack_node_ids(nodes),
            identities=tuple(identities[node] for node in nodes) if identities else (),
            content=content_digest(self._content),
            weighted_by=self._weighted_by,
            metrics=tuple(self._settings.metric_lengths.items()),
            max_clipped_fraction=self._settings.max_clipped_fraction,
        )
        numbers = (len(nodes), self._model.length("floats"), self._model.length("integers"), announcement.context)
        plan = self._settings.private_plan(*numbers)
        names = [f"node-{node}" for node in nodes]
        participants = Participants({f"node-{node}": identities[node] for node in nodes} if identities else names)
        result = self._paid(plan, participants, nodes, announcement, numbers)
        mean_of = private_mean if plan else weighted_mean
        arrays, metrics = mean_of(result, self._settings, self._model, self._weighted_by, self.report)
        self.report.survivors = frozenset(nodes[client_id - 1] for client_id in result.survivors)
        return RecordDict({self._array_key: arrays, "metrics": metrics})

    def _paid(
        self,
        plan: PrivatePlan | None,
        participants: Participants,
        nodes: list[int],
        announcement: Announcement,
        numbers: tuple[int, int, int, bytes],
    ) -> RoundResult:
        """Run all exchanges; where a budget pays, between reservation and commitment."""
        privacy = self._settings.privacy
        if plan is None or privacy is None:
            server = Server(self._settings.round_config(*numbers), participants)
            return self._exchange_all(server, nodes, announcement)
        with privacy.account() as account:
            if account is None:
                return self._exchange_all(Server(plan.config, participants), nodes, announcement)
            with plan.reserving(*account, participants) as paid:
                self._exchange_all(paid.server(), nodes, announcement)
                return paid.commit()

    def _participants(self) -> tuple[list[int], dict[int, bytes]]:
        """Return the nodes in order and, against a malicious server, the identities that they say are theirs."""
        if self._settings.roster is None:
            return sorted(self._messages), {}
        trusted = set(read_participants(Path(self._settings.roster)).keys.values())
        nonce = os.urandom(NONCE_BYTES)
        asked = {node: RecordDict({RECORD: seal(ask=nonce)}) for node in self._messages}
        identities: dict[int, bytes] = {}
        for node, content in self._exchange(IDENTITIES, asked, self._settings.stage_timeout).items():
            try:
                identity = field(content, "identity")
                # Public keys are public: without proof, one node could take another's place.
                verify(identity, identity_question(self._run_id, node, nonce), field(content, "proof"))
            except AuthenticationFailed:
                self._blame(node, "it cannot show that the identity it claims is its own")
                continue
            except SecAggError as error:
                self._blame(node, f"{error}; {_MOD_MISSING}")
                continue
            if identity not in trusted:
                self._blame(node, "its identity is not in the server's roster")
            elif identity in identities.values():
                self._blame(node, "its identity is another node's, too")
            else:
                identities[node] = identity
        self._check_anyone(identities)
        if len(identities) < 2:
            raise ThresholdError(f"{len(identities)} nodes said who they are", needed=2, have=len(identities))
        return sorted(identities), identities

    def _exchange_all(self, server: Server, nodes: list[int], announcement: Announcement) -> RoundResult:
        outgoing: Mapping[int, ToClient] = server.outgoing()
        announced = msgspec.msgpack.encode(announcement)
        while outgoing:
            phase = server.phase
            timeout: float | None = self._settings.stage_timeout
            contents = {}
            for client_id, message in outgoing.items():
                fields = {"message": wire.encode(message)}
                if phase is ServerPhase.ADVERTISE_KEYS:
                    fields["announcement"] = announced
                self.report.bytes_received += sum(map(len, fields.values()))
                contents[nodes[client_id - 1]] = RecordDict({RECORD: seal(**fields)})
            if phase is ServerPhase.MASKED_INPUT:
                timeout = self._training_timeout
                for content in contents.values():
                    content.update(self._content)
            answers = self._exchange(str(phase), contents, timeout)
            for node, content in answers.items():
                self._receive(server, nodes.index(node) + 1, node, content)
            if phase is ServerPhase.ADVERTISE_KEYS:
                self._check_anyone(answers.keys() - self.report.failures.keys())
            outgoing = server.close_round()
        return server.result

    def _receive(self, server: Server, client_id: int, node: int, content: RecordDict) -> None:
        try:
            data = field(content, "message")
            self.report.bytes_sent += len(data)
            server.receive_bytes(client_id, data)
        except PeerError as error:
            hint = "" if RECORD in content else f" Its answer is not used; {_MOD_MISSING}"
            self._blame(node, f"{error.reason}{hint}")
        except ParameterError as error:
            self._blame(node, str(error))

    def _exchange(self, name: str, contents: Mapping[int, RecordDict], timeout: float | None) -> dict[int, RecordDict]:
        """Send to each node, wait, and return what came; whoever errs or is silent is blamed."""
        start = time.perf_counter()
        ttl = None if timeout is None else timeout + _TTL_MARGIN
        messages = []
        for node, content in contents.items():
            metadata = self._messages[node].metadata
            messages.append(Message(content, node, metadata.message_type, ttl=ttl, group_id=metadata.group_id))
        answers: dict[int, RecordDict] = {}
        for reply in self._grid.send_and_receive(messages, timeout=timeout):
            node = reply.metadata.src_node_id
            if node not in contents or node in answers:
                continue
            if reply.has_error():
                hint = "" if reply.error.code == REFUSED or name != _FIRST else f"; {_MOD_MISSING}"
                self._blame(node, f"{name}: {_short(reply.error)}{hint}")
            else:
                answers[node] = reply.content
        for node in contents.keys() - answers.keys() - self.report.failures.keys():
            self._blame(node, f"{name}: no answer" + ("" if timeout is None else f" within {timeout:g} s"))
        self.report.seconds[name] = time.perf_counter() - start
        return answers

    def _blame(self, node: int, reason: str) -> None:
        self.report.failures.setdefault(node, reason)

    def _told_most(self) -> str:
        """What most nodes that failed say, for who reads no further than the error."""
        for reason, count in Counter(self.report.failures.values()).most_common(1):
            return f"; {count} of {self.report.invited} nodes failed with: {reason}"
        return ""

    def _check_anyone(self, able: Collection[int]) -> None:
        """Where nobody can begin although somebody answers, it is the apps or the settings, and not bad luck."""
        failures = self.report.failures
        if not able and any("no answer" not in reason for reason in failures.values()):
            distinct = list(dict.fromkeys(failures.values()))
            raise ParameterError("no node can take part: " + "; ".join(distinct[:_SHOWN]))

    def _failed(self, node: int) -> Message:
        reason = self.report.failures.get(node, f"the round has no mean: {self.report.error}")
        return Message(Error(REFUSED, reason), reply_to=self._messages[node])

    def _tell(self) -> None:
        report = self.report
        for node, reason in list(report.failures.items())[:_SHOWN]:
            log(WARNING, "secagg: node %d: %s", node, reason)
        if len(report.failures) > _SHOWN:
            log(WARNING, "secagg: and %d more nodes failed", len(report.failures) - _SHOWN)
        if report.error is not None:
            log(WARNING, "secagg: no mean in this round: %s", report.error)
            return
        log(INFO, "secagg: mean of %d of %d nodes", len(report.survivors), report.invited)
        if report.epsilon is not None:
            log(INFO, "secagg: the round by itself has cost each node epsilon %.4g", report.epsilon)
        if report.num_clipped:
            log(
                WARNING, "secagg: %d coordinates of all updates were clipped: think of raising clip", report.num_clipped
            )


_FIRST = str(ServerPhase.ADVERTISE_KEYS)


def _short(error: Error) -> str:
    """The last line says most where Flower hands on a traceback. It is a node's text, and goes to a terminal."""
    lines = (error.reason or "").strip().splitlines()
    return framing.printable(lines[-1] if lines else f"error {error.code}")


def _common_content(messages: Sequence[Message], by_node: Mapping[int, Message]) -> RecordDict:
    """Return the content that all messages share.

    A server that gives nodes different models can tell from the sum who is who; nodes are bound to one content.
    """
    if len(by_node) != len(messages):
        raise ParameterError("the strategy sends two train messages to one node: send one to each")
    if len(messages) < 2:
        raise ParameterError(
            f"the strategy trains on {len(messages)} node, but a sum hides nothing with fewer than 2: raise "
            "min_train_nodes or fraction_train"
        )
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
