"""What an operation of the vectors of groups is: from a case's input, as it stands in JSON, to its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from secagg.signatures import Identity

from ...core.participants import Participants
from ...core.threat_model import Adversary
from ...groups.client import GroupClient
from ...groups.drawing import Terms
from ...groups.past_draws import PastDraws
from ...groups.plan import GroupPlan
from ...groups.rules import Rule
from ...groups.server import GroupServer

Case = dict[str, Any]


def _plan(given: Case) -> GroupPlan:
    return GroupPlan(
        given["num_clients"],
        float.fromhex(given["bad_fraction"]),
        float.fromhex(given["corrupt_fraction"]),
        given["honest_minimum"],
        Rule(given["rule"]),
        given["groups"],
        given["spare"],
        float.fromhex(given["dropout_fraction"]),
        Adversary(given["adversary"]),
    )


def _planned(given: Case) -> Case:
    plan = _plan(given)
    return {
        "written": plan.written().hex(),
        "groups": plan.num_groups,
        "sizes": list(plan.sizes),
        "max_spoilt": plan.max_spoilt,
        "min_groups": plan.min_groups,
        "max_corrupt": [plan.max_corrupt(size) for size in plan.sizes],
    }


def _drawn(given: Case) -> Case:
    """Carry a draw out; `bent` are bytes that one message to the first client has in place of its own."""
    own = [Identity(bytes.fromhex(text)) for text in given["identities"]]
    people = Participants({f"client-{place:04}": each.public_bytes for place, each in enumerate(own)})
    terms, run = Terms(_plan(given["plan"]), people), bytes.fromhex(given["run"])
    nonces = [bytes.fromhex(text) for text in given["nonces"]]
    clients = {
        name: GroupClient(terms, each, PastDraws(), "data", random=_source(nonce))
        for name, each, nonce in zip(people, own, nonces, strict=True)
    }
    server, first, bent = GroupServer(terms, random=_source(run)), people.names[0], given.get("bent", {})
    asked: list[str] = []
    answered: list[list[str]] = []
    while not server.ended:
        outgoing = dict(server.outgoing())
        asked.append(outgoing[first].hex())
        outgoing[first] = bytes.fromhex(bent.get(str(len(answered)), asked[-1]))
        answers = {name: clients[name].respond(data) for name, data in outgoing.items()}
        for name, answer in answers.items():
            server.receive(name, answer)
        answered.append([answers[name].hex() for name in people])
        server.close_phase()
    groups = [[people.number(name) for name in members] for members in server.result.members]
    return {"to_clients": asked, "to_server": answered, "coin": server.result.coin.hex(), "groups": groups}


def _source(value: bytes) -> Callable[[int], bytes]:
    return lambda count: value[:count]


OPERATIONS: dict[str, Callable[[Case], Any]] = {"group_plan": _planned, "group_draw": _drawn}
