"""DP-SGD without a trusted server, on real data: `secagg demo --private --unit record`.

A few silos of unequal size train a linear classifier on the UCI handwritten digits. In each round every silo samples
its images by coins of its own, clips the gradient of each, and adds its share of noise; the masked sum is the step.
Beside it the same training runs in the clear, with a trusted server that sees all images and adds the noise itself, and
with noise for whole silos, of which there are far too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.calibration import noise_multiplier
from dp.clipping import clip
from dp.errors import BudgetExceededError
from dp.ledger import Ledger
from dp.sensitivity import Norm, Unit

from ...core.machine import Values
from ...core.numbers import spelled_up
from ...core.threat_model import ThreatModel
from ...masking.transitions import ServerPhase
from ...privacy.plans import PrivatePlan
from ...privacy.records import sampled_gradients
from ...simulation.masked import Simulation, choose_drops
from ...simulation.paid import pay
from .digits import CLASSES, Array, Examples, load_digits, split_unequally
from .private import BUDGET, PARAMETERS, PIXELS, Asked, BudgetedRound, accuracy, local_update, train_and_draw
from .showing import Columns, conclude

# Chosen once, by central DP-SGD on a split (seed 1000) that nothing is shown of.
ROUNDS = 60
SAMPLING_RATE = 0.25
RECORD_CLIP = 1.0
RATE_PER_EPSILON, MOST_RATE = 2.0, 8.0
"""What noise allows: steps are smaller where there is more of it."""
MAX_RECORDS = 200
# Chosen once for noise for whole silos, on the same split: with more rounds, there is more noise in each.
CLIENT_ROUNDS = 10
CLIENT_CLIP = 1.0
BAD_FRACTION = 0.1
LINES = 12


@dataclass(frozen=True, kw_only=True)
class RecordDemoRound(BudgetedRound):
    """One line of the table."""

    central_accuracy: float
    record_accuracy: float
    client_accuracy: float


COLUMNS: Columns[RecordDemoRound] = {
    "round": lambda line: str(line.number),
    "in the clear": lambda line: f"{line.plain_accuracy:.1%}",
    "trusted": lambda line: f"{line.central_accuracy:.1%}",
    "private": lambda line: f"{line.record_accuracy:.1%}",
    "silo noise": lambda line: f"{line.client_accuracy:.1%}",
    **BUDGET,
}


def run_record_demo(asked: Asked) -> dict[str, Any]:
    """Train until the budget is gone, show the accuracies as they grow, and draw them against epsilon.

    Errors are those of `run_private_demo`; the budget, where one is made, is for records.
    """
    plan = plan_records(asked.clients, asked.rounds, asked.epsilon, asked.delta, asked.dropout)
    last, facts = train_and_draw(
        asked,
        plan,
        lambda ledger: _train(plan, ledger, asked.subject, asked.dropout, asked.seed),
        COLUMNS,
        lambda _: f"training under a budget of epsilon {asked.epsilon:g} for each record",
        {
            "without privacy": lambda line: line.plain_accuracy,
            "private for records, no trusted server": lambda line: line.record_accuracy,
            "private for records, by a trusted server": lambda line: line.central_accuracy,
            "private for whole silos": lambda line: line.client_accuracy,
        },
        f"Private federated learning of {asked.clients} silos on handwritten digits",
    )
    conclude(
        f"the budget is gone after {last.number} rounds, at epsilon {spelled_up(last.epsilon, 3)} for each record: "
        f"accuracy {last.record_accuracy:.1%}, {last.central_accuracy:.1%} with a trusted server, "
        f"{last.plain_accuracy:.1%} without privacy, and {last.client_accuracy:.1%} with noise for whole silos; "
        f"the curves are in {asked.plot}",
        asked.console,
    )
    return facts | {
        "unit": plan.unit,
        "sampling_rate": plan.sampling_rate,
        "central_accuracy": last.central_accuracy,
        "private_accuracy": last.record_accuracy,
        "client_level_accuracy": last.client_accuracy,
    }


def plan_records(num_clients: int, rounds: int, epsilon: float, delta: float, dropout: float = 0.0) -> PrivatePlan:
    """Return the plan of the rounds; raise ParameterError if it is impossible."""
    return PrivatePlan(
        threat_model=ThreatModel(num_clients, BAD_FRACTION, max(dropout, BAD_FRACTION)),
        length=PARAMETERS,
        l2_clip=RECORD_CLIP,
        epsilon=epsilon,
        delta=delta,
        rounds=rounds,
        unit=Unit.RECORD,
        max_records=MAX_RECORDS,
        sampling_rate=SAMPLING_RATE,
        name="gradient",
    )


class Trainings:
    """The trainings side by side, on one split of the data: all but the one by the protocol happen in here.

    Args:
        plan: of the private one; the others are held to its goal, its rounds and its sampling rate.
        seed: of the split, and of what only imitates a trusted server: its samples and its noise.
    """

    def __init__(self, plan: PrivatePlan, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.training, self.test = load_digits(self.rng)
        self.shares = split_unequally(self.training, plan.threat_model.num_clients, self.rng)
        self.plan = plan
        # What divides a sum is fixed beforehand; how many were sampled nobody is told.
        self.expected = plan.sampling_rate * self.training.labels.size
        epsilon, delta, rounds = plan.goal.epsilon or 0.0, plan.delta, plan.rounds
        self.rate = min(MOST_RATE, RATE_PER_EPSILON * epsilon)
        multiplier = noise_multiplier(epsilon, delta, rounds=rounds, sampling_rate=plan.sampling_rate)
        self.central_sigma = multiplier * plan.l2_clip
        self.client_rounds = min(CLIENT_ROUNDS, rounds)
        self.client_sigma = noise_multiplier(epsilon, delta, rounds=self.client_rounds) * CLIENT_CLIP
        self.private, self.central, self.plain, self.client = np.zeros((4, PARAMETERS))

    def inputs(self, name: str) -> Values:
        """Return what a silo hands in to the next round: the gradients of a fresh sample, block by block."""
        share = self.shares[name]
        gradients = partial(gradients_of, self.private, share)
        return {self.plan.name: sampled_gradients(gradients, share.labels.size, self.plan.sampling_rate)}

    def step(self, total: Array) -> None:
        """Take a step down the noisy sum of the silos' gradients."""
        self.private = self.private - self.rate * total / self.expected

    def others_step(self, number: int) -> None:
        """Take the same step without noise or clipping, and with a trusted server; and a round with silos' noise."""
        taken = np.flatnonzero(self.rng.random(self.training.labels.size) < self.plan.sampling_rate)
        plain = gradients_of(self.plain, self.training, taken).sum(axis=0)
        self.plain = self.plain - self.rate * plain / self.expected
        rows = gradients_of(self.central, self.training, taken)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        clipped = (rows * np.minimum(1, self.plan.l2_clip / np.maximum(norms, 1e-300))).sum(axis=0)
        noise = self.rng.normal(scale=self.central_sigma, size=PARAMETERS)
        self.central = self.central - self.rate * (clipped + noise) / self.expected
        if number * self.client_rounds // self.plan.rounds > (number - 1) * self.client_rounds // self.plan.rounds:
            updates = [clip(local_update(self.client, share), CLIENT_CLIP, Norm.L2) for share in self.shares.values()]
            noise = self.rng.normal(scale=self.client_sigma, size=PARAMETERS)
            self.client = self.client + (np.sum(updates, axis=0) + noise) / len(updates)

    def accuracies(self) -> dict[str, float]:
        """Return how many test images each classifier gets right."""
        return {
            "plain_accuracy": accuracy(self.plain, self.test),
            "central_accuracy": accuracy(self.central, self.test),
            "record_accuracy": accuracy(self.private, self.test),
            "client_accuracy": accuracy(self.client, self.test),
        }


def _train(plan: PrivatePlan, ledger: Ledger, subject: str, dropout: float, seed: int) -> Iterator[RecordDemoRound]:
    """Yield a line every few rounds, and the last."""
    trainings = Trainings(plan, seed)
    every = max(1, plan.rounds // LINES)
    number, line = 0, None
    while True:
        drops = choose_drops(plan.threat_model.num_clients, {ServerPhase.MASKED_INPUT: dropout}, trainings.rng)
        try:
            report = pay(ledger, subject, plan, _round(trainings, drops))
        except BudgetExceededError:
            if line is None:
                raise
            if line.number % every:
                yield line
            return
        number += 1
        trainings.step(report.result.sum(plan.name))
        trainings.others_step(number)
        status = ledger.status(subject)
        line = RecordDemoRound(
            number=number,
            survivors=len(report.result.survivors),
            epsilon=status.epsilon,
            taken=status.fraction_taken,
            **trainings.accuracies(),
        )
        if number % every == 0:
            yield line


def _round(trainings: Trainings, drops: Mapping[ServerPhase, frozenset[str]]) -> Simulation:
    return Simulation(trainings.plan.config, trainings.inputs, drops)


def gradients_of(weights: Array, examples: Examples, indices: npt.NDArray[Any]) -> Array:
    """Return the gradient of the loss of each of some examples, a row each, float64 (indices, PARAMETERS)."""
    images = examples.images[indices]
    scores = images @ weights[: PIXELS * CLASSES].reshape(PIXELS, CLASSES) + weights[PIXELS * CLASSES :]
    error = np.exp(scores - scores.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(images)), examples.labels[indices]] -= 1
    matrix = images[:, :, np.newaxis] * error[:, np.newaxis, :]
    return np.concatenate((matrix.reshape(len(images), -1), error), axis=1)
