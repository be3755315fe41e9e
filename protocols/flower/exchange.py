"""One exchange over Flower's grid: a message to each node, and the answers that come in time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import final

from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid

from ..core import framing
from ..masking.transitions import ServerPhase
from .envelope import REFUSED
from .report import SessionReport

MOD_MISSING = "is secagg_mod missing in the node's app, ClientApp(mods=[secagg_mod]), or not the first of its mods?"
ASK = "query"
"""Name of the exchange in which nodes are asked whether they answer a query."""
_HINTS = {
    str(ServerPhase.ADVERTISE_KEYS): MOD_MISSING,
    ASK: 'is the handler missing in the node\'s app, app.query("statistics")(secagg_mod.query)?',
}
"""What may be wrong where a node's app fails in the first exchange."""
_TTL_MARGIN = 5.0


@final
class Exchange:
    """What asks nodes in the name of a strategy's train messages, or of a query.

    Args:
        grid: Flower's.
        messages: node -> the message that is served; ours have its type and group.
        report: gets what failed, and how long it took.
    """

    def __init__(self, grid: Grid, messages: Mapping[int, Message], report: SessionReport) -> None:
        self._grid = grid
        self.messages = messages
        self.report = report

    def ask(self, name: str, contents: Mapping[int, RecordDict], timeout: float | None) -> dict[int, RecordDict]:
        """Send to each node, wait, and return what came; errors are failures of their nodes.

        Args:
            name: of the exchange, for the report.
            contents: node -> what it is sent.
            timeout: seconds; without limit when None.
        """
        start = time.perf_counter()
        ttl = None if timeout is None else timeout + _TTL_MARGIN
        messages = []
        for node, content in contents.items():
            metadata = self.messages[node].metadata
            messages.append(Message(content, node, metadata.message_type, ttl=ttl, group_id=metadata.group_id))
        answers: dict[int, RecordDict] = {}
        for reply in self._grid.send_and_receive(messages, timeout=timeout):
            node = reply.metadata.src_node_id
            if node not in contents or node in answers:
                continue
            if reply.has_error():
                hint = "" if reply.error.code == REFUSED or name not in _HINTS else f"; {_HINTS[name]}"
                self.report.failures.setdefault(node, f"{name}: {_short(reply.error)}{hint}")
            else:
                answers[node] = reply.content
        self.report.seconds[name] = time.perf_counter() - start
        return answers


def _short(error: Error) -> str:
    """The last line says most where Flower hands on a traceback. It is a node's text, and goes to a terminal."""
    lines = (error.reason or "").strip().splitlines()
    return framing.printable(lines[-1] if lines else f"error {error.code}")
