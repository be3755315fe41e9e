"""Statistics at the sizes that were asked for: correlations of many variables, and histograms over many clients.

Seconds of a site (its totals, and its part of the session), of the server and of the analyst's gate, and the bytes that
a site sends. A site's totals are taken from few tables, again and again, so that all tables fit into memory; each site
counts what its own table took. The sums are compared with the sums of what the sites handed in.
"""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import subprocess
import time
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bench.command import run_secagg
from bench.peers import environments
from bench.side_by_side import size
from bench.suite.findings import Finding
from protocols import RoundConfig, ThreatModel
from protocols.core.machine import Values
from protocols.simulation.masked import Simulation
from protocols.simulation.workers import useful_workers
from protocols.statistics import Number, Plan, Query, Site, SitePolicy, answer_of, asked, even_edges

TABLES = 10
BOUNDS = {"age": [0, 100], "stay": [0, 60], "serum": [9_999_999, 10_000_001]}
"""Of numbers that are rounded to fewer digits; serum's mean is 10^8 of its deviations, so that squares cancel."""
V6_SUMMARY = "V6_SUMMARY_PY"
"""An environment variable: a folder with vantage6/v6-summary-py at 517dd62, which no index has."""


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


@pytest.mark.long
def test_means_elsewhere(benchmark, report, tmp_path):
    """Counts, means and deviations of three columns over five sites, by the examples of two other products, too."""
    rows = size(5000, 300)
    columns = _files(tmp_path, rows)
    exact = {name: _exactly(values) for name, values in columns.items()}
    finding = Finding(f"counts, means, deviations and histograms of three columns, 5 sites of {rows:,} rows")

    def told(name, facts):
        off = {
            what: max(abs(Fraction(facts["found"][each][what]) / exact[each][what] - 1) for each in BOUNDS)
            for what in ("count", "mean", "stddev")
        }
        finding.add(f"{name}: processor time", facts["seconds"], "s")
        finding.add(f"{name}: a site sends", facts["site_sends"], "B")
        for what, worst in off.items():
            finding.add(f"{name}: {what} off by at most, of its size", float(worst), "")

    benchmark.pedantic(lambda: told("secagg stats", _ours(tmp_path)), rounds=1)
    here = Path(__file__).parent / "peers"
    for name, environment, script, first in (
        ("NVIDIA FLARE 2.9, simulator", environments.FLARE, "flare_statistics.py", []),
        ("vantage6 tools 4.15, mock client", environments.VANTAGE6, "vantage6_statistics.py", [os.getenv(V6_SUMMARY)]),
    ):
        if None in first:
            finding.notes.append(f"{name} was not run: set {V6_SUMMARY} to a checkout of its algorithm")
            continue
        try:
            wanted = json.dumps([*first, str(tmp_path), BOUNDS])
            command = [str(environments.python(*environment)), str(here / script), wanted]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            told(name, json.loads(done.stdout.splitlines()[-1]))
        except environments.PeerMissingError as error:
            finding.notes.append(f"without {name}: {error}")
        except subprocess.CalledProcessError as error:
            finding.notes.append(f"{name} does not work here: {error.stderr.strip().rpartition(chr(10))[2][:200]}")
    report(finding)


def _files(folder, rows):
    """Write a file a site, with gaps, and return the columns of all sites."""
    rng = np.random.default_rng(22)
    columns: dict[str, list[Fraction]] = {name: [] for name in BOUNDS}
    for at in range(1, 6):
        with (folder / f"site-{at}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*BOUNDS, "ward"])
            for _ in range(rows):
                row = [
                    round(min(100.0, max(18.0, rng.normal(60, 15))), 1),
                    "" if rng.random() < 0.02 else round(min(60.0, rng.exponential(6)), 2),
                    round(1e7 + rng.normal(0, 0.1), 3),
                ]
                writer.writerow([*row, rng.choice(["heart", "lung"])])
                for name, value in zip(BOUNDS, row, strict=True):
                    columns[name] += [] if value == "" else [Fraction(float(value))]
    return columns


def _exactly(values):
    """Return what the pooled rows have, in rationals; the deviation's square root alone is a float."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return {"count": len(values), "mean": mean, "stddev": Fraction(math.sqrt(variance))}


def _ours(folder):
    asked_for = []
    for name, (lo, hi) in BOUNDS.items():
        asked_for += ["--missing", name, "--mean", name, "--deviation", name, "--histogram", f"{name}:{lo}:{hi}:20"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = run_secagg("stats", "--data", str(folder / "*.csv"), *asked_for, "--bits", "32").facts
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert facts["exact"]
    found: dict[str, dict[str, float]] = {name: {} for name in BOUNDS}
    for each in facts["results"]:
        what = {"missing": "count", "mean": "mean", "deviation": "stddev"}.get(each["statistic"])
        if what is not None:
            found[each["columns"][0]][what] = each["value"]["valid"] if what == "count" else each["value"]
    return {
        "seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "site_sends": facts["bytes"]["site_sent_max"],
        "found": found,
    }
