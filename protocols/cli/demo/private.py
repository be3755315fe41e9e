"""Federated learning under a privacy budget, on real data: `secagg demo --private`.

Clients share the UCI handwritten digits and train a linear classifier. Every round is a private one: each client adds
its share of noise, and a ledger pays. When the budget is gone, training stops. Beside it the same training runs in the
clear, without noise or clipping.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console

from dp.errors import BudgetExceededError
from dp.ledger import Ledger

from ...core.numbers import spelled_up
from ...core.threat_model import ThreatModel
from ...masking.transitions import ServerPhase
from ...privacy.plans import PrivatePlan
from ...simulation.masked import Simulation, choose_drops
from ...simulation.paid import pay
from .digits import CLASSES, Array, Examples, load_digits, split_unequally
from .showing import Columns, conclude, draw, watch

PIXELS = 64
PARAMETERS = (PIXELS + 1) * CLASSES
L2_CLIP = 2.0
LOCAL_STEPS = 10
LEARNING_RATE = 1.0
SERVER_RATE = 2.0
CORRUPT_FRACTION = 0.05


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a training under a budget is asked for.

    Attributes:
        clients: who share the data, unequally.
        rounds: how many the noise is planned for; the budget decides.
        dropout: fraction that vanishes in each round.
        epsilon, delta: of the budget, where one is made.
        plot: where the picture goes.
        seed: of the data's split, and the dropouts; never of noise.
        budget: URL of the ledger; None for one that is thrown away.
        subject: budget in the ledger; made, if it is not there.
        console: where the table goes, if anywhere.
    """

    clients: int
    rounds: int
    dropout: float
    epsilon: float
    delta: float
    plot: Path
    seed: int
    budget: str | None
    subject: str
    console: Console | None


@dataclass(frozen=True, kw_only=True)
class BudgetedRound:
    """What each line of a table has."""

    number: int
    survivors: int
    plain_accuracy: float
    epsilon: float
    taken: float


@dataclass(frozen=True, kw_only=True)
class PrivateDemoRound(BudgetedRound):
    """One line of the table."""

    private_accuracy: float


Round = TypeVar("Round", bound=BudgetedRound)
BUDGET: Columns[BudgetedRound] = {
    "epsilon": lambda line: f"{line.epsilon:.3f}",
    "budget": lambda line: f"{'█' * round(10 * line.taken):░<10} {line.taken:.0%}",
}
COLUMNS: Columns[PrivateDemoRound] = {
    "round": lambda line: str(line.number),
    "clients in the sum": lambda line: str(line.survivors),
    "without privacy": lambda line: f"{line.plain_accuracy:.1%}",
    "private": lambda line: f"{line.private_accuracy:.1%}",
    **BUDGET,
}


def run_private_demo(asked: Asked) -> dict[str, Any]:
    """Train until the budget is gone, show both accuracies as they grow, and draw them against epsilon.

    Raises:
        SecAggError: a round ended without a sum, or the plan is impossible.
        LedgerError: not even one round fits the budget, or the ledger fails.
    """
    plan = PrivatePlan(
        threat_model=ThreatModel(asked.clients, CORRUPT_FRACTION, max(asked.dropout, 0.05)),
        length=PARAMETERS,
        l2_clip=L2_CLIP,
        epsilon=asked.epsilon,
        delta=asked.delta,
        rounds=asked.rounds,
    )
    last, facts = train_and_draw(
        asked,
        plan,
        lambda ledger: _train(plan, ledger, asked.subject, asked.dropout, asked.seed),
        COLUMNS,
        lambda done: f"training under a budget of epsilon {asked.epsilon:g}, {done} rounds",
        {"without privacy": lambda line: line.plain_accuracy, "private rounds": lambda line: line.private_accuracy},
        f"Private federated learning of {asked.clients} clients on handwritten digits",
    )
    conclude(
        f"the budget is gone after {last.number} rounds, at epsilon {spelled_up(last.epsilon, 3)}: accuracy "
        f"{last.private_accuracy:.1%}, and {last.plain_accuracy:.1%} without privacy; the curves are in {asked.plot}",
        asked.console,
    )
    return facts | {"private_accuracy": last.private_accuracy}


def train_and_draw(
    asked: Asked,
    plan: PrivatePlan,
    train: Callable[[Ledger], Iterator[Round]],
    columns: Columns[Round],
    heading: Callable[[int], str],
    curves: Mapping[str, Callable[[Round], float]],
    title: str,
) -> tuple[Round, dict[str, Any]]:
    """Train until the budget is gone, with a table that grows, and draw the curves; return the last line and facts."""
    start = time.perf_counter()
    with ledger_for(asked.budget, asked.subject, plan) as ledger:
        history = watch(train(ledger), columns, heading, asked.console)
    draw(
        asked.plot,
        [line.epsilon for line in history],
        {label: [accuracy_of(line) for line in history] for label, accuracy_of in curves.items()},
        asked.epsilon,
        xlabel=f"epsilon spent (delta {asked.delta:g})",
        title=title,
    )
    last = history[-1]
    return last, {
        "clients": asked.clients,
        "rounds": last.number,
        "rounds_planned": asked.rounds,
        "plain_accuracy": last.plain_accuracy,
        "epsilon_spent": last.epsilon,
        "epsilon": asked.epsilon,
        "delta": asked.delta,
        "subject": asked.subject,
        "seconds": {"wall": time.perf_counter() - start},
        "plot": str(asked.plot),
        "history": [vars(line) for line in history],
    }


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
