"""Compares noise with the law that it claims. A control: noise that is slightly wrong must be rejected."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from dp import samplers
from dp.distributed import NoiseShare
from dp.goodness import check_noise
from dp.laws import Law, gaussian_law, laplace_law
from dp.mass import distribution, variance
from dp.randomness import RandomBytes

from ..outcome import Check, Found, Histogram, Refuted, Trials, demand

Int64s = npt.NDArray[np.int64]

_FALSE_ALARM = 1e-9
_BINS = 41
_CLIENTS = 20
_CONTROL = 400_000
"""With so many samples, each kind of wrong noise is more than nine standard deviations beyond what passes."""


def draw_discrete(kind: str, parameter: float, size: int, *, random: RandomBytes = os.urandom) -> Int64s:
    """Draw noise of the library's: "gaussian" of a sigma, or "laplace" of a scale."""
    drawn: Int64s = getattr(samplers, f"discrete_{kind}")(parameter, size, random=random)
    return drawn


def law_of(kind: str, parameter: float) -> Law:
    """Return the law that such noise must have."""
    return gaussian_law(Fraction(parameter) ** 2) if kind == "gaussian" else laplace_law(Fraction(parameter))


def _noise(draw: Callable[[int], Int64s], law: Law, title: str, trials: Trials) -> Found:
    (_,) = trials.each(1)
    values = draw(trials.samples)
    verdict = check_noise(values, law, false_alarm=_FALSE_ALARM)
    figures = {
        f"{finding.name}, of critical": round(finding.statistic / finding.critical, 4) if finding.critical else 0.0
        for finding in verdict.findings
    }
    plots = (histogram(values, law, title),)
    for finding in verdict.findings:
        demand(
            finding.passed,
            f"{title} fails {finding.name}: {finding.statistic:.6g} where {finding.critical:.6g} is critical",
            plots,
            **figures,
        )
    deviation = float(values.std()) / math.sqrt(variance(law))
    measured: dict[str, int | float | str] = {"samples": values.size, "deviation, of the law's": round(deviation, 5)}
    return Found(measured | figures, plots)


def histogram(values: Int64s, law: Law, title: str) -> Histogram:
    """Count values in bins over four deviations to each side, and what the law expects there."""
    width = max(1, math.ceil(8 * math.sqrt(variance(law)) / _BINS))
    half = max(2, min(_BINS // 2, math.ceil(4 * math.sqrt(variance(law)) / width)))
    edges = (np.arange(2 * half + 2, dtype=np.int64) - half) * width - width // 2 - 1  # bins are (edge, next edge]
    counts = np.diff(np.searchsorted(np.sort(values), edges, side="right"))
    expected = np.diff(distribution(law, edges)) * values.size
    middles = (edges[:-1] + 1 + edges[1:]) / 2
    return Histogram(title, middles, counts.astype(np.float64), expected)


def _summed(sigma: float, trials: Trials) -> Found:
    """The noise of a private round: what its clients' shares come to. Sums of such discrete Gaussians are one again."""
    share = NoiseShare(sigma, trials.samples, 1.0, 1.0)

    def draw(samples: int) -> Int64s:
        total = np.zeros(share.dimension, dtype=np.int64)
        for _ in range(_CLIENTS):
            total += share.draw()
        return total

    law = gaussian_law(_CLIENTS * Fraction(sigma) ** 2)
    return _noise(draw, law, f"sum of {_CLIENTS} clients' shares of sigma {sigma:g}", trials)


def _wrong(rng: np.random.Generator, size: int) -> dict[str, tuple[Int64s, Law]]:
    """Noise as it is when something is slightly wrong with it, and the law that it pretends to have."""
    law = gaussian_law(Fraction(100))
    draw = partial(samplers.discrete_gaussian, size=size, random=rng.bytes)
    right = draw(10)
    repeated = right.copy()
    repeated[size // 2 :] = repeated[: size - size // 2]
    return {
        "a twentieth too narrow": (draw(9.5), law),
        "a twentieth too wide": (draw(10.5), law),
        "moved by half a step": (right + (rng.random(size) < 0.5), law),
        "never zero": (np.where(right == 0, 1, right), law),
        "Laplace instead of Gaussian": (samplers.discrete_laplace(7, size, random=rng.bytes), law),
        "the same twice": (repeated, law),
        "cut at two and a half sigma": (np.clip(draw(10), -25, 25), law),
    }


def _control(trials: Trials) -> Found:
    (rng,) = trials.each(1)
    samples = max(trials.samples, _CONTROL)
    cases = _wrong(rng, samples)
    for what, (values, law) in cases.items():
        if check_noise(values, law, false_alarm=_FALSE_ALARM, random=rng.bytes).passed:
            raise Refuted(f"noise that is {what} passes the check: it shows nothing of other noise")
    return Found({"samples": samples, "kinds of wrong noise rejected": len(cases)})


_GAUSSIANS = (0.5, 1.0, 3.7306, 50.0, 1e6)
_LAPLACES = (1.0, 20.0)


def _check(kind: str, name: str, parameter: float) -> Check:
    title = f"discrete {kind.capitalize()}, {name} {parameter:g}"
    run = partial(_noise, partial(draw_discrete, kind, parameter), law_of(kind, parameter), title)
    claim = f"discrete {kind.capitalize()} noise of {name} {parameter:g} has its law"
    return Check("noise", f"{kind}-{parameter:g}", claim, run, _FALSE_ALARM, repeatable=False)


CHECKS = (
    *(_check("gaussian", "sigma", sigma) for sigma in _GAUSSIANS),
    *(_check("laplace", "scale", scale) for scale in _LAPLACES),
    Check(
        "noise",
        "shares",
        f"the shares of {_CLIENTS} clients sum to discrete Gaussian noise of their joint variance",
        partial(_summed, 3.0),
        _FALSE_ALARM,
        repeatable=False,
    ),
    Check("noise", "control", "noise that is slightly wrong is rejected", _control),
)
