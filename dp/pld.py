"""Privacy loss distributions of our events, on dp_accounting: tight composition, rounded towards more privacy.

Every distribution is discretised with "connect the dots" (Doroshenko et al. 2022), which never understates a loss.
Composition convolves by Fourier transforms; their rounding is covered by adding FOURIER_ERROR to each delta, and
2**-52 for each repetition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .discrete import discrete_gaussian_deltas, discrete_laplace_deltas
from .errors import PrivacyParameterError
from .events import (
    ApproximateEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    SummedDiscreteGaussianEvent,
    adjacency_of,
    flatten,
    holds_sums,
)
from .laws import gaussian_law, laplace_law
from .nearness import ideal, merged
from .optional import accounting_library
from .rational import exact, number
from .sampled import gaussian_distribution, moved_gaussian_distribution, replaced_gaussian_distribution
from .sensitivity import Adjacency

Floats = npt.NDArray[np.float64]

INTERVAL = 1e-4
FOURIER_ERROR = 1e-12
SINGLE_ERROR = 1e-15
"""More than the rounding of a distribution that was not composed."""
MAX_POINTS = 1 << 18
"""Points of a grid, at most: a wider range of losses gets a coarser grid."""
_LARGEST_LOSS = 500.0  # of one release: exponentials beyond are no floats
WIDEST = _LARGEST_LOSS
"""The widest grid."""
_FINEST = 1e-100
_TAIL = 1e-15
_ROUNDING = 2.0**-52  # more than what a Fourier transform's rounding grows by with each repetition
_WIDEST_EXACT = 4096.0  # discrete Gaussians up to this sigma are tabled by themselves


class NoDistributionError(PrivacyParameterError):
    """A part of the event has no privacy loss distribution here; RDP may have a bound."""


class _TooFineError(Exception):
    """The grid would have too many points; it must be so many times coarser."""

    def __init__(self, points: float) -> None:
        super().__init__(points)
        self.times = 2.0 ** math.ceil(math.log2(points / MAX_POINTS))


def check_interval(interval: float) -> float:
    """Return a grid of losses as a float; raise PrivacyParameterError where no distribution could be on it."""
    value = number(interval, "interval")
    if not _FINEST <= value <= WIDEST:
        raise PrivacyParameterError(f"interval = {value:g} must lie between {_FINEST:g} and {WIDEST:g}; 1e-4 is usual")
    return value


def loss_distribution(event: Event, interval: float = INTERVAL) -> tuple[Any, int]:
    """Return (dp_accounting's PrivacyLossDistribution, number of convolutions), on a grid of `MAX_POINTS` at most.

    Where the losses range further than that allows, the grid is coarser, which overstates them by more.

    Raises:
        NoDistributionError: a part that has none: sums of few clients, Skellam, zCDP, fixed-size samples, losses
            beyond 500 in one release, or so many releases that steps of a grid would be wider than that.
    """
    parts = [(_part(part, count), count) for part, count in flatten(event)]
    reach = max((part.reach for part, _ in parts), default=0.0)
    if reach > _LARGEST_LOSS:
        raise NoDistributionError(
            f"one release has losses of up to epsilon = {reach:.4g}, beyond the {_LARGEST_LOSS:g} that a loss "
            "distribution holds; add noise, or use method='rdp'"
        )
    if 2 * reach / interval > MAX_POINTS:
        interval *= _TooFineError(2 * reach / interval).times
    while True:
        try:
            return _composed(parts, interval)
        except _TooFineError as error:
            interval *= error.times
        if interval > _LARGEST_LOSS:
            raise NoDistributionError("so many releases have losses beyond every grid; use method='rdp'")


@dataclass(frozen=True)
class _Part:
    """How to build a distribution on a grid, how far its losses reach, whether it stands for all repetitions."""

    build: Callable[[float], Any]
    reach: float
    closed: bool = False


def _composed(parts: list[tuple[_Part, int]], interval: float) -> tuple[Any, int]:
    total: Any = None
    convolutions = 0
    for part, count in parts:
        one = part.build(interval)
        if not part.closed and count > 1:
            one = _repeated(one, count)
            convolutions += 1
        if total is None:
            total = one
        else:
            _check_size(sum(pld._pmf_remove.to_dense_pmf().size for pld in (one, total)))
            total = total.compose(one)
            convolutions += 1
    if total is None:
        total = accounting_library().pld.privacy_loss_distribution.identity(interval)
    return total, convolutions


def _check_size(points: float) -> None:
    if points > MAX_POINTS:
        raise _TooFineError(points)


def _repeated(one: Any, count: int) -> Any:
    """Return the distribution of `count` releases, each direction on no more points than hold all but _TAIL."""
    directions = _directions(one)
    bounds = [_bounds(pmf._probs, count) for pmf in directions]
    _check_size(max(high - low + 1 for low, high in bounds))
    powers = [_power(pmf, count, *bound) for pmf, bound in zip(directions, bounds, strict=True)]
    return accounting_library().pld.privacy_loss_distribution.PrivacyLossDistribution(*powers)


def _bounds(masses: Floats, count: int) -> tuple[int, int]:
    """Return the first and last point, from 0 on, between which the sum of `count` has all but _TAIL of its mass.

    By Chernoff's bound at orders of 1 to 20 over the number of points, up and down.
    """
    low, high = 0, (masses.size - 1) * count
    if masses.size * count <= MAX_POINTS:
        return low, high
    base = np.exp(np.arange(masses.size) / masses.size)
    rising, falling = masses.copy(), masses.copy()
    room = math.log(2 / _TAIL)
    for k in range(1, 21):
        rising *= base
        falling /= base
        order = k / masses.size
        high = min(high, math.ceil((count * math.log(rising.sum()) + room) / order) + 1)
        low = max(low, math.floor(-(count * math.log(falling.sum()) + room) / order) - 1)
    return low, high


def _power(pmf: Any, count: int, low: int, high: int) -> Any:
    """Convolve a distribution with itself by one Fourier transform; what lies beyond the bounds is taken for infinite.

    It wraps around, which only adds to what is kept.
    """
    points = high - low + 1
    length = 2 ** math.ceil(math.log2(max(points, pmf.size)))
    masses = np.fft.irfft(np.fft.rfft(pmf._probs, length) ** count, length)
    kept = np.roll(masses, -(low % length))[:points]
    infinite = _TAIL + count * _ROUNDING - math.expm1(count * math.log1p(-pmf._infinity_mass))
    return type(pmf)(pmf._discretization, pmf._lower_loss * count + low, kept, infinite, pmf._pessimistic_estimate)


def least_epsilon(distribution: Any, delta: float) -> float:
    """Return the least epsilon >= 0 at which neither direction's delta exceeds `delta`, inf if there is none."""
    return max(_least_epsilon(pmf, delta) for pmf in _directions(distribution))


def _directions(distribution: Any) -> list[Any]:
    """Return the masses of a record's removal and, where that is another, its addition."""
    both = [distribution._pmf_remove] if distribution._symmetric else [distribution._pmf_remove, distribution._pmf_add]
    return [pmf.to_dense_pmf() for pmf in both]


def _least_epsilon(pmf: Any, delta: float) -> float:
    """Return where delta(epsilon) = sum of m (1 - exp(epsilon - loss)) over the losses above epsilon is `delta`.

    Between two losses that is a line in exp(epsilon). Sums run from the largest loss down, over losses above 0.
    """
    if pmf._infinity_mass > delta:
        return math.inf
    first = max(0, 1 - pmf._lower_loss)
    losses = (np.arange(pmf.size - 1, first - 1, -1) + pmf._lower_loss) * pmf._discretization
    masses = pmf._probs[first:][::-1]
    above = pmf._infinity_mass + np.cumsum(masses) - delta
    below = np.cumsum(masses * np.exp(-losses))
    with np.errstate(all="ignore"):
        roots = np.where(above > 0, np.log(above / below), -math.inf)
    reached = np.flatnonzero(roots >= np.append(losses[1:], 0.0))
    return float(min(roots[reached[0]], losses[reached[0]])) if reached.size else 0.0


def _part(part: Any, count: int) -> _Part:  # noqa: PLR0911 - one a kind
    """Return the distribution of a part. It is built later: a part that has none must not cost the others' memory."""
    if isinstance(part, PoissonSampled):
        return _sampled(part)
    if isinstance(part, FixedSizeSampled):
        raise NoDistributionError("samples of a fixed size have no loss distribution here; use method='rdp'")
    if isinstance(part, DiscreteLaplaceEvent) and part.dimension == 1:
        return _Part(partial(_from_deltas, "laplace", part.scale, part.sensitivity), part.sensitivity / part.scale)
    if isinstance(part, DiscreteGaussianEvent) and part.dimension == 1 and part.sigma <= _WIDEST_EXACT:
        steps = math.floor(part.sensitivity)
        return _Part(partial(_from_deltas, "gaussian", part.sigma, steps), _gaussian_reach(steps / part.sigma))
    match ideal(part):
        case GaussianEvent() as leaf:
            multiplier = leaf.noise_multiplier / math.sqrt(count)
            build = partial(_gaussian, multiplier, 1.0, "removed")
            return _Part(build, _gaussian_reach(1 / multiplier), closed=True)
        case LaplaceEvent(dimension=1) as leaf:
            return _Part(partial(_laplace, leaf.noise_multiplier, 1.0), 1 / leaf.noise_multiplier)
        case LaplaceEvent() as leaf:
            return _Part(partial(_pure, 1 / leaf.noise_multiplier, 0.0), 1 / leaf.noise_multiplier)
        case DiscreteLaplaceEvent() as leaf:
            return _Part(partial(_pure, leaf.sensitivity / leaf.scale, 0.0), leaf.sensitivity / leaf.scale)
        case ApproximateEvent() as leaf:
            return _Part(partial(_pure, leaf.epsilon, leaf.delta), leaf.epsilon)
    raise NoDistributionError(f"{type(part).__name__} has no loss distribution here; use method='rdp'")


_GAUSSIAN = {
    "removed": gaussian_distribution,
    "moved": moved_gaussian_distribution,
    "replaced": replaced_gaussian_distribution,
}


def _gaussian_reach(mu: float) -> float:
    return mu**2 / 2 + 10 * mu


def _sampled(part: PoissonSampled) -> _Part:
    inside = list(flatten(part.event))
    leaf = ideal(inside[0][0]) if len(inside) == 1 and inside[0][1] == 1 else merged(part.event)
    replace = leaf is not None and adjacency_of(leaf) is Adjacency.REPLACE_ONE
    match leaf:
        case GaussianEvent():
            # For replacement the unit is the norm of one contribution: half of the sensitivity, but that of sums.
            kind, unit = ("replaced", 2.0) if replace else ("removed", 1.0)
            if replace and holds_sums(part):
                kind, unit = "moved", 1.0
            build = partial(_gaussian, unit * leaf.noise_multiplier, part.rate, kind)
            return _Part(build, _gaussian_reach(1 / leaf.noise_multiplier))
        case LaplaceEvent(dimension=1) if not replace:
            return _Part(partial(_laplace, leaf.noise_multiplier, part.rate), 1 / leaf.noise_multiplier)
        case LaplaceEvent():
            raise NoDistributionError(
                "sampled Laplace noise is analysed for add-remove adjacency and single values only"
            )
        case SummedDiscreteGaussianEvent():
            raise NoDistributionError(
                f"clients' noise of local_sigma = {leaf.local_sigma:g} is too coarse for its sum to be near Gaussian "
                "noise, and is not analysed on samples; use a finer scale, or method='rdp', which does without sampling"
            )
    raise NoDistributionError(
        "Poisson sampling is analysed around one Gaussian or scalar Laplace release; split the event"
    )


@lru_cache(maxsize=8)
def _gaussian(multiplier: float, rate: float, kind: str, interval: float) -> Any:
    return _GAUSSIAN[kind](multiplier, rate, interval)


@lru_cache(maxsize=8)
def _laplace(multiplier: float, rate: float, interval: float) -> Any:
    return accounting_library().pld.privacy_loss_distribution.from_laplace_mechanism(
        multiplier, sampling_prob=rate, value_discretization_interval=interval
    )


@lru_cache(maxsize=8)
def _pure(epsilon: float, delta: float, interval: float) -> Any:
    library = accounting_library()
    parameters = library.pld.common.DifferentialPrivacyParameters(epsilon, delta)
    return library.pld.privacy_loss_distribution.from_privacy_parameters(
        parameters, value_discretization_interval=interval
    )


def _grid(bottom: int, top: int, interval: float) -> Floats:
    return np.arange(bottom, top + 1).astype(np.float64) * interval


@lru_cache(maxsize=8)
def _from_deltas(kind: str, scale: float, sensitivity: int, interval: float) -> Any:
    """Connect the dots of an exact, symmetric delta curve."""
    library = accounting_library()
    if kind == "laplace":
        law = laplace_law(exact(scale, "scale"))
        top = math.ceil(sensitivity / scale / interval)
        bottom = -top
        deltas = discrete_laplace_deltas(law, sensitivity, _grid(bottom, top, interval))
    else:
        law = gaussian_law(exact(scale, "sigma") ** 2)
        if sensitivity == 0:  # integers that move by less than 1 do not move
            return library.pld.privacy_loss_distribution.identity(interval)
        mean = sensitivity**2 / (2 * scale**2)
        spread = 9.5 * sensitivity / scale
        top, bottom = math.ceil((mean + spread) / interval), math.floor((mean - spread) / interval)
        deltas = discrete_gaussian_deltas(law, sensitivity, _grid(bottom, top, interval))
    falling = np.minimum.accumulate(deltas)
    pmf = library.pld.pld_pmf.create_pmf_pessimistic_connect_dots_fixed_gap(interval, bottom, top, falling)
    return library.pld.privacy_loss_distribution.PrivacyLossDistribution(pmf)
