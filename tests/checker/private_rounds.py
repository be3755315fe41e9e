"""What the vectors of private sessions have beside the session itself: costs, policies, and inputs that are refused."""

import math
from typing import Any

from .costs import check_policy, epsilon
from .findings import agree
from .private import Drawn, Private
from .refusal import Refused

NEAR = 1e-9
"""Costs are real numbers, and everyone rounds them in a way of their own."""


def check(vector: dict[str, Any], session: Any) -> int:
    """Compare all of them; return how many there were."""
    private = {lane.name: lane.codec for lane in session.lanes if isinstance(lane.codec, Private)}
    for case in vector.get("costs", ()):
        agree(f"cost of {case['survivors']} survivors", _cost(private, session, case, case["survivors"]), True)
    for case in vector.get("proposals", ()):
        agree(f"proposal: {case['name']}", _refused(lambda c=case: check_policy(c["policy"], session)), case["error"])
    for case in vector.get("inputs", ()):
        given = [float.fromhex(value) if isinstance(value, str) else value for value in case["values"]]
        codec, rotation = private[case["vector"]], session.rotation(case["vector"])
        error = _refused(lambda c=codec, g=given, r=rotation: c.encode(g, r, Drawn(bytes(32), bytes(32))))
        agree(f"input: {case['name']}", error, case["error"])
    if "goal" in vector:
        _check_goal(vector["goal"], private, session)
    return sum(len(vector.get(key, ())) for key in ("costs", "proposals", "inputs")) + ("goal" in vector)


def _honest(session: Any, survivors: int) -> int:
    return survivors - session.topology.max_corrupt


def _cost(private: dict[str, Private], session: Any, case: dict[str, Any], survivors: int) -> bool:
    delta, rounds = float.fromhex(case["delta"]), case["rounds"]
    ours = epsilon(list(private.values()), _honest(session, survivors), delta, rounds, case["neighbours"])
    return math.isclose(ours, float.fromhex(case["epsilon"]), rel_tol=NEAR)


def _check_goal(goal: dict[str, Any], private: dict[str, Private], session: Any) -> None:
    """The noise serves the goal, and hardly less noise would not."""
    (codec,) = private.values()
    delta, rounds, honest = float.fromhex(goal["delta"]), goal["rounds"], _honest(session, session.minimum_survivors)
    most, planned = float.fromhex(goal["epsilon"]), codec.local_sigma
    agree("the goal is met", epsilon([codec], honest, delta, rounds, goal["neighbours"]) <= most * (1 + NEAR), True)
    codec.local_sigma = planned * (1 - 1e-6)
    agree("with the least noise", epsilon([codec], honest, delta, rounds, goal["neighbours"]) > most, True)
    codec.local_sigma = planned


def _refused(act: Any) -> str | None:
    try:
        act()
    except Refused as refused:
        return refused.error
    return None
