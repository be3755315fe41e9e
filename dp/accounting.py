"""What a sequence of releases costs: epsilon at delta, delta at epsilon, by loss distributions or Renyi DP.

The accountant is dp_accounting (extra `dp`); events it does not know are handled by our own exact formulas. Answers
are upper bounds: discretisation, conversions and rounding all err towards more privacy spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from fractions import Fraction

from .analytic import gaussian_delta, gaussian_epsilon, smallest_epsilon
from .discrete import discrete_gaussian_delta
from .errors import PrivacyParameterError
from .events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    Repeated,
    Sampled,
    adjacency_of,
    flatten,
    holds_sums,
    leaves,
    unsampled,
)
from .laws import Law, gaussian_law
from .nearness import ideal
from .pld import FOURIER_ERROR, INTERVAL, SINGLE_ERROR, check_interval, least_epsilon, loss_distribution
from .rational import exact
from .rdp import delta_from_rdp, epsilon_from_rdp, orders_for, rdp_curve
from .sensitivity import Adjacency, check_count, check_delta, check_epsilon, float_above, named, round_up


class Method(StrEnum):
    """PLD: loss distributions. RDP: Renyi DP. AUTO: the least of both and of closed forms, all of which are bounds."""

    AUTO = "auto"
    PLD = "pld"
    RDP = "rdp"


_WIDEST_LAW = 1 << 14  # discrete Gaussians up to this sigma are summed up value by value
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
        method: which accountant. Below delta = 1e-11, AUTO does without PLD, whose rounding would dominate.
        interval: grid of loss distributions, in units of epsilon, from 1e-100 to 500; finer is tighter and slower.
        orders: Renyi orders above 1 that RDP tries instead of ours, to compare with others; any choice is sound.

    Raises:
        PrivacyParameterError: delta outside [0, 1), mixed adjacencies, a bad interval or orders, or a part the method
            cannot take.
        MissingDependencyError: without the extra `dp`.
    """
    delta, method, interval = check_delta(delta, zero=True), named(Method, method), check_interval(interval)
    adjacency_of(event)
    if delta == 0:
        return _pure_epsilon(event)

    def by_distribution() -> float:
        distribution, convolutions = loss_distribution(event, interval)
        left = delta - (FOURIER_ERROR if convolutions else SINGLE_ERROR)
        return math.inf if left < 0 else round_up(least_epsilon(distribution, left))

    def by_divergence(event: Event = event) -> float:
        tried = orders_for(event, orders)
        return round_up(epsilon_from_rdp(rdp_curve(event, tried), delta, tried))

    closed = [closed_epsilon(event, delta)] if method == Method.AUTO else []
    return _least(event, method, closed, by_distribution, by_divergence, trusted=delta > _SMALLEST_PLD_DELTA)


def closed_epsilon(event: Event, delta: float) -> float:
    """Return the least epsilon of `event` at delta > 0 that a closed form gives, inf if none does."""
    bounds = [_pure_epsilon(event)]
    multiplier = _gaussian_multiplier(event)
    if multiplier is not None:
        bounds.append(gaussian_epsilon(multiplier, delta))
    integer = one_integer(event)
    if integer is not None:
        bounds.append(smallest_epsilon(lambda epsilon: discrete_gaussian_delta(*integer, epsilon), delta))
    return min(bounds)


def delta_of(
    event: Event,
    epsilon: float,
    method: Method = Method.AUTO,
    interval: float = INTERVAL,
    orders: Sequence[float] | None = None,
) -> float:
    """Return a delta for which `event` is (epsilon, delta)-DP: an upper bound, between 0 and 1.

    As `epsilon_of`. It is 0 for pure DP alone: what is below all floats is the least of them.

    Raises:
        PrivacyParameterError: epsilon < 0, mixed adjacencies, a bad interval or orders, or a part the method cannot
            take.
    """
    epsilon, method, interval = check_epsilon(epsilon, zero=True), named(Method, method), check_interval(interval)
    adjacency_of(event)

    def by_distribution() -> float:
        distribution, convolutions = loss_distribution(event, interval)
        return float(distribution.get_delta_for_epsilon(epsilon)) + (FOURIER_ERROR if convolutions else SINGLE_ERROR)

    def by_divergence(event: Event = event) -> float:
        tried = orders_for(event, orders)
        return delta_from_rdp(rdp_curve(event, tried), epsilon, tried)

    closed = []
    if method == Method.AUTO:
        if _pure_epsilon(event) <= epsilon:
            return 0.0
        multiplier = _gaussian_multiplier(event)
        if multiplier is not None:
            closed.append(gaussian_delta(multiplier, epsilon))
        integer = one_integer(event)
        if integer is not None:
            closed.append(discrete_gaussian_delta(*integer, epsilon))
    return min(1.0, max(0.0, _least(event, method, closed, by_distribution, by_divergence, trusted=True)))


def _least(
    event: Event,
    method: Method,
    closed: list[float],
    by_distribution: Callable[[], float],
    by_divergence: Callable[..., float],
    *,
    trusted: bool,
) -> float:
    """Return the least of the bounds that a method has; raise what it lacks where no way answers."""
    if method == Method.PLD:
        return by_distribution()
    if method == Method.RDP:
        return by_divergence()
    parts = [part for part, _ in flatten(event)]
    if parts and all(isinstance(part, GaussianEvent) for part in parts):
        return min(closed)  # exact
    gaussian = all(isinstance(ideal(part), GaussianEvent) for part in parts if not _is_integer(part))
    bounds: list[float] = []
    lacking = None
    ways: list[Callable[[], float]] = [by_divergence]
    if any(isinstance(part, Sampled) and holds_sums(part) for part in parts):
        ways.append(lambda: by_divergence(unsampled(event)))  # at more orders
    if trusted and (any(_is_integer(part) for part in parts) or not gaussian):
        ways.append(by_distribution)
    for way in ways:
        try:
            bounds.append(way())
        except PrivacyParameterError as error:
            lacking = error
    best = min((*closed, *bounds), default=math.inf)
    if math.isinf(best) and not bounds and lacking is not None:
        raise lacking
    return best


def _is_integer(part: Event) -> bool:
    """Tell whether it is noise on one integer, whose loss distribution is known exactly."""
    return isinstance(part, DiscreteGaussianEvent) and part.dimension == 1


def one_integer(event: Event) -> tuple[Law, int] | None:
    """Return the law and the sensitivity of one release of one integer with discrete Gaussian noise, else None."""
    parts = list(flatten(event))
    if len(parts) != 1 or parts[0][1] != 1:
        return None
    part = parts[0][0]
    if not isinstance(part, DiscreteGaussianEvent) or part.dimension != 1 or not 1 <= part.sensitivity <= 1 << 20:
        return None
    if part.sigma > _WIDEST_LAW:
        return None
    return gaussian_law(exact(part.sigma, "sigma") ** 2), math.floor(part.sensitivity)


def _gaussian_multiplier(event: Event) -> float | None:
    """Return the multiplier of one Gaussian release that is worth no less than all of `event`, None if there is none.

    Gaussian noise composes exactly, by adding up inverse squares (Dong, Roth, Su 2022). Sampling is not counted on.
    """
    inverse_squares = []
    for part, count in leaves(event):
        leaf = ideal(part)
        if not isinstance(leaf, GaussianEvent):
            return None
        inverse_squares.append(count / leaf.noise_multiplier**2)
    if not inverse_squares:
        return None
    return 1 / math.sqrt(math.fsum(inverse_squares)) * (1 - 1e-15)


def _pure_epsilon(event: Event) -> float:
    """Return the sum of the parts' pure epsilons, inf if one of them has none; sampling is not counted on."""
    total = Fraction(0)
    for part, count in leaves(event):
        match part:
            case LaplaceEvent():
                total += count / exact(part.noise_multiplier, "noise_multiplier")
            case DiscreteLaplaceEvent():
                total += count * exact(part.sensitivity, "sensitivity") / exact(part.scale, "scale")
            case ApproximateEvent(delta=0.0):
                total += count * exact(part.epsilon, "epsilon")
            case _:
                return math.inf
    return float_above(total)


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
        self.adjacency = named(Adjacency, adjacency)
        self.method = named(Method, method)
        self.interval = check_interval(interval)
        self.orders = orders
        self._events: list[tuple[Event, int]] = []
        self._sum: tuple[Event, ...] = ()  # the last with clients' noise, whose unit all others have

    def compose(self, event: Event, count: int = 1) -> Accountant:
        """Add `count` releases of `event`.

        Raises:
            PrivacyParameterError: it was stated for another adjacency or unit, has happened too often, or holds events
                too deep; nothing was added.
        """
        count = check_count(count, "count")
        relation = adjacency_of(event)
        if relation not in (None, self.adjacency):
            raise PrivacyParameterError(
                f"the event is stated for {relation} adjacency, the account for {self.adjacency}"
            )
        again = bool(self._events) and self._events[-1][0] == event
        count += self._events[-1][1] if again else 0
        adjacency_of(Composed((Repeated(event, count), *self._sum)))  # what `event` will hold
        self._events[len(self._events) - again :] = [(event, count)]
        self._sum = (event,) if holds_sums(event) else self._sum
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
