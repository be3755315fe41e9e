"""Degrees and thresholds computed once more, in exact arithmetic, from the text of the specification (section 2)."""

from __future__ import annotations

import math
from fractions import Fraction

from secagg.errors import ParameterError

from ...core.threat_model import Adversary, ThreatModel
from ...masking.topology import GraphKind, derive_topology
from ..outcome import Check, Found, Trials, demand, demand_refusal

_CURIOUS, _SEMI, _MALICIOUS = Adversary
_SECURITY = Fraction(1, 2**41)
_CORRECTNESS = Fraction(1, 2**20)
_LEAST, _MOST, _MOST_SPARSE = 3, 400, 120

_CYCLES, _RING, _COMPLETE = GraphKind
_WEIGHTS = tuple(map(Fraction, ("5/4", "3/2", "2", "3", "4", "6", "8")))

_FIXED: tuple[tuple[int, str, str, Adversary, GraphKind], ...] = (
    (10, "0", "0.3", _CURIOUS, _COMPLETE),
    (100, "0.1", "0.2", _CURIOUS, _COMPLETE),
    (100, "0.29", "0.3", _CURIOUS, _COMPLETE),
    (10, "0.1", "0.2", _SEMI, _COMPLETE),
    (41, "0.05", "0.3", _SEMI, _COMPLETE),
    (100, "0.1", "0.1", _MALICIOUS, _CYCLES),
    (101, "0.1", "0.3", _MALICIOUS, _RING),
    (1000, "0.1", "0.1", _MALICIOUS, _CYCLES),
    (1000, "0.05", "0.33", _MALICIOUS, _COMPLETE),
    (200, "0.05", "0.05", _CURIOUS, _RING),
    (200, "0.05", "0.1", _SEMI, _RING),
    (150, "0.1", "0.1", _CURIOUS, _CYCLES),
    (60, "0.5", "0.45", _CURIOUS, _COMPLETE),
    (60, "0.2", "0.4", _SEMI, _COMPLETE),
    (5, "0.23", "0.3", _MALICIOUS, _COMPLETE),
    (9, "0.14", "0.35", _SEMI, _RING),
)
"""Clients, corrupt and dropout fraction, adversary, and the graph that is asked for."""


class _RefusedError(Exception):
    """By the specification, these parameters are impossible."""


def _thresholds(trials: Trials) -> Found:
    kinds = dict.fromkeys((*map(str, GraphKind), "refused"), 0)
    for case in _FIXED:
        kinds[_compare(*case)] += 1
    for rng in trials.each():
        adversary, asked = list(Adversary)[int(rng.integers(3))], list(GraphKind)[int(rng.choice(3, p=(0.1, 0.1, 0.8)))]
        sparse = asked is not _COMPLETE and adversary is not _MALICIOUS
        clients = int(rng.integers(_LEAST, _MOST_SPARSE if sparse else _MOST))
        corrupt, dropout = (f"{rng.integers(0, most) / 100:g}" for most in (25, 40))
        kinds[_compare(clients, corrupt, dropout, adversary, asked)] += 1
    return Found({"threat models": len(_FIXED) + trials.examples} | kinds)


def _compare(clients: int, corrupt: str, dropout: str, adversary: Adversary, asked: GraphKind) -> str:
    text = f"{clients} clients, {corrupt} of them corrupt and {dropout} dropping out, {asked} against a {adversary}"
    model = (clients, float(corrupt), float(dropout), adversary)
    try:
        expected = _derived(clients, Fraction(corrupt), Fraction(dropout), adversary, asked)
    except _RefusedError:
        demand_refusal(
            lambda: derive_topology(ThreatModel(*model), asked),
            ParameterError,
            f"what is unsafe ({text})",
        )
        return "refused"
    found = derive_topology(ThreatModel(*model), asked)
    ours = (found.degree, found.threshold, found.graph)
    demand(
        ours == expected,
        f"{text}, get degree, threshold and graph {ours}, by the specification it is {expected}",
    )
    return str(found.graph)


def _derived(
    clients: int, corrupt: Fraction, dropout: Fraction, adversary: Adversary, asked: GraphKind
) -> tuple[int, int, GraphKind]:
    """Return degree, threshold, and the graph."""
    bad, dropping, left = (
        math.floor(corrupt * clients),
        math.floor(dropout * clients),
        math.ceil((1 - dropout) * clients),
    )
    if corrupt + (1 if adversary is _CURIOUS else 2) * dropout > Fraction(9, 10):
        raise _RefusedError
    if asked is not _COMPLETE and adversary is not _MALICIOUS:
        found = (_on_cycles if asked is _CYCLES else _on_the_ring)(clients, bad, dropping, left, adversary)
        if found is not None:
            return *found, asked
    exceeded = bad if adversary is _CURIOUS else (clients + bad) // 2
    if max(left, 2) <= exceeded:
        raise _RefusedError
    return clients - 1, max(left, 2), _COMPLETE


def _on_the_ring(clients: int, bad: int, dropping: int, left: int, adversary: Adversary) -> tuple[int, int] | None:
    """Return degree and threshold of the ring, or None if none serves."""
    absent = bad + dropping
    for degree in range(2, clients - 1, 2):
        if absent >= degree:
            cut = Fraction(math.comb(clients - degree, absent - degree), math.comb(clients, absent))
            if cut * clients * (clients - degree - 1) / 2 >= _SECURITY:
                continue
        ways = math.comb(clients, degree)
        most = _most([_ways(clients, bad, degree, hit) for hit in range(degree + 1)], ways, clients)
        least = _least([_ways(clients, left, degree, hit) for hit in range(degree + 1)], ways, clients)
        below = most if adversary is _CURIOUS else math.ceil((most + degree - Fraction(5, 4)) / 2)
        if max(below + 1, 2) <= least:
            return degree, max(below + 1, 2)
    return None


def _on_cycles(clients: int, bad: int, dropping: int, left: int, adversary: Adversary) -> tuple[int, int] | None:
    """Return degree and threshold of the union of random cycles, or None if none serves."""
    corrupt, surviving, ways = [1], [1], 1
    for degree in range(2, clients // 2 + 1, 2):
        corrupt, surviving = _one_cycle_more(corrupt, bad, clients), _one_cycle_more(surviving, left - 1, clients)
        ways *= math.comb(clients - 1, 2)
        most, least = _most(corrupt, ways, clients), _least(surviving, ways, clients)
        below = most if adversary is _CURIOUS else (degree + most) // 2
        for threshold in range(max(below + 1, 2), least + 1):
            if _holds_together(clients, bad, dropping, degree, threshold, adversary):
                return degree, threshold
    return None


def _holds_together(clients: int, bad: int, dropping: int, degree: int, threshold: int, adversary: Adversary) -> bool:
    honest, total = clients - bad, Fraction(0)
    for size in range(honest // 2, 1, -1):
        bound = _dense(clients, bad, size, degree, threshold)
        if adversary is _CURIOUS:
            late = min(dropping, honest - 2 * size)
            rest = honest - size - late
            other = clients - size - 1
            inside = (size - 1 + (clients - size - rest) * Fraction(other - rest, other)) / (clients - 1)
            parted = math.comb(honest, size) * math.comb(honest - size, late)
            bound = min(bound, parted * max(inside, Fraction(0)) ** (size * degree // 2))
        total += bound
        if total > _SECURITY:
            return False
    return True


def _dense(clients: int, bad: int, size: int, degree: int, threshold: int) -> Fraction:
    def of_one(x: Fraction) -> Fraction:
        behind = 1 + bad * (x - 1) / (clients - size - 1)
        return ((size - 1) * x * x + (clients - size + bad * (x - 1)) * behind) / (clients - 1)

    x = min(_WEIGHTS, key=lambda x: degree / 2 * math.log(of_one(x)) - threshold * math.log(x))
    return math.comb(clients - bad, size) * of_one(x) ** (size * degree // 2) / x ** (size * threshold)


def _one_cycle_more(ways: list[int], marked: int, clients: int) -> list[int]:
    """Return in how many ways so many marked neighbours are found, with the two of one cycle more."""
    more = [0] * (len(ways) + 2)
    for found, count in enumerate(ways):
        unseen = max(marked - found, 0)
        for new in range(3):
            more[found + new] += count * math.comb(unseen, new) * math.comb(clients - 1 - unseen, 2 - new)
    return more


def _most(ways: list[int], whole: int, clients: int) -> int:
    """Return how many marked ones there are at most, but for 2^-41 / n."""
    above, most = 0, len(ways) - 1
    while most > 0 and (above + ways[most]) * clients <= _SECURITY * whole:
        above += ways[most]
        most -= 1
    return most


def _least(ways: list[int], whole: int, clients: int) -> int:
    """Return how many marked ones there are at least, but for 2^-20 / n."""
    up_to, least = 0, -1
    while up_to * clients < _CORRECTNESS * whole:
        least += 1
        up_to += ways[least]
    return least


def _ways(clients: int, marked: int, degree: int, hit: int) -> int:
    """Return in how many ways `degree` neighbours have `hit` marked ones among them."""
    return math.comb(marked, hit) * math.comb(clients - marked, degree - hit)


CHECKS = (
    Check(
        "vectors",
        "thresholds",
        "degrees and thresholds, of complete graphs too, are those of the specification in exact numbers",
        _thresholds,
    ),
)
