"""Draws of groups in Flower: a node under a hostile server, and what a node keeps."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from flwr.app import ConfigRecord, Context, Message, RecordDict

from protocols.core import framing
from protocols.core.threat_model import Adversary
from protocols.flower import RoundReport, SecAggMod, SecAggSettings
from protocols.flower.announcement import node_id_of
from protocols.flower.answered import folder_of
from protocols.flower.draw_answers import DrawTerms
from protocols.flower.envelope import RECORD, record_of
from protocols.flower.memory import DRAW
from protocols.flower.own_group import Draws, OwnGroup
from protocols.flower.session import Session
from protocols.groups import GroupPlan
from protocols.groups.messages import Invitation, encode
from secagg.errors import MalformedMessage, ParameterError
from tests.protocols.flower.in_process import RUN_ID, make_app, make_grid, train_messages, usual_training

from .core_targets import dumped, framed
from .flower_session import (
    NODES,
    VICTIM,
    context_of,
    drawn,
    fields_of,
    fresh_notes,
    from_bytes,
    identity_of,
    quiet,
    roster,
    to_bytes,
)
from .flower_targets import _check_answer

EXCHANGES = 3
"""Commitments, nonces, settlement."""
PLAN = GroupPlan(5, 0.0, 0.2, honest_minimum=2, rule="sum", groups=1, adversary=Adversary.MALICIOUS_SERVER)


@dataclass
class Draw:
    """One exchange after the other: the victim's state and file before it, and what it was asked; the last file."""

    states: list[bytes] = field(default_factory=list)
    files: list[bytes] = field(default_factory=list)
    asked: list[RecordDict] = field(default_factory=list)


def mod() -> SecAggMod:
    return SecAggMod(identity=identity_of(VICTIM), roster=roster(), min_group=5, random=drawn(), threads=1)


def kept_file(context: Context) -> Path:
    return folder_of(context.node_config) / "draws" / identity_of(VICTIM).public_bytes.hex()


def bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


@cache
def recorded() -> Draw:
    """A draw of five nodes in one group, the same in every run."""
    found, notes = Draw(), fresh_notes()
    mods = {
        node: SecAggMod(identity=identity_of(node), roster=roster(), min_group=5, random=drawn(), threads=1)
        for node in NODES
    }

    def by_node(message: Message, context: Context, call_next: Any) -> Message:
        return mods[context.node_id](message, context, call_next)

    def watch(number: int, node_id: int, message: Message, answer: Any) -> Message:
        if node_id == VICTIM and number > 1:  # the first exchange asks who nodes are
            context = grid.nodes[VICTIM]
            found.states.append(to_bytes(context.state))
            found.files.append(bytes_of(kept_file(context)))
            found.asked.append(RecordDict(dict(message.content)))
        return answer(message)

    app = make_app(usual_training, mods=(by_node,))
    grid = make_grid(app, len(NODES), node_config=lambda _: {"secagg-answered": notes}, disturb=watch)
    messages = {message.metadata.dst_node_id: message for message in train_messages(nodes=NODES)}
    settings = SecAggSettings(groups=PLAN, roster=roster())
    session = Session(grid, settings, messages, RoundReport(len(NODES)), run_id=RUN_ID, random=drawn())
    with quiet():
        server = session.draw(PLAN)
        session.settle(server)
    groups = server.result
    if sorted(map(node_id_of, groups.members[0])) != sorted(NODES):
        raise ValueError("the recorded draw has other groups")
    found.files.append(bytes_of(kept_file(grid.nodes[VICTIM])))
    return found


def before(exchange: int) -> Context:
    """The victim as an exchange finds it, with its file in place."""
    draw = recorded()
    context = context_of(draw.states[exchange])
    if draw.files[exchange]:
        path = kept_file(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.files[exchange])
    return context


def flower_draw(data: bytes) -> None:
    """Two bytes: the exchange in which the rest reaches the victim, and as what."""
    at, shape, rest = (data[0] if data else 0) % EXCHANGES, (data[1] if data[1:] else 0) % 4, data[2:]
    context, content = before(at), RecordDict(dict(recorded().asked[at]))
    if shape == 0:
        content[RECORD] = record_of(**fields_of(content) | {"draw": framed(rest)})
    elif shape == 1:
        content[RECORD] = record_of(**fields_of(content) | {"terms": rest})
        with suppress(MalformedMessage, ParameterError):
            terms = framing.decode_body(rest, DrawTerms).terms()
            if msgspec.msgpack.encode(framing.decode_body(rest, DrawTerms)) != rest:
                raise AssertionError("terms that are read are written as others")
            content[RECORD] = record_of(terms=rest, draw=encode(Invitation(bytes(32), terms.digest)))
    elif shape == 2:
        content = from_bytes(rest) or RecordDict()
    else:
        kept = dict(context.state[DRAW].items()) if DRAW in context.state else {}
        name = "terms" if rest[:1] < b"\x80" else "dump"
        context.state[DRAW] = ConfigRecord(kept | {name: rest[1:] if name == "terms" else dumped(rest[1:])})
    train_messages(nodes=[VICTIM])  # tells newer Flowers who asks
    message = Message(content, VICTIM, "train")
    message.metadata.__dict__["_message_id"] = "m"
    with quiet():
        reply = mod()(message, context, lambda *_: None)
    _check_answer(reply)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-flower-draws-")


def flower_draws(data: bytes) -> None:
    """What a node has kept of draws: read, it is written as it was."""
    path = Path(_folder().name) / "kept"
    path.write_bytes(dumped(data))
    draws = Draws(path)
    draws.save()
    again = path.read_bytes()
    Draws(path).save()
    if path.read_bytes() != again:
        raise AssertionError("what is kept of draws is written as something else")
    group: OwnGroup | None = draws.group(RUN_ID)
    if group is not None:
        group.participants()


TARGETS = (flower_draw, flower_draws)
WEIGHTS = {"flower_draw": 0.1}
