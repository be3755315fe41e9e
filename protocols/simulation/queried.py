"""A query answered by simulated sites, and held against the pooled rows: the job of `secagg stats`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from secagg.errors import EstimateError, ParameterError, QueryRefused

from ..core.machine import Inputs
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..statistics.answer import Answer, findings_by, release
from ..statistics.families.family import hidden
from ..statistics.finding import Finding
from ..statistics.kinds import SHAPES, Parameters
from ..statistics.newton import fit
from ..statistics.plan import Plan
from ..statistics.query import Query, Statistic
from ..statistics.release import ReleasePolicy
from ..statistics.rules import Rule
from ..statistics.site import Site
from ..statistics.two_rounds import ask_twice
from .masked import Simulation, SimulationReport
from .pooled_rows import pooled

__all__ = ["QueriedSites", "ask_sites"]


@dataclass(frozen=True)
class QueriedSites:
    """What a query gave, and whether its totals are exactly those of the survivors' pooled rows.

    Attributes:
        answer: what the analyst is shown.
        exact: whether the totals, hidden ones included, are those of the pooled rows.
        refused: name -> reason of each site that did not answer.
        reports: of each session.
    """

    answer: Answer
    exact: bool
    refused: Mapping[str, str]
    reports: tuple[SimulationReport, ...]

    @property
    def report(self) -> SimulationReport:
        """Of the first session."""
        return self.reports[0]

    @property
    def seconds(self) -> float:
        """What all sessions took, everyone on this machine."""
        return sum(report.wall_seconds for report in self.reports)

    @property
    def most_sent(self) -> int:
        """The most bytes that one site sent, in all sessions."""
        sent = Counter[str]()
        for report in self.reports:
            sent.update({name: cost.sent_bytes for name, cost in report.clients.items()})
        return max(sent.values())


def ask_sites(
    query: Query,
    sites: Mapping[str, Site],
    policy: ReleasePolicy | None = None,
    *,
    drops: Mapping[ServerPhase, float] | None = None,
    corrupt_fraction: float = 0.1,
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER,
    seed: int = 0,
    run: Callable[[Simulation], SimulationReport] = Simulation.run,
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
        run: what runs the session.

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
    fractions = drops or {}
    model = ThreatModel(len(answers), corrupt_fraction, sum(fractions.values()), adversary)
    gone = draw_drops(list(answers), fractions, seed)
    simulation = Simulation(
        RoundConfig(model, plan.vectors), lambda name: answers[name], gone, participants=Participants(tuple(answers))
    )
    report = run(simulation)
    survivors = report.result.survivors
    totals = plan.decode(report.result)
    exact = totals == pooled(plan, [sites[name] for name in sorted(survivors)])
    return QueriedSites(release(plan, totals, len(survivors), policy), exact, refused, (report,))


def draw_drops(
    names: Sequence[str], fractions: Mapping[ServerPhase, float], seed: int
) -> dict[ServerPhase, frozenset[str]]:
    """Choose who vanishes in each phase, nobody twice: a fraction of all, rounded down."""
    left, gone, rng = list(names), dict[ServerPhase, frozenset[str]](), np.random.default_rng(seed)
    for phase, fraction in fractions.items():
        count = math.floor(fraction * len(names) + 1e-9)
        gone[phase] = frozenset(left[at] for at in rng.choice(len(left), count, replace=False))
        left = [name for name in left if name not in gone[phase]]
    return gone


def inquire(query: Query, ask: Callable[[Query], QueriedSites], *, two_rounds: bool = False) -> QueriedSites:
    """Ask a question in as many sessions as it takes: regressions step by step, and moments after counts if wanted.

    Args:
        query: what is asked.
        ask: asks the sites in one session, as `ask_sites` does.
        two_rounds: whether moments are asked for after counts, in a session of their own.

    Raises:
        ParameterError: the query has kinds that are not asked in two rounds.
        Whatever `ask` raises.
    """
    sessions: list[QueriedSites] = []

    def once(one: Query) -> Answer:
        sessions.append(ask(one))
        return sessions[-1].answer

    stepwise = [one for one in query.statistics if SHAPES[one.kind].parameters is Parameters.COEFFICIENTS]
    plain = tuple(one for one in query.statistics if one not in stepwise)
    found: dict[tuple[Statistic, str | None], Finding] = {}
    answers = []
    if plain:
        together = query.changed(statistics=plain)
        answers.append(ask_twice(together, once) if two_rounds else once(together))
        found = findings_by(together, answers[0])
    for one in stepwise:
        try:
            answers.append(fit(query.changed(statistics=(one,)), once).answer)
            found[one, None] = answers[-1].findings[0]
        except EstimateError as error:
            answers.append(sessions[-1].answer)
            found[one, None] = replace(hidden(one, Rule.UNDEFINED), reason=error.reason)
    findings = tuple(found[one, group] for one in query.statistics for group in query.groups)
    return QueriedSites(
        replace(answers[0], digest=query.digest, findings=findings),
        all(each.exact for each in sessions),
        {name: reason for each in sessions for name, reason in each.refused.items()},
        tuple(report for each in sessions for report in each.reports),
    )
