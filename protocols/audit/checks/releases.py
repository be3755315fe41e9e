"""Private sums end to end: counts and small vectors carry their noise, and signs of rotations are drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.laws import gaussian_law

from ...core.threat_model import Adversary, ThreatModel
from ...inputs.vectors import PrivateCounts, PrivateVector
from ...masking.config import RoundConfig
from ...masking.result import RoundResult
from ...simulation.masked import Simulation
from ..outcome import Check, Found, Trials, demand
from .draws import demand_law

_FALSE_ALARM = 1e-9
_CLIENTS = 12
_SIGMA = 2.0
_SCALE = 100.0
_STEPS = 4
_SMALL, _SIGNED = 8, 512

Int64s = npt.NDArray[np.int64]


def _summed(
    vectors: tuple[PrivateVector | PrivateCounts, ...], values: Callable[[str], dict[str, npt.NDArray[Any]]]
) -> RoundResult:
    """Run a round in which nobody drops out."""
    model = ThreatModel(_CLIENTS, 0.0, 0.2, Adversary.CURIOUS_SERVER)
    config = RoundConfig(model, vectors, min_survivors=_CLIENTS)
    return Simulation(config, values, threads=1).run().result


def _counts(trials: Trials) -> Found:
    """Sum histograms of many bins: what the sum is off by must be the noise of all clients together."""
    bins = max(2000, trials.samples // 100)
    (rng,) = trials.each(1)
    spec = PrivateCounts("counts", bins, 50, _STEPS, _SIGMA, 0)
    counted = [np.bincount(rng.integers(0, bins, 40), minlength=bins) for _ in range(_CLIENTS)]
    inputs = iter(counted)
    result = _summed((spec,), lambda name: {"counts": next(inputs)})
    plain = np.sum(counted, axis=0)
    noise = result.levels["counts"] - plain * _STEPS
    law = gaussian_law(_CLIENTS * Fraction(_SIGMA) ** 2)
    demand_law(noise, law, f"the noise of {_CLIENTS} clients' counts")
    given = result.sum("counts")
    expected = np.maximum(np.rint((plain * _STEPS + noise) / _STEPS), 0)
    demand(bool((given == expected).all()), "counts are not released to the nearest integer, from 0")
    exact = float((given == plain).mean())
    deviation = float(noise.std()) / (_SIGMA * math.sqrt(_CLIENTS))
    return Found(
        {"bins": bins, "deviation, of what was promised": round(deviation, 5), "counts that came out exact": exact}
    )


def _small(trials: Trials) -> Found:
    """Sum small vectors and counts in several rounds; the squares of their noise must add up to what they should."""
    rounds = max(6, trials.share(20))
    vectors = (
        PrivateVector("update", _SMALL, 1.0, _SCALE, _SIGMA),
        PrivateCounts("counts", _SMALL, 5, _STEPS, _SIGMA, 0),
    )
    squares = {"update": 0.0, "counts": 0.0}
    # Zeros are rounded to zero whatever the rotation: what comes out is the noise.
    zeros = {"update": np.zeros(_SMALL), "counts": np.zeros(_SMALL, dtype=np.int64)}
    for _ in trials.each(rounds):
        result = _summed(vectors, lambda name: zeros)
        for name in squares:
            squares[name] += float(np.sum(result.levels[name].astype(np.float64) ** 2))
    entries, variance = rounds * _SMALL, _CLIENTS * _SIGMA**2
    doubt = math.log(4 / _FALSE_ALARM)
    # Laurent, Massart (2000), lemma 1, which a discrete Gaussian of this width keeps as well.
    least = entries - 2 * math.sqrt(entries * doubt)
    most = entries + 2 * math.sqrt(entries * doubt) + 2 * doubt
    for name, total in squares.items():
        held = max(least, 1e-3 * entries) <= total / variance <= most
        demand(held, f"the noise of small sums of {name!r} has {total / variance / entries:.4g} times its variance")
    return Found(
        {"rounds": rounds}
        | {f"{name}: variance, of what was promised": round(t / variance / entries, 4) for name, t in squares.items()}
    )


def unrotated(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Undo the Walsh-Hadamard transform, by its definition: the sign of entry (i, j) is the parity of i AND j."""
    at = np.arange(levels.size, dtype=np.uint64)
    both = np.bitwise_and.outer(at, at)
    for shift in (16, 8, 4, 2, 1):
        both ^= both >> np.uint64(shift)
    matrix = 1.0 - 2.0 * (both & np.uint64(1)).astype(np.float64)
    return np.asarray(matrix @ levels / math.sqrt(levels.size))


def _rotation(trials: Trials) -> Found:
    """Let everyone send the same number in all entries: without the transform, what is left of the sum is the signs."""
    sessions = max(3, trials.share(50))
    vectors = tuple(PrivateVector(name, _SIGNED, 100.0, _SCALE, 0.5) for name in ("one", "other"))
    ones = {name: np.ones(_SIGNED) for name in ("one", "other")}
    signs: list[npt.NDArray[np.float64]] = []
    for _ in trials.each(sessions):
        result = _summed(vectors, lambda name: ones)
        for name in ones:
            entries = unrotated(result.levels[name].astype(np.float64)) / (_CLIENTS * _SCALE)
            demand(
                bool((np.abs(np.abs(entries) - 1) < 0.5).all()),
                f"the sum of {name!r}, without the transform, is not what was put in, with signs",
            )
            demand(bool((np.abs(result.sum(name) - _CLIENTS) < 1).all()), "what was rotated does not come back")
            signs.append(np.sign(entries))
    tests = len(signs) * (len(signs) + 1) // 2
    allowed = math.sqrt(2 * math.log(2 * tests / _FALSE_ALARM) * _SIGNED)  # Hoeffding's inequality
    for found in signs:
        demand(abs(found.sum()) <= allowed, f"signs of a rotation are not balanced: {found.sum():.0f} of {_SIGNED}")
    worst = 0.0
    for one, other in combinations(signs, 2):
        alike = abs(float(one @ other))
        demand(alike <= allowed, f"two rotations have signs that agree or oppose in {alike:.0f} of {_SIGNED} entries")
        worst = max(worst, alike)
    return Found(
        {"rotations": len(signs), "most that two agree": round(worst / _SIGNED, 4), "of": round(allowed / _SIGNED, 4)}
    )


CHECKS = (
    Check(
        "private",
        "counts",
        "a sum of private counts has the noise of all clients",
        _counts,
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check(
        "private",
        "small",
        "sums of small private vectors and counts have their noise, too",
        _small,
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check(
        "private",
        "rotation",
        "rotations have balanced signs, others in each session and for each vector",
        _rotation,
        _FALSE_ALARM,
        repeatable=False,
    ),
)
