"""A query answered by simulated sites, and held against the pooled rows: the job of `secagg stats`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from secagg.errors import ParameterError, QueryRefused

from ..core.machine import Inputs
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..statistics.answer import Answer, release
from ..statistics.plan import Plan
from ..statistics.query import Query
from ..statistics.release import ReleasePolicy
from ..statistics.site import Site
from .masked import Simulation, SimulationReport
from .pooled_rows import pooled


@dataclass(frozen=True)
class QueriedSites:
    """What a query gave, and whether its totals are exactly those of the survivors' pooled rows.

    Attributes:
        answer: what the analyst is shown.
        exact: whether the totals, hidden ones included, are those of the pooled rows.
        refused: name -> reason of each site that did not answer.
        report: of the session.
    """

    answer: Answer
    exact: bool
    refused: Mapping[str, str]
    report: SimulationReport


def ask_sites(
    query: Query,
    sites: Mapping[str, Site],
    policy: ReleasePolicy | None = None,
    *,
    drops: Mapping[ServerPhase, float] | None = None,
    corrupt_fraction: float = 0.1,
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER,
    seed: int = 0,
) -> QueriedSites:
    """Ask all sites, sum the answers in one session on this machine, and compare with the pooled rows.

    Args:
        query: what is asked.
        sites: name -> a site. One that refuses is not invited.
        policy: what the analyst is shown.
        drops: phase -> fraction of the sites that vanish in it; the session's threat model allows for them.
        corrupt_fraction: of the session's threat model.
        adversary: of the same.
        seed: of who vanishes.

    Raises:
        ParameterError: no session serves so few sites, or so many that vanish.
        SecAggError: the session ended without a sum.
    """
    plan, answers, refused = Plan(query), dict[str, Inputs](), dict[str, str]()
    for name, site in sites.items():
        try:
            answers[name] = site.answer(query)
        except QueryRefused as refusal:
            refused[name] = refusal.reason
    if len(answers) < 2:
        raise ParameterError(
            f"{len(answers)} of {len(sites)} sites answer, and a sum needs two: "
            f"{', '.join(f'{name} refuses ({reason})' for name, reason in refused.items()) or 'name more sites'}"
        )
    fractions, rng = drops or {}, np.random.default_rng(seed)
    model = ThreatModel(len(answers), corrupt_fraction, sum(fractions.values()), adversary)
    left, gone = list(answers), dict[ServerPhase, frozenset[str]]()
    for phase, fraction in fractions.items():
        count = math.floor(fraction * len(answers) + 1e-9)
        gone[phase] = frozenset(left[at] for at in rng.choice(len(left), count, replace=False))
        left = [name for name in left if name not in gone[phase]]
    simulation = Simulation(
        RoundConfig(model, plan.vectors), lambda name: answers[name], gone, participants=Participants(tuple(answers))
    )
    report = simulation.run()
    survivors = report.result.survivors
    totals = plan.decode(report.result)
    exact = totals == pooled(plan, [sites[name] for name in sorted(survivors)])
    return QueriedSites(release(plan, totals, len(survivors), policy), exact, refused, report)
