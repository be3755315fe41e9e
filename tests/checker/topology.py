"""SPEC sections 2 and 7: degree and threshold (with probabilities as exact fractions) and neighbours."""

import math
from dataclasses import dataclass

from .primitives import keystream
from .refusal import Refused, require

SLACK = 1e-14


@dataclass(frozen=True)
class Topology:
    num_clients: int
    degree: int
    threshold: int
    max_corrupt: int
    max_corrupt_holders: int

    @property
    def complete(self) -> bool:
        return self.degree == self.num_clients - 1


def _ways(population: int, marked: int, drawn: int) -> list[int]:
    """In how many ways 0, 1, ..., drawn marked ones are among the drawn; all together comb(population, drawn)."""
    return [math.comb(marked, x) * math.comb(population - marked, drawn - x) for x in range(drawn + 1)]


def _sparse(n: int, k: int, corrupt: int, dropped: int, stay: int, curious: bool) -> tuple[int, int] | None:
    both = corrupt + dropped
    # B! (n-k)! / (n! (B-k)!) is B (B-1) ... (B-k+1) over n (n-1) ... (n-k+1), which is zero beyond B.
    if n * (n - k - 1) * math.perm(both, k) << 41 >= 2 * math.perm(n, k):
        return None
    whole = math.comb(n, k)
    ways, above, t1 = _ways(n, corrupt, k), 0, k
    while t1 and (above + ways[t1]) * n << 41 <= whole:
        above, t1 = above + ways[t1], t1 - 1
    ways, t2 = _ways(n, stay, k), 0
    upto = ways[0]
    while upto * n << 20 < whole:
        t2 += 1
        upto += ways[t2]
    below = t1 if curious else math.ceil((t1 + k - 1.25) / 2)
    t = max(below + 1, 2)
    return (t, t1) if t <= t2 else None


def derive(n: int, gamma: float, delta: float, adversary: str, complete: bool = False) -> Topology:
    curious = adversary == "curious-server"
    require(gamma + (1 if curious else 2) * delta <= 0.9, "ParameterError")
    corrupt = math.floor((gamma + SLACK) * n)
    dropped = math.floor((delta + SLACK) * n)
    stay = math.ceil((1 - delta - SLACK) * n)
    if adversary != "malicious-server" and not complete:
        for k in range(2, n - 1, 2):
            found = _sparse(n, k, corrupt, dropped, stay, curious)
            if found is not None:
                return Topology(n, k, found[0], corrupt, found[1])
    t = max(stay, 2)
    must_exceed = corrupt if curious else math.ceil((n + gamma * n) / 2 - 1e-14)
    if t <= must_exceed:
        raise Refused("ParameterError")
    return Topology(n, n - 1, t, corrupt, corrupt)


def neighbours(topology: Topology, seed: bytes, client: int) -> set[int]:
    n = topology.num_clients
    if topology.complete:
        return set(range(1, n + 1)) - {client}
    stream = keystream(seed, 8 * n)
    ring = sorted(range(1, n + 1), key=lambda i: (int.from_bytes(stream[8 * i - 8 : 8 * i], "little"), i))
    at = ring.index(client)
    return {ring[(at + step * side) % n] for step in range(1, topology.degree // 2 + 1) for side in (-1, 1)}
