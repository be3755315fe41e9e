"""A threat model in, a graph out: degree and threshold are derived, never guessed (SPEC section 2).

Statistical security is 2**-40, the failure probability 2**-20. The rule of the ring is that of Bell et al. 2020,
section 3 and appendix, as google-parfait/federated-compute has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..core.threat_model import ThreatModel
from .random_cycles import CORRECTNESS_BITS, SECURITY_BITS, RandomCycles


class GraphKind(StrEnum):
    """How it is drawn who is whose neighbour. Where a sparse kind does not serve, it is complete all the same."""

    RANDOM_CYCLES = "random-cycles"
    """Sparse: the edges of some random cycles through all clients. The server may choose who is late, graph in hand."""
    RING_FOR_RANDOM_DROPOUTS = "ring-for-random-dropouts"
    """Sparse, as Bell et al. and the reference have it: a random ring. It assumes that nobody who knows the ring has a
    say in who drops out: a server that calls chosen clients late can have a few of the others summed apart."""
    COMPLETE = "complete"
    """Everyone is everyone's neighbour (SecAgg)."""


@dataclass(frozen=True)
class Topology:
    """What follows from a threat model.

    Attributes:
        degree: neighbours of a client (k); num_clients - 1 in the complete graph. On random cycles it is the largest
            number, and some have fewer, since two cycles may share an edge.
        threshold: shares that reconstruct a secret (t), out of those of all neighbours; in the complete graph out of
            num_clients, for there a client holds a share of its own secrets as well.
        graph: how it is drawn who is whose neighbour.
        max_corrupt_holders: how many of a secret's holders may be corrupt (in a sparse graph: but for the failure
            probability).
        why: one sentence about each number, for people.
    """

    degree: int
    threshold: int
    graph: GraphKind
    max_corrupt_holders: int
    why: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everyone is everyone's neighbour (SecAgg), or the graph is sparse (SecAgg+)."""
        return self.graph is GraphKind.COMPLETE

    @property
    def num_holders(self) -> int:
        """How many parties hold a share of each secret, at most."""
        return self.degree + 1 if self.complete else self.degree

    @property
    def resists_equivocation(self) -> bool:
        """Whether two contradictory requests, with all corrupt holders in both, cannot gather the threshold twice.

        Always so against a semi-malicious or malicious server. Against a curious one, who by definition tells one
        story, the reference's sparse thresholds need not go so far.
        """
        return 2 * self.threshold > self.num_holders + self.max_corrupt_holders


@lru_cache(maxsize=64)
def derive_topology(threat_model: ThreatModel, graph: GraphKind = GraphKind.RANDOM_CYCLES) -> Topology:
    """Return the sparsest graph of this kind and its threshold, or the complete graph where no sparse one will do."""
    sparse = None
    if not threat_model.adversary.needs_identities:
        match graph:
            case GraphKind.RANDOM_CYCLES:
                sparse = _random_cycles(threat_model)
            case GraphKind.RING_FOR_RANDOM_DROPOUTS:
                sparse = _ring(threat_model)
            case GraphKind.COMPLETE:
                pass
    return sparse or _complete_topology(threat_model)


def _random_cycles(model: ThreatModel) -> Topology | None:
    cycles = RandomCycles(model)
    for degree, corrupt, surviving in cycles.choices(model.min_survivors):
        below = (corrupt + degree) // 2 if model.adversary.may_equivocate else corrupt
        for threshold in range(max(below + 1, 2), surviving + 1):
            if cycles.hold_together(degree, threshold):
                why = (
                    f"degree at most {degree}: the least number of cycles, two neighbours each, for which a threshold "
                    "exists",
                    f"no client has more than {corrupt} corrupt neighbours (failure below 2^-{SECURITY_BITS + 1})",
                    f"whoever is late, no group of honest clients is summed apart from the others with {threshold} "
                    f"shares (failure below 2^-{SECURITY_BITS + 1})",
                    f"every client keeps at least {surviving} surviving neighbours, if dropouts do not hang on the "
                    f"graph (failure below 2^-{CORRECTNESS_BITS})",
                )
                return Topology(degree, threshold, GraphKind.RANDOM_CYCLES, corrupt, why)
    return None


def _ring(model: ThreatModel) -> Topology | None:
    n = model.num_clients
    tails = _HypergeometricTails(n)
    max_disconnected = -(SECURITY_BITS + 1) * math.log(2)
    max_insecure = 2.0 ** -(SECURITY_BITS + 1) / n
    max_failing = 2.0**-CORRECTNESS_BITS / n
    for degree in range(2, n - 1, 2):
        if _log_probability_disconnected(model, degree) >= max_disconnected:
            continue
        corrupt_neighbours = tails.upper_quantile(model.max_corrupt, degree, max_insecure)
        surviving_neighbours = tails.lower_quantile(model.min_survivors, degree, max_failing)
        below = corrupt_neighbours
        if model.adversary.may_equivocate:
            below = math.ceil((corrupt_neighbours + degree - 1.25) / 2)
        threshold = max(below + 1, 2)
        if surviving_neighbours >= threshold:
            why = _why_ring(degree, corrupt_neighbours, surviving_neighbours)
            return Topology(degree, threshold, GraphKind.RING_FOR_RANDOM_DROPOUTS, corrupt_neighbours, why)
    return None


def _why_ring(degree: int, corrupt: int, surviving: int) -> tuple[str, ...]:
    return (
        f"degree {degree}: the least even degree whose honest survivors stay connected, if nobody who knows the ring "
        f"has a say in who drops out (failure below 2^-{SECURITY_BITS + 1}), and for which a threshold exists",
        f"no client has more than {corrupt} corrupt neighbours (failure below 2^-{SECURITY_BITS + 1})",
        f"every client keeps at least {surviving} surviving neighbours (failure below 2^-{CORRECTNESS_BITS})",
    )


def _complete_topology(model: ThreatModel) -> Topology:
    n = model.num_clients
    threshold = max(model.min_survivors, 2)
    must_exceed, reason = model.max_corrupt, "the number of corrupt clients"
    if model.adversary.may_equivocate:
        must_exceed = (n + model.max_corrupt) // 2
        reason = "half of the clients and the corrupt ones together, so that no two requests can get both shares"
    return Topology(
        degree=n - 1,
        threshold=threshold,
        graph=GraphKind.COMPLETE,
        max_corrupt_holders=model.max_corrupt,
        why=(
            f"complete graph: all {n} clients are neighbours",
            f"threshold {threshold}: as many as are left after the dropouts, and more than {must_exceed}, {reason}",
        ),
    )


def _log_probability_disconnected(model: ThreatModel, degree: int) -> float:
    """Log of a bound on the probability that two runs of degree / 2 bad clients cut the ring (union bound)."""
    n = model.num_clients
    bad = model.max_corrupt + model.max_dropouts
    if degree > bad:
        return -math.inf
    return (
        math.log(n)
        + math.log(n - degree - 1)
        - math.log(2)
        + math.lgamma(bad + 1)
        + math.lgamma(n - degree + 1)
        - math.lgamma(n + 1)
        - math.lgamma(bad - degree + 1)
    )


class _HypergeometricTails:
    """Quantiles of Hypergeometric(n, marked, draws): how many of `draws` neighbours are marked."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._log_factorial = np.fromiter((math.lgamma(i + 1) for i in range(n + 1)), dtype=np.float64, count=n + 1)

    def upper_quantile(self, marked: int, draws: int, probability: float) -> int:
        """Return the least x with Pr[X > x] <= probability."""
        least, mass = self._mass(marked, draws)
        above = np.cumsum(mass[::-1])[::-1]  # Pr[X >= x]
        return least + int(np.flatnonzero(np.append(above[1:], 0.0) <= probability)[0])

    def lower_quantile(self, marked: int, draws: int, probability: float) -> int:
        """Return the least x with Pr[X <= x] >= probability."""
        least, mass = self._mass(marked, draws)
        return least + int(np.flatnonzero(np.cumsum(mass) >= probability)[0])

    def _mass(self, marked: int, draws: int) -> tuple[int, npt.NDArray[np.float64]]:
        f, n = self._log_factorial, self._n
        least, most = max(0, draws + marked - n), min(draws, marked)
        x = np.arange(least, most + 1)
        log_mass = (
            (f[marked] - f[x] - f[marked - x])
            + (f[n - marked] - f[draws - x] - f[n - marked - draws + x])
            - (f[n] - f[draws] - f[n - draws])
        )
        return least, np.exp(log_mass)
