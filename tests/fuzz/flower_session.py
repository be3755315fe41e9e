"""One session of Flower nodes against a malicious server, recorded for the fuzzer: the same in every run.

The corpus holds messages of it. Needs flwr.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from flwr.app import Context, Message, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from protocols.core.identity_files import write_participants
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary
from protocols.flower import SecAggMod, SecAggSettings, rounds
from protocols.flower.envelope import RECORD
from protocols.flower.memory import Memory, recall
from protocols.flower.rounds import Round
from protocols.masking.server import Server
from secagg.encoding import FixedPoint
from secagg.randomness import RandomBytes
from secagg.signatures import Identity
from tests.protocols.flower.in_process import (
    METRICS,
    NODE_IDS,
    RUN_ID,
    InProcessGrid,
    make_app,
    make_grid,
    train_messages,
    usual_training,
)

NODES = NODE_IDS[:5]
EXCHANGES = 7
"""Who are you, keys, shares, receipts, masked input, confirmation, unmasking."""
VICTIM = NODES[2]
"""The node that is played with by its server; in the other targets, the one that plays with its server."""


def drawn() -> RandomBytes:
    """Return what stands for the operating system's randomness in the recorded session: the same in every run."""
    count = iter(range(1 << 30))
    return lambda size: hashlib.shake_256(f"fuzz/session/{next(count)}".encode()).digest(size)


@contextmanager
def quiet() -> Iterator[None]:
    """Refusals are logged, and a million of them would be all that is seen."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-flower-")


@cache
def identity_of(node_id: int) -> Identity:
    return Identity(hashlib.sha256(b"fuzz identity %d" % node_id).digest())


@cache
def roster() -> str:
    path = Path(_folder().name) / "roster.json"
    write_participants(path, Participants({str(node_id): identity_of(node_id).public_bytes for node_id in NODES}))
    return str(path)


def to_bytes(records: RecordDict) -> bytes:
    return recorddict_to_proto(records).SerializeToString(deterministic=True)


def from_bytes(data: bytes) -> RecordDict | None:
    """What Flower makes of bytes; None where it makes nothing of them, which is Flower's own affair."""
    try:
        return recorddict_from_proto(ProtoRecordDict.FromString(data))
    except Exception:  # Flower's reader lets through what comes, AttributeError among it
        return None


@cache
def settings() -> SecAggSettings:
    return SecAggSettings(dropout_fraction=0.2, metrics=METRICS, adversary=Adversary.MALICIOUS_SERVER, roster=roster())


@dataclass
class Session:
    """One exchange after the other: the victim's state before it, what it was asked, what it answered, the server."""

    states: list[bytes] = field(default_factory=list)
    asked: list[RecordDict] = field(default_factory=list)
    answered: list[RecordDict] = field(default_factory=list)
    servers: list[bytes] = field(default_factory=list)


def living_grid(disturb: Callable[..., Any] | None, random: RandomBytes) -> InProcessGrid:
    """Nodes with identities, which note what they have answered in a folder that is emptied for each input."""
    notes = fresh_notes()

    def mod_of(node_id: int) -> SecAggMod:
        return SecAggMod(identity=identity_of(node_id), roster=roster(), random=random, threads=1)

    mods = {node_id: mod_of(node_id) for node_id in NODES}

    def mod(message: Message, context: Context, call_next: Any) -> Message:
        return mods[context.node_id](message, context, call_next)

    app = make_app(usual_training, mods=(mod,))
    return make_grid(app, len(NODES), node_config=lambda _: {"secagg-answered": notes}, disturb=disturb)


def new_round(grid: Any, random: RandomBytes) -> Round:
    return Round(
        grid,
        settings(),
        train_messages(nodes=NODES),
        weighted_by="num-examples",
        run_id=RUN_ID,
        integers={},
        training_timeout=None,
        random=random,
    )


@cache
def session() -> Session:
    recorded, servers = Session(), []

    def server(*arguments: Any, **options: Any) -> Server:
        servers.append(Server(*arguments, threads=1, **options))
        return servers[-1]

    def watch(_number: int, node_id: int, message: Message, answer: Any) -> Message:
        if node_id != VICTIM:
            return answer(message)
        recorded.states.append(to_bytes(grid.nodes[node_id].state))
        recorded.asked.append(RecordDict(dict(message.content)))
        recorded.servers.append(servers[-1].dump() if servers else b"")
        reply = answer(message)
        recorded.answered.append(RecordDict(dict(reply.content)))
        return reply

    random = drawn()
    rounding = patch.dict(FixedPoint.encode.__kwdefaults__, random=random)  # no client hands its source on to codecs
    with patch.object(rounds, "Server", server), rounding, quiet():
        grid = living_grid(watch, random)
        (reply,) = new_round(grid, random).run()
    if not reply.has_content():
        raise ValueError(f"the recorded session has no mean: {reply.error.reason}")
    return recorded


@cache
def memory() -> Memory:
    """What the victim remembers before it is asked to train."""
    found = recall(context_of(session().states[4]))
    if found is None:
        raise ValueError("the victim remembers nothing")
    return found


def fresh_notes() -> str:
    """Where nodes note what they have answered: nothing yet."""
    folder = Path(_folder().name) / "answered"
    if folder.is_dir():
        shutil.rmtree(folder)
    return str(folder)


def context_of(state: bytes) -> Context:
    notes = fresh_notes()
    records = from_bytes(state)
    return Context(
        run_id=RUN_ID,
        node_id=VICTIM,
        node_config={"partition-id": 2, "secagg-answered": notes},
        state=RecordDict() if records is None else records,
        run_config={},
    )


def fields_of(content: RecordDict) -> dict[str, bytes]:
    return {name: value for name, value in content[RECORD].items() if isinstance(value, bytes)}
