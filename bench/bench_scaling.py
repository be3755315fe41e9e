"""How a round's seconds, bytes and memory grow with clients, length and dropouts, beside Flower's and the floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from bench.command import Run
from bench.flower_costs import NAME, SCALED, FlowerCost, flower_rounds
from bench.peers.environments import Peer
from bench.rounds import Sizes
from bench.side_by_side import QUICK, SMALL, say
from bench.suite.findings import Curve, Finding

pytestmark = pytest.mark.long

MIB = 1 << 20
FEW = 10 if SMALL else 50
"""Clients where something else grows."""


def sizes(small: Sequence[float], quick: Sequence[float], full: Sequence[float]) -> Sequence[float]:
    return small if SMALL else quick if QUICK else full


@dataclass(frozen=True)
class Point:
    """A round at one size, and what others need for it."""

    at: float
    sizes: Sizes
    run: Run
    floor: float
    client_floor: float
    theirs: FlowerCost | None


def measure(benchmark: Any, points: dict[float, Sizes]) -> tuple[list[Point], str]:
    """Measure each size once; return also why Flower is not among it, if it is not."""
    found: list[Point] = []
    with flower_rounds() as flower:

        def all_points() -> None:
            for at, of in points.items():
                say(str(of))
                theirs = of.by_flower(flower, samples=1) if isinstance(flower, Peer) else None
                found.append(Point(at, of, of.run(), of.server_floor(), of.client_floor(), theirs))

        benchmark.pedantic(all_points, rounds=1)
    return found, flower if isinstance(flower, str) else ""


def lines(points: list[Point], **figures: Callable[[Point], float | None]) -> dict[str, list[tuple[float, float]]]:
    """Return name -> points; a figure that cannot be had has none."""
    drawn = {}
    for name, figure in figures.items():
        values = [(point.at, figure(point)) for point in points]
        drawn[name.replace("_", " ")] = [(at, value) for at, value in values if value is not None]
    return drawn


def seconds(points: list[Point], name: str, title: str, across: str, *, log: bool = True) -> Curve:
    drawn = lines(
        points,
        our_server=lambda point: point.run.facts["seconds"]["server"],
        our_client=lambda point: point.run.facts["seconds"]["client_mean"],
        limit_of_the_server=lambda point: point.floor,
        limit_of_a_client=lambda point: point.client_floor,
        Flower_server_scaled=lambda point: point.theirs.server_seconds if point.theirs else None,
        Flower_client=lambda point: point.theirs.client_seconds if point.theirs else None,
    )
    return Curve(name, title, across, "seconds", drawn, log, ["limit of the server", "limit of a client"])


def describe(finding: Finding, points: list[Point], missing: str) -> None:
    for point in points:
        facts = point.run.facts
        what = str(point.sizes)
        finding.add(f"{what}: the server", facts["seconds"]["server"], "s")
        finding.add(f"{what}: a client", facts["seconds"]["client_mean"], "s")
        finding.add(f"{what}: a client sends", facts["bytes"]["client_sent_mean"] / 1024, "KiB")
        finding.add(f"{what}: memory of all processes", point.run.facts["peak_memory_bytes"] / MIB, "MiB")
        finding.add(f"{what}: AES and X25519 of the server, 1 core", point.floor, "s")
        finding.add(f"{what}: AES and X25519 of a client", point.client_floor, "s")
        if point.theirs:
            finding.add(f"{what}: {NAME}, the server", point.theirs.server_seconds, "s")
            finding.add(f"{what}: {NAME}, a client", point.theirs.client_seconds, "s")
            finding.add(f"{what}: {NAME}, a client sends", point.theirs.sent_bytes / 1024, "KiB")
    finding.notes.append("each size measured once; rounds by the command, every message through bytes, sums compared")
    finding.notes.append(f"without {NAME}: {missing}" if missing else f"{NAME}: the server is {SCALED}")


def memory(points: list[Point], name: str, title: str, across: str) -> Curve:
    drawn = lines(points, all_processes=lambda point: point.run.facts["peak_memory_bytes"] / MIB)
    drawn["every vector, if kept"] = [
        (point.at, point.sizes.clients * point.sizes.mask_bytes / MIB) for point in points
    ]
    return Curve(name, title, across, "memory, MiB", drawn, references=["every vector, if kept"])


def test_over_clients(benchmark, report):
    dim = 1_000 if SMALL else 10_000
    counts = sizes([10, 20], [20, 50, 100], [20, 100, 500, 1000, 2000, 5000, 10_000])
    points, missing = measure(benchmark, {count: Sizes(int(count), dim, 0.1) for count in counts})
    finding = Finding(f"A round over its clients: {dim:,} numbers, 10% vanish")
    describe(finding, points, missing)
    title = f"{dim:,} numbers, a tenth of the clients vanish"
    finding.curves += [
        seconds(points, "seconds-over-clients", title, "clients"),
        memory(points, "memory-over-clients", title, "clients"),
    ]
    report(finding)


def test_over_length(benchmark, report):
    lengths = sizes([100, 1_000], [1_000, 10_000, 100_000], [1_000, 10_000, 100_000, 1_000_000])
    points, missing = measure(benchmark, {length: Sizes(FEW, int(length), 0.1) for length in lengths})
    finding = Finding(f"A round over its length: {FEW} clients, 10% vanish")
    describe(finding, points, missing)
    title, across = f"{FEW} clients, a tenth vanish", "numbers in a client's vector"
    sent = lines(
        points,
        ours=lambda point: point.run.facts["bytes"]["client_sent_mean"],
        Flower=lambda point: float(point.theirs.sent_bytes) if point.theirs else None,
    )
    sent["in clear"] = [(point.at, point.sizes.raw_bytes) for point in points]
    finding.curves += [
        seconds(points, "seconds-over-length", title, across),
        Curve("bytes-over-length", title, across, "bytes that a client sends", sent, references=["in clear"]),
        memory(points, "memory-over-length", title, across),
    ]
    report(finding)


def test_over_dropouts(benchmark, report):
    dim = 1_000 if SMALL else 10_000
    clients = FEW if SMALL or QUICK else 200
    fractions = sizes([0.0, 0.1], [0.0, 0.1, 0.2], [0.0, 0.05, 0.1, 0.2, 0.3])
    points, missing = measure(benchmark, {100 * fraction: Sizes(clients, dim, fraction) for fraction in fractions})
    finding = Finding(f"A round over its dropouts: {clients} clients, {dim:,} numbers")
    describe(finding, points, missing)
    title, across = f"{clients} clients, {dim:,} numbers", "% of the clients vanish"
    finding.curves.append(seconds(points, "seconds-over-dropouts", title, across, log=False))
    report(finding)
