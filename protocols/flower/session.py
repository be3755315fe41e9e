"""One session at the server: the protocol's phases over Flower's grid, whatever is summed in them.

What nodes need to make their inputs travels with the message that asks for these, so that making them is in no key
exchange's deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

import msgspec
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from secagg.errors import ParameterError, PeerError, ThresholdError
from secagg.randomness import SYSTEM, RandomBytes

from ..masking.server import Server
from ..masking.transitions import ServerPhase
from .announcement import Announcement, node_id_of, node_name
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

    def identities(self) -> dict[int, bytes]:
        """Return the public keys of all nodes that can take part; none but against a malicious server.

        Raises:
            ParameterError: nobody can, and somebody says why.
            ThresholdError: fewer than two can.
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
        if len(identities) < 2:
            raise ThresholdError(f"{len(identities)} nodes said who they are", needed=2, have=len(identities))
        return identities

    def run(self, server: Server, announcement: Announcement, content: RecordDict, timeout: float | None) -> None:
        """Run all phases of a server.

        Args:
            server: about to invite the announced nodes.
            announcement: goes with the invitations.
            content: goes with the messages that ask for inputs.
            timeout: seconds to wait for inputs; without limit when None.

        Raises:
            ParameterError: nobody can begin, and somebody says why.
            SecAggError: the session ends without a sum.
        """
        announced = msgspec.msgpack.encode(announcement)
        while not server.ended:
            phase = server.phase
            masking = phase is ServerPhase.MASKED_INPUT
            seconds = timeout if masking else self._settings.stage_timeout
            contents = {}
            for name, data in server.outgoing().items():
                fields = {"message": data}
                if phase is ServerPhase.ADVERTISE_KEYS:
                    fields["announcement"] = announced
                self.report.bytes_received += sum(map(len, fields.values()))
                carried = content if masking else {}
                contents[node_id_of(name)] = RecordDict({**carried, RECORD: record_of(**fields)})
            answers = self.exchange.ask(str(phase), contents, seconds)
            for node, answer in answers.items():
                self.receive(server, node, answer)
            self.report.add_silent(phase, map(node_id_of, server.awaited), seconds)
            if phase is ServerPhase.ADVERTISE_KEYS:
                self.report.check_anyone(answers.keys() - self.report.failures.keys())
            server.close_phase()

    def receive(self, server: Server, node: int, content: RecordDict) -> None:
        """Hand a node's answer to the server; what is wrong with it is a failure of the node."""
        try:
            data = field(content, "message")
            self.report.bytes_sent += len(data)
            server.receive(node_name(node), data)
        except PeerError as error:
            hint = "" if RECORD in content else f" Its answer is not used; {MOD_MISSING}"
            self.report.failures.setdefault(node, f"{error.reason}{hint}")
        except ParameterError as error:
            self.report.failures.setdefault(node, str(error))
