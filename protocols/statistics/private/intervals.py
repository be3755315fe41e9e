"""Intervals for what the pooled rows have, from totals whose noise is known: they say nothing of sampling.

Noise on totals is taken as Gaussian with known deviations. Then three cases:

- a total, or a sum of some: value +- Z deviations, exact.
- a ratio r of two totals t and b: |t - r b| <= Z (deviation of t - r b), all r that meet it (Fieller), exact whatever
  the noise. Where b is not told apart from 0, that is no interval, and r may be anything that a ratio can be.
- other functions: their derivatives times the deviations, and as much again as each total's curvature comes to over Z
  deviations. Where curvature is all of it, nothing is known: too noisy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_NUDGE = 1e-3
"""Derivatives are differences over so many deviations to either side."""


class Doubt(StrEnum):
    """What is wrong with a value."""

    TOO_NOISY = "too-noisy"
    """The noise leaves nothing: there is no value, and the interval is all that the statistic may be."""
    IMPOSSIBLE = "impossible"
    """Noise has made it what no data have, such as a variance below 0. It is shown all the same."""


@dataclass(frozen=True)
class Noisy:
    """A value with noise.

    Attributes:
        value: as it follows from the noisy totals; None where it is too noisy.
        low, high: hold the pooled rows' own value with a probability of `CONFIDENCE`, over the noise; infinite where
            nothing is known.
        doubt: what is wrong with the value; None for nothing.
    """

    value: float | None
    low: float
    high: float
    doubt: Doubt | None = None

    def moved(self, factor: float, shift: float = 0.0) -> Noisy:
        """Return it in another unit: times a factor above 0, then plus a shift."""
        value = None if self.value is None else self.value * factor + shift
        return Noisy(value, self.low * factor + shift, self.high * factor + shift, self.doubt)


def within(value: float | None, reach: float, least: float, most: float) -> Noisy:
    """Return value +- reach, cut to what is possible; without a value, all of that."""
    if value is None or not math.isfinite(value) or not math.isfinite(reach):
        return Noisy(None, least, most, Doubt.TOO_NOISY)
    low, high = (min(max(end, least), most) for end in (value - reach, value + reach))
    return Noisy(value, low, high, None if least <= value <= most else Doubt.IMPOSSIBLE)


def ratio(top: float, bottom: float, variances: tuple[float, float, float], least: float, most: float) -> Noisy:
    """Return top / bottom.

    Args:
        top: with noise.
        bottom: with noise.
        variances: of top's noise, of bottom's, and their covariance.
        least: what such a ratio may be.
        most: the same.
    """
    of_top, of_bottom, both = variances
    a = bottom**2 - Z**2 * of_bottom
    b = top * bottom - Z**2 * both
    c = top**2 - Z**2 * of_top
    if bottom <= 0 or a <= 0:
        return Noisy(None, least, most, Doubt.TOO_NOISY)
    middle, half = b / a, math.sqrt(max(0.0, b * b - a * c)) / a
    low, high = (min(max(end, least), most) for end in (middle - half, middle + half))
    value = top / bottom
    return Noisy(value, low, high, None if least <= value <= most else Doubt.IMPOSSIBLE)


def smooth(
    function: Callable[[Floats], Floats], totals: Floats, deviations: Floats
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Return a function of totals and how far its interval reaches; infinite where it is too noisy.

    Args:
        function: totals (k,) to values (m,); NaN where there is none.
        totals: with noise, (k,).
        deviations: of the noise, (k,).

    Returns:
        values (m,), reaches (m,).
    """
    values = function(totals)
    slopes, bends = np.zeros((2, len(values), len(totals)))
    for at, deviation in enumerate(deviations):
        step = np.zeros(len(totals))
        step[at] = deviation
        slopes[:, at] = (function(totals + _NUDGE * step) - function(totals - _NUDGE * step)) / (2 * _NUDGE)
        bends[:, at] = np.abs(function(totals + Z * step) + function(totals - Z * step) - 2 * values) / 2
    straight, bent = Z * np.sqrt((slopes**2).sum(axis=1)), bends.sum(axis=1)
    reaches = np.where(np.isfinite(values) & (bent <= straight), straight + bent, math.inf)
    return values, reaches
