"""Federated learning under a privacy budget, on real data: `secagg demo --private`.

Clients share the UCI handwritten digits and train a linear classifier. Every round is a private one: each client adds
its share of noise, and a ledger pays. When the budget is gone, training stops. Beside it the same training runs in the
clear, without noise or clipping.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dp.errors import BudgetExceededError
from dp.ledger import Ledger

from ...core.threat_model import ThreatModel
from ...masking.transitions import ServerPhase
from ...privacy.plans import PrivatePlan
from ...simulation.masked import Simulation, choose_drops
from ...simulation.paid import pay
from ..errors import check_place
from .digits import CLASSES, Array, Examples, load_digits, split_unequally
from .showing import Columns, conclude, draw, watch

PIXELS = 64
PARAMETERS = (PIXELS + 1) * CLASSES
L2_CLIP = 2.0
LOCAL_STEPS = 10
LEARNING_RATE = 1.0
SERVER_RATE = 2.0
CORRUPT_FRACTION = 0.05


@dataclass(frozen=True)
class PrivateDemoRound:
    """One line of the table."""

    number: int
    survivors: int
    plain_accuracy: float
    private_accuracy: float
    epsilon: float
    taken: float


COLUMNS: Columns[PrivateDemoRound] = {
    "round": lambda line: str(line.number),
    "clients in the sum": lambda line: str(line.survivors),
    "without privacy": lambda line: f"{line.plain_accuracy:.1%}",
    "private": lambda line: f"{line.private_accuracy:.1%}",
    "epsilon": lambda line: f"{line.epsilon:.3f}",
    "budget": lambda line: f"{'█' * round(10 * line.taken):░<10} {line.taken:.0%}",
}


def run_private_demo(
    num_clients: int,
    rounds: int,
    dropout: float,
    epsilon: float,
    delta: float,
    plot: Path,
    seed: int,
    *,
    budget: str | None,
    subject: str,
    console: Console | None,
) -> dict[str, Any]:
    """Train until the budget is gone, show both accuracies as they grow, and draw them against epsilon.

    Args:
        num_clients: who share the data, unequally.
        rounds: how many the noise is planned for; the budget decides.
        dropout: fraction that vanishes in each round.
        epsilon: of the budget, where one is made.
        delta: of the budget, where one is made.
        plot: where the picture goes.
        seed: of the data's split, and the dropouts; never of noise.
        budget: URL of the ledger; None for one that is thrown away.
        subject: budget in the ledger; made, if it is not there.
        console: where the table goes, if anywhere.

    Raises:
        SecAggError: a round ended without a sum, or the plan is impossible.
        LedgerError: not even one round fits the budget, or the ledger fails.
    """
    check_place(plot, "--plot")
    start = time.perf_counter()
    model = ThreatModel(num_clients, CORRUPT_FRACTION, max(dropout, 0.05))
    plan = PrivatePlan(
        threat_model=model, length=PARAMETERS, l2_clip=L2_CLIP, epsilon=epsilon, delta=delta, rounds=rounds
    )
    with ledger_for(budget, subject, plan) as ledger:
        history = watch(
            _train(plan, ledger, subject, dropout, seed),
            COLUMNS,
            lambda done: f"training under a budget of epsilon {epsilon:g}, {done} rounds",
            console,
        )
    draw(
        plot,
        [line.epsilon for line in history],
        {
            "without privacy": [line.plain_accuracy for line in history],
            "private rounds": [line.private_accuracy for line in history],
        },
        epsilon,
        xlabel=f"epsilon spent (delta {delta:g})",
        title=f"Private federated learning of {num_clients} clients on handwritten digits",
    )
    last = history[-1]
    facts = {
        "clients": num_clients,
        "rounds": last.number,
        "rounds_planned": rounds,
        "plain_accuracy": last.plain_accuracy,
        "private_accuracy": last.private_accuracy,
        "epsilon_spent": last.epsilon,
        "epsilon": epsilon,
        "delta": delta,
        "subject": subject,
        "seconds": {"wall": time.perf_counter() - start},
        "plot": str(plot),
        "history": [vars(line) for line in history],
    }
    conclude(
        f"the budget is gone after {last.number} rounds, at epsilon {last.epsilon:.3g}: accuracy "
        f"{last.private_accuracy:.1%}, and {last.plain_accuracy:.1%} without privacy; the curves are in {plot}",
        console,
    )
    return facts


@contextmanager
def ledger_for(url: str | None, subject: str, plan: PrivatePlan) -> Iterator[Ledger]:
    """Open the ledger; make a budget for as many rounds like the planned one as epsilon allows, if there is none."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Ledger.open(url or str(Path(folder) / "ledger.sqlite"), create=True) as ledger,
    ):
        if subject not in ledger.budgets():
            ledger.create(plan.budget(subject))
        yield ledger


def _train(plan: PrivatePlan, ledger: Ledger, subject: str, dropout: float, seed: int) -> Iterator[PrivateDemoRound]:
    rng = np.random.default_rng(seed)
    training, test = load_digits(rng)
    num_clients = plan.threat_model.num_clients
    shares = split_unequally(training, num_clients, rng)
    private, plain = np.zeros(PARAMETERS), np.zeros(PARAMETERS)
    number = 0
    while True:
        drops = choose_drops(num_clients, {ServerPhase.MASKED_INPUT: dropout}, rng)
        try:
            report = pay(ledger, subject, plan, _round(plan, private, shares, drops))
        except BudgetExceededError:
            if number == 0:
                raise
            return
        number += 1
        survivors = report.result.survivors
        private = private + SERVER_RATE * report.result.mean(plan.name)
        updates = [local_update(plain, shares[name]) for name in sorted(survivors)]
        plain = plain + SERVER_RATE * np.mean(updates, axis=0)
        status = ledger.status(subject)
        yield PrivateDemoRound(
            number=number,
            survivors=len(survivors),
            plain_accuracy=accuracy(plain, test),
            private_accuracy=accuracy(private, test),
            epsilon=status.epsilon,
            taken=status.fraction_taken,
        )


def _round(
    plan: PrivatePlan, weights: Array, shares: Mapping[str, Examples], drops: Mapping[ServerPhase, frozenset[str]]
) -> Simulation:
    return Simulation(plan.config, lambda name: {plan.name: local_update(weights, shares[name])}, drops)


def local_update(weights: Array, share: Examples) -> Array:
    """Train a linear classifier on one client's examples by gradient descent; return what changed, as a vector."""
    matrix, bias = weights[: PIXELS * CLASSES].reshape(PIXELS, CLASSES).copy(), weights[PIXELS * CLASSES :].copy()
    for _ in range(LOCAL_STEPS):
        scores = share.images @ matrix + bias
        error = np.exp(scores - scores.max(axis=1, keepdims=True))
        error /= error.sum(axis=1, keepdims=True)
        error[np.arange(share.labels.size), share.labels] -= 1
        error *= LEARNING_RATE / share.labels.size
        matrix -= share.images.T @ error
        bias -= error.sum(axis=0)
    change: Array = np.concatenate((matrix.ravel(), bias)) - weights
    return change


def accuracy(weights: Array, examples: Examples) -> float:
    """Return the fraction of examples that the classifier gets right."""
    scores = examples.images @ weights[: PIXELS * CLASSES].reshape(PIXELS, CLASSES) + weights[PIXELS * CLASSES :]
    return float(np.mean(scores.argmax(axis=1) == examples.labels))
