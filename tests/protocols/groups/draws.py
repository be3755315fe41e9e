"""Small draws, for tests: identities from fixed bytes, and a server whose messages can be bent."""

from __future__ import annotations

from collections.abc import Mapping

from protocols import Participants
from protocols.groups import GroupClient, GroupPlan, GroupServer, PastDraws, Rule, Terms
from protocols.groups.messages import Message, ToClient, ToServer, decode, encode
from secagg.signatures import Identity

COUNT = 9
PLAN = GroupPlan(COUNT, 0.0, 0.0, honest_minimum=2, rule=Rule.MEDIAN, groups=3, dropout_fraction=0.0)
NAMES = Participants.numbered(COUNT).names
IDENTITIES = {name: Identity(bytes([number]) * 32) for number, name in enumerate(NAMES, start=1)}
TERMS = Terms(PLAN, Participants({name: own.public_bytes for name, own in IDENTITIES.items()}))
VICTIM = NAMES[0]


def clients(
    terms: Terms = TERMS, past: Mapping[str, PastDraws] | None = None, data: str = "d"
) -> dict[str, GroupClient]:
    """One client for each participant, with its memory of draws where there is one."""
    kept = past or {}
    return {
        name: GroupClient(terms, IDENTITIES[name], kept.get(name) or PastDraws(), data) for name in terms.participants
    }


def opened(data: bytes) -> Message:
    """A message, whoever sent it."""
    return decode(data, ToClient | ToServer, COUNT)


def exchange(server: GroupServer, everyone: Mapping[str, GroupClient], but: tuple[str, ...] = ()) -> None:
    """Let all but some answer, and close the phase."""
    for name, data in server.outgoing().items():
        if name not in but:
            server.receive(name, everyone[name].respond(data))
    server.close_phase()


__all__ = ["COUNT", "IDENTITIES", "NAMES", "PLAN", "TERMS", "VICTIM", "clients", "encode", "exchange", "opened"]
