"""A query answered by simulated sites, and held against the pooled rows: the job of `secagg stats`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from secagg.errors import ParameterError, QueryRefused

from ..core.machine import Inputs
from ..core.participants import Participants
from ..core.threat_model import Adversary, ThreatModel
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..statistics.answer import Answer, release
from ..statistics.columns import Levels, Number
from ..statistics.plan import PRODUCTS, Key, Plan
from ..statistics.query import Operator, Query
from ..statistics.release import ReleasePolicy
from ..statistics.site import Site
from .masked import Simulation, SimulationReport

Row = Mapping[str, Any]


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


def pooled(plan: Plan, sites: Sequence[Site]) -> dict[Key, int]:
    """Return the totals of all rows of some sites, by other code than the sites': row by row, in rationals."""
    rows = _Pool(plan)
    names = sorted(plan.query.used)
    for site in sites:
        present, rows_present = site.present()
        columns = [np.asarray(present[name]).tolist() for name in names]
        for values in zip(*columns, strict=True) if names else [()] * len(rows_present):
            rows.add(dict(zip(names, values, strict=True)))
    return {key: rows.counter[key] for key in plan.totals}


class _Pool:
    """Totals to which rows are added one by one."""

    def __init__(self, plan: Plan) -> None:
        self.query, self.counter = plan.query, Counter[Key]()
        self.levels: dict[tuple[str, float], tuple[str, int]] = {}
        keys = plan.totals
        self.counted = dict.fromkeys(str(key[1]) for key in keys if key[0] == "valid")
        self.powers = dict.fromkeys((str(key[1]), int(key[2])) for key in keys if key[0] == "power")
        self.binned = dict.fromkeys(str(key[1]) for key in keys if key[0] == "bin")
        self.pairs = dict.fromkeys((str(key[1]), str(key[2])) for key in keys if key[0] == "both")
        self.tables = dict.fromkeys((str(key[1]), str(key[2])) for key in keys if key[0] == "cell")

    def add(self, row: Row) -> None:
        query, counter = self.query, self.counter
        if not all(_meets(query, row, where.column, where.operator, where.constant) for where in query.where):
            return
        group = 0 if query.group_by is None else _cell(query.levels(query.group_by), row[query.group_by])
        counter["rows", group] += 1
        for name in self.counted:
            counter[self._level(name, row)[0], name, group] += 1
        for name, power in self.powers:
            status, level = self._level(name, row)
            counter["power", name, power, group] += level**power if status == "valid" else 0
        for name in self.binned:
            at = _bin(query.number(name).edges, row[name])
            if at is not None:
                counter["bin", name, at, group] += 1
        for first, second in self.pairs:
            (status, x), (other, y) = self._level(first, row), self._level(second, row)
            if status == other == "valid":
                counter["both", first, second] += 1
                for i, j in PRODUCTS:
                    counter["product", first, second, i, j] += x**i * y**j
        for first, second in self.tables:
            i, j = (_cell(query.levels(name), row[name]) for name in (first, second))
            counter["cell", first, second, i, j] += 1

    def _level(self, name: str, row: Row) -> tuple[str, int]:
        key = name, row[name]
        if key not in self.levels:
            self.levels[key] = _level(self.query.number(name), row[name])
        return self.levels[key]


def _level(column: Number, value: float) -> tuple[str, int]:
    if math.isnan(value):
        return "missing", 0
    if value < column.lo or value > column.hi:
        return "below" if value < column.lo else "above", 0
    exact = (Fraction(value) - Fraction(column.lo)) / (Fraction(column.hi) - Fraction(column.lo))
    return "valid", round(exact * column.top)


def _cell(column: Levels, value: Any) -> int:
    if value is None or value == "":
        return len(column.levels) + 1
    return column.levels.index(str(value)) if str(value) in column.levels else len(column.levels)


def _bin(edges: Sequence[float], value: float) -> int | None:
    """Return how many edges a value has reached, but for one at the last edge, which is in the last bin."""
    if math.isnan(value):
        return None
    return len(edges) - 1 if value == edges[-1] else bisect_right(edges, value)


def _meets(query: Query, row: Row, name: str, operator: Operator, constant: Any) -> bool:
    column, value = query.column(name), row[name]
    if isinstance(column, Number):
        if operator is Operator.KNOWN:
            return bool(column.lo <= value <= column.hi)
        if math.isnan(value):
            return False
        below, same = bool(value < constant), bool(value == constant)
        return {
            Operator.EQUAL: same,
            Operator.NOT_EQUAL: not same,
            Operator.LESS: below,
            Operator.AT_MOST: below or same,
            Operator.GREATER: not (below or same),
            Operator.AT_LEAST: not below,
        }[operator]
    if value is None or value == "":
        return False
    if operator is Operator.KNOWN:
        return str(value) in column.levels
    return (str(value) == constant) is (operator is Operator.EQUAL)
