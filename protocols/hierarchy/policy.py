"""What a client, or an operator as a client of the level above, demands of a hierarchy and of its session in it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from secagg.errors import ParameterError

from ..core.numbers import whole
from ..core.threat_model import ThreatModel
from ..masking.config import RoundConfig
from ..masking.policy import ClientPolicy
from .levels import MAX_LEVELS, Hierarchy


@dataclass(frozen=True)
class Consent:
    """How high sums may go that have a client's input in them, and among how many it must be hidden.

    It binds whoever keeps to the terms. An operator that does not can tell its group's sum to anybody.

    Args:
        max_levels: refuse a hierarchy of more levels.
        min_honest: refuse one in which some operator learns a sum with fewer inputs of clients that are not corrupt.

    Raises:
        ParameterError: a value is out of range.
    """

    max_levels: int = MAX_LEVELS
    min_honest: int = 4

    def __post_init__(self) -> None:
        """Check both."""
        object.__setattr__(self, "max_levels", whole(self.max_levels, "max_levels", 1, MAX_LEVELS))
        object.__setattr__(self, "min_honest", whole(self.min_honest, "min_honest", 0))

    def check(self, hierarchy: Hierarchy) -> None:
        """Return if the hierarchy is as demanded; raise ParameterError if not."""
        names = [level.name for level in hierarchy.levels]
        if len(names) > self.max_levels:
            raise ParameterError(
                f"the hierarchy sums up to the {names[-1]}, {len(names)} levels, but this client consents to "
                f"{self.max_levels}, up to the {names[self.max_levels - 1]}"
            )
        for row in hierarchy.learned:
            if row.honest < self.min_honest:
                raise ParameterError(
                    f"the operator of a {row.level} may learn a sum of {row.honest} inputs that are not corrupt, but "
                    f"this client demands {self.min_honest}: larger groups, or fewer that may be corrupt or vanish"
                )


@dataclass(frozen=True, kw_only=True)
class LevelPolicy(ClientPolicy):
    """A policy that takes the sessions of one hierarchy and level alone: `policy_of` makes it.

    A client refuses every other configuration before it says a word. After a dump, `Client.load` is given it again.
    """

    hierarchy: Hierarchy
    level: int

    def check_model(self, model: ThreatModel) -> None:
        """Return if the threat model is the level's and meets the policy; raise ParameterError if not."""
        super().check_model(model)
        if model != self.hierarchy.levels[self.level].model(model.num_clients):
            raise ParameterError(
                f"the session has another threat model than a {self.hierarchy.levels[self.level].name} of "
                f"{model.num_clients} has by the terms"
            )

    def check(self, config: RoundConfig) -> None:
        """Return if the session is one of the hierarchy's and meets the policy; raise ParameterError if not."""
        super().check(config)
        if config != self.hierarchy.config(self.level, config.num_clients):
            raise ParameterError(
                f"the session is not that of a {self.hierarchy.levels[self.level].name} by the terms that this client "
                "knows: other levels, vectors or widths"
            )


def policy_of(
    hierarchy: Hierarchy, level: int, policy: ClientPolicy | None = None, consent: Consent | None = None
) -> LevelPolicy:
    """Return what a member of a group at this level demands, beside its own policy.

    Args:
        hierarchy: the terms, which the member knows beforehand.
        level: of the group, from 0. Its members are clients at 0, operators of groups above.
        policy: the member's own; its defaults refuse small groups.
        consent: what the member demands of all levels.

    Raises:
        ParameterError: the hierarchy is not as demanded, or has no such level.
    """
    (consent or Consent()).check(hierarchy)
    own = policy or ClientPolicy()
    given = {each.name: getattr(own, each.name) for each in fields(ClientPolicy)}
    return LevelPolicy(**given, hierarchy=hierarchy, level=whole(level, "level", 0, len(hierarchy.levels) - 1))
