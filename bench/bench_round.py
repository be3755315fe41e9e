"""Whole rounds by the `secagg` command, against the AES and X25519 that they cannot do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bench.command import Run, bare_memory_bytes
from bench.floors import encrypt_raw, multiply_raw, whole_round_seconds
from bench.flower_costs import NAME, SCALED, FlowerCost, flower_rounds
from bench.peers.environments import Peer
from bench.rounds import GIB, VALUE_BITS, Sizes
from bench.side_by_side import Timings, clocked, limit, peer, say, size, take_turns
from bench.suite.findings import Finding, Row
from protocols.masking.topology import derive_topology
from secagg.prg import cpu_count

pytestmark = pytest.mark.long

ON_ALL = "for a server whose last step runs on all cores, so that it may take less"


def test_server_of_a_round(benchmark, report):
    sizes = Sizes(size(1000, 60, quick=500), size(100_000, 1_000), 0.1)
    with flower_rounds() as flower:
        say("a client and the steps of a server by Flower")
        theirs = sizes.by_flower(flower) if isinstance(flower, Peer) else flower
    cores = cpu_count()
    server_bytes, pairs = sizes.server_masks * sizes.mask_bytes, round(sizes.orphaned_pairs)
    runs: list[Run] = []

    def our_turn() -> float:
        runs.append(sizes.run())
        return runs[-1].facts["seconds"]["server"]

    timings = take_turns(
        benchmark,
        our_turn,
        {
            "AES": clocked(lambda: encrypt_raw(server_bytes)),
            "X25519": clocked(lambda: multiply_raw(pairs)),
            "AES on all": clocked(lambda: encrypt_raw(server_bytes, cores)),
            "X25519 on all": clocked(lambda: multiply_raw(pairs, cores)),
        },
        turns=size(3, 1, quick=1),
    )
    finding = Finding(f"The server of a round: {sizes}")
    finding.add("exact", all(run.facts["exact"] for run in runs), asked="exact", met=True)
    finding.add("the server", timings.median("ours"), "s")
    for name, threads in (("", 1), (" on all", cores)):
        cores_text = f"{threads} core{'s' if threads > 1 else ''}"
        finding.add(f"AES floor for its {sizes.server_masks:,} masks, {cores_text}", timings.median("AES" + name), "s")
        finding.add(f"X25519 floor for its {pairs:,} pairs, {cores_text}", timings.median("X25519" + name), "s")
    for name, threads in (("", 1), (" on all", cores)):
        ratio = timings.ratio_to_sum("ours", "AES" + name, "X25519" + name)
        what = f"the server / its floors on {threads} core{'s' if threads > 1 else ''}"
        most = 1.5 if threads == 1 else 2
        finding.add_ratio(what, ratio, asked=f"at most {most}", met=ratio.median <= most)
    wall = float(np.median([run.seconds for run in runs]))
    finding.add("wall, the command", wall, "s", asked="at most 9 s on 2 cores", met=wall <= 9)
    _add_client(finding, sizes, runs, 1.7)
    _add_costs(finding, runs)
    finding.notes += [
        "the server's seconds are all that it does in all rounds, decoding and encoding of messages included; masks "
        "are removed on all cores, and the rest is done on one",
        "the number of orphaned pairs is the expected one: the graph is random in each session (within 2 %)",
    ]
    _add_rows(finding, sizes, timings, runs, theirs)
    report(finding)


def _add_rows(finding: Finding, sizes: Sizes, timings: Timings, runs: list[Run], theirs: FlowerCost | str) -> None:
    """The round as the comparison table shows it: what the server and a client compute, what a client sends, memory."""

    def flowers(get: Callable[[FlowerCost], float]) -> float | str:
        return theirs if isinstance(theirs, str) else get(theirs)

    def median(get: Callable[[Mapping[str, Any]], float]) -> float:
        return float(np.median([get(run.facts) for run in runs]))

    what = f"{sizes.clients:,} clients, {sizes.dim:,} numbers, {sizes.dropout:.0%} vanish"
    server = timings.median("ours")
    client = median(lambda facts: facts["seconds"]["client_mean"])
    sent = median(lambda facts: facts["bytes"]["client_sent_mean"])
    memory = max(run.facts["peak_memory_bytes"] for run in runs)
    floors = timings.limit("AES and X25519, 1 core", "AES", "X25519", note=ON_ALL)
    flowers_server = peer(NAME, flowers(lambda cost: cost.server_seconds), server, SCALED)
    finding.rows += [
        Row(f"{what}: the server", "s", server, flowers_server, floors),
        Row(
            f"{what}: a client",
            "s",
            client,
            peer(NAME, flowers(lambda cost: cost.client_seconds), client),
            limit("AES and X25519, 1 core", sizes.client_floor(), client),
        ),
        Row(
            f"{what}: a client sends",
            "bytes",
            sent,
            peer(NAME, flowers(lambda cost: cost.sent_bytes), sent, "bytes of the values alone, without framing"),
            limit(f"the vector in clear, {VALUE_BITS} bits", sizes.raw_bytes, sent),
        ),
        Row(
            f"{what}: memory, all parties in all processes",
            "bytes",
            memory,
            None,
            limit("an interpreter with numpy", bare_memory_bytes(), memory),
        ),
    ]
    finding.add("peak memory of all processes, all parties in them", memory / GIB, "GiB")
    if isinstance(theirs, FlowerCost):
        finding.add(f"{NAME}, the server", theirs.server_seconds, "s")
        finding.add(f"{NAME}, a client", theirs.client_seconds, "s")
        finding.add(f"{NAME}, a client sends", theirs.sent_bytes / 1024, "KiB")
        finding.notes.append(f"{NAME}: the server is {SCALED}; the client is whole; graph and threshold are ours")
    else:
        finding.notes.append(f"without {NAME}: {theirs}")


def test_a_long_vector(benchmark, report):
    sizes = Sizes(size(1000, 40), size(1_000_000, 10_000), 0.1)
    finding = Finding(f"A long vector: {sizes}, {VALUE_BITS} bits")
    (run,) = _run_beside_floors(benchmark, finding, sizes, lambda: sizes.run("--bits", str(VALUE_BITS)))
    facts = run.facts
    peak = facts["peak_memory_bytes"]
    sent = facts["bytes"]["client_sent_mean"] / (sizes.dim * VALUE_BITS / 8)
    finding.add("wall, the command", run.seconds, "s", asked="at most 35 s on 2 cores", met=run.seconds <= 35)
    _add_client(finding, sizes, [run], 1.5)
    finding.add("peak memory", peak / GIB, "GiB", asked="under 3 GiB", met=peak < 3 * GIB)
    finding.add("a client sends / its raw 16-bit vector", sent, "x", asked="at most 1.65", met=sent <= 1.65)
    report(finding)


def test_many_clients(benchmark, report):
    sizes = Sizes(size(10_000, 200), size(10_000, 100), 0.05, corrupt=0.05)
    finding = Finding(f"Many clients: {sizes}, {0.05:.0%} corrupt")
    (run,) = _run_beside_floors(benchmark, finding, sizes, sizes.run)
    finding.add("wall, the command", run.seconds, "s", asked="at most 45 s on 2 cores", met=run.seconds <= 45)
    finding.add("peak memory", run.facts["peak_memory_bytes"] / GIB, "GiB")
    report(finding)


def test_expected_orphans():
    """The expectation against graphs as sessions draw them."""
    from protocols.masking.graph import Graph

    sizes = Sizes(500, 1, 0.1)
    topology = derive_topology(sizes.model)
    counts = []
    for number in range(40):
        graph = Graph(topology, sizes.clients, number.to_bytes(32, "big"))
        survivors = set(range(1, sizes.survivors + 1))
        dropped = range(sizes.survivors + 1, sizes.clients + 1)
        counts.append(sum(len(graph.neighbours(client) & survivors) for client in dropped))
    assert np.mean(counts) == pytest.approx(sizes.orphaned_pairs, rel=0.01)


def _run_beside_floors(benchmark: Any, finding: Finding, sizes: Sizes, command: Callable[[], Run]) -> list[Run]:
    """Run once, measure the whole round's floors before and after, and say how far apart they are."""
    cores = cpu_count()
    aes_bytes = (sizes.client_masks + sizes.server_masks) * sizes.mask_bytes
    runs: list[Run] = []
    aes_samples, x25519_samples = [], []

    def floors() -> float:
        aes, x25519 = whole_round_seconds(aes_bytes, sizes.multiplications, cores)
        aes_samples.append(aes)
        x25519_samples.append(x25519)
        return aes + x25519

    def our_turn() -> float:
        runs.append(command())
        return runs[-1].seconds

    timings = take_turns(benchmark, our_turn, {"floors": floors}, turns=1)
    floors()
    floor = float(np.mean(aes_samples) + np.mean(x25519_samples))
    finding.add("exact", all(run.facts["exact"] for run in runs), asked="exact", met=True)
    finding.add(f"AES floor of everyone's masks, {cores} cores", float(np.mean(aes_samples)), "s")
    finding.add(f"X25519 floor of everyone's keys, {cores} cores", float(np.mean(x25519_samples)), "s")
    finding.add("wall / both floors", timings.median("ours") / floor, "x")
    _add_costs(finding, runs)
    finding.notes.append(
        f"floors: {aes_bytes / 1e9:.3g} GB of AES-256 and {sizes.multiplications:,} scalar multiplications, at the "
        "speed of samples taken before and after"
    )
    return runs


def _add_client(finding: Finding, sizes: Sizes, runs: list[Run], most: float) -> None:
    """What a client computes beside the AES and X25519 of its masks and keys, on one core."""
    ours, floor = float(np.median([run.facts["seconds"]["client_mean"] for run in runs])), sizes.client_floor()
    finding.add("a client's floor, AES and X25519, 1 core", floor, "s")
    finding.add("a client / its floor", ours / floor, "x", asked=f"at most {most}", met=ours / floor <= most)


def _add_costs(finding: Finding, runs: list[Run]) -> None:
    def median(get: Callable[[Mapping[str, Any]], float]) -> float:
        return float(np.median([get(run.facts) for run in runs]))

    finding.add("a client, mean", median(lambda facts: facts["seconds"]["client_mean"]), "s")
    finding.add("a client, slowest", median(lambda facts: facts["seconds"]["client_max"]), "s")
    finding.add("the server, all rounds", median(lambda facts: facts["seconds"]["server"]), "s")
    phases = [run.facts["seconds"].get("phases", {}) for run in runs]
    for phase in phases[-1]:
        finding.add(f"wall, {phase}", float(np.median([of[phase] for of in phases])), "s")
    finding.add("wall, the round", median(lambda facts: facts["seconds"]["wall"]), "s")
    finding.add("a client sends", median(lambda facts: facts["bytes"]["client_sent_mean"]) / 1024, "KiB")
    finding.add("a client receives", median(lambda facts: facts["bytes"]["client_received_mean"]) / 1024, "KiB")
