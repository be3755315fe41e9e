"""Noise of few values, noise of one client, and stochastic rounding.

Noise of up to 32 values may come from a sampler of its own: from it come all that few where no compiled loops are
loaded, and where the source is another than the system's own. So these checks draw a few values at a time, half of them
from such a source. The noise of a single client is compared with the variance of its law; the report has the least
deviation that would be noticed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from dp import clipping
from dp.distributed import NoiseShare
from dp.goodness import check_noise
from dp.laws import Law
from secagg.encoding import FixedPoint

from ...inputs.noisy_counts import NoisyCounts
from ...inputs.noisy_floats import NoisyFloats
from ...inputs.vectors import PrivateCounts, PrivateVector
from ..outcome import Check, Figure, Found, Trials, demand
from .noise import draw_discrete, law_of

_FALSE_ALARM = 1e-9
_MOST_AT_ONCE = 32
_SIGMA, _SCALE = 3.0, 5.0
_LENGTH = 8
_ENCODINGS = 128
_LOCAL_SIGMAS = (0.5, 0.8, 2.0, 20.0, 1000.0)
_FRACTIONS = (0.01, 0.1, 0.25, 0.5, 0.9, 0.99)
_BASES = (0, -3, 1000)

Int64s = npt.NDArray[np.int64]


def demand_law(values: Int64s, law: Law, what: str, level: float = _FALSE_ALARM) -> None:
    """Raise Refuted unless noise passes every test against its law."""
    for finding in check_noise(values, law, false_alarm=level).findings:
        demand(
            finding.passed,
            f"{what} fails {finding.name}: {finding.statistic:.6g} where {finding.critical:.6g} is critical",
        )


def _system_bytes(count: int) -> bytes:
    return os.urandom(count)


def _few(draw: Callable[..., Int64s], law: Law, what: str, trials: Trials) -> Found:
    count, drawn = max(3000, trials.samples // 64), 0
    pieces = []
    for at, _ in enumerate(trials.each(math.ceil(2 * count / (_MOST_AT_ONCE + 1)))):
        size = at % _MOST_AT_ONCE + 1
        plain = (at // _MOST_AT_ONCE) % 2
        piece = draw(size, random=_system_bytes if plain else os.urandom)
        demand(piece.size == size, f"{piece.size} values were drawn where {size} were asked for")
        pieces.append(piece)
        drawn += size
    demand_law(np.concatenate(pieces), law, f"{what}, drawn a few at a time,")
    return Found({"samples": drawn, "draws": len(pieces), "most at once": _MOST_AT_ONCE})


def _few_encoded(trials: Trials) -> Found:
    """Encode small vectors of zeros as a client does: what comes out is the noise."""
    codecs: dict[str, NoisyFloats | NoisyCounts] = {
        "private vectors": NoisyFloats(PrivateVector("update", _LENGTH, 1.0, 100.0, _SIGMA), 10),
        "private counts": NoisyCounts(PrivateCounts("counts", _LENGTH, 1, 100, _SIGMA), 10),
    }
    inputs = {"private vectors": np.zeros(_LENGTH), "private counts": np.zeros(_LENGTH, dtype=np.int64)}
    encoded: dict[str, list[Int64s]] = {what: [] for what in codecs}
    for rng in trials.each(_ENCODINGS):
        for what, codec in codecs.items():
            residues = codec.encode(inputs[what], session_id=rng.bytes(32)).residues.astype(np.int64)
            half = 1 << (codec.modulus_bits - 1)
            encoded[what].append((residues + half) % (2 * half) - half)
    for what, vectors in encoded.items():
        noise = np.concatenate(vectors)
        demand_law(noise, law_of("gaussian", _SIGMA), f"the noise of small {what}", _FALSE_ALARM / 2)
    return Found({"vectors of each kind": _ENCODINGS, "entries": _LENGTH})


def moments(sigma: float) -> tuple[float, float]:
    """Return variance and kurtosis of the discrete Gaussian, by summing its weights: other code than the library's."""
    far = math.ceil(14 * sigma) + 1
    at = np.arange(-far, far + 1, dtype=np.float64)
    weight = np.exp(-0.5 * (at / sigma) ** 2)
    weight /= weight.sum()
    variance = float((weight * at**2).sum())
    return variance, float((weight * at**4).sum()) / variance**2


def _client_noise(trials: Trials) -> Found:
    """Hold the noise of one client against its variance, at several sigmas.

    The mean of 100,000 squares is normal enough for a tail of 10^-9 / 10 to be below 10^-9 (its skewness raises the
    tail by less than a half there): so the test is at a tenth of the stated rate.
    """
    normal = NormalDist()
    critical = normal.inv_cdf(1 - _FALSE_ALARM / (20 * len(_LOCAL_SIGMAS)))
    surely = normal.inv_cdf(0.999)
    figures: dict[str, Figure] = {"samples of each": trials.samples}
    worst = 0.0
    for sigma, _ in zip(_LOCAL_SIGMAS, trials.each(len(_LOCAL_SIGMAS)), strict=False):
        drawn = NoiseShare(sigma, trials.samples, 1.0, 1.0).draw().astype(np.float64)
        variance, kurtosis = moments(sigma)
        error = math.sqrt((kurtosis - 1) / trials.samples)  # of the ratio below
        ratio = float(np.dot(drawn, drawn)) / trials.samples / variance
        demand(
            abs(ratio - 1) <= critical * error,
            f"a client's noise of sigma {sigma:g} has {ratio:.4f} times its variance, {(ratio - 1) / error:.1f} "
            f"standard errors off where {critical:.1f} are critical",
            ratio=ratio,
        )
        figures[f"sigma {sigma:g}: deviation, of the law's"] = round(math.sqrt(ratio), 5)
        worst = max(worst, 1 - math.sqrt(1 - (critical + surely) * error))
    figures["least deviation that would be noticed"] = f"{worst:.2%}"
    return Found(figures)


def _rounding(trials: Trials) -> Found:
    """Round many equal values: how many go up is binomial, and Chernoff's bound needs no approximation."""
    count = max(200_000, trials.samples // 5)
    codec = FixedPoint(1.0, 16, 3)

    def plain(values: npt.NDArray[np.float64]) -> Int64s:
        return codec.decode_levels(codec.encode(values / codec.scale).residues, num_summands=1)

    ways: dict[str, Callable[[npt.NDArray[np.float64]], Int64s]] = {
        "plain vectors": plain,
        "private vectors": clipping.randomised_round,
    }
    bound = math.log(2 * len(ways) * len(_FRACTIONS) / _FALSE_ALARM)
    worst = 0.0
    for fraction, _ in zip(_FRACTIONS, trials.each(len(_FRACTIONS)), strict=False):
        bases = np.resize(np.array(_BASES), count)
        for what, rounded in ways.items():
            up = rounded(bases + fraction) - bases
            demand(bool(((up == 0) | (up == 1)).all()), f"roundings of {what} are off by more than a step")
            rate = float(up.mean())
            demand(
                count * _divergence(rate, fraction) <= bound,
                f"{rate:.5f} of {count} roundings of {what} went up where {fraction} should",
                rate=rate,
            )
            worst = max(worst, abs(rate - fraction))
    noticed = max(_noticed(fraction, bound / count) for fraction in _FRACTIONS)
    return Found(
        {
            "roundings of each": count,
            "fractions": len(_FRACTIONS),
            "largest bias measured, in steps": round(worst, 5),
            "least bias that would be noticed at every fraction, in steps": round(noticed, 5),
        }
    )


def _divergence(rate: float, chance: float) -> float:
    """Return the Kullback-Leibler divergence between two coins."""
    return sum(a * math.log(a / b) for a, b in ((rate, chance), (1 - rate, 1 - chance)) if a > 0)


def _noticed(chance: float, most: float) -> float:
    """Return the bias beyond which the divergence exceeds `most`, to either side."""

    def reach(way: int) -> float:
        low, high = 0.0, min(chance, 1 - chance)
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if _divergence(chance + way * middle, chance) <= most else (low, middle)
        return high

    return max(reach(1), reach(-1))


def _few_check(kind: str, name: str, parameter: float) -> Check:
    noise = f"discrete {kind.capitalize()} noise"
    run = partial(
        _few, partial(draw_discrete, kind, parameter), law_of(kind, parameter), f"{noise} of {name} {parameter:g}"
    )
    return Check(
        "noise",
        f"few-{kind}",
        f"{noise} that is drawn a few values at a time has its law",
        run,
        _FALSE_ALARM,
        repeatable=False,
    )


CHECKS = (
    _few_check("gaussian", "sigma", _SIGMA),
    _few_check("laplace", "scale", _SCALE),
    Check(
        "noise",
        "few-encoded",
        "small private vectors and counts are encoded with their noise",
        _few_encoded,
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check(
        "noise",
        "client",
        "what a single client adds has the variance of its law",
        _client_noise,
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check("noise", "rounding", "rounding at random is right on average", _rounding, _FALSE_ALARM, repeatable=False),
)
