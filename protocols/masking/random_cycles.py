"""Degree and threshold of a union of random cycles, by a proof in which the server chooses who is late.

Source: the permutation model of random regular graphs. The bounds are those of SPEC section 2.4, in floats; the tests
hold them against exact fractions and against decimals that are rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..core.threat_model import ThreatModel

SECURITY_BITS = 40


CORRECTNESS_BITS = 20

_WEIGHTS = (1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""The x of Markov's inequality in SPEC section 2.4. Any x above 1 gives a bound; these are near enough to the best."""

_CHUNK = 1 << 15

_Floats = npt.NDArray[np.float64]


class RandomCycles:
    """What is known about the union of k / 2 independent uniform cycles through all clients of a threat model."""

    def __init__(self, model: ThreatModel) -> None:
        self._n = model.num_clients
        self._corrupt = model.max_corrupt
        self._honest = self._n - self._corrupt
        self._late = model.max_dropouts
        self._equivocates = model.adversary.may_equivocate
        self._log_factorial = np.fromiter(
            (math.lgamma(i + 1) for i in range(self._honest + 1)), dtype=np.float64, count=self._honest + 1
        )

    def choices(self, min_survivors: int) -> Iterator[tuple[int, int, int]]:
        """Yield, for each even degree up to n / 2, how many neighbours are corrupt and how many stay.

        Yields:
            (k, t1, t2): a client has more than t1 corrupt neighbours with a probability of 2^-41 / n at most, and
            fewer than t2 that survive with one below 2^-20 / n.
        """
        n = self._n
        corrupt = survive = np.ones(1)
        max_insecure = 2.0 ** -(SECURITY_BITS + 1) / n
        max_failing = 2.0**-CORRECTNESS_BITS / n
        for degree in range(2, n // 2 + 1, 2):
            corrupt = _one_cycle_more(corrupt, self._corrupt, n - 1)
            survive = _one_cycle_more(survive, min_survivors - 1, n - 1)
            at_least = np.cumsum(corrupt[::-1])[::-1]
            most = int(np.flatnonzero(np.append(at_least[1:], 0.0) <= max_insecure)[0])
            least = int(np.flatnonzero(np.cumsum(survive) >= max_failing)[0])
            yield degree, most, least

    def hold_together(self, degree: int, threshold: int) -> bool:
        """Return whether no group of two to half of the honest clients is summed apart, but for 2^-41."""
        largest = self._honest // 2
        limit = -(SECURITY_BITS + 1) * math.log(2)
        coarse = np.arange(2, largest + 1, max(1, largest // 64))
        if len(coarse) and self._log_bounds(coarse, degree, threshold).max() > limit:
            return False
        total = 0.0
        for start in range(2, largest + 1, _CHUNK):
            sizes = np.arange(start, min(start + _CHUNK, largest + 1))
            total += float(np.exp(self._log_bounds(sizes, degree, threshold)).sum())
        return total <= 2.0 ** -(SECURITY_BITS + 1)

    def _log_bounds(self, sizes: npt.NDArray[np.int64], degree: int, threshold: int) -> _Floats:
        """Log of a bound on the probability that there is such a group, for each size of the group."""
        best = self._log_dense(sizes, degree, threshold)
        return best if self._equivocates else np.minimum(best, self._log_cut(sizes, degree))

    def _log_dense(self, s: npt.NDArray[np.int64], degree: int, threshold: int) -> _Floats:
        """That each of a group has t neighbours in the group or among the corrupt."""
        n, c, f = self._n, self._corrupt, self._log_factorial
        groups = f[self._honest] - f[s] - f[self._honest - s]
        best = np.full(len(s), np.inf)
        for x in _WEIGHTS:
            behind = 1 + c * (x - 1) / (n - s - 1)
            cycle = ((s - 1) * x * x + (n - s + c * (x - 1)) * behind) / (n - 1)
            best = np.minimum(best, s * (degree / 2 * np.log(cycle) - threshold * math.log(x)))
        bound: _Floats = groups + best
        return bound

    def _log_cut(self, s: npt.NDArray[np.int64], degree: int) -> _Floats:
        """That a group and the other honest clients have no common edge, when the worst are late."""
        n, f = self._n, self._log_factorial
        late = np.minimum(self._late, self._honest - 2 * s)
        rest = self._honest - s - late
        choices = f[self._honest] - f[s] - f[late] - f[rest]
        behind = (n - s - 1 - rest) / (n - s - 1)
        cycle = (s - 1 + (n - s - rest) * behind) / (n - 1)
        with np.errstate(divide="ignore"):
            bound: _Floats = choices + s * (degree / 2 * np.log(np.maximum(cycle, 0.0)))
        return bound


def _one_cycle_more(found: _Floats, marked: int, others: int) -> _Floats:
    """Take the law of how many marked ones are among a client's neighbours, and return it with two more neighbours.

    A cycle gives two different neighbours, uniform among the `others`; who was one before is no new one.
    """
    unseen = np.maximum(marked - np.arange(len(found)), 0)
    seen = others - unseen
    pairs = others * (others - 1) / 2
    law = np.zeros(len(found) + 2)
    law[:-2] += found * (seen * (seen - 1) / 2 / pairs)
    law[1:-1] += found * (seen * unseen / pairs)
    law[2:] += found * (unseen * (unseen - 1) / 2 / pairs)
    return law
