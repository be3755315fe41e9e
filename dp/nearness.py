"""Replace discrete vector noise by the Gaussian noise it is provably as private as, and say what that costs.

The argument is in `dp.discrete` (one lattice Gaussian) and in Kairouz, Liu, Steinke (2021) (sums of several).
"""

from __future__ import annotations

import numpy as np

from .discrete import SLACK, gaussian_equivalent, summed_gaussians_ratios
from .events import Composed, DiscreteGaussianEvent, Event, GaussianEvent, Repeated, SummedDiscreteGaussianEvent

LARGEST_SUM_SLACK = 1e-9  # above, the RDP bound for sums is the better one over many rounds


def ideal(event: Event) -> tuple[Event, float]:
    """Return an event in Gaussian noise that is no more private, and the epsilon by which the true one may exceed it.

    The same number bounds the logarithm of the factor on delta. What has no such form is returned as it is, at no
    cost.
    """
    if isinstance(event, Repeated):
        inner, cost = ideal(event.event)
        return Repeated(inner, event.count), event.count * cost
    if isinstance(event, Composed):
        pairs = [ideal(part) for part in event.events]
        return Composed(tuple(part for part, _ in pairs)), sum(cost for _, cost in pairs)
    if isinstance(event, DiscreteGaussianEvent):
        return _gaussian(event, event.sigma**2, event.dimension, event.sensitivity, 0.0)
    if isinstance(event, SummedDiscreteGaussianEvent):
        # As many as are near enough to one: the noise of the others is post-processing. Of fewer than half, RDP has the
        # better bound.
        clients = np.arange((event.clients + 1) // 2, event.clients + 1)
        costs = 2 * event.dimension * summed_gaussians_ratios(event.local_sigma, clients)
        fine = np.flatnonzero(costs <= LARGEST_SUM_SLACK)
        if fine.size:
            cost, number = float(costs[fine[-1]]), int(clients[fine[-1]])
            variance = number * event.local_sigma**2
            return _gaussian(event, variance, event.dimension, event.l2_sensitivity, cost)
    return event, 0.0


def _gaussian(
    event: DiscreteGaussianEvent | SummedDiscreteGaussianEvent,
    variance: float,
    dimension: int,
    sensitivity: float,
    cost: float,
) -> tuple[Event, float]:
    deviation = gaussian_equivalent(variance, dimension)
    if deviation is None:
        return event, 0.0
    return GaussianEvent(deviation / sensitivity, event.adjacency), cost + SLACK
