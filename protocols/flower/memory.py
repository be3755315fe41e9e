"""What a node keeps in Flower's Context between messages: its session, a draw, and what its site agreed to answer.

It is out of the reach of the app's own functions, which share the Context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from flwr.app import ConfigRecord, Context

from ..core import framing
from ..masking.config import RoundConfig
from .announcement import Announcement
from .envelope import RECORD

AGREED, TOTALS = f"{RECORD}-agreed", f"{RECORD}-totals"
"""Names of the records of a query that the node's site has agreed to answer, and of its answer."""
DRAW = f"{RECORD}-draw"
"""Name of the record of a draw of groups that is under way: the node's nonce is in it."""


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What a node remembers of its one session between messages. As secret as the dump in it."""

    announcement: Announcement
    config: RoundConfig
    session_id: bytes
    dump: bytes

    def __repr__(self) -> str:
        return "Memory(...)"


@contextmanager
def hidden(context: Context) -> Iterator[None]:
    """Keep our records out of the reach of the app's functions, and bring them back unchanged."""
    names = (RECORD, AGREED, TOTALS, DRAW)
    ours = {name: context.state.pop(name) for name in names if name in context.state}
    try:
        yield
    finally:
        for name in names:
            context.state.pop(name, None)
        for name, record in ours.items():
            context.state[name] = record


def remember(context: Context, memory: Memory) -> None:
    """Keep the session, in place of the one before."""
    context.state[RECORD] = ConfigRecord({"memory": msgspec.msgpack.encode(memory)})


def recall(context: Context) -> Memory | None:
    """Return the session, if there is one; raise MalformedMessage if it is damaged."""
    record = context.state.get(RECORD)
    memory = record.get("memory") if isinstance(record, ConfigRecord) else None
    return framing.decode_body(memory, Memory) if isinstance(memory, bytes) else None
