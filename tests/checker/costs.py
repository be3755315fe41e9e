"""SPEC section 29: what private sums cost a client, where there is a closed form; and what its policy refuses."""

import math
from typing import Any

from .privacy import gaussian_delta_of
from .private import Private
from .refusal import require

SLACK, LARGEST_SUM_SLACK = 2.0**-58, 1e-9
SLACK_OF_FLOATS = 1e-14


def summed_ratio(local_sigma: float, clients: int) -> float:
    """Section 14: tau."""
    return 10 * math.fsum(math.exp(-2 * math.pi**2 * local_sigma**2 * k / (k + 1)) for k in range(1, clients))


def _multiplier(vector: Private, honest: int, factor: int) -> tuple[float, float]:
    """The noise multiplier of Gaussian noise that is as good, and what that costs in epsilon: for one sum."""
    d, sigma = vector.dimension, vector.local_sigma
    smoothing = math.log(14 * d * 2.0**58) / (2 * math.pi**2)
    for number in range(honest, (honest + 1) // 2 - 1, -1):
        cost = 2 * d * summed_ratio(sigma, number)
        if cost <= LARGEST_SUM_SLACK and number * sigma**2 > 1.25 * smoothing:
            return math.sqrt(number * sigma**2 - smoothing) / (factor * vector.bound), cost + SLACK
    raise NotImplementedError("no closed form: take other parameters for a vector")


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """The least epsilon, by bisection of Balle and Wang's delta."""
    low, high = 0.0, 1.0
    if gaussian_delta_of(multiplier, 0.0) <= delta:
        return 0.0
    while gaussian_delta_of(multiplier, high) > delta:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if gaussian_delta_of(multiplier, middle) <= delta else (middle, high)
    return high


def epsilon(vectors: list[Private], honest: int, delta: float, rounds: int, neighbours: str) -> float:
    require(honest >= 1, "ParameterError")
    factor = {"add-remove": 1, "replace-one": 2}[neighbours]
    each = [_multiplier(vector, honest, factor) for vector in vectors]
    whole = 1 / math.sqrt(sum(rounds / multiplier**2 for multiplier, _ in each))
    slack = sum(rounds * cost for _, cost in each)
    return gaussian_epsilon(whole, delta * math.exp(-slack)) + slack


def check_policy(policy: dict[str, Any], session: Any) -> None:
    """Sections 9 and 28: ParameterError, unless the round is as safe and as private as the client demands."""
    strength = ["curious-server", "semi-malicious-server", "malicious-server"]
    require(strength.index(session.adversary) >= strength.index(policy.get("adversary", strength[0])), "ParameterError")
    require(session.corrupt >= float.fromhex(policy.get("corrupt_fraction", "0x0p+0")), "ParameterError")
    require(session.num_clients >= policy.get("minimum_clients", 2), "ParameterError")
    require(session.topology.degree >= policy.get("minimum_neighbours", 1), "ParameterError")
    require(session.minimum_survivors >= policy.get("minimum_survivors", 2), "ParameterError")
    private = [lane.codec for lane in session.lanes if isinstance(lane.codec, Private)]
    require(not private or session.minimum_survivors >= policy.get("minimum_participants", 10), "ParameterError")
    demand = policy.get("privacy")
    if demand is None:
        return
    require(private, "ParameterError")
    doubted = math.floor((float.fromhex(demand["corrupt_fraction"]) + SLACK_OF_FLOATS) * session.num_clients)
    honest = session.minimum_survivors - max(doubted, session.topology.max_corrupt)
    spent = epsilon(private, honest, float.fromhex(demand["delta"]), demand["rounds"], demand["neighbours"])
    require(spent <= float.fromhex(demand["epsilon"]), "ParameterError")
