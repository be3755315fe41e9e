"""Plans of private rounds: from who takes part, what is asked and how private, scale, noise and modulus are derived.

Source: Kairouz, Liu, Steinke 2021, with the noise calibrated to the fewest honest clients that the sum may have (SPEC
section 29). Run by whoever plans the rounds; clients check the outcome by themselves (`PrivacyDemand`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

from dp.accounting import epsilon_of
from dp.distributed import LEAST_LOCAL_SIGMA, Goal, NoiseShare, least_fine_sigma, local_sigma_for
from dp.errors import DpError
from dp.events import Event, Repeated
from dp.preparation import Preparation
from dp.rational import number
from dp.rotation import padded_length
from dp.sensitivity import Adjacency, Unit, named
from secagg.errors import ParameterError

from ..core.numbers import in_our_words, whole
from ..core.threat_model import ThreatModel
from ..inputs.noisy_counts import NoisyCounts
from ..inputs.noisy_floats import NoisyFloats
from ..inputs.vectors import PrivateCounts, PrivateVector
from ..masking.config import MAX_LENGTH, RoundConfig
from ..masking.topology import GraphKind
from .payment import Payable

MIN_PARTICIPANTS = 10
_STEPS_A_COORDINATE = 4.0
"""With a clip of 4 sqrt(d) steps, rounding raises the bound on the norm by about one part in a hundred."""
_MAX_BITS = 63
_HALVINGS = 16

Codec = TypeVar("Codec", NoisyFloats, NoisyCounts)


@dataclass(frozen=True)
class _Fit(Generic[Codec]):
    """An encoding that fits, or None; the bits of the coarsest that serves the goal, and of one that is fine enough."""

    codec: Codec | None
    min_bits: int
    full_bits: int


@dataclass(frozen=True, kw_only=True)
class Rounds(Payable, ABC):
    """What all plans state, and what follows, whatever the vectors are."""

    threat_model: ThreatModel
    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    rounds: int = 1
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    unit: Unit = Unit.CLIENT
    sampling_rate: float = 1.0
    min_participants: int = MIN_PARTICIPANTS
    max_modulus_bits: int = _MAX_BITS
    graph: GraphKind | None = None

    def __post_init__(self) -> None:
        """Derive everything once, so that what is impossible is refused here."""
        object.__setattr__(self, "max_modulus_bits", whole(self.max_modulus_bits, "max_modulus_bits", 2, _MAX_BITS))
        object.__setattr__(self, "min_participants", whole(self.min_participants, "min_participants", 1))
        with in_our_words():
            object.__setattr__(self, "unit", named(Unit, self.unit))
        for name in ("adjacency", "delta", "epsilon", "noise_multiplier", "rounds", "sampling_rate"):
            object.__setattr__(self, name, getattr(self.goal, name))
        if self.sampling_rate < 1 and self.unit is Unit.CLIENT:
            raise ParameterError(
                f"sampling_rate is {self.sampling_rate:g}, but must be 1 where the unit is the client: one that is "
                f"left out takes its noise along; sample records, with unit={str(Unit.RECORD)!r}"
            )
        if self.min_survivors > self.threat_model.num_clients:
            raise ParameterError(
                f"{self.threat_model.num_clients} clients are invited, but a sum needs {self.min_participants} "
                f"participants: invite more, or lower min_participants"
            )
        if self.honest < 1:
            raise ParameterError(
                f"of {self.min_survivors} survivors {self.threat_model.max_corrupt} may be corrupt, so nobody's "
                "noise would be left: lower corrupt_fraction or dropout_fraction"
            )
        with in_our_words():
            _ = self.config

    @property
    def min_survivors(self) -> int:
        """The fewest inputs of a sum: what dropouts may leave, and no fewer than min_participants."""
        return max(self.threat_model.min_survivors, self.min_participants)

    @property
    def honest(self) -> int:
        """The fewest honest clients whose noise is in the sum: to these it is calibrated."""
        return self.min_survivors - self.threat_model.max_corrupt

    @cached_property
    def goal(self) -> Goal:
        """The goal in the words of `dp`."""
        with in_our_words():
            return Goal(
                self.adjacency, self.delta, self.epsilon, self.noise_multiplier, self.rounds, self.sampling_rate
            )

    @property
    @abstractmethod
    def config(self) -> RoundConfig:
        """The configuration that the server proposes."""

    def event(self, survivors: int | None = None) -> Event:
        """Return what one sum reveals of a unit: of so many inputs, or of the fewest that it may have."""
        inputs = self.min_survivors if survivors is None else survivors
        return self.sampled(self.config.event(inputs, self.adjacency))

    def sampled(self, event: Event) -> Event:
        """Return what a sum's event comes to where clients sample their records as planned."""
        return self.goal.sampled(event)

    @cached_property
    def epsilon_total(self) -> float:
        """The epsilon at delta that all rounds cost at most, whoever sees the sums."""
        return epsilon_of(Repeated(self.event(), self.rounds), self.delta)


@dataclass(frozen=True, kw_only=True)
class _Plan(Rounds, Generic[Codec]):
    """A plan of rounds that sum one vector."""

    @cached_property
    def codec(self) -> Codec:
        """The encoding with its bounds and its noise."""
        fit = self._fit(self.goal)
        if fit.codec is None:
            raise self._too_many_bits(fit)
        return fit.codec

    @cached_property
    def config(self) -> RoundConfig:
        """The configuration that the server proposes."""
        return RoundConfig(
            self.threat_model,
            (self.codec.spec,),
            min_survivors=self.min_survivors,
            graph=self.graph,
        )

    def sum_deviation(self, survivors: int) -> float:
        """Return the standard deviation of the noise on each entry of a sum, in the units of the values."""
        return self.codec.share.local_sigma * math.sqrt(survivors) / self.codec.spec.scale

    @abstractmethod
    def _fit(self, goal: Goal) -> _Fit[Codec]:
        """Return the encoding that serves a goal and fits the modulus, if there is one."""

    def _too_many_bits(self, fit: _Fit[Codec]) -> ParameterError:
        """Say which knob to turn, and by how much."""
        remedies = [f"max_modulus_bits to {fit.min_bits}"]
        if fit.min_bits < fit.full_bits:
            remedies[0] += f" (or to {fit.full_bits}, for no more noise than needed)"
        if self.epsilon is not None:
            for doublings in range(1, 16):
                goal = replace(self.goal, epsilon=self.epsilon * 2**doublings)
                if self._fit(goal).codec is not None:
                    remedies.append(f"epsilon to {goal.epsilon:g}")
                    break
        return ParameterError(
            f"max_modulus_bits is {self.max_modulus_bits}, but sums of {self.threat_model.num_clients} inputs with "
            f"noise for this goal take {fit.min_bits}: raise {', or '.join(remedies)}"
        )


@dataclass(frozen=True, kw_only=True)
class PrivatePlan(_Plan[NoisyFloats]):
    """Private sums of vectors of floats, such as model updates: `plan.config` goes to the `Server`.

    Args:
        threat_model: who takes part and what may go wrong.
        length: number of coordinates, at least 1.
        l2_clip: clients scale longer vectors down to this L2 norm: their own, or those of their records.
        max_records: where the unit is the record: the modulus has room for so many records of each client. With more,
            entries of a client's sum may be cut; that changes nothing about privacy.
        delta: in (0, 1); well below one over the number of clients.
        epsilon: the goal for all rounds together, or None where noise_multiplier is given.
        noise_multiplier: sigma over sensitivity of the noise in a sum, or None where epsilon is given.
        rounds: how many such rounds the goal is for.
        adjacency: ADD_REMOVE (a contribution could be zero, a record not be there) or REPLACE_ONE.
        unit: whose change the noise covers: all that a CLIENT hands in, or one RECORD of it.
        sampling_rate: where the unit is the record: the probability with which clients let each of their records take
            part in a round, by coins of their own (`dp.sample_records`). The noise counts on honest clients to do so.
        min_participants: fewer inputs are never summed.
        max_modulus_bits: the most bits of a residue, 2 to 63; the traffic grows with what is needed of them.
        graph: as in `RoundConfig`.
        name: of the vector.
        least_steps: the clip is so many integer steps at least, where `max_modulus_bits` has room: what rounding adds
            grows with the number of records, and shrinks with the steps.

    Raises:
        ParameterError: no encoding or noise serves it; the text says what would.
    """

    length: int
    l2_clip: float
    name: str = "update"
    max_records: int = 1
    least_steps: float = 0.5

    def __post_init__(self) -> None:
        """Take what is this plan's own."""
        object.__setattr__(self, "length", whole(self.length, "length", 1, MAX_LENGTH))
        object.__setattr__(self, "l2_clip", _number(self.l2_clip, "l2_clip"))
        object.__setattr__(self, "max_records", whole(self.max_records, "max_records", 1))
        object.__setattr__(self, "least_steps", _number(self.least_steps, "least_steps"))
        super().__post_init__()

    def _fit(self, goal: Goal) -> _Fit[NoisyFloats]:
        multiplier = goal.gaussian_multiplier()
        full = self._full_norm(goal, multiplier)
        codec = self._with_norm(full, goal, multiplier)
        bits = min_bits = codec.modulus_bits
        if bits <= self.max_modulus_bits:
            return _Fit(codec, bits, bits)
        best: NoisyFloats | None = None
        low, high = 1.0, full
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            try:
                codec = self._with_norm(middle, goal, multiplier)
            except DpError:  # too coarse to be accounted for
                low = middle
                continue
            min_bits = min(min_bits, codec.modulus_bits)
            if codec.modulus_bits <= self.max_modulus_bits:
                best, low = codec, middle
            else:
                high = middle
        return _Fit(best, min_bits, bits)

    def _full_norm(self, goal: Goal, multiplier: float) -> float:
        """Return the clip in steps beyond which finer ones gain next to nothing."""
        dimension = padded_length(self.length)
        factor = 2 if self.adjacency is Adjacency.REPLACE_ONE else 1
        fine = 1.05 * least_fine_sigma(self.honest, dimension) * math.sqrt(self.honest) / (multiplier * factor)
        return max(_STEPS_A_COORDINATE * math.sqrt(dimension), fine, self.least_steps)

    def _with_norm(self, norm: float, goal: Goal, multiplier: float) -> NoisyFloats:
        scale = norm / self.l2_clip
        made = Preparation(self.length, self.l2_clip, scale)
        bounds = NoiseShare(LEAST_LOCAL_SIGMA, made.dimension, made.l2_bound, made.l1_bound, unit=self.unit)
        sigma = local_sigma_for(goal, multiplier, bounds, self.honest)
        spec = PrivateVector(self.name, self.length, self.l2_clip, scale, sigma, self.unit, self.max_records)
        return NoisyFloats(spec, self.threat_model.num_clients)


@dataclass(frozen=True, kw_only=True)
class HistogramPlan(_Plan[NoisyCounts]):
    """Private histograms: how many clients fall into each bin. The bins are fixed beforehand.

    Args:
        bins: number of bins, at least 1.
        max_total: the most that one client's counts may sum to; 1 where each casts one vote. Where the unit is the
            record: the most that each of a client's counts may be, for which the modulus has room.
        max_per_record: where the unit is the record: the most that the counts of one may sum to.
        least_count: released counts below this are 0.

    The other arguments, and what is raised, are those of `PrivatePlan`.
    """

    bins: int
    max_total: int = 1
    least_count: int = 10
    name: str = "counts"
    max_per_record: int = 1

    def __post_init__(self) -> None:
        """Take what is this plan's own."""
        object.__setattr__(self, "bins", whole(self.bins, "bins", 1, MAX_LENGTH))
        object.__setattr__(self, "max_total", whole(self.max_total, "max_total", 1))
        object.__setattr__(self, "max_per_record", whole(self.max_per_record, "max_per_record", 1))
        object.__setattr__(self, "least_count", whole(self.least_count, "least_count", 0))
        super().__post_init__()

    def _fit(self, goal: Goal) -> _Fit[NoisyCounts]:
        multiplier = goal.gaussian_multiplier()
        total = float(self.max_total if self.unit is Unit.CLIENT else self.max_per_record)
        unscaled = NoiseShare(LEAST_LOCAL_SIGMA, self.bins, total, total, nonnegative=True, unit=self.unit)
        fine = 1.05 * least_fine_sigma(self.honest, self.bins) * math.sqrt(self.honest)
        scale = max(1, math.ceil(fine / (multiplier * unscaled.sensitivities(self.adjacency)[0])))
        bounds = replace(unscaled, l2_bound=total * scale, l1_bound=total * scale)
        sigma = local_sigma_for(goal, multiplier, bounds, self.honest)
        spec = PrivateCounts(
            self.name, self.bins, self.max_total, scale, sigma, self.least_count, self.unit, self.max_per_record
        )
        codec = NoisyCounts(spec, self.threat_model.num_clients)
        bits = codec.modulus_bits
        return _Fit(codec if bits <= self.max_modulus_bits else None, bits, bits)


def _number(value: float, name: str) -> float:
    with in_our_words():
        return number(value, name)
