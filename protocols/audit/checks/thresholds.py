"""Degrees and thresholds computed once more, in exact arithmetic, from the text of the specification (section 2)."""

from __future__ import annotations

import math
from fractions import Fraction

from secagg.errors import ParameterError

from ...core.threat_model import Adversary, ThreatModel
from ...masking.topology import derive_topology
from ..outcome import Check, Found, Trials, demand, demand_refusal

_CURIOUS, _SEMI, _MALICIOUS = Adversary
_SECURITY = Fraction(1, 2**41)
_CORRECTNESS = Fraction(1, 2**20)
_LEAST, _MOST, _MOST_SPARSE = 3, 400, 120

_FIXED: tuple[tuple[int, str, str, Adversary, bool], ...] = (
    (10, "0", "0.3", _CURIOUS, True),
    (100, "0.1", "0.2", _CURIOUS, True),
    (100, "0.29", "0.3", _CURIOUS, True),
    (10, "0.1", "0.2", _SEMI, True),
    (41, "0.05", "0.3", _SEMI, True),
    (100, "0.1", "0.1", _MALICIOUS, False),
    (101, "0.1", "0.3", _MALICIOUS, False),
    (1000, "0.1", "0.1", _MALICIOUS, False),
    (1000, "0.05", "0.33", _MALICIOUS, True),
    (200, "0.05", "0.05", _CURIOUS, False),
    (200, "0.05", "0.1", _SEMI, False),
    (60, "0.5", "0.45", _CURIOUS, True),
    (60, "0.2", "0.4", _SEMI, True),
)
"""Clients, corrupt and dropout fraction, adversary, and whether the complete graph is asked for."""


class _RefusedError(Exception):
    """By the specification, these parameters are impossible."""


def _thresholds(trials: Trials) -> Found:
    kinds = {"sparse": 0, "complete": 0, "refused": 0}
    for case in _FIXED:
        kinds[_compare(*case)] += 1
    for rng in trials.each():
        adversary, asked = list(Adversary)[int(rng.integers(3))], bool(rng.random() < 0.8)
        sparse = not asked and adversary is not _MALICIOUS
        clients = int(rng.integers(_LEAST, _MOST_SPARSE if sparse else _MOST))
        corrupt, dropout = (f"{rng.integers(0, most) / 100:g}" for most in (25, 40))
        kinds[_compare(clients, corrupt, dropout, adversary, asked)] += 1
    return Found({"threat models": len(_FIXED) + trials.examples} | kinds)


def _compare(clients: int, corrupt: str, dropout: str, adversary: Adversary, asked: bool) -> str:
    text = f"{clients} clients, {corrupt} of them corrupt and {dropout} dropping out, against a {adversary}"
    model = (clients, float(corrupt), float(dropout), adversary)
    try:
        expected = _derived(clients, Fraction(corrupt), Fraction(dropout), adversary, asked)
    except _RefusedError:
        demand_refusal(
            lambda: derive_topology(ThreatModel(*model), complete_graph=asked),
            ParameterError,
            f"what is unsafe ({text})",
        )
        return "refused"
    found = derive_topology(ThreatModel(*model), complete_graph=asked)
    ours = (found.degree, found.threshold, found.complete)
    demand(
        ours == expected,
        f"{text}, get degree, threshold and completeness {ours}, by the specification it is {expected}",
    )
    return "complete" if found.complete else "sparse"


def _derived(
    clients: int, corrupt: Fraction, dropout: Fraction, adversary: Adversary, asked: bool
) -> tuple[int, int, bool]:
    """Return degree, threshold, and whether the graph is complete."""
    bad, dropping, left = (
        math.floor(corrupt * clients),
        math.floor(dropout * clients),
        math.ceil((1 - dropout) * clients),
    )
    if corrupt + (1 if adversary is _CURIOUS else 2) * dropout > Fraction(9, 10):
        raise _RefusedError
    if not asked and adversary is not _MALICIOUS:
        for degree in range(2, clients - 1, 2):
            threshold = _sparse(clients, degree, bad, dropping, left, adversary)
            if threshold is not None:
                return degree, threshold, False
    exceeded = bad if adversary is _CURIOUS else math.ceil((clients + corrupt * clients) / 2)
    if max(left, 2) <= exceeded:
        raise _RefusedError
    return clients - 1, max(left, 2), True


def _sparse(clients: int, degree: int, bad: int, dropping: int, left: int, adversary: Adversary) -> int | None:
    """Return the threshold of a sparse graph of this degree, or None if it serves not."""
    absent = bad + dropping
    if absent >= degree:
        cut = Fraction(math.comb(clients - degree, absent - degree), math.comb(clients, absent))
        if cut * clients * (clients - degree - 1) / 2 >= _SECURITY:
            return None
    ways = math.comb(clients, degree)
    above, most = 0, min(degree, bad)
    while most > 0 and (above + _ways(clients, bad, degree, most)) * clients <= _SECURITY * ways:
        above += _ways(clients, bad, degree, most)
        most -= 1
    up_to, least = 0, -1
    while up_to * clients < _CORRECTNESS * ways:
        least += 1
        up_to += _ways(clients, left, degree, least)
    below = most if adversary is _CURIOUS else math.ceil((most + degree - Fraction(5, 4)) / 2)
    threshold = max(below + 1, 2)
    return threshold if threshold <= least else None


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
