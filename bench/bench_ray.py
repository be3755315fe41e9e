"""Rounds in groups on a Ray cluster of this machine: what the engine costs beside one process, and how rounds grow.

Where the engine is compared, seconds are of processors, all processes together: on a busy machine they are what it
takes, while the wall's are what was left. A cluster's first round starts its workers, which import and load loops; a
further one finds them there.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest

from bench.processes import Watched, watched
from bench.side_by_side import say, size
from bench.suite.findings import Curve, Finding, Ratio, Rival, Row
from protocols import FloatVector, RoundConfig
from protocols.core.threat_model import ThreatModel
from protocols.groups import GroupPlan, Rule
from protocols.masking.transitions import ServerPhase
from protocols.ray import connected, run_on_ray
from protocols.simulation.checked import run_checked_round
from protocols.simulation.checked_groups import CheckedGroups, run_checked_groups
from protocols.simulation.grouped import GroupedReport, run_in_groups
from secagg.encoding import Rounding
from secagg.prg import cpu_count

GIB = 1 << 30
DIM = size(10_000, 100)
GROUP = 21
"""Clients of a group, or one more: the least that serve 100,000 of whom a twentieth is corrupt, and so the cheapest."""
LOST = {ServerPhase.MASKED_INPUT: 0.05}
"""One of each group."""
CORRUPT = 0.05
ENGINE_CLIENTS, TURNS = size(2_000, 42), size(3, 1)
GROWTH = size([1_000, 3_000, 10_000, 30_000], [42, 84])
ALONE_UP_TO = size(10_000, 42)
"""So many clients are also one session of their own."""


def round_of(clients: int, run: Callable[..., GroupedReport]) -> tuple[CheckedGroups, Watched]:
    """Run a round in groups, and watch it."""
    plan = GroupPlan(clients, 0.0, CORRUPT, groups=clients // GROUP, dropout_fraction=0.05, rule=Rule.SUM)
    with watched() as taken:
        checked = run_checked_groups(plan, configure, LOST, run, seed=1)
    return checked, taken


def configure(model: ThreatModel) -> RoundConfig:
    return RoundConfig(model, (FloatVector("update", DIM, clip=1.0, rounding=Rounding.NEAREST),))


def digest(checked: CheckedGroups) -> str:
    """Return what tells the bytes of a round's sum."""
    return hashlib.sha256(checked.report.result.joint.levels["update"].tobytes()).hexdigest()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_engine_beside_one_process(workers, benchmark, report):
    """The same round in this process and on a new cluster, there with its workers' start and once more without."""
    finding = Finding(
        f"A round in groups on {workers} Ray workers beside one process: {ENGINE_CLIENTS:,} clients, {DIM:,} numbers"
    )
    first, further, engine, bare_seconds = list[float](), list[float](), list[float](), list[float]()
    walls: dict[str, list[float]] = {"one process": [], "Ray": []}
    digests = set[str]()

    def turn() -> None:
        say("one process")
        bare, alone = round_of(ENGINE_CLIENTS, run_in_groups)
        walls["one process"].append(bare.wall_seconds)
        digests.add(digest(bare))
        with connected(None, workers):
            for ratios in (first, further):
                say(f"{workers} workers")
                checked, there = round_of(ENGINE_CLIENTS, partial(run_on_ray, workers=workers))
                digests.add(digest(checked))
                ratios.append(there.ours / alone.ours)
            bare_seconds.append(alone.ours)
            engine.append(there.engine / alone.ours)
        walls["Ray"].append(checked.wall_seconds)
        assert bare.exact
        assert checked.exact

    round_of(2 * GROUP, run_in_groups)  # so that this process, too, has what it loads
    benchmark.pedantic(turn, rounds=TURNS)
    finding.add("bytes of the sum equal to one process's", len(digests) == 1, asked="equal", met=len(digests) == 1)
    for what, ratios in (("with the start of the workers", first), ("in workers that are there", further)):
        ratio = Ratio.of(ratios)
        finding.add_ratio(
            f"processor seconds over one process's, {what}", ratio, asked="<= 1.25", met=ratio.median <= 1.25
        )
    finding.add_ratio("besides, Ray's own processes", Ratio.of(engine))
    for name, seconds in walls.items():
        finding.add(f"{name}: wall, the least", min(seconds), "s")
    one, over = statistics.median(bare_seconds), Ratio.of(further)
    limit = Rival("one process", one, over, "processor time")
    what = f"a round in groups on {workers} Ray workers: {ENGINE_CLIENTS:,} clients, {DIM:,} numbers"
    finding.rows.append(Row(what, "s", one * over.median, limit=limit))
    finding.notes.append("driver and workers count; the start of Ray itself, before the round, does not")
    assert len(digests) == 1
    report(finding)


def grown(finding: Finding, counts: list[int]) -> dict[str, list[tuple[float, float]]]:
    """Measure rounds of so many clients, once each."""
    lines: dict[str, list[tuple[float, float]]] = {"in groups": [], "in one session": []}
    for clients in counts:
        say(f"{clients:,} clients")
        started = time.perf_counter()
        checked, taken = round_of(clients, partial(run_on_ray, workers=cpu_count()))
        add(finding, lines["in groups"], f"{clients:,} in groups", checked, taken, time.perf_counter() - started)
        if clients <= ALONE_UP_TO:
            say(f"{clients:,} clients in one session")
            model, started = ThreatModel(clients, CORRUPT, 0.05), time.perf_counter()
            with watched() as taken:
                alone = run_checked_round(configure(model), LOST, seed=1, workers=cpu_count())
            took = time.perf_counter() - started
            add(finding, lines["in one session"], f"{clients:,} in one session", alone, taken, took)
    finding.notes.append("each measured once, with the start of Ray or of processes, and with the comparison of sums")
    return lines


def add(finding: Finding, line: list[tuple[float, float]], name: str, checked, taken: Watched, took: float) -> None:
    facts = checked.facts()
    line.append((facts["clients"], took))
    finding.add(f"{name}: wall", took, "s")
    finding.add(f"{name}: of processors, all processes", taken.ours + taken.engine, "s")
    finding.add(f"{name}: the servers", facts["seconds"]["server"], "s")
    finding.add(f"{name}: a client", facts["seconds"]["client_mean"], "s")
    finding.add(f"{name}: memory of all processes at a time", taken.peak_memory_bytes / GIB, "GiB")
    finding.add(f"{name}: exact", checked.exact, asked="exact", met=checked.exact)
    assert checked.exact


def test_growth(benchmark, report):
    finding = Finding(f"Rounds in groups on Ray over their clients: {DIM:,} numbers, one of each {GROUP} vanishes")
    lines = benchmark.pedantic(grown, (finding, GROWTH), rounds=1)
    title = f"{DIM:,} numbers, groups of {GROUP} on {cpu_count()} workers"
    finding.curves.append(Curve("ray", title, "clients", "seconds", lines))
    report(finding)


@pytest.mark.long
def test_a_hundred_thousand(benchmark, report):
    """Takes some ten minutes on two cores where nothing else runs."""
    clients = size(100_000, 63)
    finding = Finding(f"{clients:,} clients with {DIM:,} numbers in groups on Ray, one of each {GROUP} vanishes")
    benchmark.pedantic(grown, (finding, [clients]), rounds=1)
    taken = {line.what.rpartition(": ")[2]: line for line in finding.lines}
    for what, most in (("wall", 900), ("memory of all processes at a time", 6)):
        line = taken[what]
        line.asked, line.met = f"<= {most} {line.unit}", float(line.value) <= most
    report(finding)
