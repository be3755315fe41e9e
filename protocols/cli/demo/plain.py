"""Federated averaging on real data, in the clear and through secure aggregation: `secagg demo`.

The data are the UCI handwritten digits that ship inside scikit-learn. Clients hold unequal shares of them, train a
small network on them in each round, and send what changed and their accuracy, weighted by their number of examples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ...core.machine import Inputs
from ...core.threat_model import ThreatModel
from ...inputs.vectors import FloatVector
from ...masking.config import RoundConfig
from ...masking.transitions import ServerPhase
from ...simulation.masked import Simulation, SimulationReport, choose_drops
from .digits import CLASSES, Array, Examples, load_digits, split_unequally
from .showing import Columns, conclude, draw, watch

Model = list[Array]


HIDDEN = 32
LEARNING_RATE = 0.1
LOCAL_EPOCHS = 3
BATCH = 8
CLIP = 1.0
VALUE_BITS = 16


@dataclass(frozen=True)
class DemoRound:
    """One line of the table."""

    number: int
    survivors: int
    plain_accuracy: float
    secure_accuracy: float
    client_seconds: float
    server_seconds: float
    sent_bytes: float


COLUMNS: Columns[DemoRound] = {
    "round": lambda line: str(line.number),
    "clients in the sum": lambda line: str(line.survivors),
    "plain": lambda line: f"{line.plain_accuracy:.1%}",
    "secure": lambda line: f"{line.secure_accuracy:.1%}",
    "a client": lambda line: f"{1000 * line.client_seconds:.0f} ms",
    "the server": lambda line: f"{1000 * line.server_seconds:.0f} ms",
    "a client sends": lambda line: f"{line.sent_bytes / 1024:.1f} KiB",
}


def run_demo(
    num_clients: int, rounds: int, dropout: float, plot: Path, seed: int, *, console: Console | None
) -> dict[str, Any]:
    """Train twice on the same data with the same dropouts, show both accuracies as they grow, and draw the curves.

    Raises:
        SecAggError: a round ended without a sum.
        ParameterError: the threat model is impossible, the data are too few for the clients, or the plot has no place.
    """
    start = time.perf_counter()
    history = watch(
        _train(num_clients, rounds, dropout, seed),
        COLUMNS,
        lambda done: f"federated averaging on handwritten digits, {done} of {rounds} rounds",
        console,
    )
    draw(
        plot,
        [line.number for line in history],
        {
            "in the clear": [line.plain_accuracy for line in history],
            "secure aggregation": [line.secure_accuracy for line in history],
        },
        None,
        xlabel="round",
        title=f"Federated averaging of {num_clients} clients on handwritten digits",
    )
    facts = {
        "clients": num_clients,
        "rounds": rounds,
        "plain_accuracy": history[-1].plain_accuracy,
        "secure_accuracy": history[-1].secure_accuracy,
        "max_accuracy_difference": max(abs(line.plain_accuracy - line.secure_accuracy) for line in history),
        "seconds": {
            "client_mean": float(np.mean([line.client_seconds for line in history])),
            "server_mean": float(np.mean([line.server_seconds for line in history])),
            "wall": time.perf_counter() - start,
        },
        "bytes": {"client_sent_mean": float(np.mean([line.sent_bytes for line in history]))},
        "plot": str(plot),
        "history": [vars(line) for line in history],
    }
    conclude(
        f"accuracy after {rounds} rounds: {facts['plain_accuracy']:.1%} in the clear, "
        f"{facts['secure_accuracy']:.1%} through secure aggregation; the curves are in {plot}",
        console,
    )
    return facts


def _train(num_clients: int, rounds: int, dropout: float, seed: int) -> Iterator[DemoRound]:
    rng = np.random.default_rng(seed)
    training, test = load_digits(rng)
    shares = split_unequally(training, num_clients, rng)
    plain = secure = initial_model(rng)
    config = RoundConfig(
        ThreatModel(num_clients, corrupt_fraction=0.1, dropout_fraction=max(dropout, 0.05)),
        (
            FloatVector("update", flat(plain).size, clip=CLIP, value_bits=VALUE_BITS, weighted=True),
            FloatVector("accuracy", 1, clip=1.0, value_bits=VALUE_BITS, weighted=True),
        ),
        max_weight=max(share.labels.size for share in shares.values()),
    )
    for number in range(1, rounds + 1):
        drops = choose_drops(num_clients, {ServerPhase.MASKED_INPUT: dropout}, rng)
        report = secure_round(config, secure, shares, drops, (seed, number))
        secure = add(secure, report.result.mean("update"))
        plain = add(plain, plain_mean(plain, shares, report.result.survivors, (seed, number)))
        costs = [report.clients[name] for name in report.result.survivors]
        yield DemoRound(
            number=number,
            survivors=len(report.result.survivors),
            plain_accuracy=accuracy(plain, test),
            secure_accuracy=accuracy(secure, test),
            client_seconds=float(np.mean([cost.seconds for cost in costs])),
            server_seconds=report.server_seconds,
            sent_bytes=float(np.mean([cost.sent_bytes for cost in costs])),
        )


def secure_round(
    config: RoundConfig,
    model: Model,
    shares: Mapping[str, Examples],
    drops: Mapping[ServerPhase, frozenset[str]],
    seed: tuple[int, int],
) -> SimulationReport:
    """Average the clients' updates through secure aggregation."""

    def inputs(name: str) -> Inputs:
        share = shares[name]
        update = local_update(model, share, (*seed, *name.encode()))
        return Inputs({"update": update, "accuracy": np.array([accuracy(model, share)])}, share.labels.size)

    return Simulation(config, inputs, drops).run()


def plain_mean(model: Model, shares: Mapping[str, Examples], survivors: frozenset[str], seed: tuple[int, int]) -> Array:
    """Average the same clients' updates in the clear: federated averaging as everyone does it."""
    total = np.zeros(flat(model).size)
    weights = 0
    for name in sorted(survivors):
        share = shares[name]
        total += share.labels.size * local_update(model, share, (*seed, *name.encode()))
        weights += share.labels.size
    mean: Array = total / weights
    return mean


def initial_model(rng: np.random.Generator) -> Model:
    """Return a network of one hidden layer: weights (64, 32), (32, 10) and biases."""
    pixels = 64
    return [
        rng.normal(0, math.sqrt(2 / pixels), (pixels, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0, math.sqrt(2 / HIDDEN), (HIDDEN, CLASSES)),
        np.zeros(CLASSES),
    ]


def flat(model: Model) -> Array:
    """Return a model's parameters as one vector."""
    return np.concatenate([parameter.reshape(-1) for parameter in model])


def local_update(model: Model, share: Examples, seed: tuple[int, ...]) -> Array:
    """Train on one client's examples by stochastic gradient descent; return what changed, as a vector."""
    rng = np.random.default_rng(seed)
    w1, b1, w2, b2 = (parameter.copy() for parameter in model)
    for _ in range(LOCAL_EPOCHS):
        order = rng.permutation(share.labels.size)
        for start in range(0, order.size, BATCH):
            batch = share.take(order[start : start + BATCH])
            hidden = np.maximum(batch.images @ w1 + b1, 0)
            error = _softmax(hidden @ w2 + b2)
            error[np.arange(batch.labels.size), batch.labels] -= 1
            error *= LEARNING_RATE / batch.labels.size
            hidden_error = (error @ w2.T) * (hidden > 0)
            w2 -= hidden.T @ error
            b2 -= error.sum(axis=0)
            w1 -= batch.images.T @ hidden_error
            b1 -= hidden_error.sum(axis=0)
    change: Array = flat([w1, b1, w2, b2]) - flat(model)
    return change


def accuracy(model: Model, examples: Examples) -> float:
    """Return the fraction of examples that the model gets right."""
    w1, b1, w2, b2 = model
    scores = np.maximum(examples.images @ w1 + b1, 0) @ w2 + b2
    return float(np.mean(scores.argmax(axis=1) == examples.labels))


def _softmax(scores: Array) -> Array:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def add(model: Model, update: Array) -> Model:
    """Return the model moved by an update (length,)."""
    pieces = np.split(update, np.cumsum([parameter.size for parameter in model])[:-1])
    return [parameter + piece.reshape(parameter.shape) for parameter, piece in zip(model, pieces, strict=True)]
