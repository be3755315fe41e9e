"""Release a value with noise, and say exactly what was released.

Integers get integer noise. Floats are rounded to a grid of a power of two first, get integer noise in units of the
grid, and come back as exact multiples of it: no raw float is ever drawn, so nothing leaks through the low bits
(Mironov 2012; Haney et al. 2022). The rounding's effect on the sensitivity is counted in: d coordinates move by up
to d grid steps more in L1, sqrt(d) in L2.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .arrays import finite, readable
from .calibration import discrete_gaussian_sigma, gaussian_sigma, laplace_scale
from .errors import PrivacyParameterError
from .events import DiscreteGaussianEvent, DiscreteLaplaceEvent, Event
from .randomness import RandomBytes
from .rational import Real, floor_log2, number, positive, power_of_two
from .samplers import MAX_SCALE, MIN_SCALE, discrete_gaussian, discrete_laplace
from .sensitivity import Norm, Sensitivity, float_above, round_up

T = TypeVar("T")
Array = npt.NDArray[np.int64] | npt.NDArray[np.float64]

_FINENESS = 20  # grid steps per sensitivity and root of the dimension, as a power of two
_EXACT_FLOAT = 1 << 53
_EXACT_INT = 1 << 62
_DEVIATIONS = 64  # noise is smaller than so many scales, but with probability below 1e-27


@dataclass(frozen=True)
class Release(Generic[T]):
    """A noisy value and the event to account for.

    granularity: the grid of a float release (a power of two), 1 for integers. scale: noise parameter (sigma, or the
    Laplace scale) in the units of the value.
    """

    value: T
    event: Event
    scale: float
    granularity: float


def gaussian(
    values: npt.ArrayLike,
    sensitivity: Sensitivity,
    *,
    sigma: Real | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    granularity: float | None = None,
    random: RandomBytes = os.urandom,
) -> Release[npt.NDArray[np.float64]]:
    """Add Gaussian noise to floats, as discrete Gaussian noise on a fine grid; run by whoever holds the raw value.

    Give sigma, or (epsilon, delta) to have it calibrated to the grid's own sensitivity.

    Args:
        values: finite floats of any shape, at least one.
        sensitivity: in any norm; turned into an L2 bound for as many entries as `values` has.
        sigma: in the units of the values.
        epsilon: the goal of this release alone.
        delta: the goal of this release alone, in (0, 1).
        granularity: the grid, a power of two; by default so fine that rounding raises the sensitivity by less than a
            millionth.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Returns:
        Release: float64 of the same shape, exact multiples of the granularity; DiscreteGaussianEvent.

    Raises:
        PrivacyParameterError: NaN or infinite values, an empty array, sigma too small or too large for the grid, values
            beyond 2**53 grid steps, or not exactly one of sigma and (epsilon, delta). No noise is drawn then.
    """
    floats = finite(values)
    d = floats.size
    bound = sensitivity.bound(Norm.L2, d)
    grid = _grid(granularity, bound / math.sqrt(d))
    steps = round_up(float_above(Fraction(bound) / grid) + math.sqrt(d))
    if _explicit(sigma, epsilon, delta):
        in_steps = positive(_given(sigma), "sigma") / grid
    else:
        in_steps = Fraction(discrete_gaussian_sigma(_given(epsilon), _given(delta), max(1.0, steps), d))
    event = DiscreteGaussianEvent(in_steps, steps, d, sensitivity.adjacency)  # type: ignore[arg-type]
    return _on_grid(floats, grid, in_steps, event, random)


def laplace(
    values: npt.ArrayLike,
    sensitivity: Sensitivity,
    *,
    scale: Real | None = None,
    epsilon: float | None = None,
    granularity: float | None = None,
    random: RandomBytes = os.urandom,
) -> Release[npt.NDArray[np.float64]]:
    """Add Laplace noise to floats, as discrete Laplace noise on a fine grid; pure epsilon-DP.

    As `gaussian`, with scale = (L1 sensitivity) / epsilon. The event's epsilon is exact for the grid.
    """
    floats = finite(values)
    d = floats.size
    bound = sensitivity.bound(Norm.L1, d)
    grid = _grid(granularity, bound / d)
    steps = math.floor(Fraction(bound) / grid) + d
    if _explicit(scale, epsilon, None):
        in_steps = positive(_given(scale), "scale") / grid
    else:
        # Which the event states exactly.
        in_steps = Fraction(number(steps / positive(_given(epsilon), "epsilon"), "the scale in grid steps", math.inf))
    event = DiscreteLaplaceEvent(in_steps, steps, d, sensitivity.adjacency)  # type: ignore[arg-type]
    return _on_grid(floats, grid, in_steps, event, random)


def discrete_gaussian_mechanism(
    values: npt.ArrayLike,
    sensitivity: Sensitivity,
    *,
    sigma: Real | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    random: RandomBytes = os.urandom,
) -> Release[npt.NDArray[np.int64]]:
    """Add discrete Gaussian noise to integers (Canonne, Kamath, Steinke 2020).

    As `gaussian`, for integers of magnitude below 2**62; the noise is exact and nothing is rounded.
    """
    integers = _integers(values)
    d = integers.size
    bound = sensitivity.bound(Norm.L2, d)
    if _explicit(sigma, epsilon, delta):
        chosen = positive(_given(sigma), "sigma")
    else:
        chosen = Fraction(discrete_gaussian_sigma(_given(epsilon), _given(delta), bound, d))
    event = DiscreteGaussianEvent(chosen, bound, d, sensitivity.adjacency)  # type: ignore[arg-type]
    _check_room(integers, chosen, _EXACT_INT)
    noise = discrete_gaussian(_in_range(chosen), integers.shape, random=random)
    return Release(integers + noise, event, float(chosen), 1.0)


def discrete_laplace_mechanism(
    values: npt.ArrayLike,
    sensitivity: Sensitivity,
    *,
    scale: Real | None = None,
    epsilon: float | None = None,
    random: RandomBytes = os.urandom,
) -> Release[npt.NDArray[np.int64]]:
    """Add discrete Laplace (two-sided geometric) noise to integers: pure (L1 sensitivity / scale)-DP, exactly."""
    integers = _integers(values)
    bound = sensitivity.bound(Norm.L1, integers.size)
    chosen = (
        positive(_given(scale), "scale") if _explicit(scale, epsilon, None) else _laplace(epsilon, bound, sensitivity)
    )
    event = DiscreteLaplaceEvent(chosen, math.ceil(bound), integers.size, sensitivity.adjacency)  # type: ignore[arg-type]
    _check_room(integers, chosen, _EXACT_INT)
    noise = discrete_laplace(_in_range(chosen), integers.shape, random=random)
    return Release(integers + noise, event, float(chosen), 1.0)


geometric_mechanism = discrete_laplace_mechanism
"""The geometric mechanism is the discrete Laplace mechanism under its older name (Ghosh et al. 2009)."""


def histogram(
    counts: npt.ArrayLike,
    sensitivity: Sensitivity,
    epsilon: float,
    delta: float = 0.0,
    *,
    random: RandomBytes = os.urandom,
) -> Release[npt.NDArray[np.int64]]:
    """Release a histogram of integer counts: discrete Laplace for delta = 0, discrete Gaussian otherwise.

    State the sensitivity yourself: a record that falls in one bin moves the counts by 1 in every norm when it is
    added or removed, by 2 in L1 and sqrt(2) in L2 when it is replaced. The bins must be fixed beforehand; bins that
    come from the data leak which values occur.
    """
    if delta == 0:
        return discrete_laplace_mechanism(counts, sensitivity, epsilon=epsilon, random=random)
    return discrete_gaussian_mechanism(counts, sensitivity, epsilon=epsilon, delta=delta, random=random)


def _laplace(epsilon: float | None, bound: float, sensitivity: Sensitivity) -> Fraction:
    scale = laplace_scale(_given(epsilon), Sensitivity(math.ceil(bound), Norm.L1, sensitivity.adjacency))
    return Fraction(number(scale, "the scale", math.inf))


def _explicit(noise: object, epsilon: object, delta: object) -> bool:
    """Tell whether the noise itself is given; raise unless exactly one of noise and goal is."""
    if (noise is None) == (epsilon is None) or (noise is not None and delta is not None):
        raise PrivacyParameterError(
            "give either the noise (sigma or scale) or the goal (epsilon, and delta for Gaussian noise)"
        )
    return noise is not None


def _given(value: T | None) -> T:
    if value is None:
        raise PrivacyParameterError("Gaussian noise needs delta beside epsilon; for delta = 0 use Laplace noise")
    return value


def _integers(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = readable(values)
    if array.size == 0:
        raise PrivacyParameterError("an empty array has nothing to release; skip it")
    if array.dtype.kind not in "iu":
        raise PrivacyParameterError(f"integers expected, got {array.dtype}; use `gaussian` or `laplace` for floats")
    if array.dtype.kind == "u" and array.max() > np.iinfo(np.int64).max:
        raise PrivacyParameterError(f"the value {array.max()} exceeds a signed 64-bit integer; reduce the values first")
    return array.astype(np.int64)


def _grid(granularity: float | None, per_coordinate: float) -> Fraction:
    """Return the grid as a power of two, by default 2**-20 of what a coordinate contributes to the sensitivity."""
    if granularity is None:
        return power_of_two(floor_log2(Fraction(per_coordinate)) - _FINENESS)
    grid = positive(number(granularity, "granularity"), "granularity")
    if grid != power_of_two(floor_log2(grid)):
        raise PrivacyParameterError(
            f"granularity = {granularity} must be a power of two; {float(power_of_two(floor_log2(grid)))} is near"
        )
    return grid


def _in_range(scale: Fraction) -> Fraction:
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise PrivacyParameterError(
            f"the noise is {float(scale):.4g} grid steps wide, outside [{float(MIN_SCALE)}, 2**50]; "
            "choose a finer grid (or scale integers up) if too small, a coarser one if too large"
        )
    return scale


def _check_room(steps: Array, scale: Fraction, limit: int) -> None:
    largest = max(abs(int(steps.min())), abs(int(steps.max())))
    if largest + math.ceil(_DEVIATIONS * scale) >= limit:
        raise PrivacyParameterError(
            f"values of up to {largest} grid steps with noise of {float(scale):.4g} do not fit below {limit}; "
            "choose a coarser granularity or smaller values"
        )


def _on_grid(
    floats: npt.NDArray[np.float64],
    grid: Fraction,
    in_steps: Fraction,
    event: DiscreteGaussianEvent | DiscreteLaplaceEvent,
    random: RandomBytes,
) -> Release[npt.NDArray[np.float64]]:
    width = float(grid)
    if width == 0 or not math.isfinite(1 / width):
        raise PrivacyParameterError(
            f"a grid of 2**{floor_log2(grid)} is beyond floats; state the sensitivity in a larger unit"
        )
    with np.errstate(over="ignore"):
        rounded = np.rint(floats / width)  # exact: the grid is a power of two
    if not np.isfinite(rounded).all():
        raise PrivacyParameterError(
            f"values up to {np.abs(floats).max():.3g} are beyond the grid of {width:.3g}; choose a coarser granularity"
        )
    _check_room(rounded, in_steps, _EXACT_FLOAT)
    scale = _in_range(in_steps)
    draw = discrete_gaussian if isinstance(event, DiscreteGaussianEvent) else discrete_laplace
    noisy = rounded.astype(np.int64) + draw(scale, floats.shape, random=random)
    return Release(noisy.astype(np.float64) * width, event, float(in_steps * grid), width)


__all__ = [
    "Release",
    "discrete_gaussian_mechanism",
    "discrete_laplace_mechanism",
    "gaussian",
    "gaussian_sigma",
    "geometric_mechanism",
    "histogram",
    "laplace",
]
