"""Flower's adapter: a node under a hostile server, a server under a hostile node, and what a node keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict

from protocols.core import framing
from protocols.flower import SecAggMod
from protocols.flower.announcement import Announcement, node_id_of, node_name, pack_node_ids
from protocols.flower.content import Model, content_digest
from protocols.flower.envelope import RECORD, REFUSED, field, record_of
from protocols.flower.memory import Memory, recall, remember
from protocols.flower.settings import UPDATE
from protocols.masking import wire
from protocols.masking.messages import Invitation
from protocols.masking.server import Server
from secagg.errors import MalformedMessage, ParameterError, ThresholdError
from tests.protocols.flower.in_process import MODEL, plain_mean, train_messages, usual_training

from .core_targets import framed
from .flower_session import (
    EXCHANGES,
    NODES,
    VICTIM,
    context_of,
    drawn,
    fields_of,
    from_bytes,
    identity_of,
    living_grid,
    memory,
    new_round,
    quiet,
    roster,
    session,
)
from .texts import check_text


def _checked_answer(content: RecordDict, context: Context) -> None:
    """Have the victim answer. Whatever comes, it answers a field of ours, or refuses by an error with a name."""
    train_messages(nodes=[VICTIM])  # tells newer Flowers who asks
    message = Message(content, VICTIM, "train")
    message.metadata.__dict__["_message_id"] = "m"
    mod = SecAggMod(identity=identity_of(VICTIM), roster=roster(), threads=1)

    def training(_message: Message, _state: Context) -> Message:
        arrays, metrics = usual_training(MODEL, 2)
        returned = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})
        return Message(returned, reply_to=message)

    with quiet():
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
            value = field(records, name)
            if field(RecordDict({RECORD: record_of(**{name: value})}), name) != value:
                raise AssertionError("a field that is read is written as another one")


def flower_announcement(data: bytes) -> None:
    announcement = framing.decode_body(data, Announcement)
    again = framing.decode_body(msgspec.msgpack.encode(announcement), Announcement)
    if again != announcement or again.context != announcement.context:
        raise AssertionError("an announcement that is read is written as another one")
    nodes = [node_id_of(name) for name in announcement.participants()]
    if pack_node_ids(nodes) != announcement.node_ids:
        raise AssertionError("nodes that can be packed in two ways, or are numbered in another order")
    announcement.check_config(bound_to(announcement))


def bound_to(announcement: Announcement) -> Any:
    """The session's configuration, of as many nodes and metrics as are announced, and bound to that."""
    config = memory().config
    first = msgspec.structs.replace(config.vectors[0], name=UPDATE + announcement.context.hex())
    return msgspec.structs.replace(config, vectors=(first, *config.vectors[1:]))


def flower_node(data: bytes) -> None:
    """Two bytes: the exchange in which the rest reaches the victim, and as what."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 5, data[2:]
    context, content = context_of(session().states[at]), RecordDict(dict(session().asked[at]))
    if shape == 0:
        content[RECORD] = record_of(message=framed(rest))
    elif shape == 1:
        content[RECORD] = record_of(**fields_of(content) | {"announcement": rest})
        with suppress(MalformedMessage, ParameterError):
            announced = framing.decode_body(rest, Announcement)
            own = announced.participants().number(node_name(VICTIM))
            invitation = wire.encode(Invitation(own, bound_to(announced), hashlib.sha256(b"nonce").digest()))
            content[RECORD] = record_of(message=invitation, announcement=rest)
    elif shape == 2:
        content[RECORD] = record_of(ask=rest)
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


def flower_memory(data: bytes) -> None:
    """The first byte chooses the exchange that finds the rest in the node's memory."""
    at = 2 + (data[0] if data else 0) % (EXCHANGES - 2)
    context = context_of(session().states[at])
    context.state[RECORD] = ConfigRecord({"memory": data[1:]})
    with suppress(MalformedMessage):
        found = recall(context)
        if found is None or framing.decode_body(msgspec.msgpack.encode(found), Memory) != found:
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
        reply = Message(RecordDict({RECORD: record_of(message=framed(rest))}), reply_to=message)
    elif shape == 1:
        records = from_bytes(rest)
        reply = Message(RecordDict() if records is None else records, reply_to=message)
    elif shape == 2:
        code = int.from_bytes(rest[:2], "big", signed=True)
        reply = Message(Error(code, rest[2:].decode("utf-8", "replace")), reply_to=message)
    else:
        first = Message(RecordDict(dict(session().answered[at])), reply_to=message)
        reply = Message(RecordDict({RECORD: record_of(identity=rest[:32], proof=rest[32:])}), reply_to=message)
        return [reply, first]
    return [reply]


def flower_replies(data: bytes) -> None:
    """Two bytes: the exchange in which the rest reaches the server, and as what. Nobody but its author is blamed."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 4, data[2:]
    train_messages(nodes=[VICTIM])
    grid = _Replies(lambda message: _hostile(shape, at, rest, message))
    hostile = new_round(grid, drawn())
    with quiet():
        if at == 0:
            with suppress(ParameterError, ThresholdError):
                hostile._session.identities()
        else:
            server = Server.load(session().servers[at], threads=1)
            asked = {VICTIM: RecordDict({RECORD: session().asked[at][RECORD]})}
            for node, content in hostile._session.exchange.ask(str(server.phase), asked, 5.0).items():
                hostile._session.receive(server, node, content)
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

    random = drawn()
    with quiet():
        living = new_round(living_grid(disturb, random), random)
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
