"""Plans of private rounds that sum several vectors at once: a model, its weights, its metrics, and how clips fit.

All vectors of a round are one release. Gaussian noise on several of them composes exactly: with multipliers z_i it
costs what one vector costs with (sum of z_i**-2)**-1/2. So a goal's multiplier is shared out among the parts. Clips
that follow a quantile take their part from votes, as Andrew et al. (2021) have it (SPEC section 29).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from dp.accounting import epsilon_of
from dp.discrete import SLACK
from dp.distributed import LARGEST_SUM_SLACK, LEAST_LOCAL_SIGMA, Goal, NoiseShare, least_fine_sigma, local_sigma_for
from dp.events import Repeated
from dp.nearness import MU_OF_SLACK
from dp.quantile import AdaptiveClip
from dp.sensitivity import Adjacency, Unit
from secagg.errors import ParameterError, StateError

from ..core.numbers import in_our_words, real, whole
from ..inputs.vectors import PrivateSpec, PrivateVector, PrivateVotes
from ..masking.config import RoundConfig
from ..masking.result import RoundResult
from .plans import HistogramPlan, PrivatePlan, Rounds

_VOTES = "votes on "
_PRICE = MU_OF_SLACK * (LARGEST_SUM_SLACK + SLACK)
"""What discreteness adds to the mu of each part, at most."""
_TOLD_APART = 3.0
_NEIGHBOURS = 64


@dataclass(frozen=True, kw_only=True)
class PlannedVector:
    """Floats in a joint plan.

    Args:
        name: of the vector.
        length: number of coordinates, at least 1.
        l2_clip: longer vectors are scaled down to this L2 norm: those of clients, or of records.
        max_records: as in `PrivatePlan`.
        share: of the precision, relative to the other parts': noise over clip is less by as much.
        follows: the quantile of norms that the clip shall follow, in (0, 1), or None for a fixed clip. Then units vote
            in each round, and `JointPlan.after` moves the clip.
        voters: how many units vote, about: the clients; where the unit is the record, how many records are expected
            in a round, which must be given. Public.
        rate: by how much the clip moves, at most, in logarithms.
        count_sigma: noise on the number of units within the clip; None for a twentieth of the voters, or as much as
            leaves at least three quarters of the squared mu to what is not voted.
    """

    name: str
    length: int
    l2_clip: float
    max_records: int = 1
    share: float = 1.0
    follows: float | None = None
    voters: int | None = None
    rate: float = 0.2
    count_sigma: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedCounts:
    """A histogram in a joint plan; the arguments are those of `HistogramPlan`, and `share` as in `PlannedVector`."""

    name: str
    bins: int
    max_total: int = 1
    max_per_record: int = 1
    least_count: int = 10
    share: float = 1.0


Part = PlannedVector | PlannedCounts


@dataclass(frozen=True, kw_only=True)
class JointPlan(Rounds):
    """Private rounds that sum several vectors: `plan.config` goes to the `Server`.

    Args:
        parts: of which each round is made, at least one, with names of their own.

    The other arguments are those of `PrivatePlan`, `max_modulus_bits` for the widest of the vectors.

    Raises:
        ParameterError: no noise or encoding serves it; the text says what would.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        """Take what is this plan's own."""
        if not isinstance(self.parts, Iterable):
            raise ParameterError(f"parts is a {type(self.parts).__name__}, but must be a tuple of parts")
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts or not all(isinstance(part, Part) for part in self.parts):
            raise ParameterError("parts must be PlannedVector and PlannedCounts, at least one of them")
        shares = [real(part.share, f"share of {part.name!r}", 2.0**-20, 2.0**20) for part in self.parts]
        settled = tuple(replace(part, share=share) for part, share in zip(self.parts, shares, strict=True))
        object.__setattr__(self, "parts", settled)
        super().__post_init__()

    @cached_property
    def clips(self) -> Mapping[str, AdaptiveClip]:
        """Clips that follow a quantile, by their vectors' names."""
        return {part.name: self._clip(part) for part in self._followers}

    @cached_property
    def config(self) -> RoundConfig:
        """The configuration that the server proposes."""
        more, step = 1.0, 1e-9
        while True:
            config = RoundConfig(
                self.threat_model, self._specs(more), min_survivors=self.min_survivors, graph=self.graph
            )
            if self.epsilon is None:
                return config
            series = Repeated(self.sampled(config.event(self.min_survivors, self.adjacency)), self.rounds)
            if epsilon_of(series, self.delta) <= self.epsilon:
                return config
            more, step = more + step, 4 * step

    def after(self, result: RoundResult) -> Self:
        """Return the plan of the next round, whose clips have followed this round's votes. It costs no more.

        Args:
            result: of a round of this plan.

        Raises:
            ParameterError: the result has no votes that this plan asks for.
        """
        moved: list[Part] = []
        for part in self.parts:
            if isinstance(part, PlannedVector) and part.name in self.clips:
                votes = float(result.sum(_VOTES + part.name)[0])
                following = self.clips[part.name].update_from_noisy(votes, self._voters(part, len(result.survivors)))
                moved.append(replace(part, l2_clip=following.clip))
            else:
                moved.append(part)
        return replace(self, parts=tuple(moved))

    def deviation(self, name: str, survivors: int) -> float:
        """Return the standard deviation of the noise on each entry of a vector's sum, in the units of its values."""
        for spec in self.config.vectors:
            if spec.name == name and isinstance(spec, PrivateSpec):
                return spec.local_sigma * math.sqrt(survivors) / spec.scale
        raise ParameterError(f"the plan has no vector {name!r}, but {[part.name for part in self.parts]}")

    def weighted_mean(self, result: RoundResult, name: str, by: str) -> npt.NDArray[np.float64]:
        """Return the sum of weighed vectors (`weighed`) over the sum of their weights: float64 (length,).

        Args:
            result: of a round of this plan.
            name: of the vector.
            by: name of the vector of one number that holds the weights, each from 0 to 1.

        Raises:
            ParameterError: there is no such vector, or the weights are more than one number.
            StateError: the sum of the weights is not three deviations of its noise above 0: no mean follows from it.
        """
        total = result.sum(by)
        if total.shape != (1,):
            raise ParameterError(f"{by!r} has {total.size} numbers, but weights are one")
        noise = self.deviation(by, len(result.survivors))
        if total[0] < _TOLD_APART * noise:
            raise StateError(
                f"the sum of the weights is {total[0]:.4g}, with noise of {noise:.4g}: there is no mean; give the "
                f"weights a greater share, or raise epsilon"
            )
        return np.asarray(result.sum(name) / total[0], dtype=np.float64)

    @property
    def _followers(self) -> list[PlannedVector]:
        return [part for part in self.parts if isinstance(part, PlannedVector) and part.follows is not None]

    def _clip(self, part: PlannedVector) -> AdaptiveClip:
        sigma = part.count_sigma
        if sigma is None:
            costly = self._multiplier * self._moved * math.sqrt(len(self._followers))
            sigma = max(self._voters(part, self.threat_model.num_clients) / 20, costly)
        with in_our_words(f"the clip of {part.name!r}"):
            return AdaptiveClip(part.l2_clip, part.follows or 0.0, sigma, part.rate, self.adjacency)

    def _voters(self, part: PlannedVector, clients: int) -> int:
        if self.unit is Unit.CLIENT:
            return clients
        if part.voters is None:
            raise ParameterError(
                f"the clip of {part.name!r} follows records' votes, and how many vote is not told to anybody: give "
                "voters, the number of records that is expected in a round"
            )
        return whole(part.voters, f"voters of {part.name!r}", 1)

    @property
    def _moved(self) -> int:
        return 2 if self.adjacency is Adjacency.REPLACE_ONE else 1

    @cached_property
    def _multiplier(self) -> float:
        """Of one Gaussian release that serves the goal."""
        with in_our_words():
            return self.goal.gaussian_multiplier()

    def _specs(self, more: float) -> tuple[PrivateSpec, ...]:
        """Return the vectors, with so many times the noise that the goal asks for."""
        left = self._multiplier * more
        votes = []
        for name, clip in self.clips.items():
            with in_our_words(f"the clip of {name!r}"):
                left = clip.noise_multiplier_beside(left)
            votes.append(self._votes(name, clip, more))
        length = math.sqrt(math.fsum(part.share**2 for part in self.parts))
        vectors = [self._spec(part, left * length / part.share) for part in self.parts]
        return (*vectors, *votes)

    def _spec(self, part: Part, multiplier: float) -> PrivateSpec:
        common: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Rounds)}
        common |= {"epsilon": None, "noise_multiplier": _above_price(multiplier, part.name), "name": part.name}
        try:
            if isinstance(part, PlannedVector):
                steady = part.name in self.clips
                l2_clip = 1.0 if steady else part.l2_clip
                plan = PrivatePlan(length=part.length, l2_clip=l2_clip, max_records=part.max_records, **common)
                spec = plan.codec.spec
                return _clipped_to(part.l2_clip, spec) if steady else spec
            own = {name: value for name, value in vars(part).items() if name != "share"}
            return HistogramPlan(**common | own).codec.spec
        except ParameterError as error:
            raise ParameterError(f"part {part.name!r}: {error}") from None

    def _votes(self, name: str, clip: AdaptiveClip, more: float) -> PrivateVotes:
        """Return the votes on a clip, with steps fine enough for the noise to be accounted as Gaussian."""
        multiplier = _above_price(2 * clip.count_sigma / self._moved * more, name)
        fine = 1.05 * least_fine_sigma(self.honest, 1) * math.sqrt(self.honest)
        scale = max(1, math.ceil(fine / (multiplier * self._moved)))
        bounds = NoiseShare(LEAST_LOCAL_SIGMA, 1, float(scale), float(scale), unit=self.unit)
        goal = Goal(self.adjacency, self.delta, noise_multiplier=multiplier)
        sigma = local_sigma_for(goal, multiplier, bounds, self.honest)
        of = next(part for part in self.parts if part.name == name)
        room = of.max_records if isinstance(of, PlannedVector) else 1
        return PrivateVotes(_VOTES + name, name, scale, sigma, self.unit, room)


def weighed(value: npt.ArrayLike, weight: float, max_weight: float) -> npt.NDArray[np.float64]:
    """Return a client's vector times its weight, as a share of the largest: float64, of the value's shape.

    The weight itself goes into the round as another vector: `weighed([1.0], weight, max_weight)`. Weights beyond
    max_weight count as that, and those below 0 or no number at all as 0: in a private round nothing is refused.

    Args:
        value: floats.
        weight: the client's own, such as its number of examples.
        max_weight: the same for all clients, above 0.

    Raises:
        ParameterError: max_weight is not above 0.
    """
    most = real(max_weight, "max_weight", 2.0**-1000, 2.0**1000)
    within = weight if 0 <= weight <= most else most if weight > most else 0.0
    return np.asarray(value, dtype=np.float64) * (float(within) / float(most))


def _clipped_to(l2_clip: float, spec: PrivateVector) -> PrivateVector:
    """Return a vector of clip 1 with another, of as many steps: the last digits of it give way, so that the cost stays.

    A budget that counts releases of one event takes no other, however little it differs.
    """
    steps, near = spec.scale, l2_clip
    for _ in range(_NEIGHBOURS):
        if near * (steps / near) == steps:
            break
        near = math.nextafter(near, math.inf)
    return msgspec.structs.replace(spec, l2_clip=near, scale=steps / near)


def _above_price(multiplier: float, name: str) -> float:
    """Return a multiplier that is worth this one when discreteness is paid for."""
    mu = 1 / multiplier - _PRICE
    if mu <= 0:
        raise ParameterError(f"so little privacy is left to {name!r} that discreteness takes it: raise its share")
    return 1 / mu
