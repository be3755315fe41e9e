"""SPEC sections 9, 28 and 29: what a client demands, and what a private round costs."""

import math
from collections.abc import Sequence
from typing import Any

from .configuration import Session
from .privacy import gaussian_delta_of, summed_gaussians_ratio
from .private import Private, PrivateCounts
from .refusal import require
from .renyi import epsilon_from, sums_of
from .topology import RING, SLACK

ADVERSARIES = ("curious-server", "semi-malicious-server", "malicious-server")
ENCODING = {
    "rounding": "stochastic",
    "min_value_bits": 8,
    "min_clip": 0.0,
    "max_clip": math.inf,
    "max_weight": None,
}
POLICY = {
    "adversary": ADVERSARIES[1],
    "corrupt_fraction": 0.1,
    "corrupt_clients": 0,
    "min_clients": 5,
    "max_clients": 100000,
    "min_neighbours": 3,
    "max_neighbours": 1000,
    "min_survivors": 4,
    "min_survivor_fraction": 0.5,
    "takes_ring": False,
    "encoding": {},
    "privacy": None,
    "min_participants": 10,
}
PERMISSIVE = {
    "adversary": ADVERSARIES[0],
    "corrupt_fraction": 0.0,
    "corrupt_clients": 0,
    "min_clients": 2,
    "max_clients": 1000000,
    "min_neighbours": 1,
    "max_neighbours": 1000000,
    "min_survivors": 2,
    "min_survivor_fraction": 0.0,
    "takes_ring": True,
    "encoding": None,
    "privacy": None,
    "min_participants": 2,
}
DEMAND = {
    "rounds": 1,
    "adjacency": "add-remove",
    "corrupt_fraction": 0.1,
    "trusts_server": False,
    "unit": "client",
    "sampling_rate": 1.0,
}
FLOATS = ("corrupt_fraction", "epsilon", "delta", "min_survivor_fraction", "min_clip", "max_clip")
DISCRETENESS, MAX_EPSILON = 2.0**-58, 700.0


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """Section 15: the least epsilon at which Gaussian noise is (epsilon, delta)-DP."""
    low, high = 0.0, 1.0
    if gaussian_delta_of(multiplier, low) <= delta:
        return low
    while gaussian_delta_of(multiplier, high) > delta:
        low, high = high, 2 * high
        if high > MAX_EPSILON:
            return math.inf  # beyond what binary64 holds
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta_of(multiplier, middle) <= delta else (middle, high)
    return high


def mu_of_sum(local_sigma: float, clients: int, l2: float, dimension: int) -> float | None:
    """Section 14: the least mu of Gaussian DP that the noise of so many clients, or of fewer, grants."""
    lost = math.log(14 * dimension * 2**58) / (2 * math.pi**2)
    found = []
    for number in range(1, clients + 1):
        variance = number * local_sigma**2
        if variance > 1.25 * lost:
            ratio = summed_gaussians_ratio({"local_sigma": local_sigma.hex(), "clients": number})
            slack = 2 * dimension * ratio + DISCRETENESS
            found.append(l2 / math.sqrt(variance - lost) + math.sqrt(math.pi / 2) * slack)
    return min(found, default=None)


def _factors(codec: Private, adjacency: str, unit: str) -> tuple[float, float]:
    """Section 29: how many times its bounds in L2 and L1 one unit moves a sum by."""
    if unit == "record" and codec.unit == "client":
        adjacency = "replace-one"
    if adjacency == "add-remove":
        return 1, 1
    if not isinstance(codec, PrivateCounts):
        return 2, 2
    return (math.sqrt(2), 2) if codec.dimension > 1 else (1, 1)


def epsilon(codecs: Sequence[Private], honest: int, adjacency: str, delta: float, rounds: int, unit: str = "") -> float:
    """Section 29: what so many rounds cost, each with the noise of so many honest clients: the less of two ways."""
    moved = []
    for codec in codecs:
        two, one = _factors(codec, adjacency, unit)
        l2, l1 = codec.bounds(unit)
        moved.append((two * l2, one * l1))
    parts = [
        sums_of(codec.local_sigma, honest, l2, l1, codec.dimension)
        for codec, (l2, l1) in zip(codecs, moved, strict=True)
    ]
    bounds = [epsilon_from(lambda order: rounds * math.fsum(part(order) for part in parts), delta)]
    near = [
        mu_of_sum(codec.local_sigma, honest, l2, codec.dimension) for codec, (l2, _) in zip(codecs, moved, strict=True)
    ]
    squares = [mu**2 for mu in near if mu is not None]
    if len(squares) == len(near):
        bounds.append(gaussian_epsilon(1 / math.sqrt(rounds * math.fsum(squares)), delta))
    return min(bounds)


def private_codecs(session: Session) -> list[Private]:
    return [lane.codec for lane in session.lanes if isinstance(lane.codec, Private)]


def _read(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A policy or demand of the vectors, whose floats are hexadecimal, with its defaults."""
    return defaults | {name: float.fromhex(value) if name in FLOATS else value for name, value in given.items()}


def read_policy(policy: dict[str, Any]) -> dict[str, Any]:
    """Vectors state what differs from the permissive policy, or from the defaults where they say so."""
    given = {name: value for name, value in policy.items() if name != "defaults"}
    return _read(given, POLICY if policy.get("defaults") else PERMISSIVE)


def check_encoding(wanted: dict[str, Any], session: Session) -> None:
    require(wanted["max_weight"] is None or session.max_weight <= wanted["max_weight"], "ParameterError")
    for vector in session.written[1]:
        if vector["type"] == "floats":
            require(wanted["rounding"] in (None, vector["rounding"]), "ParameterError")
            require(vector["value_bits"] >= wanted["min_value_bits"], "ParameterError")
            require(wanted["min_clip"] <= vector["clip"] <= wanted["max_clip"], "ParameterError")


def check_policy(policy: dict[str, Any], session: Session) -> None:
    """Sections 9 and 28: a client refuses what is weaker, smaller or less private than it demands."""
    wanted, codecs = read_policy(policy), private_codecs(session)
    require(ADVERSARIES.index(session.adversary) >= ADVERSARIES.index(wanted["adversary"]), "ParameterError")
    require(session.corrupt >= wanted["corrupt_fraction"], "ParameterError")
    require(session.topology.max_corrupt >= wanted["corrupt_clients"], "ParameterError")
    require(wanted["min_clients"] <= session.num_clients <= wanted["max_clients"], "ParameterError")
    require(wanted["min_neighbours"] <= session.topology.degree <= wanted["max_neighbours"], "ParameterError")
    fewest = math.ceil((wanted["min_survivor_fraction"] - SLACK) * session.num_clients)
    require(session.min_survivors >= max(wanted["min_survivors"], fewest), "ParameterError")
    require(not codecs or session.min_survivors >= wanted["min_participants"], "ParameterError")
    require(wanted["takes_ring"] or session.topology.graph != RING, "ParameterError")
    if wanted["encoding"] is not None:
        check_encoding(_read(wanted["encoding"], ENCODING), session)
    if wanted["privacy"] is None:
        return
    demand = _read(wanted["privacy"], DEMAND)
    require(demand["trusts_server"] or session.equivocates, "ParameterError")
    believed = math.floor((demand["corrupt_fraction"] + SLACK) * session.num_clients)
    corrupt = max(session.topology.max_corrupt, believed)
    honest = session.min_survivors - corrupt
    require(codecs and honest >= 1, "ParameterError")
    if demand["sampling_rate"] < 1:
        raise NotImplementedError("accountants differ in samples, so that no vector has them")
    cost = epsilon(codecs, honest, demand["adjacency"], demand["delta"], demand["rounds"], demand["unit"])
    require(cost <= demand["epsilon"], "ParameterError")
