"""Flower's adapter: a node under a hostile server, a server under a hostile node, and what a node keeps.

One session against a malicious server is recorded, with randomness that is the same in every run: the corpus holds
messages of it. Needs flwr, which has an environment of its own.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from protocols import client_steps, wire
from protocols import server as server_module
from protocols.flower import SecAggMod, SecAggSettings, rounds
from protocols.flower.announcement import Announcement, pack_node_ids
from protocols.flower.content import Model, content_digest
from protocols.flower.envelope import RECORD, REFUSED, decode, seal
from protocols.flower.envelope import field as envelope_field
from protocols.flower.memory import Memory, recall, remember
from protocols.flower.rounds import Round
from protocols.flower.settings import UPDATE
from protocols.identity_files import write_roster
from protocols.messages import Invitation
from protocols.parameters import Adversary
from protocols.server import Server
from secagg import aead, encoding, key_agreement, signatures
from secagg import field as prime_field
from secagg.errors import MalformedMessage, ParameterError, ThresholdError
from secagg.signatures import Identity
from tests.protocols.flower.in_process import (
    METRICS,
    MODEL,
    NODE_IDS,
    RUN_ID,
    InProcessGrid,
    make_app,
    make_grid,
    plain_mean,
    train_messages,
    usual_training,
)

from .core_targets import framed
from .texts import check_text

NODES = NODE_IDS[:5]
EXCHANGES = 6
"""Who are you, keys, shares, masked input, confirmation, unmasking."""
VICTIM = NODES[2]
"""The node that is played with by its server; in the other targets, the one that plays with its server."""


def _drawn(label: str) -> Callable[[int], bytes]:
    """What stands for the operating system's randomness in the recorded session."""
    count = iter(range(1 << 30))
    return lambda size: hashlib.shake_256(f"fuzz/{label}/{next(count)}".encode()).digest(size)


@contextmanager
def _same_randomness(label: str) -> Iterator[None]:
    source = SimpleNamespace(urandom=_drawn(label))
    modules = (aead, encoding, key_agreement, prime_field, signatures, client_steps, server_module, rounds)
    patches = [patch.object(module, "os", source) for module in modules]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


@contextmanager
def _quiet() -> Iterator[None]:
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
def _identity(node_id: int) -> Identity:
    return Identity(hashlib.sha256(b"fuzz identity %d" % node_id).digest())


@cache
def _roster() -> str:
    path = Path(_folder().name) / "roster.json"
    write_roster(path, {str(node_id): _identity(node_id).public_bytes for node_id in NODES})
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
    return SecAggSettings(dropout_fraction=0.2, metrics=METRICS, adversary=Adversary.MALICIOUS_SERVER, roster=_roster())


@dataclass
class Session:
    """One exchange after the other: the victim's state before it, what it was asked, what it answered, the server."""

    states: list[bytes] = field(default_factory=list)
    asked: list[RecordDict] = field(default_factory=list)
    answered: list[RecordDict] = field(default_factory=list)
    servers: list[bytes] = field(default_factory=list)


def _grid(disturb: Callable[..., Any] | None) -> InProcessGrid:
    """Nodes with identities, which note what they have answered in a folder that is emptied for each input."""
    notes = _fresh_notes()

    def mod_of(node_id: int) -> SecAggMod:
        return SecAggMod(identity=_identity(node_id), roster=_roster(), threads=1)

    mods = {node_id: mod_of(node_id) for node_id in NODES}

    def mod(message: Message, context: Context, call_next: Any) -> Message:
        return mods[context.node_id](message, context, call_next)

    app = make_app(usual_training, mods=(mod,))
    return make_grid(app, len(NODES), node_config=lambda _: {"secagg-answered": notes}, disturb=disturb)


def _round(grid: Any) -> Round:
    return Round(
        grid,
        settings(),
        train_messages(nodes=NODES),
        weighted_by="num-examples",
        run_id=RUN_ID,
        integers={},
        training_timeout=None,
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

    with _same_randomness("session"), patch.object(rounds, "Server", server), _quiet():
        grid = _grid(watch)
        (reply,) = _round(grid).run()
    if not reply.has_content():
        raise ValueError(f"the recorded session has no mean: {reply.error.reason}")
    return recorded


@cache
def memory() -> Memory:
    """What the victim remembers before it is asked to train."""
    return _recalled(session().states[3])


def _recalled(state: bytes) -> Memory:
    found = recall(_context(state))
    if found is None:
        raise ValueError("the victim remembers nothing")
    return found


def _fresh_notes() -> str:
    """Where nodes note what they have answered: nothing yet."""
    folder = Path(_folder().name) / "answered"
    if folder.is_dir():
        shutil.rmtree(folder)
    return str(folder)


def _context(state: bytes) -> Context:
    notes = _fresh_notes()
    records = from_bytes(state)
    return Context(
        run_id=RUN_ID,
        node_id=VICTIM,
        node_config={"partition-id": 2, "secagg-answered": notes},
        state=RecordDict() if records is None else records,
        run_config={},
    )


def _checked_answer(content: RecordDict, context: Context) -> None:
    """Have the victim answer. Whatever comes, it answers a field of ours, or refuses by an error with a name."""
    train_messages(nodes=[VICTIM])  # tells newer Flowers who asks
    message = Message(content, VICTIM, "train")
    message.metadata.__dict__["_message_id"] = "m"
    mod = SecAggMod(identity=_identity(VICTIM), roster=_roster(), threads=1)

    def training(_message: Message, _context: Context) -> Message:
        arrays, metrics = usual_training(MODEL, 2)
        returned = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})
        return Message(returned, reply_to=message)

    with _quiet():
        reply = mod(message, context, training)
    _check_answer(reply)


def _check_answer(reply: Message) -> None:
    if reply.has_error():
        check_text(reply.error.reason)
        if reply.error.code != REFUSED or "unforeseen" in reply.error.reason:
            raise ValueError(f"the node has no name for what is wrong: {reply.error.reason}")
        return
    (name,) = reply.content
    fields = dict(reply.content[name])
    if name != RECORD or fields.pop("version") != 1 or not all(isinstance(value, bytes) for value in fields.values()):
        raise ValueError("something else than our record leaves the node")


def flower_envelope(data: bytes) -> None:
    records = from_bytes(data)
    if records is None:
        return
    for name in ("message", "announcement", "ask", "identity", "proof"):
        with suppress(ParameterError, MalformedMessage):
            value = envelope_field(records, name)
            if envelope_field(RecordDict({RECORD: seal(**{name: value})}), name) != value:
                raise AssertionError("a field that is read is written as another one")


def flower_announcement(data: bytes) -> None:
    announcement = decode(data, Announcement)
    again = decode(msgspec.msgpack.encode(announcement), Announcement)
    if again != announcement or again.context != announcement.context:
        raise AssertionError("an announcement that is read is written as another one")
    nodes = announcement.nodes
    if pack_node_ids(nodes) != announcement.node_ids:
        raise AssertionError("nodes that can be packed in two ways")
    config = _bound(announcement)
    announcement.check_config(config)
    if nodes[announcement.client_id(VICTIM) - 1] != VICTIM:
        raise AssertionError("the node has another node's number")


def _bound(announcement: Announcement) -> Any:
    """The session's configuration, of as many nodes and metrics as are announced, and bound to that."""
    config = memory().config
    first = msgspec.structs.replace(config.vectors[0], name=UPDATE + announcement.context.hex())
    return msgspec.structs.replace(config, vectors=(first, *config.vectors[1:]))


def flower_node(data: bytes) -> None:
    """Two bytes: the exchange in which the rest reaches the victim, and as what."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 5, data[2:]
    context, content = _context(session().states[at]), RecordDict(dict(session().asked[at]))
    if shape == 0:
        content[RECORD] = seal(message=framed(rest))
    elif shape == 1:
        content[RECORD] = seal(**_record(content) | {"announcement": rest})
        with suppress(MalformedMessage, ParameterError):
            config = _bound(decode(rest, Announcement))
            invitation = wire.encode(Invitation(2, config, hashlib.sha256(b"nonce").digest()))
            content[RECORD] = seal(message=invitation, announcement=rest)
    elif shape == 2:
        content[RECORD] = seal(ask=rest)
    elif shape == 3:
        records = from_bytes(rest)
        content = RecordDict() if records is None else records
    else:
        flower_model(rest, context, content)
    _checked_answer(content, context)


def flower_model(rest: bytes, context: Context, content: RecordDict) -> None:
    """A model of the server's own making, to which all nodes were bound: bytes for one of its arrays."""
    arrays = dict(next(iter(content.array_records.values()), ArrayRecord(MODEL)).items())
    shapes = [str(key) for key in arrays]
    chosen = shapes[(rest[0] if rest else 0) % len(shapes)]
    before = arrays[chosen]
    arrays[chosen] = Array(before.dtype, before.shape, before.stype, rest[1:])
    content["arrays"] = ArrayRecord(arrays)
    with suppress(MalformedMessage):
        remembered = recall(context)
        if remembered is not None:
            digest = content_digest(RecordDict({k: v for k, v in content.items() if k != RECORD}))
            announced = msgspec.structs.replace(remembered.announcement, content=digest)
            remember(context, msgspec.structs.replace(remembered, announcement=announced))


def _record(content: RecordDict) -> dict[str, bytes]:
    return {name: value for name, value in content[RECORD].items() if isinstance(value, bytes)}


def flower_memory(data: bytes) -> None:
    """The first byte chooses the exchange that finds the rest in the node's memory."""
    at = 2 + (data[0] if data else 0) % (EXCHANGES - 2)
    context = _context(session().states[at])
    context.state[RECORD] = ConfigRecord({"memory": data[1:]})
    with suppress(MalformedMessage):
        found = recall(context)
        if found is None or decode(msgspec.msgpack.encode(found), Memory) != found:
            raise AssertionError("a memory that is read is written as another one")
    _checked_answer(RecordDict(dict(session().asked[at])), context)


def flower_arrays(data: bytes) -> None:
    """An array's bytes, by themselves: what Flower and numpy make of them is a model, or is refused."""
    model = Model.of(ArrayRecord({"a": Array("float32", (2,), "numpy.ndarray", data)}))
    content_digest(RecordDict({"arrays": model.record()}))
    if model.length("floats") + model.length("integers") != model.arrays["a"].size:
        raise AssertionError("coordinates were lost")


@dataclass
class _Replies:
    """A grid with one node that answers, by messages of its own making."""

    make: Callable[[Message], list[Message]]

    def send_and_receive(self, messages: list[Message], *, timeout: float | None = None) -> list[Message]:
        del timeout
        return [reply for message in messages if message.metadata.dst_node_id == VICTIM for reply in self.make(message)]


def _hostile(shape: int, at: int, rest: bytes, message: Message) -> list[Message]:
    message.metadata.__dict__["_message_id"] = "m"
    if shape == 0:
        reply = Message(RecordDict({RECORD: seal(message=framed(rest))}), reply_to=message)
    elif shape == 1:
        records = from_bytes(rest)
        reply = Message(RecordDict() if records is None else records, reply_to=message)
    elif shape == 2:
        code = int.from_bytes(rest[:2], "big", signed=True)
        reply = Message(Error(code, rest[2:].decode("utf-8", "replace")), reply_to=message)
    else:
        first = Message(RecordDict(dict(session().answered[at])), reply_to=message)
        reply = Message(RecordDict({RECORD: seal(identity=rest[:32], proof=rest[32:])}), reply_to=message)
        return [reply, first]
    return [reply]


def flower_replies(data: bytes) -> None:
    """Two bytes: the exchange in which the rest reaches the server, and as what. Nobody but its author is blamed."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 4, data[2:]
    train_messages(nodes=[VICTIM])
    grid = _Replies(lambda message: _hostile(shape, at, rest, message))
    with _same_randomness("session"), _quiet():
        hostile = _round(grid)
        if at == 0:
            with suppress(ParameterError, ThresholdError):
                hostile._participants()
        else:
            nodes = sorted(NODES)
            identities = {i + 1: _identity(node).public_bytes for i, node in enumerate(nodes)}
            server = Server.load(session().servers[at], known_identities=identities, threads=1)
            asked = {VICTIM: RecordDict({RECORD: session().asked[at][RECORD]})}
            for node, content in hostile._exchange(str(server.phase), asked, 5.0).items():
                hostile._receive(server, nodes.index(node) + 1, node, content)
    for node, reason in hostile.report.failures.items():
        check_text(reason)
        if node != VICTIM and "no answer" not in reason:
            raise AssertionError(f"node {node} is blamed for what another one sent: {reason}")


def flower_round(data: bytes) -> None:
    """A whole round with living nodes, one of which sends, in one exchange, what the input says."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 4, data[2:]

    def disturb(number: int, node_id: int, message: Message, answer: Any) -> Message:
        if node_id != VICTIM or number != at + 1:
            return answer(message)
        answer(message)
        return _hostile(shape, at, rest, message)[0]

    with _same_randomness("session"), _quiet():
        living = _round(_grid(disturb))
        replies = living.run()
    for reason in living.report.failures.values():
        check_text(reason)
    if len(replies) != 1 or replies[0].has_error():
        for reply in replies:
            check_text(reply.error.reason)
        return
    survivors = living.report.survivors
    if not survivors <= set(NODES) or len(survivors) < 2:
        raise AssertionError("a mean of nobody's updates")
    if VICTIM not in survivors:
        means, _ = plain_mean([NODES.index(node) for node in sorted(survivors)])
        found = replies[0].content["arrays"].to_numpy_ndarrays()
        if not all(np.allclose(one, other, atol=1e-3) for one, other in zip(found, means, strict=True)):
            raise AssertionError("the mean is not that of the survivors' updates")


TARGETS = (
    flower_envelope,
    flower_announcement,
    flower_node,
    flower_memory,
    flower_arrays,
    flower_replies,
    flower_round,
)
WEIGHTS = {"flower_announcement": 0.5, "flower_arrays": 0.3, "flower_node": 0.15, "flower_memory": 0.1}
WEIGHTS |= {"flower_replies": 0.1, "flower_round": 0.003}
