"""A simulated round in groups whose sum over all is held against the plain one: `secagg round --groups`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from secagg.randomness import SYSTEM

from ..core.participants import Participants
from ..core.threat_model import ThreatModel
from ..groups.drawing import deal
from ..groups.plan import GroupPlan
from ..groups.rounds import GroupedRounds
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from .checked import Updates, round_facts
from .drawn import plain_sum
from .grouped import GroupedReport, run_in_groups
from .masked import COLLECTED_PHASES

Drops = Mapping[ServerPhase, frozenset[str]]


@dataclass(frozen=True)
class CheckedGroups:
    """A round in groups, and whether its sum is exactly the sum of the survivors' fixed-point encodings."""

    rounds: GroupedRounds
    exact: bool
    report: GroupedReport
    drops: Sequence[Drops]

    def facts(self) -> dict[str, Any]:
        """Return what the command prints as JSON: counts, seconds and bytes of all groups; the first one's graph."""
        each = [
            round_facts(self.rounds.configs[place], report, self.drops[place])
            for place, report in self.report.reports.items()
        ]
        shares = np.array([facts["survivors"] for facts in each]) / sum(facts["survivors"] for facts in each)

        def mean(part: str, key: str) -> float:
            return float(np.dot(shares, [facts[part][key] for facts in each]))

        phases = each[0]["seconds"]["phases"]
        return {
            "exact": self.exact,
            **each[0],
            "groups": len(each),
            **{key: sum(facts[key] for facts in each) for key in ("clients", "survivors", "orphaned_pairs")},
            "seconds": {
                "client_mean": mean("seconds", "client_mean"),
                "client_max": max(facts["seconds"]["client_max"] for facts in each),
                **{key: sum(facts["seconds"][key] for facts in each) for key in ("server", "wall")},
                "phases": {phase: sum(facts["seconds"]["phases"][phase] for facts in each) for phase in phases},
            },
            "bytes": {
                **{key: mean("bytes", key) for key in ("client_sent_mean", "client_received_mean")},
                "server_received": sum(facts["bytes"]["server_received"] for facts in each),
            },
            "peak_memory_bytes": max(facts["peak_memory_bytes"] for facts in each),
        }


def run_checked_groups(
    plan: GroupPlan,
    configure: Callable[[ThreatModel], RoundConfig],
    drop_fractions: Mapping[ServerPhase, float],
    *,
    seed: int,
    workers: int = 1,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> CheckedGroups:
    """Run a round of one float vector, rounded to nearest, in groups that are dealt by a fresh coin, and compare.

    The fractions vanish from each group. `seed` is of data and dropouts, not of the coin.

    Raises:
        ParameterError: the plan's rule is not the sum, or a configuration is not one for its groups.
        SecAggError: the round ended without a sum.
    """
    people = Participants.numbered(plan.num_clients)
    rounds = GroupedRounds(plan, deal(plan, people, SYSTEM(32)), configure)
    rng = np.random.default_rng(seed)
    drops = [_some_of(members, drop_fractions, rng) for members in rounds.groups.members]
    if workers == 1:  # else all processes do, at the same time
        warm_up(rounds.configs[0])
    inputs = Updates(rounds.configs[0], plan.num_clients, seed)
    everyone = {phase: frozenset().union(*(each[phase] for each in drops)) for phase in COLLECTED_PHASES}
    report = run_in_groups(rounds, inputs, everyone, workers=workers, on_progress=on_progress)
    joint, (spec,) = report.result.joint, rounds.configs[0].vectors
    # Without workers all groups have asked the same object.
    sources = {id(source): source for each in report.reports.values() for source in each.sources}
    expected, given_to = plain_sum(list(sources.values()))
    exact = given_to == joint.survivors and np.array_equal(joint.levels[spec.name], expected)
    return CheckedGroups(rounds, exact, report, drops)


def _some_of(members: Participants, fractions: Mapping[ServerPhase, float], rng: np.random.Generator) -> Drops:
    """Choose floor(fraction * size) members for each phase, none of them twice."""
    order, start, drops = [members.names[place] for place in rng.permutation(len(members))], 0, {}
    for phase in COLLECTED_PHASES:
        count = math.floor(fractions.get(phase, 0.0) * len(members) + 1e-9)
        drops[phase] = frozenset(order[start : start + count])
        start += count
    return drops
