"""The Gaussian noise that noise is no less private than: its mu (sensitivity / sigma) in Gaussian DP.

Discrete noise is within exp(+-k) of a post-processing of Gaussian noise of mu on each side (`dp.discrete` for one
lattice Gaussian, Kairouz, Liu, Steinke 2021 for sums of several). Being within exp(+-k) is k-DP, and k-DP is Gaussian
DP of 2 quantile(e**k / (1 + e**k)) <= sqrt(pi/2) k, since both trade-off curves meet at their fixed point and the
Gaussian's is convex (Dong, Roth, Su 2022). Trade-offs chain: the noise is Gaussian DP of mu + 2 sqrt(pi/2) k, exactly,
under sampling and adaptive composition, too, and nothing is left over in epsilon or delta.

Under Poisson sampling: whichever other records are in the sample, trade-offs f >= G between noise with the record and
without it become at least q f + (1 - q) Id >= q G + (1 - q) Id, which is what sampled Gaussian noise has.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .discrete import SLACK, TERMS, last_ratio, smoothing_variance, summed_gaussians_ratios
from .events import (
    Composed,
    DiscreteGaussianEvent,
    Event,
    GaussianEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
    adjacency_of,
    flatten,
    holds_sums,
)
from .sensitivity import Adjacency

MU_OF_SLACK = math.sqrt(math.pi / 2) * (1 + 1e-15)
"""What a slack of 2 k adds to mu, at most, for each unit."""


def ideal(event: Event) -> Event:
    """Return an event in Gaussian noise that is no more private; what has no such form is returned as it is.

    Samples of sums have none for REPLACE_ONE: there Gaussian noise is stated for contributions of half its sensitivity.
    """
    if isinstance(event, Repeated):
        return Repeated(ideal(event.event), event.count)
    if isinstance(event, Composed):
        return Composed(tuple(ideal(part) for part in event.events))
    if isinstance(event, PoissonSampled):
        replaced = adjacency_of(event) is Adjacency.REPLACE_ONE
        return event if replaced and holds_sums(event) else PoissonSampled(event.rate, ideal(event.event))
    if isinstance(event, DiscreteGaussianEvent):
        return _gaussian(event, [event.sigma**2], [0.0], event.sensitivity)
    if isinstance(event, SummedDiscreteGaussianEvent):
        clients = _candidates(event)
        slacks = 2 * event.dimension * summed_gaussians_ratios(event.local_sigma, clients)
        return _gaussian(event, clients * event.local_sigma**2, slacks, event.l2_sensitivity)
    return event


def _candidates(event: SummedDiscreteGaussianEvent) -> npt.NDArray[np.int64]:
    """Return the numbers of clients one of which is the best to count: their noise is the more, but so is its slack.

    The noise of clients that are not counted is post-processing, so that any number may stand for all. From TERMS on
    each adds the same to the slack: mu is convex in their number, and least where it stops falling, or for all of them.
    """
    each: npt.NDArray[np.int64] = np.arange(1, min(event.clients, TERMS) + 1, dtype=np.int64)
    if event.clients <= TERMS:
        return each
    variance, rise = event.local_sigma**2, 2 * event.dimension * MU_OF_SLACK * last_ratio(event.local_sigma)
    with np.errstate(all="ignore"):
        falling = np.float64(event.l2_sensitivity) * variance / (2 * rise)  # of (variance clients - s**2)**(3/2)
        least = (falling ** (2 / 3) + smoothing_variance(event.dimension)) / variance
    return np.append(each, int(min(max(least, TERMS), event.clients)))


def merged(event: Event) -> Event | None:
    """Return all noise in an event as one Gaussian release that is no more private, None if some has no such form.

    Gaussian noise on several vectors is noise on one that is made of them, each in units of its own noise. So it is
    under one sample, too, and lengths and distances of contributions add up in squares alike.
    """
    parts = [(ideal(part), count) for part, count in flatten(event)]
    multipliers = [(part.noise_multiplier, count) for part, count in parts if isinstance(part, GaussianEvent)]
    relation = adjacency_of(event)
    if not parts or len(multipliers) < len(parts) or relation is None:
        return None
    inverse_square = math.fsum(count / multiplier**2 for multiplier, count in multipliers)
    return GaussianEvent(1 / math.sqrt(inverse_square) * (1 - 4e-15), relation)


def _gaussian(
    event: DiscreteGaussianEvent | SummedDiscreteGaussianEvent,
    variances: object,
    slacks: object,
    sensitivity: float,
) -> Event:
    """Return the best Gaussian noise that one of the variances is as good as, at its slack."""
    s_squared = smoothing_variance(event.dimension)
    variance, slack = np.asarray(variances, dtype=np.float64), np.asarray(slacks, dtype=np.float64)
    enough = variance > 1.25 * s_squared
    if not enough.any():
        return event
    mu = sensitivity / np.sqrt(variance[enough] - s_squared) + MU_OF_SLACK * (slack[enough] + SLACK)
    multiplier = 1 / float(mu.min()) * (1 - 4e-15)
    return GaussianEvent(multiplier, event.adjacency) if 1e-100 <= multiplier <= 1e100 else event
