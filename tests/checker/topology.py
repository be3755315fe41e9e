"""SPEC sections 2 and 7: degree and threshold (with probabilities as exact fractions) and neighbours."""

import math
from dataclasses import dataclass
from functools import cache

from .cuts import hold_together
from .primitives import keystream
from .refusal import Refused, require

SLACK = 1e-14
GRAPHS = (CYCLES, RING, COMPLETE) = ("random-cycles", "ring-for-random-dropouts", "complete")


@dataclass(frozen=True)
class Topology:
    num_clients: int
    degree: int
    threshold: int
    max_corrupt: int
    graph: str

    @property
    def complete(self) -> bool:
        return self.graph == COMPLETE


def _ways(population: int, marked: int, drawn: int) -> list[int]:
    """In how many ways 0, 1, ..., drawn marked ones are among the drawn; all together comb(population, drawn)."""
    return [math.comb(marked, x) * math.comb(population - marked, drawn - x) for x in range(drawn + 1)]


def _most_corrupt(ways: list[int], whole: int, n: int) -> int:
    above, t1 = 0, len(ways) - 1
    while t1 and (above + ways[t1]) * n << 41 <= whole:
        above, t1 = above + ways[t1], t1 - 1
    return t1


def _fewest_staying(ways: list[int], whole: int, n: int) -> int:
    upto, t2 = ways[0], 0
    while upto * n << 20 < whole:
        t2 += 1
        upto += ways[t2]
    return t2


def _on_the_ring(n: int, corrupt: int, dropped: int, stay: int, curious: bool) -> tuple[int, int] | None:
    both = corrupt + dropped
    for k in range(2, n - 1, 2):
        # B! (n-k)! / (n! (B-k)!) is B (B-1) ... (B-k+1) over n (n-1) ... (n-k+1), which is zero beyond B.
        if n * (n - k - 1) * math.perm(both, k) << 41 >= 2 * math.perm(n, k):
            continue
        whole = math.comb(n, k)
        t1, t2 = _most_corrupt(_ways(n, corrupt, k), whole, n), _fewest_staying(_ways(n, stay, k), whole, n)
        if not curious:
            t1 = math.ceil((t1 + k - 1.25) / 2)
        if max(t1 + 1, 2) <= t2:
            return k, max(t1 + 1, 2)
    return None


def _one_cycle_more(ways: list[int], marked: int, others: int) -> list[int]:
    """Two more neighbours, in any of comb(others, 2) ways: which of them are marked, and were none before?"""
    more = [0] * (len(ways) + 2)
    for found, count in enumerate(ways):
        left = max(marked - found, 0)
        for new in range(3):
            more[found + new] += count * math.comb(left, new) * math.comb(others - left, 2 - new)
    return more


def _on_cycles(n: int, corrupt: int, dropped: int, stay: int, curious: bool) -> tuple[int, int] | None:
    ways, staying, whole = [1], [1], 1
    for k in range(2, n // 2 + 1, 2):
        ways, staying = _one_cycle_more(ways, corrupt, n - 1), _one_cycle_more(staying, stay - 1, n - 1)
        whole *= math.comb(n - 1, 2)
        t1, t2 = _most_corrupt(ways, whole, n), _fewest_staying(staying, whole, n)
        for t in range(max(t1 + 1 if curious else (k + t1) // 2 + 1, 2), t2 + 1):
            if hold_together(n, corrupt, dropped, k, t, curious):
                return k, t
    return None


@cache
def derive(n: int, gamma: float, delta: float, adversary: str, graph: str = CYCLES) -> Topology:
    require(graph in GRAPHS, "ParameterError")
    curious = adversary == "curious-server"
    require(gamma + (1 if curious else 2) * delta <= 0.9, "ParameterError")
    corrupt = math.floor((gamma + SLACK) * n)
    dropped = math.floor((delta + SLACK) * n)
    stay = math.ceil((1 - delta - SLACK) * n)
    if adversary != "malicious-server" and graph != COMPLETE:
        sparse = (_on_cycles if graph == CYCLES else _on_the_ring)(n, corrupt, dropped, stay, curious)
        if sparse is not None:
            return Topology(n, *sparse, corrupt, graph)
    t = max(stay, 2)
    must_exceed = corrupt if curious else (n + corrupt) // 2
    if t <= must_exceed:
        raise Refused("ParameterError")
    return Topology(n, n - 1, t, corrupt, COMPLETE)


def neighbours(topology: Topology, seed: bytes, client: int) -> set[int]:
    n = topology.num_clients
    if topology.complete:
        return set(range(1, n + 1)) - {client}
    rings, reach = (topology.degree // 2, 1) if topology.graph == CYCLES else (1, topology.degree // 2)
    size = -(-n // 2) * 16
    stream, found = keystream(seed, size * rings), set[int]()
    for start in range(0, size * rings, size):
        words = [int.from_bytes(stream[start + 8 * i : start + 8 * i + 8], "little") for i in range(n)]
        ring = sorted(range(1, n + 1), key=lambda i: (words[i - 1], i))
        at = ring.index(client)
        found |= {ring[(at + step * side) % n] for step in range(1, reach + 1) for side in (-1, 1)}
    return found
