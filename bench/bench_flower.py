"""The Flower adapter against Flower's own SecAgg+ on the same simulated app, and a round of 100 simulated nodes.

Both in one process tree and one after the other, over the same engine (Ray), with the same nodes, model and training.
What the engine itself takes is in the seconds of both; a round of plain FedAvg shows how much that is.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.flower_costs import NAME
from bench.peers.environments import FLOWER_WORKFLOW, PeerMissingError, python
from bench.side_by_side import limit, peer, say, size
from bench.suite.findings import Finding, Row

SCRIPT = Path(__file__).parent / "peers" / "flower_apps.py"
NODES = size(20, 6)
ROUNDS = size(3, 1)
HIDDEN = size(1340, 20)
"""100,510 parameters."""
MANY = size(100, 10)


def simulate(**parameters: Any) -> dict[str, Any]:
    """Run the script in a home and an environment of its own, and return its findings."""
    interpreter = python(*FLOWER_WORKFLOW)
    say("rounds of simulated nodes")
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "FLWR_HOME": home,
            "FLWR_TELEMETRY_ENABLED": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
        command = [str(interpreter), str(SCRIPT), json.dumps(parameters)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=900)
    found = re.findall(r"^FINDINGS (.*)$", done.stdout, flags=re.MULTILINE)
    assert found, (done.stdout + done.stderr)[-3000:]
    return json.loads(found[0])


def test_flower_against_its_own_secure_aggregation(benchmark, report):
    dropped = NODES // 10
    found: dict[str, Any] = {}

    def run() -> None:
        found.update(
            simulate(nodes=NODES, rounds=ROUNDS, dropped=dropped, hidden=HIDDEN, contenders=["plain", "ours", "theirs"])
        )

    title = f"Flower: {NODES} simulated nodes, {dropped} drop out, {HIDDEN * 75 + 10:,} parameters"
    finding = Finding(title)
    what = f"a round in Flower: {NODES} simulated nodes, {HIDDEN * 75 + 10:,} numbers, {dropped} vanish"
    try:
        benchmark.pedantic(run, rounds=1)
    except PeerMissingError as error:
        finding.notes.append(f"nothing was measured: {error}")
        finding.rows = [Row(what, "s", None, peer(NAME, str(error), 1.0))]
        report(finding)
        return
    plain, ours, theirs = (found[name] for name in ("plain", "ours", "theirs"))
    seconds = {name: statistics.median(found[name]["seconds"]) for name in found}
    ratio = (seconds["theirs"] - seconds["plain"]) / (seconds["ours"] - seconds["plain"])
    sent = {name: found[name]["reply_bytes"] / NODES for name in found}
    finding.add("a round of plain FedAvg, the engine's own time", seconds["plain"], "s")
    finding.add("a round, ours", seconds["ours"], "s", lowest=min(ours["seconds"]), highest=max(ours["seconds"]))
    finding.add(
        "a round, Flower's SecAgg+", seconds["theirs"], "s",
        lowest=min(theirs["seconds"]), highest=max(theirs["seconds"]),
    )  # fmt: skip
    finding.add("Flower's SecAgg+ / ours, beyond plain FedAvg", ratio, "x", asked="at least 3x", met=ratio >= 3)
    finding.add("whole rounds, Flower's SecAgg+ / ours", seconds["theirs"] / seconds["ours"], "x")
    finding.add("a node sends in a round, ours", sent["ours"], "bytes")
    finding.add("a node sends in a round, Flower's SecAgg+", sent["theirs"], "bytes")
    finding.add("a node sends in a round of plain FedAvg", sent["plain"], "bytes")
    share = sent["ours"] / sent["theirs"]
    finding.add("ours / Flower's SecAgg+, bytes", share, "x", asked="at most 0.5x", met=share <= 0.5)
    for name, label in (("plain", "in clear"), ("ours", "ours"), ("theirs", "Flower's SecAgg+")):
        finding.add(f"accuracy after {ROUNDS + 1} rounds, {label}", 100 * found[name]["accuracy"], "%")
    finding.notes += [
        f"complete graph and the same threshold for both; those who drop out do so instead of sending masked input; "
        f"median of {ROUNDS} rounds after a first one that warms up",
        "bytes as Flower serialises the nodes' replies, averaged over all nodes, in the first round",
        f"ours, by exchange: {', '.join(f'{name} {value:.2f} s' for name, value in ours['stages'].items())}",
        "accuracy in clear is of all nodes' updates",
    ]
    note = "Flower's own workflow, whole, on its simulation engine; ours is its adapter"
    finding.rows = [
        Row(
            what,
            "s",
            seconds["ours"],
            peer(NAME, seconds["theirs"], seconds["ours"], note),
            limit("plain FedAvg", seconds["plain"], seconds["ours"]),
        ),
        Row(
            f"{what}: a node sends",
            "bytes",
            sent["ours"],
            peer(NAME, sent["theirs"], sent["ours"]),
            limit("plain FedAvg, float32", sent["plain"], sent["ours"]),
        ),
    ]
    assert plain["survivors"] == NODES
    assert ours["survivors"] == NODES - dropped
    report(finding)


def test_a_hundred_simulated_nodes(benchmark, report):
    dropped = MANY // 10
    found: dict[str, Any] = {}
    benchmark.pedantic(
        lambda: found.update(simulate(nodes=MANY, rounds=1, dropped=dropped, hidden=HIDDEN, contenders=["ours"])),
        rounds=1,
    )
    ours = found["ours"]
    finding = Finding(f"Flower: {MANY} simulated nodes, {dropped} drop out, {HIDDEN * 75 + 10:,} parameters")
    finding.add("a round", statistics.median(ours["seconds"]), "s")
    finding.add("survivors", ours["survivors"], asked=f"{MANY - dropped}", met=ours["survivors"] == MANY - dropped)
    finding.add("a node sends in a round", ours["reply_bytes"] / MANY, "bytes")
    for name, value in ours["stages"].items():
        finding.add(f"of the round: {name}", value, "s")
    report(finding)
