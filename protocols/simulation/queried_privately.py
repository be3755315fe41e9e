"""A question answered with noise by simulated sites, and held against the pooled rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secagg.errors import ParameterError, QueryRefused

from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..masking.transitions import ServerPhase
from ..privacy.plans import MIN_PARTICIPANTS
from ..statistics.private.answer import PrivateAnswer, private_answer
from ..statistics.private.plan import NoisyPlan
from ..statistics.private.question import PrivateQuestion
from ..statistics.private.site import PrivateSite
from .masked import Simulation, SimulationReport
from .paid import pay
from .queried import draw_drops

if TYPE_CHECKING:
    from dp.ledger import Ledger

__all__ = ["PrivatelyQueriedSites", "ask_sites_privately"]

_DOUBT = math.log(2e9)
"""True noise is called wrong about once in 10**9 sessions."""


@dataclass(frozen=True)
class PrivatelyQueriedSites:
    """What a question gave, and how far it is from the pooled rows.

    Attributes:
        answer: what the analyst is shown.
        plan: of the session.
        off: each total's distance from that of the survivors' pooled rows, in deviations of its noise.
        as_promised: whether these distances look like the noise that was promised.
        refused: name -> reason of each site that did not answer.
        report: of the session.
    """

    answer: PrivateAnswer
    plan: NoisyPlan
    off: npt.NDArray[np.float64]
    as_promised: bool
    refused: Mapping[str, str]
    report: SimulationReport


def ask_sites_privately(
    question: PrivateQuestion,
    sites: Mapping[str, PrivateSite],
    *,
    drops: Mapping[ServerPhase, float] | None = None,
    corrupt_fraction: float = 0.1,
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER,
    min_participants: int = MIN_PARTICIPANTS,
    ledger: Ledger | None = None,
    budget: str = "",
    seed: int = 0,
) -> PrivatelyQueriedSites:
    """Ask all sites, sum their answers and noise in one session on this machine, and compare with the pooled rows.

    Args:
        question: what is asked, and what it may cost.
        sites: name -> a site. One that refuses is not invited. Each holds the session against its own demands.
        drops: phase -> fraction of the sites that vanish in it; the session's threat model allows for them.
        corrupt_fraction: of the session's threat model.
        adversary: of the same.
        min_participants: fewer inputs are never summed.
        ledger: of the analyst's, which the session is paid from; None for none.
        budget: its name there.
        seed: of who vanishes.

    Raises:
        ParameterError: no session serves so few sites, or so many that vanish, or it has too little noise for a site.
        LedgerError: a budget does not allow it.
        SecAggError: the session ended without a sum.
    """
    answering, refused, fractions = list[str](), dict[str, str](), drops or {}
    for name, site in sites.items():
        try:
            site.demand(question)
            answering.append(name)
        except QueryRefused as refusal:
            refused[name] = refusal.reason
    if len(answering) < 2:
        raise ParameterError(
            f"{len(answering)} of {len(sites)} sites answer, and a sum needs two: "
            f"{', '.join(f'{name} refuses ({reason})' for name, reason in refused.items()) or 'name more sites'}"
        )
    model = ThreatModel(len(answering), corrupt_fraction, sum(fractions.values()), adversary)
    plan = NoisyPlan(question=question, threat_model=model, min_participants=min_participants)
    policies = [sites[name].client_policy(question) for name in answering]
    for policy in policies:
        policy.check(plan.config)
    simulation = Simulation(
        plan.config,
        lambda name: lambda: sites[name].answer(question, plan.config),
        draw_drops(answering, fractions, seed),
        policies[0],
        participants=Participants(tuple(answering)),
    )
    report = simulation.run() if ledger is None else pay(ledger, budget, plan.rounds, simulation)
    answer = private_answer(plan, report.result)
    off = (
        answer.totals.values - _pooled(plan, [sites[name] for name in sorted(report.result.survivors)])
    ) / answer.totals.deviations
    return PrivatelyQueriedSites(answer, plan, off, _as_promised(off), refused, report)


def _pooled(plan: NoisyPlan, sites: Iterable[PrivateSite]) -> npt.NDArray[np.float64]:
    """Return the totals of all rows of some sites, without noise."""
    total = np.zeros(plan.features.length)
    for site in sites:
        table, length = site.table(plan.question.query)
        total += plan.features.rows(table, table.selected(length)).sum()
    return total / plan.features.weights


def _as_promised(off: npt.NDArray[np.float64]) -> bool:
    """Tell whether a sum of squares is near the number of totals (Laurent and Massart 2000)."""
    total, size = float((off**2).sum()), len(off)
    reach = 2 * math.sqrt(size * _DOUBT)
    return size - reach <= total <= size + reach + 2 * _DOUBT
