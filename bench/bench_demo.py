"""The demonstration on real data, against the same training in the clear alone."""

from __future__ import annotations

import numpy as np
import pytest

from bench.command import Run, run_secagg
from bench.side_by_side import clocked, size, take_turns
from bench.suite.findings import Finding

pytestmark = pytest.mark.long

CLIENTS = size(100, 20)
ROUNDS = size(15, 2)
QUANTISATION = 0.02
"""Two accuracies that differ by more than nine of 449 test images are no quantisation error."""


def train_in_the_clear() -> None:
    """What the demonstration does beside the protocol, by its own functions: nobody drops out, nothing is masked."""
    from protocols.cli.demo import plain
    from protocols.cli.demo.digits import load_digits, split_unequally

    rng = np.random.default_rng(0)
    training, test = load_digits(rng)
    shares = split_unequally(training, CLIENTS, rng)
    model = plain.initial_model(rng)
    for number in range(ROUNDS):
        model = plain.add(model, plain.plain_mean(model, shares, frozenset(shares), (0, number)))
        plain.accuracy(model, test)


def test_demo(benchmark, report, tmp_path):
    runs: list[Run] = []
    arguments = ("--clients", str(CLIENTS), "--rounds", str(ROUNDS), "--plot", tmp_path / "curves.png")

    def our_turn() -> float:
        runs.append(run_secagg("demo", *arguments, cwd=tmp_path))
        return runs[-1].seconds

    timings = take_turns(benchmark, our_turn, {"in the clear": clocked(train_in_the_clear)}, turns=size(2, 1))
    facts = runs[-1].facts
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert facts["max_accuracy_difference"] < QUANTISATION
    finding = Finding(f"secagg demo: {CLIENTS} clients, {ROUNDS} rounds, in the clear and securely")
    seconds = timings.median("ours")
    finding.add("wall, the command", seconds, "s", asked="under 120 s on 2 cores", met=seconds < 120)
    finding.add("the same training in the clear alone", timings.median("in the clear"), "s")
    finding.add_ratio("the command (both) / in the clear alone", timings.ratio("ours", "in the clear"))
    finding.add("accuracy in the clear", 100 * facts["plain_accuracy"], "%")
    finding.add("accuracy through secure aggregation", 100 * facts["secure_accuracy"], "%")
    finding.add("largest difference in a round", 100 * facts["max_accuracy_difference"], "points")
    finding.add("a client in a round", facts["seconds"]["client_mean"], "s")
    finding.add("the server in a round", facts["seconds"]["server_mean"], "s")
    report(finding)
