"""What was released, in the words an accountant needs: which noise, which sensitivity, how often, on which sample.

Events are plain frozen values without behaviour; they import no accountant, can be stored and compared, and compose.
`dp.accounting` turns them into guarantees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

from .errors import PrivacyParameterError
from .rational import number
from .sensitivity import Adjacency, Unit, check_count, check_delta, named

_LEAST, _MOST = 1e-100, 1e100  # beyond, squares and quotients would leave the floats
_LARGEST_EPSILON = 1e300  # no account squares it; the largest that a budget may have
DEEPEST = 100
"""Far from where Python's own stack ends, in all that walks through events."""


class _Nested:
    """An event around others, which knows how deep they stand."""

    _depth: int

    def _check_depth(self, inner: tuple[Event, ...]) -> None:
        depth = 1 + max((getattr(event, "_depth", 0) for event in inner), default=0)
        if depth > DEEPEST:
            raise PrivacyParameterError(
                f"events stand within events more than {DEEPEST} deep; compose them side by side, in one Composed"
            )
        object.__setattr__(self, "_depth", depth)


def _settle(
    event: Any, *, noise: tuple[str, ...] = (), bounds: tuple[str, ...] = (), counts: tuple[str, ...] = ()
) -> None:
    """Keep parameters as Python's own floats, integers and members; raise PrivacyParameterError for anything else.

    What is no float is rounded towards less noise and higher bounds.
    """
    for name in (*noise, *bounds):
        value = number(getattr(event, name), name, 0.0 if name in noise else math.inf)
        if not _LEAST <= value <= _MOST:
            raise PrivacyParameterError(f"{name} = {value:g} must lie between {_LEAST:g} and {_MOST:g}")
        object.__setattr__(event, name, value)
    for name in counts:
        object.__setattr__(event, name, check_count(getattr(event, name), name))
    if hasattr(event, "adjacency"):
        object.__setattr__(event, "adjacency", named(Adjacency, event.adjacency))


@dataclass(frozen=True)
class GaussianEvent:
    """Gaussian noise; noise_multiplier = sigma / (L2 sensitivity)."""

    noise_multiplier: float
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self, noise=("noise_multiplier",))


@dataclass(frozen=True)
class LaplaceEvent:
    """Laplace noise; noise_multiplier = scale / (L1 sensitivity). `dimension` is the number of noisy coordinates."""

    noise_multiplier: float
    adjacency: Adjacency
    dimension: int

    def __post_init__(self) -> None:
        _settle(self, noise=("noise_multiplier",), counts=("dimension",))


@dataclass(frozen=True)
class DiscreteGaussianEvent:
    """Discrete Gaussian noise on `dimension` integers whose vector moves by at most `sensitivity` in L2."""

    sigma: float
    sensitivity: float
    dimension: int
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self, noise=("sigma",), bounds=("sensitivity",), counts=("dimension",))


@dataclass(frozen=True)
class DiscreteLaplaceEvent:
    """Discrete Laplace noise on `dimension` integers whose vector moves by at most `sensitivity` in L1."""

    scale: float
    sensitivity: int
    dimension: int
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self, noise=("scale",), counts=("dimension",))
        object.__setattr__(self, "sensitivity", check_count(self.sensitivity, "sensitivity", int(_MOST)))


@dataclass(frozen=True)
class SummedDiscreteGaussianEvent:
    """The sum of `clients` discrete Gaussians of `local_sigma`, on integers: what secure aggregation reveals.

    `clients` counts the honest survivors only: neither those who dropped out nor those who collude add noise. `unit`
    says whose change the sensitivities bound.
    """

    local_sigma: float
    clients: int
    l2_sensitivity: float
    l1_sensitivity: float
    dimension: int
    adjacency: Adjacency
    unit: Unit = Unit.CLIENT

    def __post_init__(self) -> None:
        bounds = ("l2_sensitivity", "l1_sensitivity")
        _settle(self, noise=("local_sigma",), bounds=bounds, counts=("clients", "dimension"))
        object.__setattr__(self, "unit", named(Unit, self.unit))
        if self.local_sigma < 0.5:
            raise PrivacyParameterError(
                f"local_sigma = {self.local_sigma} is below 1/2, where no bound is known; use a finer grid"
            )


@dataclass(frozen=True)
class SkellamEvent:
    """Skellam noise of total `variance` on integers that move by at most these norms."""

    variance: float
    l2_sensitivity: float
    l1_sensitivity: float
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self, noise=("variance",), bounds=("l2_sensitivity", "l1_sensitivity"))


@dataclass(frozen=True)
class ZCDPEvent:
    """Anything that satisfies rho-zCDP."""

    rho: float
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self, bounds=("rho",))


@dataclass(frozen=True)
class ApproximateEvent:
    """Anything that satisfies (epsilon, delta)-DP; delta = 0 for pure DP."""

    epsilon: float
    delta: float
    adjacency: Adjacency

    def __post_init__(self) -> None:
        _settle(self)
        object.__setattr__(self, "epsilon", number(self.epsilon, "epsilon", math.inf))
        if self.epsilon > _LARGEST_EPSILON:
            raise PrivacyParameterError(f"epsilon = {self.epsilon:g} must be at most {_LARGEST_EPSILON:g}")
        zero = check_delta(self.delta, zero=True) == 0
        object.__setattr__(self, "delta", 0.0 if zero else check_delta(number(self.delta, "delta", math.inf)))


@dataclass(frozen=True)
class PoissonSampled(_Nested):
    """`event` on a sample in which each record is, independently, with probability `rate`, from 1e-100 to 1.

    With REPLACE_ONE, the sensitivity must come from contributions of norm at most half of it (`Sensitivity.of_sum`).
    Not so for sums of clients' noise: there one record's contribution may be as far from any other, and from zero, as
    the sensitivity, since that of counts is more than half of it from zero.

    The noise must not depend on the sample: of sums of clients' noise, the `unit` is a record. Whoever counts on a rate
    must draw the coins itself, and tell nobody how they fell.
    """

    rate: float
    event: Event

    def __post_init__(self) -> None:
        _settle(self, bounds=("rate",))
        if not 1e-100 <= self.rate <= 1:
            raise PrivacyParameterError(f"rate = {self.rate} is a probability; it must lie in [1e-100, 1]")
        _check_sampled(self.event)
        self._check_depth((self.event,))


@dataclass(frozen=True)
class FixedSizeSampled(_Nested):
    """`event` on a uniform sample of `batch` out of `population` records, without replacement; for REPLACE_ONE alone.

    Where a record comes or goes, another one leaves the sample or enters it: the sample has a record replaced, which
    moves what is released by more than a sensitivity that is stated for ADD_REMOVE.
    """

    batch: int
    population: int
    event: Event

    def __post_init__(self) -> None:
        _settle(self, counts=("batch", "population"))
        if self.batch > self.population:
            raise PrivacyParameterError(f"batch = {self.batch} exceeds the population of {self.population}")
        if _check_sampled(self.event) is not Adjacency.REPLACE_ONE:
            raise PrivacyParameterError(
                "a sample of a fixed size is accounted for replace-one adjacency only: with a record more, another one "
                "leaves the sample, which moves the result up to twice as far; state sensitivity and event for "
                "replace-one, or sample each record by itself (PoissonSampled)"
            )
        self._check_depth((self.event,))


@dataclass(frozen=True)
class Repeated(_Nested):
    """`event`, `count` times in a row; what is asked may depend on the earlier results, the noise may not."""

    event: Event
    count: int

    def __post_init__(self) -> None:
        _settle(self, counts=("count",))
        self._check_depth((self.event,))


@dataclass(frozen=True)
class Composed(_Nested):
    """Several events on the same data; what is asked may depend on earlier results, the noise may not."""

    events: tuple[Event, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.events, tuple | list):
            raise PrivacyParameterError(f"a {type(self.events).__name__} is no tuple of events; give (event, event)")
        object.__setattr__(self, "events", tuple(self.events))
        self._check_depth(self.events)


Leaf = (
    GaussianEvent
    | LaplaceEvent
    | DiscreteGaussianEvent
    | DiscreteLaplaceEvent
    | SummedDiscreteGaussianEvent
    | SkellamEvent
    | ZCDPEvent
    | ApproximateEvent
)
Sampled = PoissonSampled | FixedSizeSampled
Event = Union[Leaf, Sampled, Repeated, Composed]  # noqa: UP007 - named before some of its parts exist


def flatten(event: Event, count: int = 1) -> Iterator[tuple[Leaf | Sampled, int]]:
    """Yield the leaves and sampled events in `event`, each with how often it happened; a rate of 1 samples nothing."""
    if isinstance(event, Repeated):
        yield from flatten(event.event, check_count(count * event.count, "the count of nested repetitions"))
    elif isinstance(event, PoissonSampled) and event.rate == 1:
        yield from flatten(event.event, count)
    elif isinstance(event, Composed):
        for part in event.events:
            yield from flatten(part, count)
    elif isinstance(event, Leaf | Sampled):
        yield event, count
    else:
        raise PrivacyParameterError(f"a {type(event).__name__} is no event of dp.events; of a release, give its event")


def leaves(event: Event, count: int = 1) -> Iterator[tuple[Leaf, int]]:
    """Yield the leaves of `event`, those within samples, too: what it would be if nothing were sampled.

    Sampling never costs: adjacent samples differ as adjacent data do, or not at all, and privacy is convex in the pair.
    """
    for part, times in flatten(event, count):
        if isinstance(part, PoissonSampled | FixedSizeSampled):
            yield from leaves(part.event, times)
        else:
            yield part, times


def holds_sums(event: Event) -> bool:
    """Tell whether some of the noise in `event` is brought by clients, and their sum alone revealed."""
    return any(isinstance(part, SummedDiscreteGaussianEvent) for part, _ in leaves(event))


def unsampled(event: Event) -> Event:
    """Return `event` as if all records were in all samples, which is no more private."""
    return Composed(tuple(Repeated(part, count) for part, count in leaves(event)))


def _check_sampled(event: Event) -> Adjacency:
    """Refuse samples of clients that bring their own noise; that of a client stays, whichever of its records do not.

    Return the adjacency.
    """
    relation = adjacency_of(event)
    if relation is None:
        raise PrivacyParameterError("an empty composition has nothing to sample; leave it out")
    if any(isinstance(part, SummedDiscreteGaussianEvent) and part.unit is Unit.CLIENT for part, _ in leaves(event)):
        raise PrivacyParameterError(
            "a client that is left out of a sample takes its noise along, and no analysis of sampling allows for that; "
            "account for sums of clients' noise in full, without sampling"
        )
    return relation


def adjacency_of(event: Event) -> Adjacency | None:
    """Return the adjacency that all parts share, None for an empty composition; raise if they, or units, differ."""
    found = {part.adjacency for part, _ in leaves(event)}
    if len(found) > 1:
        raise PrivacyParameterError("events of different adjacencies do not compose; state all of them for one")
    units = {part.unit for part, _ in leaves(event) if isinstance(part, SummedDiscreteGaussianEvent)}
    if len(units) > 1 and Adjacency.ADD_REMOVE in found:
        raise PrivacyParameterError(
            "events of clients and of records do not compose for add-remove adjacency: without a record, what a client "
            "adds may move twice as far as without the client; state all of them for one unit, or for replace-one"
        )
    return found.pop() if found else None
