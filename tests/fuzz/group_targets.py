"""What the parties of a draw read of each other, and a client of its own memory."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from protocols.core import framing
from protocols.core.participants import Participants
from protocols.groups import GroupClient, GroupPlan, GroupServer, PastDraws, Rule, Terms
from secagg.signatures import Identity

from .core_targets import dumped, framed

IDENTITIES = {f"client-{number}": Identity(bytes([number]) * 32) for number in (1, 2)}
PLAN = GroupPlan(2, 0.0, 0.0, honest_minimum=2, rule=Rule.SUM, groups=1, dropout_fraction=0.0)


@cache
def terms() -> Terms:
    return Terms(PLAN, Participants({name: own.public_bytes for name, own in IDENTITIES.items()}))


class Draw(NamedTuple):
    """What the server sends and gets in each phase of a draw that is the same each time."""

    asked: list[bytes]
    answered: list[dict[str, bytes]]


def new_client(name: str) -> GroupClient:
    nonce = IDENTITIES[name].public_bytes
    return GroupClient(terms(), IDENTITIES[name], PastDraws(), "data", random=lambda count: nonce[:count])


def new_server() -> GroupServer:
    return GroupServer(terms(), random=lambda count: b"r" * count)


@cache
def draw() -> Draw:
    server, clients = new_server(), {name: new_client(name) for name in IDENTITIES}
    asked, answered = [], []
    while not server.ended:
        outgoing = server.outgoing()
        asked.append(outgoing["client-1"])
        answered.append({name: clients[name].respond(data) for name, data in outgoing.items()})
        for name, answer in answered[-1].items():
            server.receive(name, answer)
        server.close_phase()
    return Draw(asked, answered)


def said(data: bytes, true: bytes) -> bytes:
    """The message that arrives: what is given, or the true one with bytes changed: two of a place, one to be there."""
    if data[:1] >= b"\x80":
        return framed(data[1:])
    body = bytearray(true[framing.HEADER_BYTES :])
    for at in range(1, len(data) - 2, 3):
        body[int.from_bytes(data[at : at + 2], "big") % len(body)] = data[at + 2]
    return framed(bytes(body))


def draw_client(data: bytes) -> None:
    """The first byte chooses the phase in which client 1 gets a message, and whether it is bent or another one."""
    client, phase = new_client("client-1"), data[0] % 3 if data else 0
    for asked in draw().asked[:phase]:
        client.respond(asked)
    client.respond(said(data, draw().asked[phase]))
    if client.ended and client.groups.coin != coin():
        raise ValueError("a client settled by another coin than its draw's")


def draw_server(data: bytes) -> None:
    """The first byte chooses the phase in which the server gets a message of client 2's, and of which kind."""
    server, phase = new_server(), data[0] % 3 if data else 0
    for answers in draw().answered[:phase]:
        for name, answer in answers.items():
            server.receive(name, answer)
        server.close_phase()
    server.receive("client-2", said(data, draw().answered[phase]["client-2"]))


def draw_memory(data: bytes) -> None:
    past = PastDraws.load(dumped(data))
    if PastDraws.load(past.dump()).dump() != past.dump():
        raise ValueError("a memory that was read is written as another one")


def draw_dump(data: bytes) -> None:
    """The first byte chooses whose dump it is."""
    if data[:1] >= b"\x80":
        client = GroupClient.load(terms(), IDENTITIES["client-1"], PastDraws(), dumped(data[1:]))
        client.dump()
        return
    server = GroupServer.load(terms(), dumped(data[1:]))
    server.outgoing()
    server.dump()


@cache
def coin() -> bytes:
    client = new_client("client-1")
    for asked in draw().asked:
        client.respond(asked)
    return client.groups.coin


TARGETS = (draw_client, draw_server, draw_memory, draw_dump)
WEIGHTS = {"draw_client": 0.1, "draw_server": 0.1}
