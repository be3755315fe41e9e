"""Statistics at the sizes that were asked for: correlations of many variables, and histograms over many clients.

Seconds of a site (its totals, and its part of the session), of the server and of the analyst's gate, and the bytes that
a site sends. A site's totals are taken from few tables, again and again, so that all tables fit into memory; each site
counts what its own table took. The sums are compared with the sums of what the sites handed in.
"""

from __future__ import annotations

import time
from itertools import combinations

import numpy as np
import pytest

from bench.side_by_side import size
from bench.suite.findings import Finding
from protocols import RoundConfig, ThreatModel
from protocols.core.machine import Values
from protocols.simulation.masked import Simulation
from protocols.simulation.workers import useful_workers
from protocols.statistics import Number, Plan, Query, Site, SitePolicy, answer_of, asked, even_edges

TABLES = 10


class Answers:
    """What sites hand in: a few tables' totals, in turn. Sent to workers as it is."""

    def __init__(self, vectors: list[Values]) -> None:
        self.vectors = vectors

    def __call__(self, name: str) -> Values:
        return self.vectors[int(name.removeprefix("client-")) % len(self.vectors)]


def measure(query: Query, sites: int, rows: int, title: str) -> Finding:
    """Return what one session over so many sites costs."""
    rng = np.random.default_rng(17)
    policy = SitePolicy(columns=frozenset(column.name for column in query.columns))
    vectors, seconds = [], []
    for _ in range(min(TABLES, sites)):
        common = rng.normal(size=rows)
        columns = {column.name: common + rng.normal(size=rows) for column in query.columns}
        site = Site(columns, policy, query.dataset, journal=None)
        start = time.perf_counter()
        vectors.append(site.answer(query).values)
        seconds.append(time.perf_counter() - start)
    plan = Plan(query)
    config = RoundConfig(ThreatModel(sites, 0.1, 0.1), plan.vectors)
    answers = Answers(vectors)
    report = Simulation(config, answers, workers=useful_workers(sites)).run()
    start = time.perf_counter()
    answer = answer_of(plan, report.result)
    gate = time.perf_counter() - start
    handed_in = [answers(name)[plan.name] for name in report.participants]
    assert (report.result.sum(plan.name) == np.sum(handed_in, axis=0)).all()
    assert answer.records == sites * rows
    assert len(answer.findings) == len(query.statistics)
    finding = Finding(f"{title}, {sites:,} sites of {rows:,} rows: {len(plan.totals):,} totals, {plan.lanes:,} limbs")
    costs = list(report.clients.values())
    finding.add("a site's totals", float(np.median(seconds)), "s")
    finding.add("a site in the session", float(np.mean([cost.seconds for cost in costs])), "s")
    finding.add("the server", report.server_seconds, "s")
    finding.add("the analyst's gate", gate, "s")
    finding.add("everyone, on this machine", report.wall_seconds, "s")
    finding.add("a site sends", max(cost.sent_bytes for cost in costs) / 1000, "kB")
    finding.add("a site receives", max(cost.received_bytes for cost in costs) / 1000, "kB")
    return finding


def test_correlations_of_many_variables(benchmark, report):
    names = [f"x{at:03}" for at in range(size(100, 8))]
    query = Query(
        "cohort",
        tuple(Number(name, -10, 10) for name in names),
        tuple(asked("correlation", *pair) for pair in combinations(names, 2)),
    )
    report(
        benchmark.pedantic(
            lambda: measure(query, size(50, 5), 500, f"correlations of {len(names)} variables"), rounds=1
        )
    )


@pytest.mark.long
def test_histograms_over_many_clients(benchmark, report):
    names = [f"x{at:04}" for at in range(size(1000, 8, quick=100))]
    query = Query(
        "cohort",
        tuple(Number(name, -5, 5, edges=even_edges(-5, 5, 100)) for name in names),
        tuple(asked("histogram", name) for name in names),
    )
    title = f"{len(names):,} histograms of 100 bins"
    report(benchmark.pedantic(lambda: measure(query, size(1000, 8, quick=100), 300, title), rounds=1))
