"""What a node keeps in Flower's Context between messages: its one session, and how many private rounds it was in.

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

ROUNDS = "secagg-rounds"
"""Name of the record in a node's state that counts its private rounds."""


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
    ours = {name: context.state.pop(name) for name in (RECORD, ROUNDS) if name in context.state}
    try:
        yield
    finally:
        for name in (RECORD, ROUNDS):
            context.state.pop(name, None)
        context.state.update(ours)


def private_rounds(context: Context) -> int:
    """Return how many private rounds this node has given masked input to, as far as this state goes back."""
    record = context.state.get(ROUNDS)
    taken = record.get("private") if isinstance(record, ConfigRecord) else None
    return taken if isinstance(taken, int) else 0


def count_private_round(context: Context) -> None:
    """Count one more of them."""
    context.state[ROUNDS] = ConfigRecord({"private": private_rounds(context) + 1})


def remember(context: Context, memory: Memory) -> None:
    """Keep the session, in place of the one before."""
    context.state[RECORD] = ConfigRecord({"memory": msgspec.msgpack.encode(memory)})


def recall(context: Context) -> Memory | None:
    """Return the session, if there is one; raise MalformedMessage if it is damaged."""
    record = context.state.get(RECORD)
    memory = record.get("memory") if isinstance(record, ConfigRecord) else None
    return framing.decode_body(memory, Memory) if isinstance(memory, bytes) else None
