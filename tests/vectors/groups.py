"""The vectors of SPEC sections 47 and 48: plans, and draws with messages that a client refuses."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import msgspec

from protocols.audit.replay.group_operations import OPERATIONS
from protocols.groups import messages

from .cases import Case, case_of

_case = partial(case_of, OPERATIONS)

COUNT = 5


def plan(num_clients: int, bad: float, corrupt: float, **rest: Any) -> Case:
    given = {"num_clients": num_clients, "bad_fraction": bad.hex(), "corrupt_fraction": corrupt.hex()}
    given |= {"honest_minimum": 5, "rule": "median", "groups": None, "spare": 0}
    given |= {"dropout_fraction": (0.1).hex(), "adversary": "semi-malicious-server"}
    return given | rest


NO_DROPOUTS = {"dropout_fraction": (0.0).hex()}
PLANS = {
    "one bad client": plan(60, 0.02, 0.02),
    "no dropouts": plan(100, 0.03, 0.03, **NO_DROPOUTS),
    "groups of two sizes": plan(103, 0.03, 0.02),
    "more groups than needed": plan(100, 0.02, 0.02, groups=8, honest_minimum=2),
    "groups to spare": plan(120, 0.02, 0.01, spare=2, honest_minimum=3),
    "krum": plan(100, 0.02, 0.01, rule="krum", honest_minimum=3),
    "multi-krum": plan(100, 0.01, 0.0, rule="multi-krum", adversary="curious-server"),
    "many bad, spoilt groups that are rare": plan(160, 0.15, 0.0, groups=79, honest_minimum=2, **NO_DROPOUTS),
    "the sum": plan(50, 0.0, 0.04, rule="sum", groups=3),
    "the sum, groups to spare": plan(50, 0.0, 0.04, rule="sum", groups=3, spare=1, adversary="malicious-server"),
    "bad and honest contradict each other": plan(100, 0.05, 0.05, **NO_DROPOUTS),
    "too few groups": plan(100, 0.03, 0.03, groups=6),
    "too many groups": plan(100, 0.03, 0.03, groups=14),
    "half of the clients bad": plan(40, 0.5, 0.0),
    "a bad client in a sum": plan(100, 0.01, 0.01, rule="sum", groups=3),
    "one honest client": plan(100, 0.01, 0.01, honest_minimum=1),
    "no groups": plan(100, 0.01, 0.01, groups=0),
    "too many may vanish": plan(60, 0.02, 0.02, dropout_fraction=(0.45).hex()),
}


def draw(**rest: Any) -> Case:
    given = {
        "plan": plan(COUNT, 0.0, 0.0, honest_minimum=2, rule="sum", groups=2, **NO_DROPOUTS),
        "identities": [_bytes("identity", place) for place in range(COUNT)],
        "nonces": [_bytes("nonce", place) for place in range(COUNT)],
        "run": _bytes("run", 0),
    }
    return given | rest


def cases() -> list[Case]:
    """All cases, in order."""
    found = [_case(name, "group_plan", given) for name, given in PLANS.items()]
    good = _case("five clients in two groups", "group_draw", draw())
    found += [good, _case("another run", "group_draw", draw(run=_bytes("run", 1)))]
    asked = [bytes.fromhex(text) for text in good["output"]["to_clients"]]
    for name, phase, field, place in (
        ("another plan or roster", 0, "terms", None),
        ("its own commitment altered", 1, "commitments", 0),
        ("another's commitment altered", 1, "commitments", 3),
        ("a commitment that is not signed", 1, "signatures", 4),
        ("a commitment less than clients", 1, "commitments", -1),
        ("its own nonce altered", 2, "nonces", 0),
        ("another's nonce altered", 2, "nonces", 2),
        ("a nonce that is not signed after these commitments", 2, "signatures", 1),
        ("a signature less than clients", 2, "signatures", -1),
        ("a message of another run", 2, "run", None),
    ):
        bent = {str(phase): _bent(asked[phase], field, place).hex()}
        found.append(_case(name, "group_draw", draw(bent=bent)))
    return found


def _bent(data: bytes, field: str, place: int | None) -> bytes:
    message = messages.decode(data, messages.ToClient, COUNT)
    value = getattr(message, field)
    if place is None:
        other: Any = bytes([value[0] ^ 1]) + value[1:]
    elif place < 0:
        other = value[:-1]
    else:
        other = (*value[:place], bytes([value[place][0] ^ 1]) + value[place][1:], *value[place + 1 :])
    return messages.encode(msgspec.structs.replace(message, **{field: other}))


def _bytes(what: str, place: int) -> str:
    return hashlib.sha256(f"groups {what} {place}".encode()).hexdigest()
