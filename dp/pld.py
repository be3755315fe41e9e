"""Privacy loss distributions of our events, on dp_accounting: tight composition, rounded towards more privacy.

Every distribution is discretised with "connect the dots" (Doroshenko et al. 2022), which never understates a loss.
Composition convolves by Fourier transforms; their rounding is covered by adding FOURIER_ERROR to each delta.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    flatten,
)
from .laws import gaussian_law, laplace_law
from .nearness import ideal
from .optional import accounting_library
from .rational import exact
from .sensitivity import Adjacency

INTERVAL = 1e-4
FOURIER_ERROR = 1e-12
_WIDEST_EXACT = 4096.0  # discrete Gaussians up to this sigma are tabled by themselves


class NoDistributionError(PrivacyParameterError):
    """A part of the event has no privacy loss distribution here; RDP may have a bound."""


def loss_distribution(event: Event, interval: float = INTERVAL) -> tuple[Any, float, int]:
    """Return (dp_accounting's PrivacyLossDistribution, epsilon that approximations cost, number of convolutions).

    Raises:
        NoDistributionError: a part that has none: sums of few clients, Skellam, zCDP, fixed-size samples.
    """
    total: Any = None
    slack, convolutions = 0.0, 0
    # All parts are named before any is built: one without a distribution must not cost the memory for the others.
    for (build, cost, closed), count in [(_part(part, count, interval), count) for part, count in flatten(event)]:
        one = build()
        slack += cost
        if not closed and count > 1:
            one = one.self_compose(count)
            convolutions += 1
        if total is None:
            total = one
        else:
            total = total.compose(one)
            convolutions += 1
    if total is None:
        total = accounting_library().pld.privacy_loss_distribution.identity(interval)
    return total, slack, convolutions


def _part(part: Any, count: int, interval: float) -> tuple[Callable[[], Any], float, bool]:  # noqa: PLR0911 - one a kind
    """Return how to build a distribution, its cost, and whether it already stands for all `count` repetitions."""
    if isinstance(part, PoissonSampled):
        inner, cost = ideal(part.event)
        leaves = list(flatten(inner))
        if len(leaves) == 1 and leaves[0][1] == 1 and isinstance(leaves[0][0], GaussianEvent | LaplaceEvent):
            return _sampled(leaves[0][0], part.rate, interval), count * cost, False
        raise NoDistributionError(
            "Poisson sampling is analysed around one Gaussian or scalar Laplace release; split the event"
        )
    if isinstance(part, FixedSizeSampled):
        raise NoDistributionError("samples of a fixed size have no loss distribution here; use method='rdp'")
    alone = _exact_integer(part, interval)
    if alone is not None:
        return alone, 0.0, False
    leaf, cost = ideal(part)
    if isinstance(leaf, GaussianEvent):
        multiplier = leaf.noise_multiplier / math.sqrt(count)
        return partial(_gaussian, multiplier, 1.0, "ADD_OR_REMOVE_ONE", interval), count * cost, True
    if isinstance(leaf, LaplaceEvent):
        if leaf.dimension == 1:
            return partial(_laplace, leaf.noise_multiplier, 1.0, interval), 0.0, False
        return partial(_pure, 1 / leaf.noise_multiplier, 0.0, interval), 0.0, False
    if isinstance(leaf, DiscreteLaplaceEvent):
        return partial(_pure, leaf.sensitivity / leaf.scale, 0.0, interval), 0.0, False
    if isinstance(leaf, ApproximateEvent):
        return partial(_pure, leaf.epsilon, leaf.delta, interval), 0.0, False
    raise NoDistributionError(f"{type(leaf).__name__} has no loss distribution here; use method='rdp'")


def _sampled(leaf: GaussianEvent | LaplaceEvent, rate: float, interval: float) -> Callable[[], Any]:
    replace = leaf.adjacency is Adjacency.REPLACE_ONE
    if isinstance(leaf, GaussianEvent):
        # For replacement the library's unit is the norm of one contribution, half of the sensitivity.
        factor = 2.0 if replace else 1.0
        relation = "REPLACE_ONE" if replace else "ADD_OR_REMOVE_ONE"
        return partial(_gaussian, factor * leaf.noise_multiplier, rate, relation, interval)
    if replace or leaf.dimension != 1:
        raise NoDistributionError("sampled Laplace noise is analysed for add-remove adjacency and single values only")
    return partial(_laplace, leaf.noise_multiplier, rate, interval)


@lru_cache(maxsize=64)
def _gaussian(multiplier: float, rate: float, relation: str, interval: float) -> Any:
    library = accounting_library()
    return library.pld.privacy_loss_distribution.from_gaussian_mechanism(
        multiplier,
        sampling_prob=rate,
        value_discretization_interval=interval,
        neighboring_relation=library.NeighboringRelation[relation],
    )


@lru_cache(maxsize=16)
def _laplace(multiplier: float, rate: float, interval: float) -> Any:
    return accounting_library().pld.privacy_loss_distribution.from_laplace_mechanism(
        multiplier, sampling_prob=rate, value_discretization_interval=interval
    )


@lru_cache(maxsize=16)
def _pure(epsilon: float, delta: float, interval: float) -> Any:
    library = accounting_library()
    parameters = library.pld.common.DifferentialPrivacyParameters(epsilon, delta)
    return library.pld.privacy_loss_distribution.from_privacy_parameters(
        parameters, value_discretization_interval=interval
    )


def _exact_integer(part: Any, interval: float) -> Callable[[], Any] | None:
    """Return how to build the exact distribution of discrete noise on one integer, None where it is no such thing."""
    if isinstance(part, DiscreteLaplaceEvent) and part.dimension == 1:
        return partial(_from_deltas, "laplace", part.scale, part.sensitivity, interval)
    if isinstance(part, DiscreteGaussianEvent) and part.dimension == 1 and part.sigma <= _WIDEST_EXACT:
        return partial(_from_deltas, "gaussian", part.sigma, math.floor(part.sensitivity), interval)
    return None


def _grid(bottom: int, top: int, interval: float) -> npt.NDArray[np.float64]:
    return np.arange(bottom, top + 1).astype(np.float64) * interval


@lru_cache(maxsize=16)
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
