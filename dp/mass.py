"""Mass and distribution functions of the laws in floats, for tests, plots and reports: never for drawing."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .laws import Law

Floats = npt.NDArray[np.float64]

_WIDEST_SUM = 1 << 14  # above, sums over the integers are integrals to 1e-10 (Euler-Maclaurin at half-integers)
_DEVIATIONS = {True: 12.0, False: 80.0}


def scale_of(law: Law) -> float:
    """Return sigma (Gaussian) or the scale (Laplace) as a float."""
    return math.sqrt(law.parameter) if law.curved else float(law.parameter)


def reach(law: Law) -> int:
    """Return a bound beyond which the law has less than 1e-30 of its mass."""
    return math.ceil(_DEVIATIONS[law.curved] * scale_of(law)) + 1


def mass(law: Law, x: npt.NDArray[np.int64]) -> Floats:
    """Return P(X = x), elementwise."""
    scale = scale_of(law)
    values = np.abs(np.asarray(x, dtype=np.float64))
    if not law.curved:
        return np.exp(-values / scale) * math.tanh(0.5 / scale)
    if scale > _WIDEST_SUM:
        normaliser = scale * math.sqrt(2 * math.pi)
    else:
        support = np.arange(1, reach(law), dtype=np.float64)
        normaliser = 1 + 2 * float(np.exp(-0.5 * (support / scale) ** 2).sum())
    return np.asarray(np.exp(-0.5 * (values / scale) ** 2) / normaliser)


def distribution(law: Law, x: npt.NDArray[np.int64]) -> Floats:
    """Return P(X <= x), elementwise, to 1e-10 or better."""
    points = np.asarray(x, dtype=np.int64)
    scale = scale_of(law)
    if not law.curved:
        below = np.exp(-np.abs(points + (points < 0)).astype(np.float64) / scale)
        ratio = math.exp(-1 / scale)
        tail = below * ratio / (1 + ratio)
        return np.asarray(np.where(points < 0, tail, 1 - tail))
    if scale > _WIDEST_SUM:
        return np.array([0.5 * math.erfc(-(v + 0.5) / (scale * math.sqrt(2))) for v in points.tolist()])
    far = reach(law)
    sums = np.cumsum(mass(law, np.arange(-far, far + 1)))
    return np.asarray(sums[np.clip(points + far, 0, 2 * far)] * (points >= -far))


def variance(law: Law) -> float:
    """Return the variance of the law (below sigma**2 for a narrow discrete Gaussian)."""
    scale = scale_of(law)
    if not law.curved:
        return 0.5 / math.sinh(0.5 / scale) ** 2
    if scale > _WIDEST_SUM:
        return scale**2
    support = np.arange(1, reach(law), dtype=np.int64)
    return 2 * math.fsum(mass(law, support) * support.astype(np.float64) ** 2)
