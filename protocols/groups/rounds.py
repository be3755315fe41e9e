"""A round in groups: the configuration of each group's masked session, and what a rule makes of their sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from secagg.encoding import Levels
from secagg.errors import EncodingError, ParameterError, StateError, ThresholdError

from ..core.threat_model import ThreatModel
from ..inputs.vectors import FloatVector
from ..masking.config import RoundConfig
from ..masking.policy import ClientPolicy
from ..masking.result import RoundResult
from .drawing import Groups
from .plan import GroupPlan
from .rules import Combined, Rule, combine


@dataclass(frozen=True)
class GroupedRounds:
    """The sessions of one round, a masked one for each group. Whatever runs a session runs these, side by side.

    Args:
        plan: of the groups.
        groups: as they were drawn by it.
        configure: the threat model of a group -> the configuration of its session: the same vectors for all. Private
            rounds are planned here, a group at a time: each group bears its own noise.

    Raises:
        ParameterError: the groups are not the plan's, or have a client in common, or a configuration has another threat
            model, other vectors, or sums with fewer honest inputs than planned.
    """

    plan: GroupPlan
    groups: Groups
    configure: Callable[[ThreatModel], RoundConfig]

    def __post_init__(self) -> None:
        """Configure the sessions."""
        self.configs  # noqa: B018 - raises here rather than later

    @cached_property
    def configs(self) -> tuple[RoundConfig, ...]:
        """Of each group's session; groups of the same size share one."""
        sizes = tuple(len(members) for members in self.groups.members)
        if sizes != self.plan.sizes:
            raise ParameterError(f"the groups have sizes {sizes}, but the plan's have {self.plan.sizes}")
        if len(frozenset().union(*self.groups.members)) != sum(sizes):
            raise ParameterError("a client is in two groups: its input would count twice")
        made = {size: self.configure(self.plan.model(size)) for size in dict.fromkeys(sizes)}
        for size, config in made.items():
            if config.threat_model != self.plan.model(size):
                raise ParameterError(f"configure changed the threat model of groups of {size}: take the given one")
            honest = config.min_survivors - config.threat_model.max_corrupt
            if honest < self.plan.honest_minimum:
                raise ParameterError(
                    f"sums of groups of {size} may have {honest} honest inputs, but the plan promises "
                    f"{self.plan.honest_minimum}: leave min_survivors 0"
                )
        alike = {
            # The noise of private rounds is planned for each size; all else is encoded in one way.
            tuple((spec.name, spec.length) if config.private else spec for spec in config.vectors)
            for config in made.values()
        }
        if len(alike) > 1 or len({config.max_weight for config in made.values()}) > 1:
            raise ParameterError("configure gave groups of different sizes other vectors or weights: give all one")
        return tuple(made[size] for size in sizes)

    def policy(self, size: int, policy: ClientPolicy | None = None) -> ClientPolicy:
        """Return what a client in a group of this size asks of its session, beside its own policy.

        No other size, no fewer corrupt clients withstood, no sum with fewer honest inputs than the plan says. What its
        own policy leaves at the default about these is the plan's to say. What it demands beyond the default stands.

        Raises:
            ParameterError: no group has this size, or the client's own policy demands more clients than it has.
        """
        if size not in self.plan.sizes:
            raise ParameterError(f"no group has {size} clients: they have {', '.join(map(str, set(self.plan.sizes)))}")
        return member_policy(size, self.plan.max_corrupt(size), self.plan.honest_minimum, policy)

    def finish(self, results: Mapping[int, RoundResult]) -> GroupedResult:
        """Return what the groups that ended with a result have come to; the others are left out.

        Args:
            results: place of a group, from 0 -> the result of its session.

        Raises:
            ThresholdError: fewer groups are left than planned: more of them may be spoilt than the rule bears.
            ParameterError: there is no such group, or a result is not of that group's session.
        """
        for place, result in results.items():
            self._check(place, result)
        self.check_enough(len(results), "a sum")
        left_out = tuple(place for place in range(len(self.configs)) if place not in results)
        return GroupedResult(self, {place: results[place] for place in sorted(results)}, left_out)

    def check_enough(self, groups: int, what: str) -> None:
        """Raise ThresholdError if fewer groups have something than the plan's rule needs."""
        if groups < self.plan.min_groups:
            raise ThresholdError(
                f"{groups} of {len(self.configs)} groups have {what}, but {self.plan.rule} needs "
                f"{self.plan.min_groups}, of which {self.plan.max_spoilt} may be spoilt: plan with more spare groups",
                needed=self.plan.min_groups,
                have=groups,
            )

    def _check(self, place: int, result: RoundResult) -> None:
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(self.configs):
            raise ParameterError(f"there is no group {place!r:.20}, but 0 to {len(self.configs) - 1}")
        config, members = self.configs[place], frozenset(self.groups.members[place])
        if not result.survivors <= members or len(result.survivors) < config.min_survivors or result.config != config:
            raise ParameterError(
                f"the result for group {place} is not of its session: other clients, or another setting"
            )


@dataclass(frozen=True)
class GroupedResult:
    """The outcome of a round in groups.

    Attributes:
        rounds: what was planned.
        results: place of a group -> what its session has summed.
        left_out: places of the groups that failed.
    """

    rounds: GroupedRounds
    results: Mapping[int, RoundResult]
    left_out: tuple[int, ...]

    @property
    def survivors(self) -> frozenset[str]:
        """Whose inputs are in the groups' sums."""
        return frozenset().union(*(result.survivors for result in self.results.values()))

    def combined(self, name: str, *, radius: float | None = None, centre: npt.ArrayLike | None = None) -> Combined:
        """Return what the plan's rule makes of the groups' means of a vector: `rules.combine`.

        Groups count alike, whatever weights their clients say they have; but for SUM, which is the mean of all inputs.
        A group whose weights add up to zero has no mean of a weighted vector: one client can bring that about. It is
        left out, and counts as one that failed; `distances` are of the others.

        Raises:
            ParameterError: there is no such vector; or as `combine`.
            ThresholdError: fewer groups have a mean than planned.
            StateError: no group has one.
        """
        plan = self.rounds.plan
        weighted = self._is_weighted(name)
        results = [result for result in self.results.values() if result.total_weight or not weighted]
        if plan.rule is not Rule.SUM:
            self.rounds.check_enough(len(results), "a mean")
        if not results:
            raise StateError("the weights of all groups add up to zero: there is no mean")
        means = [result.mean(name) for result in results]
        if plan.rule is not Rule.SUM:
            return combine(plan.rule, means, plan.max_spoilt, radius=radius, centre=centre)
        counts = [each.total_weight if weighted else len(each.survivors) for each in results]
        return combine(Rule.SUM, means, 0, weights=counts, max_weight=max(counts), radius=radius, centre=centre)

    def _is_weighted(self, name: str) -> bool:
        vectors = self.rounds.configs[0].vectors
        return any(spec.name == name and isinstance(spec, FloatVector) and spec.weighted for spec in vectors)

    @property
    def joint(self) -> RoundResult:
        """The sum of the groups' sums: exactly the result of one session over the same survivors; for SUM alone.

        Raises:
            ParameterError: the rule is another one, since a sum bears no spoilt group; or each group's sum has noise,
                and is rotated in its own way: take `combined`.
            EncodingError: integers whose sum does not fit in 64 bits.
        """
        if self.rounds.plan.rule is not Rule.SUM or self.rounds.configs[0].private:
            raise ParameterError("sums over all groups are of groups without noise, by a plan whose rule is the sum")
        results = list(self.results.values())
        return replace(
            results[0],
            survivors=self.survivors,
            total_weight=sum(result.total_weight for result in results),
            levels={name: _added([result.levels[name] for result in results]) for name in results[0].levels},
            excluded={name: why for result in results for name, why in result.excluded.items()},
            liars=frozenset().union(*(result.liars for result in results)),
            num_clipped={name: sum(result.num_clipped[name] for result in results) for name in results[0].num_clipped},
        )


def member_policy(size: int, max_corrupt: int, honest_minimum: int, policy: ClientPolicy | None = None) -> ClientPolicy:
    """Return what a client in a group asks of its session, as `GroupedRounds.policy`, from the numbers of its plan.

    Raises:
        ParameterError: the client's own policy demands more clients than the group has, or bears fewer.
    """
    usual, planned = ClientPolicy(), max_corrupt / size
    own = policy or usual
    if own.min_clients > max(size, usual.min_clients):
        raise ParameterError(
            f"this client demands sessions of {own.min_clients} clients, but its group has {size}: plan larger "
            "groups, or say what it demands of a group"
        )
    if own.max_clients < min(size, usual.max_clients):
        raise ParameterError(
            f"this client takes part with at most {own.max_clients} clients, but its group has {size}: plan smaller "
            "groups, or raise max_clients"
        )
    return replace(
        own,
        corrupt_clients=max(own.corrupt_clients, max_corrupt),
        corrupt_fraction=max(own.corrupt_fraction, planned)
        if own.corrupt_fraction > usual.corrupt_fraction
        else planned,
        min_clients=size,
        max_clients=size,
        min_survivors=max(own.min_survivors, max_corrupt + honest_minimum),
    )


def _added(levels: Sequence[Levels]) -> Levels:
    if sum(int(np.abs(part).max(initial=0)) for part in levels) >= 1 << 63:
        raise EncodingError("the sum over all groups does not fit in 64 bits: narrow the range of the vector")
    total: Levels = np.sum(levels, axis=0, dtype=np.int64)
    return total
