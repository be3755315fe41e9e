"""What a sequence of releases costs: epsilon at delta, delta at epsilon, by loss distributions or Renyi DP.

The accountant is dp_accounting (extra `dp`); events it does not know are handled by our own exact formulas. Answers
are upper bounds: discretisation, conversions and rounding all err towards more privacy spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from .analytic import gaussian_delta, gaussian_epsilon
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
    PoissonSampled,
    Repeated,
    adjacency_of,
    flatten,
)
from .nearness import ideal
from .pld import FOURIER_ERROR, INTERVAL, NoDistributionError, loss_distribution
from .rdp import delta_from_rdp, epsilon_from_rdp, orders_for, rdp_curve
from .sensitivity import Adjacency, check_count, check_delta, check_epsilon, round_up


class Method(StrEnum):
    """PLD: loss distributions, tight. RDP: Renyi DP, for what PLD lacks.

    AUTO: the closed form where all is Gaussian noise without sampling, else PLD, and RDP where PLD has nothing.
    """

    AUTO = "auto"
    PLD = "pld"
    RDP = "rdp"


_SMALLEST_PLD_DELTA = 10 * FOURIER_ERROR  # below, the rounding of Fourier transforms would dominate


def epsilon_of(
    event: Event,
    delta: float,
    method: Method = Method.AUTO,
    interval: float = INTERVAL,
    orders: Sequence[float] | None = None,
) -> float:
    """Return an epsilon for which `event` is (epsilon, delta)-DP: an upper bound, never negative, inf if there is none.

    Args:
        event: what was released.
        delta: in [0, 1); 0 asks for pure DP.
        method: which accountant. Below delta = 1e-11, AUTO takes RDP, whose small deltas are sound.
        interval: grid of loss distributions, in units of epsilon; finer is tighter and slower.
        orders: Renyi orders above 1 that RDP tries instead of ours, to compare with others; any choice is sound.

    Raises:
        PrivacyParameterError: delta outside [0, 1), mixed adjacencies, bad orders, or a part the method cannot
            take.
        MissingDependencyError: without the extra `dp`.
    """
    delta = check_delta(delta, zero=True)
    adjacency_of(event)
    if delta == 0:
        return _pure_epsilon(event)
    gaussian = _one_gaussian(event) if method == Method.AUTO else None
    if gaussian is not None:
        multiplier, slack = gaussian
        return round_up(gaussian_epsilon(multiplier, delta * math.exp(-slack)) + slack)
    pld = _distribution(event, method, interval, delta > _SMALLEST_PLD_DELTA)
    if pld is None:
        tried = orders_for(event, orders)
        curve, slack = rdp_curve(event, tried)
        return round_up(epsilon_from_rdp(curve, delta * math.exp(-slack), tried) + slack)
    distribution, slack, convolutions = pld
    left = delta * math.exp(-slack) - (FOURIER_ERROR if convolutions else 0.0)
    if left < 0:
        return math.inf
    return round_up(max(0.0, float(distribution.get_epsilon_for_delta(left))) + slack)


def delta_of(
    event: Event,
    epsilon: float,
    method: Method = Method.AUTO,
    interval: float = INTERVAL,
    orders: Sequence[float] | None = None,
) -> float:
    """Return a delta for which `event` is (epsilon, delta)-DP: an upper bound, between 0 and 1.

    As `epsilon_of`. With AUTO, when PLD finds a delta too small to trust, RDP answers if its bound is smaller.

    Raises:
        PrivacyParameterError: epsilon < 0, mixed adjacencies, bad orders, or a part the method cannot take.
    """
    epsilon = check_epsilon(epsilon, zero=True)
    adjacency_of(event)
    gaussian = _one_gaussian(event) if method == Method.AUTO else None
    if gaussian is not None and epsilon >= gaussian[1]:
        multiplier, slack = gaussian
        return min(1.0, round_up(gaussian_delta(multiplier, epsilon - slack) * math.exp(slack)))
    pld = _distribution(event, method, interval, trusted=True)
    bounds = []
    if pld is not None:
        distribution, slack, convolutions = pld
        found = float(distribution.get_delta_for_epsilon(epsilon - slack)) * math.exp(slack)
        bounds.append(found + (FOURIER_ERROR if convolutions else 0.0))
    if pld is None or (method is Method.AUTO and bounds[0] < _SMALLEST_PLD_DELTA):
        try:
            tried = orders_for(event, orders)
            curve, slack = rdp_curve(event, tried)
        except PrivacyParameterError:
            if pld is None:
                raise
        else:
            bounds.append(delta_from_rdp(curve, epsilon - slack, tried) * math.exp(slack))
    return min(1.0, max(0.0, min(bounds)))


def _distribution(event: Event, method: Method, interval: float, trusted: bool) -> tuple[Any, float, int] | None:
    """Return the loss distribution, or None where RDP shall answer."""
    if method not in list(Method):
        raise PrivacyParameterError(f"method = {method!r} must be one of {', '.join(Method)}")
    if method == Method.RDP or (method == Method.AUTO and not trusted):
        return None
    try:
        return loss_distribution(event, interval)
    except NoDistributionError:
        if method == Method.PLD:
            raise
        return None


def _one_gaussian(event: Event) -> tuple[float, float] | None:
    """Return the noise multiplier of the one Gaussian release that `event` is worth, and its cost in epsilon.

    None unless all parts are Gaussian noise, or discrete noise on vectors that is as good as it, without sampling:
    Gaussian releases compose exactly, by adding up their inverse squares (Dong, Roth, Su 2022).
    """
    inverse_squares, slack = [], 0.0
    for part, count in flatten(event):
        if isinstance(part, PoissonSampled | FixedSizeSampled):
            return None
        if isinstance(part, DiscreteGaussianEvent) and part.dimension == 1:
            return None  # whose own loss distribution is known exactly
        leaf, cost = ideal(part)
        if not isinstance(leaf, GaussianEvent):
            return None
        inverse_squares.append(count / leaf.noise_multiplier**2)
        slack += count * cost
    if not inverse_squares:
        return None
    return 1 / math.sqrt(math.fsum(inverse_squares)) * (1 - 1e-15), slack


def _pure_epsilon(event: Event) -> float:
    """Return the sum of the parts' pure epsilons, inf if one of them has none; sampling is not counted on."""
    total = 0.0
    for part, count in flatten(event):
        match part:
            case PoissonSampled() | FixedSizeSampled():
                one = _pure_epsilon(part.event)
            case LaplaceEvent():
                one = 1 / part.noise_multiplier
            case DiscreteLaplaceEvent():
                one = part.sensitivity / part.scale
            case ApproximateEvent(delta=0.0):
                one = part.epsilon
            case _:
                return math.inf
        total = round_up(total + count * one)
    return total


class Accountant:
    """A running account of releases on the same data, for one adjacency.

    What is asked may depend on earlier results; how much noise there is must not: events whose parameters are chosen
    in view of what was released before add up safely only under a limit fixed beforehand (`dp.ledger`). Not
    thread-safe.
    """

    def __init__(
        self,
        adjacency: Adjacency,
        method: Method = Method.AUTO,
        interval: float = INTERVAL,
        orders: Sequence[float] | None = None,
    ) -> None:
        self.adjacency = Adjacency(adjacency)
        self.method = Method(method)
        self.interval = interval
        self.orders = orders
        self._events: list[tuple[Event, int]] = []

    def compose(self, event: Event, count: int = 1) -> Accountant:
        """Add `count` releases of `event`; raise PrivacyParameterError if it was stated for another adjacency."""
        count = check_count(count, "count")
        relation = adjacency_of(event)
        if relation not in (None, self.adjacency):
            raise PrivacyParameterError(
                f"the event is stated for {relation} adjacency, the account for {self.adjacency}"
            )
        if self._events and self._events[-1][0] == event:
            self._events[-1] = (event, self._events[-1][1] + count)
        else:
            self._events.append((event, count))
        return self

    @property
    def event(self) -> Event:
        """Everything composed so far, as one event."""
        return Composed(tuple(Repeated(event, count) for event, count in self._events))

    def epsilon(self, delta: float) -> float:
        """Return the epsilon spent at delta; see `epsilon_of`."""
        return epsilon_of(self.event, delta, self.method, self.interval, self.orders)

    def delta(self, epsilon: float) -> float:
        """Return the delta spent at epsilon; see `delta_of`."""
        return delta_of(self.event, epsilon, self.method, self.interval, self.orders)
