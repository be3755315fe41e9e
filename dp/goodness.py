"""Does this noise have the law it should have? A check with a stated false-alarm rate that anybody can run.

Five questions, each at a fifth of the false-alarm rate: Pearson's chi-squared over bins, the
Kolmogorov-Smirnov distance, symmetry, the far tail, and repetition. Values off the integer grid fail at once.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .arrays import readable
from .errors import PrivacyParameterError
from .laws import Law
from .mass import distribution, mass, reach, scale_of, variance
from .randomness import RandomBytes, random_bits

_QUESTIONS = 5
_BINS = 64
_FEWEST = 1000
_LONGEST_RUN = 256
_LOWEST_EXPECTATION = 100.0
_LARGEST_EXACT = 1 << 20  # from here on Massart's bound is about 1e-4 above the exact quantile


@dataclass(frozen=True)
class Finding:
    """One test: it passes when `statistic` <= `critical`."""

    name: str
    statistic: float
    critical: float

    @property
    def passed(self) -> bool:
        """Whether the statistic stays within the critical value."""
        return self.statistic <= self.critical


@dataclass(frozen=True)
class Verdict:
    """All findings; `false_alarm` is the probability that right noise fails any of them."""

    findings: tuple[Finding, ...]
    samples: int
    false_alarm: float

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return all(finding.passed for finding in self.findings)


def check_noise(
    values: npt.ArrayLike,
    law: Law,
    *,
    granularity: float = 1.0,
    false_alarm: float = 1e-6,
    random: RandomBytes = os.urandom,
) -> Verdict:
    """Test noise against the law it claims; whoever draws noise can run it.

    Chi-squared and Kolmogorov-Smirnov critical values are exact quantiles, the latter of the finite sample (for a
    law with steps the true rate is lower still); bins expect at least 100 samples. Symmetry and tail use bounds
    that hold at every sample size (Hoeffding's inequality, the union bound). With 200,000 samples a scale that is
    5 % wrong either way is rejected almost surely.

    Args:
        values: at least 1000 samples, integers times `granularity`.
        law: `gaussian_law(sigma**2)` or `laplace_law(scale)`, in units of the granularity.
        granularity: the grid that the values lie on.
        false_alarm: probability, in (0, 1), that noise of exactly this law fails.
        random: where the key of the search for repetitions comes from.

    Raises:
        PrivacyParameterError: fewer than 1000 values, or a false-alarm rate outside (0, 1).
    """
    if not 0 < false_alarm < 1:
        raise PrivacyParameterError(f"false_alarm = {false_alarm} must lie in (0, 1), for example 1e-6")
    scaled = readable(values).ravel()
    if granularity != 1.0:
        scaled = scaled / granularity
    if scaled.size < _FEWEST:
        raise PrivacyParameterError(f"{scaled.size} samples cannot tell one law from another; draw at least {_FEWEST}")
    n = scaled.size
    level = false_alarm / _QUESTIONS
    off_grid = int(np.count_nonzero(~np.isfinite(scaled) | (scaled != np.rint(scaled))))
    if off_grid:
        return Verdict((Finding("values off the grid", off_grid, 0),), n, false_alarm)
    x = scaled.astype(np.int64)
    findings = (
        _chi_squared(x, law, level),
        Finding("Kolmogorov-Smirnov", _distance(x, law), kolmogorov_quantile(level, n)),
        Finding("asymmetry", abs(float(np.sign(x).sum())), math.sqrt(2 * n * math.log(2 / level))),
        Finding("largest magnitude", float(np.abs(x).max()), _farthest(law, n, level)),
        _repetition(x, law, level, random),
    )
    return Verdict(findings, n, false_alarm)


def _distance(x: npt.NDArray[np.int64], law: Law) -> float:
    points, counts = np.unique(x, return_counts=True)
    after = np.cumsum(counts) / x.size
    before = after - counts / x.size
    gap_after = np.abs(after - distribution(law, points)).max()
    gap_before = np.abs(before - distribution(law, points - 1)).max()
    return float(max(gap_after, gap_before))


def _chi_squared(x: npt.NDArray[np.int64], law: Law, level: float) -> Finding:
    """Compare counts in bins of roughly equal expectation; bins too thin are merged with their neighbour."""
    n = x.size
    width = max(1, round(6 * math.sqrt(variance(law)) / _BINS))
    half = width * (_BINS // 2) + width // 2
    edges = np.arange(-half - 1, half + width, width, dtype=np.int64)  # bins are (edge, next edge]
    expected = np.diff(np.concatenate(([0.0], distribution(law, edges), [1.0]))) * n
    observed = np.bincount(np.searchsorted(edges, x, side="left"), minlength=expected.size)
    merged: list[list[float]] = []
    for e, o in zip(expected.tolist(), observed.tolist(), strict=True):
        if merged and (merged[-1][0] < _LOWEST_EXPECTATION or e < _LOWEST_EXPECTATION):
            merged[-1][0] += e
            merged[-1][1] += o
        else:
            merged.append([e, float(o)])
    if len(merged) < 2:
        # All but everything is one value: bound the rest by Markov's inequality instead.
        stray, rest = n - merged[0][1] + 0.0, n - merged[0][0]
        return Finding("chi-squared", stray, rest / level)
    statistic = math.fsum((o - e) ** 2 / e for e, o in merged)
    return Finding(f"chi-squared, {len(merged) - 1} degrees", statistic, chi_squared_quantile(level, len(merged) - 1))


def _farthest(law: Law, n: int, level: float) -> float:
    """Return a magnitude that none of n samples exceeds, but with probability `level`: tails by union bound."""
    scale = scale_of(law)
    if law.curved:
        return 1 + scale * math.sqrt(2 * math.log(2 * n / level))
    return 1 + scale * math.log(2 * n / level)


def _repetition(x: npt.NDArray[np.int64], law: Law, level: float, random: RandomBytes) -> Finding:
    """Count windows that occur twice; they are long enough for that to be rarer than `level`."""
    n = x.size
    around = mass(law, np.arange(0, min(reach(law), 1 << 16)))
    likeliest = float(around[0])
    # P(two windows agree) = (sum of squares)**w apart; overlapping ones agree with less than likeliest**w.
    agree = min(1.0, float(2 * (around**2).sum() - likeliest**2)) if reach(law) <= 1 << 16 else likeliest
    length = 1 + max(
        math.ceil(math.log(level / (n * n)) / math.log(max(agree, 1e-12))) if agree < 1 else n,
        math.ceil(math.log(level / (n * 1024)) / math.log(max(likeliest, 1e-12))) if likeliest < 1 else n,
    )
    if length > _LONGEST_RUN:  # noise that is almost always 0 repeats by nature
        return Finding("repetition (not applicable)", 0.0, 0.0)
    factor = np.uint64(random_bits(64, random=random) | 1)
    spread = x.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    spread ^= spread >> np.uint64(29)
    hashes = np.zeros(n - length + 1, dtype=np.uint64)
    for offset in range(length):
        hashes = hashes * factor + spread[offset : offset + hashes.size]
    order = np.argsort(hashes)
    twice = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    # A hash may agree by chance: only runs that truly agree count.
    pairs = zip(order[twice].tolist(), order[twice + 1].tolist(), strict=True)
    repeated = sum(np.array_equal(x[i : i + length], x[j : j + length]) for i, j in pairs)
    return Finding(f"repeated runs of {length}", float(repeated), 0.0)


def chi_squared_tail(x: float, degrees: int) -> float:
    """Return P(chi-squared > x), from the finite sums for even and odd degrees of freedom; exact to rounding."""
    half = x / 2
    if degrees % 2 == 0:
        terms = [k * math.log(half) - math.lgamma(k + 1) - half for k in range(degrees // 2)]
        return min(1.0, math.fsum(math.exp(t) for t in terms))
    terms = [(k + 0.5) * math.log(half) - math.lgamma(k + 1.5) - half for k in range(degrees // 2)]
    return min(1.0, math.erfc(math.sqrt(half)) + math.fsum(math.exp(t) for t in terms))


def chi_squared_quantile(level: float, degrees: int) -> float:
    """Return the x with P(chi-squared > x) = level, by bisection, from above."""
    low, high = 1e-9, 2.0 * degrees + 10
    while chi_squared_tail(high, degrees) > level:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        if chi_squared_tail(middle, degrees) > level:
            low = middle
        else:
            high = middle
    return high


def kolmogorov_log_tail(x: float, n: int) -> float:
    """Return log(2 P(D+ > x)) for the one-sided Kolmogorov-Smirnov distance D+ of n samples (Birnbaum, Tingey 1951).

    An upper bound on P(D > x), too high by about P(D > x)**4 / 8: exact to rounding in the tail.
    """
    j = np.arange(n, dtype=np.float64)
    at = x + j / n
    j, at = j[at < 1], at[at < 1]
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1.0, n + 1)))))
    choose = log_factorial[n] - log_factorial[: j.size] - log_factorial[n : n - j.size : -1]
    terms = choose + (j - 1) * np.log(at) + (n - j) * np.log1p(-at)
    top = float(terms.max())
    return math.log(2 * x) + top + math.log(float(np.exp(terms - top).sum()))


@lru_cache(maxsize=64)
def kolmogorov_quantile(level: float, n: int) -> float:
    """Return the x with P(D > x) = level for the distance D of n samples: exact up to 2**20, Massart's bound beyond."""
    x = math.sqrt(math.log(2 / level) / (2 * n))
    if n > _LARGEST_EXACT:
        return x
    target = math.log(level) - 1e-6  # on the safe side of the rounding of a million logarithms
    for _ in range(4):  # the tail is nearly exp(-2 n x**2): each step leaves less than a hundredth of the error
        x = math.sqrt(x * x + (kolmogorov_log_tail(x, n) - target) / (2 * n))
    return x
