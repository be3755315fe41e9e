"""A simulated round in groups whose joint sum is held against the plain one, whatever ran the groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from secagg.errors import ParameterError

from ..core.participants import Participants
from ..core.threat_model import ThreatModel
from ..groups.drawing import Groups, deal
from ..groups.plan import GroupPlan
from ..groups.rounds import GroupedRounds
from ..groups.rules import Rule
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from .checked import Updates, orphaned_pairs, round_facts
from .grouped import GroupedReport
from .masked import COLLECTED_PHASES, choose_drops

Drops = Mapping[ServerPhase, frozenset[str]]
_BEFORE_INPUTS = COLLECTED_PHASES[: COLLECTED_PHASES.index(ServerPhase.MASKED_INPUT) + 1]


@dataclass(frozen=True)
class CheckedGroups:
    """A round's outcome, and whether its sum is exactly that of the survivors' fixed-point encodings.

    `wall_seconds` is of the groups, without the comparison.
    """

    rounds: GroupedRounds
    exact: bool
    report: GroupedReport
    drops: Drops
    wall_seconds: float

    def facts(self) -> dict[str, Any]:
        """Return what the command prints as JSON: as of one session, and the groups.

        Counts, bytes and seconds are of all groups; degree, threshold and modulus of the largest.
        """
        reports = list(self.report.reports.values())
        everyone = Participants(name for group in self.rounds.groups.members for name in group)
        phases = {phase: 0.0 for report in reports for phase in report.phase_seconds}
        for report in reports:
            for phase, seconds in report.phase_seconds.items():
                phases[phase] += seconds
        whole = replace(
            reports[0],
            result=self.report.result.joint,
            participants=everyone,
            clients={name: cost for report in reports for name, cost in report.clients.items()},
            server_seconds=sum(report.server_seconds for report in reports),
            server_processor_seconds=sum(report.server_processor_seconds for report in reports),
            wall_seconds=self.wall_seconds,
            phase_seconds=phases,
            peak_memory_bytes=max(report.peak_memory_bytes for report in reports),
        )
        vanished = self.drops[ServerPhase.MASKED_INPUT]
        orphaned = (
            orphaned_pairs(report, {ServerPhase.MASKED_INPUT: vanished & set(report.participants)})
            for report in reports
        )
        facts = round_facts(self.rounds.configs[0], whole, {ServerPhase.MASKED_INPUT: frozenset()})
        return {
            "exact": self.exact,
            **facts,
            "clients": len(everyone),
            "orphaned_pairs": sum(orphaned),
            "groups": len(self.rounds.configs),
            "left_out": list(self.report.result.left_out),
        }


def run_checked_groups(
    plan: GroupPlan,
    configure: Callable[[ThreatModel], RoundConfig],
    drop_fractions: Mapping[ServerPhase, float],
    run: Callable[[GroupedRounds, Updates, Drops], GroupedReport],
    *,
    seed: int,
) -> CheckedGroups:
    """Run a round of one float vector, rounded to nearest, in groups on simulated data, and compare.

    The groups follow from the seed here, so that a round can be begun again; in earnest they follow from a draw. The
    plain sum is drawn anew in this process, by other code than the encoding's (`checked`).

    Args:
        plan: whose rule is the sum.
        configure: as `GroupedRounds` has it.
        drop_fractions: phase -> the fraction of each group that vanishes before it answers.
        run: rounds, inputs and drops -> what `run_in_groups`, or another engine, gives for them.
        seed: of the data, the dropouts and the groups.

    Raises:
        ParameterError: the rule is not the sum.
        SecAggError: the round ended without a sum.
    """
    if plan.rule is not Rule.SUM:
        raise ParameterError(f"only sums are compared with the plain one, but the plan's rule is {plan.rule}")
    coin = np.random.default_rng((seed, 0)).bytes(32)  # clients' numbers begin at 1
    groups = deal(plan, Participants.numbered(plan.num_clients), coin)
    rounds = GroupedRounds(plan, groups, configure)
    drops = _drops(groups, drop_fractions, seed)
    inputs = Updates(rounds.configs[0], plan.num_clients, seed)
    started = time.perf_counter()
    warm_up(rounds.configs[0])
    report = run(rounds, inputs, drops)
    took = time.perf_counter() - started
    joint, (spec,) = report.result.joint, rounds.configs[0].vectors
    gone = frozenset[str]().union(*(drops[phase] for phase in _BEFORE_INPUTS))
    expected = {name for place in report.reports for name in groups.members[place]} - gone
    exact = joint.survivors == expected and np.array_equal(joint.levels[spec.name], inputs.plain_sum_of(expected))
    return CheckedGroups(rounds, bool(exact), report, drops, took)


def _drops(groups: Groups, fractions: Mapping[ServerPhase, float], seed: int) -> Drops:
    """Choose that fraction of each group for each phase: over all clients, chance would be too hard on some groups."""
    drops: dict[ServerPhase, set[str]] = {phase: set() for phase in COLLECTED_PHASES}
    rng = np.random.default_rng(seed)
    for members in groups.members:
        own = Participants.numbered(len(members))
        for phase, chosen in choose_drops(len(members), fractions, rng).items():
            drops[phase] |= members.named(map(own.number, chosen))
    return {phase: frozenset(names) for phase, names in drops.items()}
