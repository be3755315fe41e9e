"""Sessions at the server: the protocol's phases over Flower's grid, whatever is summed in them, and draws of groups.

What nodes need to make their inputs travels with the message that asks for these, so that making them is in no key
exchange's deadline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import msgspec
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from secagg.errors import ParameterError, PeerError, SecAggError, ThresholdError
from secagg.randomness import SYSTEM, RandomBytes

from ..groups import GroupPlan, GroupServer, ServerDrawPhase
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from .announcement import Announcement, node_id_of, node_name, pack_node_ids
from .draw_answers import DrawTerms
from .envelope import RECORD, field, record_of
from .exchange import MOD_MISSING, Exchange
from .identities import ask_identities
from .report import SessionReport
from .settings import SessionSettings


@final
class Session:
    """What runs a server of the protocol with Flower's nodes.

    Args:
        grid: Flower's.
        settings: of the session.
        messages: node -> a message to it; the protocol's have its type and group.
        report: gets what failed, and what it took.
        run_id: Flower's.
        random: where the question for identities comes from.
    """

    def __init__(
        self,
        grid: Grid,
        settings: SessionSettings,
        messages: Mapping[int, Message],
        report: SessionReport,
        *,
        run_id: int,
        random: RandomBytes = SYSTEM,
    ) -> None:
        self._settings = settings
        self._run_id = run_id
        self._random = random
        self.report = report
        self.exchange = Exchange(grid, messages, report)

    def identities(self, least: int = 2) -> dict[int, bytes]:
        """Return the public keys of all nodes that can take part; none but against a malicious server.

        Args:
            least: so many must be able to.

        Raises:
            ParameterError: nobody can, and somebody says why.
            ThresholdError: fewer can.
        """
        if self._settings.roster is None:
            return {}
        identities = ask_identities(
            self.exchange,
            roster=Path(self._settings.roster),
            run_id=self._run_id,
            timeout=self._settings.stage_timeout,
            random=self._random,
        )
        self.report.check_anyone(identities)
        if len(identities) < least:
            raise ThresholdError(
                f"{len(identities)} of {len(self.exchange.messages)} nodes said who they are, and {least} must",
                needed=least,
                have=len(identities),
            )
        return identities

    def run(self, server: Server, announcement: Announcement, content: RecordDict, timeout: float | None) -> None:
        """Run all phases of a server; arguments and errors as for `run_together`.

        Raises:
            SecAggError: the session ends without a sum.
        """
        for error in self.run_together([server], announcement, content, timeout).values():
            raise error

    def run_together(
        self, servers: Sequence[Server], announcement: Announcement, content: RecordDict, timeout: float | None
    ) -> dict[int, SecAggError]:
        """Run all phases of servers side by side: one exchange carries a phase of all. Return who ended without a sum.

        Args:
            servers: about to invite nodes, each its own.
            announcement: goes with the invitations.
            content: goes with the messages that ask for inputs.
            timeout: seconds to wait for inputs; without limit when None.

        Returns:
            Place of a server -> why it ended without a sum.

        Raises:
            ParameterError: nobody can begin, and somebody says why.
        """
        announced = msgspec.msgpack.encode(announcement)
        failed: dict[int, SecAggError] = {}
        while running := [place for place, server in enumerate(servers) if not (server.ended or place in failed)]:
            phase = servers[running[0]].phase
            together = [place for place in running if servers[place].phase is phase]
            masking = phase is ServerPhase.MASKED_INPUT
            seconds = timeout if masking else self._settings.stage_timeout
            contents, asking = {}, {}
            for place in together:
                for name, data in servers[place].outgoing().items():
                    node = node_id_of(name)
                    if node not in self.exchange.messages:  # a member of a group that the strategy has not sampled
                        continue
                    fields = {"message": data}
                    if phase is ServerPhase.ADVERTISE_KEYS:
                        fields["announcement"] = announced
                    self.report.bytes_received += sum(map(len, fields.values()))
                    carried = content if masking else {}
                    contents[node] = RecordDict({**carried, RECORD: record_of(**fields)})
                    asking[node] = servers[place]
            answers = self.exchange.ask(str(phase), contents, seconds)
            for node, answer in answers.items():
                self.receive(asking[node], node, answer)
            for place in together:
                self.report.add_silent(phase, map(node_id_of, servers[place].awaited), seconds)
            if phase is ServerPhase.ADVERTISE_KEYS:
                self.report.check_anyone(answers.keys() - self.report.failures.keys())
            for place in together:
                try:
                    servers[place].close_phase()
                except SecAggError as error:
                    failed[place] = error
        return failed

    def draw(self, plan: GroupPlan) -> GroupServer:
        """Have all nodes draw the groups of the run, by commitments and nonces; the server has no say in them.

        Returns:
            The draw, with its result: nodes are in their groups once they were told of it, by `settle`.

        Raises:
            ParameterError: nobody can begin, and somebody says why; or the plan is for another number.
            ThresholdError: somebody did not answer, so that there are no groups by this draw.
        """
        identities = self.identities(plan.num_clients)
        nodes = sorted(identities)
        stated = DrawTerms(
            self._run_id, plan.written(), pack_node_ids(nodes), tuple(identities[node] for node in nodes)
        )
        announced = msgspec.msgpack.encode(stated)
        server = GroupServer(stated.terms(), random=self._random)
        while server.phase is not ServerDrawPhase.SETTLEMENT:
            begins = server.phase is ServerDrawPhase.COMMITMENTS
            answered = self._exchange_draw(server, {"terms": announced} if begins else {})
            if begins:
                self.report.check_anyone(answered - self.report.failures.keys())
            server.close_phase()
        return server

    def settle(self, server: GroupServer) -> None:
        """Tell the nodes of a draw that have not said that they are settled all nonces, so that they are; once more."""
        if any(node_id_of(name) in self.exchange.messages for name in server.awaited):
            self._exchange_draw(server, {})

    def _exchange_draw(self, server: GroupServer, more: Mapping[str, bytes]) -> set[int]:
        """Have the nodes that a draw waits for answer what it says; return which have."""
        exchange, timeout = f"draw-{server.phase}", self._settings.stage_timeout
        awaited = set(map(node_id_of, server.awaited)) & self.exchange.messages.keys()
        contents = {}
        for name, data in server.outgoing().items():
            if (node := node_id_of(name)) in awaited:
                fields = {"draw": data, **more}
                self.report.bytes_received += sum(map(len, fields.values()))
                contents[node] = RecordDict({RECORD: record_of(**fields)})
        answers = self.exchange.ask(exchange, contents, timeout)
        for node, answer in answers.items():
            self.receive(server, node, answer, "draw")
        silent = awaited & set(map(node_id_of, server.awaited))
        self.report.add_silent(exchange, sorted(silent), timeout)
        return set(answers)

    def receive(self, server: Server | GroupServer, node: int, content: RecordDict, name: str = "message") -> None:
        """Hand a node's answer to the server; what is wrong with it is a failure of the node."""
        try:
            data = field(content, name)
            self.report.bytes_sent += len(data)
            server.receive(node_name(node), data)
        except PeerError as error:
            hint = "" if RECORD in content else f" Its answer is not used; {MOD_MISSING}"
            self.report.failures.setdefault(node, f"{error.reason}{hint}")
        except ParameterError as error:
            self.report.failures.setdefault(node, str(error))
