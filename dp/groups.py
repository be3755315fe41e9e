"""What several records cost together: the event for a group is the one for a record, with noise that is worth less.

A client's records are such a group: a promise for one record says less to a client the more of them it brings.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .errors import PrivacyParameterError
from .events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    Leaf,
    PoissonSampled,
    Repeated,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
    ZCDPEvent,
)
from .rational import exact
from .sensitivity import check_count, float_above, round_up


def group_event(event: Event, size: int) -> Event:
    """Return what `event` is towards a group of up to `size` records: all there or none, or all replaced.

    Noise of any kind: sensitivities `size` times as large, which is exact for Gaussian noise. Poisson samples: of the
    group at that sensitivity, at the rate 1 - (1 - rate)**size at which any of it is in the sample. Samples of a fixed
    size: as if not sampled. rho-zCDP: size**2 rho. (epsilon, delta): size epsilon, and delta (1 + ... + exp((size - 1)
    epsilon)).

    Raises:
        PrivacyParameterError: a size that is no whole number of at least 1; parameters that no event has, such as a
            delta of 1 or more: such a group is not protected.
    """
    size = check_count(size, "size")
    match event:
        case Repeated():
            return Repeated(group_event(event.event, size), event.count)
        case Composed():
            return Composed(tuple(group_event(part, size) for part in event.events))
        case PoissonSampled(rate=1.0):
            return group_event(event.event, size)
        case PoissonSampled():
            rate = min(1.0, round_up(-math.expm1(size * math.log1p(-event.rate))))
            return PoissonSampled(event.rate if size == 1 else rate, group_event(event.event, size))
        case FixedSizeSampled():
            return event if size == 1 else group_event(event.event, min(size, event.batch))
    return _group_leaf(event, size)


def _group_leaf(event: Leaf, size: int) -> Leaf:
    match event:
        case GaussianEvent() | LaplaceEvent():
            return replace(event, noise_multiplier=_part_of(event.noise_multiplier, size))
        case DiscreteGaussianEvent():
            return replace(event, sensitivity=_times(event.sensitivity, size))
        case DiscreteLaplaceEvent():
            return replace(event, sensitivity=event.sensitivity * size)
        case SummedDiscreteGaussianEvent() | SkellamEvent():
            l2, l1 = _times(event.l2_sensitivity, size), _times(event.l1_sensitivity, size)
            return replace(event, l2_sensitivity=l2, l1_sensitivity=l1)
        case ZCDPEvent():
            return replace(event, rho=_times(event.rho, size**2))
        case ApproximateEvent():
            return replace(event, epsilon=_times(event.epsilon, size), delta=_group_delta(event, size))
    raise PrivacyParameterError(f"a {type(event).__name__} is no event of dp.events; of a release, give its event")


def _times(value: float, size: int) -> float:
    return float_above(exact(value, "value") * size)


def _part_of(value: float, size: int) -> float:
    part = value / size
    return part if exact(part, "value") * size <= exact(value, "value") else math.nextafter(part, 0.0)


def _group_delta(event: ApproximateEvent, size: int) -> float:
    """Return delta (exp(size epsilon) - 1) / (exp(epsilon) - 1), rounded up."""
    if event.delta == 0 or size == 1:
        return event.delta
    log_growth = (size - 1) * event.epsilon + math.log(math.expm1(-size * event.epsilon) / math.expm1(-event.epsilon))
    delta = math.inf if log_growth > 700 else event.delta * math.exp(log_growth) * (1 + 1e-12)
    if delta >= 1:
        raise PrivacyParameterError(
            f"a group of {size} is not protected by epsilon = {event.epsilon:g}, delta = {event.delta:g}: its delta "
            "would be 1 or more; take a smaller group, or state the event of the noise instead"
        )
    return delta
