"""SPEC sections 26 to 29, as the vectors of private sessions have it: what only they hold."""

import math
from collections.abc import Callable
from typing import Any

from .client import numbers
from .configuration import Session
from .costs import check_policy, epsilon, private_codecs
from .findings import agree
from .private import Drawn, Private
from .refusal import Refused

Vector = dict[str, Any]


def check(vector: Vector, session: Session) -> int:
    """Compare a private session's goal, costs, proposals and inputs; return how many there are."""
    codecs = private_codecs(session)
    if not codecs:
        return 0
    for case in vector["costs"]:
        honest = case["survivors"] - session.topology.max_corrupt
        terms = case["adjacency"], float.fromhex(case["delta"]), case["rounds"], case.get("unit", "")
        ours, theirs = epsilon(codecs, honest, *terms), float.fromhex(case["epsilon"])
        agree(f"cost of {case}", theirs if math.isclose(ours, theirs, rel_tol=1e-9) else ours, theirs)
    for case in vector["proposals"]:
        agree(f"proposal: {case['name']}", _error(check_policy, case["policy"], session), case["error"])
    for case in vector["inputs"]:
        agree(f"input: {case['name']}", _error(_encode, case, vector, session), case["error"])
    if "goal" in vector:
        _check_goal(vector["goal"], session, codecs)
    return len(vector["costs"]) + len(vector["proposals"]) + len(vector["inputs"]) + ("goal" in vector)


def _error(step: Callable[..., object], *given: object) -> str | None:
    try:
        step(*given)
    except Refused as refused:
        return refused.error
    return None


def _encode(case: Vector, vector: Vector, session: Session) -> None:
    """An input of one client for one vector; what it would draw is what it drew."""
    codec = next(lane.codec for lane in session.lanes if lane.name == case["vector"])
    if not isinstance(codec, Private):
        raise TypeError(case["vector"])
    given, name = vector["clients"][str(case["client"])], case["vector"]
    seeds = [bytes.fromhex(given[kind].get(name, "")) for kind in ("noise_seeds", "rounding_seeds")]
    values = numbers(case["values"])
    codec.encode(values, session.rotation(name), Drawn(*seeds, None))


def _check_goal(goal: Vector, session: Session, codecs: list[Private]) -> None:
    """The planned noise serves the goal; noise that is a millionth less does not."""
    honest = session.min_survivors - session.topology.max_corrupt
    terms = goal["adjacency"], float.fromhex(goal["delta"]), goal["rounds"]
    weaker = [
        type(codec)(written | {"local_sigma": codec.local_sigma * (1 - 1e-6)}, session.num_clients)
        for codec, written in zip(codecs, session.written[1], strict=True)
    ]
    wanted = float.fromhex(goal["epsilon"])
    agree("the noise serves its goal", epsilon(codecs, honest, *terms) <= wanted, True)
    agree("a millionth less does not", epsilon(weaker, honest, *terms) <= wanted, False)
