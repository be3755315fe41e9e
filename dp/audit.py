"""An empirical lower bound on epsilon: run a mechanism on two adjacent inputs and see how well they can be told apart.

If a mechanism is (epsilon, delta)-DP, any event E has P(E | x) <= exp(epsilon) P(E | x') + delta. The audit finds an
event on half of the runs, bounds both probabilities on the other half by Clopper and Pearson (1934), and reports the
epsilon below which the mechanism certainly is not, with the stated confidence. It refutes; it never proves privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arrays import readable
from .errors import PrivacyParameterError
from .sensitivity import check_count, check_delta

Floats = npt.NDArray[np.float64]

_CANDIDATES = 200


@dataclass(frozen=True)
class AuditResult:
    """The mechanism is not (e, delta)-DP for any e < epsilon_lower, with probability `confidence`.

    threshold: the event was "output above it" (or below, if `above` is false). hits: how often it occurred on the
    first and on the second input, among `runs` each.
    """

    epsilon_lower: float
    confidence: float
    threshold: float
    above: bool
    hits: tuple[int, int]
    runs: int


def clopper_pearson(hits: int, runs: int, alpha: float) -> tuple[float, float]:
    """Return (lower, upper) bounds on a probability, each of which fails with probability at most alpha.

    Exact binomial tails, by bisection, rounded outwards. Source: Clopper, Pearson (1934).

    Raises:
        PrivacyParameterError: hits outside 0..runs, or alpha outside (0, 1).
    """
    check_count(runs, "runs")
    check_delta(alpha)
    if not 0 <= hits <= runs:
        raise PrivacyParameterError(f"hits = {hits} must lie between 0 and runs = {runs}")
    upper = 1.0 if hits == runs else 1.0 - _lower(runs - hits, runs, alpha)
    return (0.0 if hits == 0 else _lower(hits, runs, alpha)), upper


def _lower(hits: int, runs: int, alpha: float) -> float:
    """Return the largest p, rounded down, with P(Binomial(runs, p) >= hits) <= alpha."""
    k = np.arange(hits, runs + 1)
    choose = np.array([math.lgamma(runs + 1) - math.lgamma(j + 1) - math.lgamma(runs - j + 1) for j in k.tolist()])
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        if not 0 < p < 1:
            break
        tail = float(np.exp(choose + k * math.log(p) + (runs - k) * math.log1p(-p)).sum())
        low, high = (p, high) if tail <= alpha * (1 - 1e-9) else (low, p)
    return low


def epsilon_lower_bound(true_hits: int, false_hits: int, runs: int, alpha: float, delta: float = 0.0) -> float:
    """Return log((p - delta) / q) for the lower bound p and the upper bound q of two hit rates; never below 0.

    It holds with probability at least 1 - alpha: each of the bounds fails with probability alpha / 2.
    """
    delta = check_delta(delta, zero=True)
    p = clopper_pearson(true_hits, runs, alpha / 2)[0]
    q = clopper_pearson(false_hits, runs, alpha / 2)[1]
    return max(0.0, math.log((p - delta) / q)) if p > delta else 0.0


def audit_epsilon(
    on_first: Callable[[int], npt.ArrayLike],
    on_second: Callable[[int], npt.ArrayLike],
    *,
    runs: int = 20_000,
    delta: float = 0.0,
    confidence: float = 0.99,
) -> AuditResult:
    """Run a mechanism on two adjacent inputs and return a lower bound on its epsilon at delta.

    Args:
        on_first: takes n, returns n outputs of the mechanism on one input, as one number each (for vectors: a score
            such as the projection on the difference of the inputs).
        on_second: the same for the other input.
        runs: runs on each input, at least 100; half choose the event, half measure it.
        delta: the delta of the claim, in [0, 1).
        confidence: in (0, 1).

    Returns:
        AuditResult. A claim "(epsilon, delta)-DP" with epsilon < epsilon_lower is refuted.

    Raises:
        PrivacyParameterError: too few runs, or outputs that are no numbers, or not as many as asked for.
    """
    delta = check_delta(delta, zero=True)
    alpha = 1 - check_delta(confidence)
    if check_count(runs, "runs") < 100:
        raise PrivacyParameterError(f"runs = {runs} can show nothing; take at least 100, better 20,000")
    half = runs // 2
    first, second = _scores(on_first, 2 * half), _scores(on_second, 2 * half)
    threshold, above, swapped = _best_event(first[:half], second[:half], delta, alpha)
    measured = [
        int(np.count_nonzero(s[half:] > threshold if above else s[half:] <= threshold)) for s in (first, second)
    ]
    hits, misses = (measured[1], measured[0]) if swapped else (measured[0], measured[1])
    bound = epsilon_lower_bound(hits, misses, half, alpha, delta)
    return AuditResult(bound, confidence, threshold, above, (measured[0], measured[1]), half)


def _scores(mechanism: Callable[[int], npt.ArrayLike], runs: int) -> Floats:
    scores = readable(mechanism(runs)).astype(np.float64, copy=False)
    if scores.shape != (runs,) or np.isnan(scores).any():
        raise PrivacyParameterError(
            f"the mechanism returned shape {scores.shape}, not one number for each of {runs} runs"
        )
    return scores


def _best_event(first: Floats, second: Floats, delta: float, alpha: float) -> tuple[float, bool, bool]:
    """Return (threshold, above, swapped) with the best bound, roughly, on the runs set aside for choosing."""
    runs = first.size
    candidates = np.unique(np.quantile(np.concatenate((first, second)), np.linspace(0, 1, _CANDIDATES)))
    best, choice = -math.inf, (float(candidates[0]), True, False)
    margin = math.log(2 / alpha)
    for threshold in candidates.tolist():
        for above in (True, False):
            rates = [float(np.mean(s > threshold if above else s <= threshold)) for s in (first, second)]
            for swapped in (False, True):
                p, q = (rates[1], rates[0]) if swapped else (rates[0], rates[1])
                low = p - math.sqrt(2 * p * (1 - p) * margin / runs) - margin / runs - delta
                high = q + math.sqrt(2 * q * (1 - q) * margin / runs) + margin / runs
                value = math.log(low / high) if low > 0 else -math.inf
                if value > best:
                    best, choice = value, (threshold, above, swapped)
    return choice
