"""A simulated hierarchy whose total is held against the plain sum of everyone who was not lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.participants import Participants
from ..hierarchy.levels import Hierarchy
from ..hierarchy.tree import Tree
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from .checked import Updates
from .hierarchical import HierarchyReport, run_hierarchy
from .masked import COLLECTED_PHASES, choose_drops
from .memory import own_peak_memory_bytes

_BEFORE_INPUTS = COLLECTED_PHASES[: COLLECTED_PHASES.index(ServerPhase.MASKED_INPUT) + 1]


@dataclass(frozen=True)
class CheckedHierarchy:
    """A hierarchy's outcome, and whether its total is exactly that of the survivors' fixed-point encodings.

    `wall_seconds` is of the sessions, without the comparison.
    """

    hierarchy: Hierarchy
    tree: Tree
    exact: bool
    report: HierarchyReport
    wall_seconds: float

    def facts(self) -> dict[str, Any]:
        """Return what the command prints as JSON. Means of a level are over its sessions and their members."""
        return {
            "exact": self.exact,
            "clients": len(self.tree.clients),
            "survivors": self.report.total.num_clients,
            "levels": [self._level(level) for level in range(len(self.hierarchy.levels))],
            "seconds": {"wall": self.wall_seconds},
            "peak_memory_bytes": own_peak_memory_bytes(),
        }

    def _level(self, level: int) -> dict[str, Any]:
        terms, sessions = self.hierarchy.levels[level], self.report.sessions[level]
        config, learned = self.hierarchy.config(level, terms.most), self.hierarchy.learned[level]
        costs = [cost for session in sessions.values() for cost in session.costs.values()]
        return {
            "level": terms.name,
            "groups": len(sessions),
            "members": terms.most,
            "failed": sum(name in self.report.failures for name in sessions),
            "summed": self.report.total.groups[level],
            "adversary": str(terms.adversary),
            "min_survivors": config.min_survivors,
            "threshold": config.topology.threshold,
            "modulus_bits": config.modulus_bits,
            "operator_learns": {"inputs": learned.inputs, "honest": learned.honest},
            "seconds": {
                "member_mean": float(np.mean([cost.seconds for cost in costs])),
                "operator_mean": float(np.mean([session.coordinator_seconds for session in sessions.values()])),
            },
            "bytes": {
                "member_sent_mean": float(np.mean([cost.sent_bytes for cost in costs])),
                "member_received_mean": float(np.mean([cost.received_bytes for cost in costs])),
            },
        }


def run_checked_hierarchy(
    hierarchy: Hierarchy,
    drop_fractions: Mapping[ServerPhase, float],
    *,
    seed: int,
    on_progress: Callable[[str, int, int], None] = lambda level, done, total: None,
) -> CheckedHierarchy:
    """Run a hierarchy over one vector of floats, rounded to nearest, on simulated data, and compare.

    Every group has as many members as its level admits. The plain sum is drawn anew, by other code than the encoding's.

    Args:
        hierarchy: the terms.
        drop_fractions: phase -> the fraction of each group, at each level, that vanishes before it answers.
        seed: of the data and of who vanishes.
        on_progress: as `run_hierarchy` calls it.

    Raises:
        SecAggError: the highest group ended without a sum.
    """
    tree = Tree.even(level.most for level in hierarchy.levels)
    drops = _drops(tree, drop_fractions, seed)
    lowest = hierarchy.levels[0]
    config = RoundConfig(lowest.model(lowest.most), hierarchy.vectors)
    inputs = Updates(config, len(tree.clients), seed)
    started = time.perf_counter()
    warm_up(config)
    report = run_hierarchy(hierarchy, tree, inputs, drops, on_progress=on_progress)
    took = time.perf_counter() - started
    gone = {name for phase in _BEFORE_INPUTS for name in drops[phase]}
    expected = _left(tree, gone)
    total, (spec,) = report.total, hierarchy.vectors
    exact = total.num_clients == len(expected) and np.array_equal(
        total.levels[spec.name], inputs.plain_sum_of(expected)
    )
    return CheckedHierarchy(hierarchy, tree, bool(exact), report, took)


def _drops(tree: Tree, fractions: Mapping[ServerPhase, float], seed: int) -> dict[ServerPhase, set[str]]:
    """Choose that fraction of each group for each phase."""
    drops: dict[ServerPhase, set[str]] = {phase: set() for phase in COLLECTED_PHASES}
    rng = np.random.default_rng(seed)
    for members in (group for level in tree.levels for group in level.values()):
        own = Participants.numbered(len(members))
        for phase, chosen in choose_drops(len(members), fractions, rng).items():
            drops[phase] |= members.named(map(own.number, chosen))
    return drops


def _left(tree: Tree, gone: set[str]) -> set[str]:
    """Return the clients of whom neither they themselves nor any group that they are in is gone."""
    lost = set(gone)
    for level in reversed(tree.levels):
        lost |= {member for name, members in level.items() if name in lost for member in members}
    return set(tree.clients) - lost
