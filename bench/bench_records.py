"""Noise for records: the digits of `secagg demo --private --unit record`, over several splits.

Twelve unequal silos, 60 rounds, a quarter of the images in each. The same training with the noise that silos bring,
calibrated to ten honest ones of eleven; with a trusted server that adds it, by the same accountant; with noise for
whole silos; and in the clear. The sums are those of the round's own encodings, added without masks: that they equal a
round's bit by bit is shown by tests/bench/test_unmasked.py. Rates and clips were chosen on a split that is none of
these.
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.side_by_side import size
from bench.suite.findings import Finding
from bench.unmasked import unmasked_sum
from protocols.cli.demo.records import ROUNDS, Trainings, plan_records

SILOS = size(12, 12)
SEEDS = size(5, 1)
NUM_ROUNDS = size(ROUNDS, 2)
DELTA = 1e-5


def train(epsilon: float, seed: int) -> dict[str, float]:
    """Return the accuracies after all rounds."""
    plan = plan_records(SILOS, NUM_ROUNDS, epsilon, DELTA)
    trainings = Trainings(plan, seed)
    for number in range(1, NUM_ROUNDS + 1):
        trainings.step(unmasked_sum(plan.config, trainings.shares, trainings.inputs).sum(plan.name))
        trainings.others_step(number)
    return trainings.accuracies()


@pytest.mark.parametrize("epsilon", [1.0, 3.0, 8.0])
def test_accuracy_beside_a_trusted_server(epsilon, benchmark, report):
    found = benchmark.pedantic(lambda: [train(epsilon, seed) for seed in range(SEEDS)], rounds=1)
    mean = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
    lost = mean["central_accuracy"] - mean["record_accuracy"]
    finding = Finding(f"noise for records: digits over {SILOS} silos, epsilon {epsilon:g}, mean of {SEEDS} splits")
    finding.add("in the clear", 100 * mean["plain_accuracy"], "%")
    finding.add("a trusted server", 100 * mean["central_accuracy"], "%")
    finding.add("noise that silos bring", 100 * mean["record_accuracy"], "%")
    finding.add("noise for whole silos", 100 * mean["client_accuracy"], "%")
    finding.add("lost to a trusted server", 100 * lost, "points", asked="within 1 point", met=lost <= 0.01)
    report(finding)
