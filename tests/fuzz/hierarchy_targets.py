"""What an operator of a hierarchy reads: its own dump, and messages of the level above."""

from __future__ import annotations

from functools import cache

from protocols.core.participants import Participants
from protocols.hierarchy import Consent, Hierarchy, Level, Operator
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import Server

from .core_targets import dumped, framed

TERMS = Hierarchy((Level("team", 2), Level("all", 2)), (IntegerVector("votes", 1),))
MEMBERS = Participants(["ann", "bob"])


@cache
def dump() -> bytes:
    """What an operator remembers at the beginning."""
    made = Operator(TERMS, 0, MEMBERS, policy=ClientPolicy.permissive(), consent=Consent(min_honest=0))
    return made.dump()


@cache
def invitation() -> bytes:
    return Server(TERMS.config(1, 2)).outgoing()["client-1"]


def operator_dump(data: bytes) -> None:
    operator = Operator.load(dumped(data))
    if Operator.load(operator.dump()).phase is not operator.phase:
        raise ValueError("an operator that was restored is in another phase")


def operator_answer(data: bytes) -> None:
    """The invitation of the level above, with bytes changed: two of a place, one to be there; or another one."""
    operator = Operator.load(dump())
    if data[:1] >= b"\x80":
        operator.respond(framed(data[1:]))
        return
    body = bytearray(invitation()[21:])
    for at in range(1, len(data) - 2, 3):
        body[int.from_bytes(data[at : at + 2], "big") % len(body)] = data[at + 2]
    operator.respond(framed(bytes(body)))
    own = operator._above.config
    if own != TERMS.config(1, 2):
        raise ValueError("an operator took a session that is not its terms'")


TARGETS = (operator_dump, operator_answer)
WEIGHTS = {"operator_dump": 0.1, "operator_answer": 0.1}
