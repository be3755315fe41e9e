"""Pearson's statistic is not quite chi-squared: how far its tail is off at the rates that audits use."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dp.goodness import _BINS, _LOWEST_EXPECTATION, chi_squared_quantile
from dp.laws import Law, gaussian_law, laplace_law
from dp.mass import distribution, variance

STEP, STEPS = 0.01, 1 << 16


def expectations(law: Law, samples: int) -> list[float]:
    """As `check_noise` has its bins."""
    width = max(1, round(6 * math.sqrt(variance(law)) / _BINS))
    half = width * (_BINS // 2) + width // 2
    edges = np.arange(-half - 1, half + width, width, dtype=np.int64)
    merged: list[float] = []
    for e in (np.diff(np.concatenate(([0.0], distribution(law, edges), [1.0]))) * samples).tolist():
        if merged and (merged[-1] < _LOWEST_EXPECTATION or e < _LOWEST_EXPECTATION):
            merged[-1] += e
        else:
            merged.append(e)
    return merged


def true_tail(expected: list[float], critical: float) -> float:
    """Return P(sum of (X - e)**2 / e > critical) for independent Poisson counts X, by convolution on a grid."""
    spectrum = np.ones(STEPS // 2 + 1, dtype=np.complex128)
    for e in expected:
        x = np.arange(max(0, int(e - 14 * math.sqrt(e) - 10)), int(e + 20 * math.sqrt(e) + 60), dtype=np.float64)
        chance = np.exp(x * math.log(e) - e - np.array([math.lgamma(each + 1) for each in x.tolist()]))
        at = (x - e) ** 2 / e / STEP
        low = np.floor(at).astype(np.int64)
        kept = low < STEPS - 1
        cells = np.bincount(low[kept], chance[kept] * (1 - (at - low)[kept]), STEPS)
        cells += np.bincount(low[kept] + 1, chance[kept] * (at - low)[kept], STEPS)
        spectrum *= np.fft.rfft(cells)
    return float(np.fft.irfft(spectrum, STEPS)[int(critical / STEP) + 1 :].sum())


@pytest.mark.parametrize("samples", [100_000, 1_000_000])
@pytest.mark.parametrize(
    "law", [gaussian_law(Fraction(1, 4)), gaussian_law(Fraction(1)), gaussian_law(Fraction(2500)), laplace_law(1)]
)
def test_pearsons_statistic_exceeds_its_quantile_at_most_twice_as_often(law: Law, samples: int) -> None:
    expected, level = expectations(law, samples), 1e-9 / 5
    tail = true_tail(expected, chi_squared_quantile(level, len(expected)))
    assert 0.5 * level < tail < 2 * level


def test_bytes_are_as_near() -> None:
    for samples, level in ((100_000, 1e-9), (30_000, 5e-11)):
        assert true_tail([samples / 256] * 256, chi_squared_quantile(level, 256)) < 1.5 * level
