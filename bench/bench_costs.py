"""Unit costs of the cost model: fitted on some sessions, checked on others, written where `secagg params` reads them.

    pytest bench/bench_costs.py

takes some eight minutes on two cores, and wants a machine that does nothing else. Each session runs in new processes:
one for the server, two for clients. Seconds are of processors, so that other work on the machine spoils less.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from bench.side_by_side import SCALE, SMALL, say, size
from bench.suite.findings import Finding
from protocols import costs
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.costs import Quantity, Table, measuring, of_groups, table
from protocols.costs.measuring import Case, Measured
from protocols.groups import GroupedRounds, GroupPlan, Rule, deal
from protocols.masking.config import RoundConfig
from protocols.masking.topology import GraphKind
from protocols.masking.warming import warm_up
from protocols.simulation.checked import Updates
from protocols.simulation.grouped import run_in_groups

WHERE = Path(costs.__file__).parent / "table.json"
CURIOUS, MALICIOUS = Adversary.CURIOUS_SERVER, Adversary.MALICIOUS_SERVER
SPARSE = GraphKind.RANDOM_CYCLES
WORKERS = 2

FITTED = (
    Case(20, 1_000),
    Case(25, 10_000, 0.1),
    Case(50, 100_000, 0.1),
    Case(100, 1_000, 0.1),
    Case(100, 1_000_000, 0.05),
    Case(150, 1_000, 0.0, MALICIOUS),
    Case(40, 20_000, 0.1, MALICIOUS),
    Case(200, 1_000, 0.2),
    Case(250, 10_000, 0.1),
    Case(300, 30_000, 0.1, CURIOUS),
    Case(1_000, 1_000, 0.1, CURIOUS),
    Case(1_000, 100_000, 0.05, CURIOUS),
    Case(1_000, 10_000, 0.05),
    Case(2_000, 1_000, 0.1, CURIOUS, corrupt=0.1),
    Case(3_000, 1_000, 0.05),
    Case(10_000, 1_000, 0.05),
    Case(10_000, 10_000, 0.02, CURIOUS),
)
HELD_OUT = (
    Case(30, 5_000),
    Case(80, 1_000, 0.1, MALICIOUS),
    Case(100, 300_000, 0.1),
    Case(150, 30_000, 0.1),
    Case(500, 2_000, 0.05, graph=SPARSE),
    Case(2_000, 1_000, 0.05),
    Case(2_000, 20_000, 0.1, CURIOUS),
    Case(4_000, 1_000, 0.05),
    Case(10_000, 4_000, 0.1, CURIOUS),
)
SMALL_CASES = (Case(20, 100), Case(24, 1_000, 0.1), Case(30, 100, 0.1, CURIOUS, SPARSE), Case(20, 100, 0.0, MALICIOUS))


def measured(cases: Iterable[Case]) -> list[Measured]:
    """Run each session in a new process, so that its peak of memory is its own."""
    done = []
    for case in cases:
        say(f"{case.clients:,} clients, {case.numbers:,} numbers, {case.dropout:.0%} vanish, {case.adversary}")
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            done.append(pool.submit(measuring.run, case, WORKERS).result())
    return done


def describe(finding: Finding, fitted: Table, found: Iterable[Measured], what: str) -> None:
    for one in found:
        case, estimated = one.case, one.estimated(fitted)
        name = f"{what}: {case.clients:,} x {case.numbers:,}, {case.dropout:.0%}, {case.adversary}"
        for quantity, value in one.values.items():
            unit, scale = ("s", 1.0) if "seconds" in quantity else ("MiB", 2.0**-20)
            error = estimated[quantity] / value - 1
            finding.add(f"{name}: {quantity}, estimated {scale * estimated[quantity]:.3g}", scale * value, unit)
            finding.add(f"{name}: {quantity}, error", 100 * error, "%")


def test_unit_costs(benchmark, report):
    fit_on, check_on = (SMALL_CASES, SMALL_CASES[1:3]) if SMALL else (FITTED, HELD_OUT)
    fitted: list[Table] = []
    finding = Finding(f"The cost model: fitted on {len(fit_on)} sessions, checked on {len(check_on)} others")

    def run() -> None:
        first, others = measured(fit_on), measured(check_on)
        fitted.append(measuring.fit(first, others, looked_up=measuring.look_up()))
        describe(finding, fitted[0], others, "held out")
        describe(finding, fitted[0], first, "fitted")

    benchmark.pedantic(run, rounds=1)
    for quantity in Quantity:
        error = fitted[0].errors[quantity]
        finding.add(f"largest error on held-out sessions: {quantity}", 100 * error, "%")
    for work, cost in fitted[0].seconds.items():
        finding.add(f"unit cost: {work}", 1e9 * cost, "ns")
    for stored, cost in fitted[0].memory.items():
        finding.add(f"unit cost: {stored}", cost, "bytes")
    groups(finding, fitted[0])
    if SCALE == "full":
        table.write(fitted[0], WHERE)
        finding.notes.append(f"written to {WHERE.parent.name}/{WHERE.name}")
    report(finding)


def groups(finding: Finding, fitted: Table) -> None:
    """Compare a round in groups, all in this process, with its estimate."""
    clients, count, numbers = size(1000, 40), size(20, 2), size(10_000, 100)
    plan = GroupPlan(clients, 0.0, 0.05, honest_minimum=2, rule=Rule.SUM, groups=count, dropout_fraction=0.0)

    vectors = Case(clients, numbers).session.config.vectors

    def configure(model: ThreatModel) -> RoundConfig:
        return RoundConfig(model, vectors)

    rounds = GroupedRounds(plan, deal(plan, Participants.numbered(clients), bytes(32)), configure)
    warm_up(rounds.configs[0])
    done = run_in_groups(rounds, Updates(rounds.configs[0], clients, 0))
    spent = sum(
        report.server_processor_seconds + sum(cost.seconds for cost in report.clients.values())
        for report in done.reports.values()
    )
    estimate = of_groups(plan, configure, table=fitted).simulated_wall_seconds
    name = f"{clients:,} clients in {count} groups x {numbers:,}, simulated in one process"
    finding.add(f"{name}: estimated {estimate:.3g}", spent, "s")
    finding.add(f"{name}: error", 100 * (estimate / spent - 1), "%")
