"""Training on the digits in groups, some of them spoilt: attacks against rules, without the sessions around them.

A bad client decides what its group's mean is, since it may add to the sum what it likes: so a spoilt group is one
vector of the attacker's, who knows all honest groups. Group sums are added in clear: that sessions give the same is
shown by tests/protocols/groups/test_rounds.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from protocols.cli.demo.digits import CLASSES, Examples, load_digits
from protocols.cli.demo.private import LEARNING_RATE, LOCAL_STEPS, PARAMETERS, PIXELS, accuracy
from protocols.groups import GroupPlan, combine

Array = npt.NDArray[np.float64]
IID, ONE_LABEL = "iid", "one label a client"

# What spoilt groups say, from the mean and the deviation of the honest groups' means, and one of these.
ATTACKS: Mapping[str, Callable[[Array], Array]] = {
    "sign flip": lambda honest: -honest.mean(axis=0),
    "scale x1000": lambda honest: -1000 * honest.mean(axis=0),
    "a little is enough": lambda honest: honest.mean(axis=0) - 1.5 * honest.std(axis=0),  # Baruch et al. 2019
    "inner product": lambda honest: -0.5 * honest.mean(axis=0),  # Xie et al. 2019
    "mimic": lambda honest: honest[0],  # Karimireddy et al. 2022
}


def shares(training: Examples, clients: int, split: str, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Deal the examples to clients: images (clients, most, 64), labels one-hot, and which places are taken."""
    order = rng.permutation(training.labels.size)
    if split == ONE_LABEL:
        order = order[np.argsort(training.labels[order], kind="stable")]
        each = clients // CLASSES
        of_label = (order[training.labels[order] == label] for label in range(CLASSES))
        parts = [part for examples in of_label for part in np.array_split(examples, each)]
    else:
        parts = np.array_split(order, clients)
    most = max(map(len, parts))
    images, labels = np.zeros((clients, most, PIXELS)), np.zeros((clients, most, CLASSES))
    taken = np.zeros((clients, most))
    for client, part in enumerate(parts):
        images[client, : len(part)] = training.images[part]
        labels[client, np.arange(len(part)), training.labels[part]] = 1
        taken[client, : len(part)] = 1
    return images, labels, taken


def local_updates(weights: Array, data: tuple[Array, Array, Array]) -> Array:
    """Return what training changes at each client, as `protocols.cli.demo.private.local_update`: a row each."""
    images, labels, taken = data
    clients = len(images)
    matrix = np.repeat(weights[None, : PIXELS * CLASSES].reshape(1, PIXELS, CLASSES), clients, axis=0)
    bias = np.repeat(weights[None, None, PIXELS * CLASSES :], clients, axis=0)
    rate = (LEARNING_RATE * taken / np.maximum(taken.sum(axis=1, keepdims=True), 1))[:, :, None]
    for _ in range(LOCAL_STEPS):
        scores = images @ matrix + bias
        error = np.exp(scores - scores.max(axis=2, keepdims=True))
        error = (error / error.sum(axis=2, keepdims=True) - labels) * rate
        matrix -= images.transpose(0, 2, 1) @ error
        bias -= error.sum(axis=1, keepdims=True)
    return np.concatenate((matrix.reshape(clients, -1), bias.reshape(clients, -1)), axis=1) - weights


@lru_cache(maxsize=4)
def _dealt(clients: int, split: str, seed: int) -> tuple[tuple[Array, Array, Array], Examples]:
    rng = np.random.default_rng(seed)
    training, test = load_digits(rng)
    return shares(training, clients, split, rng), test


def train(plan: GroupPlan, attack: str | None, split: str, spoilt: int, *, rounds: int, seed: int = 0) -> float:
    """Return the accuracy on held-out digits after some rounds, `spoilt` groups saying what the attack says."""
    data, test = _dealt(plan.num_clients, split, seed)
    order = np.random.default_rng((seed, 1)).permutation(plan.num_clients)
    group_of = np.repeat(np.arange(plan.num_groups), plan.sizes)[order]
    weights = np.zeros(PARAMETERS)
    for _ in range(rounds):
        updates = local_updates(weights, data)
        means = np.array([updates[group_of == group].mean(axis=0) for group in range(plan.num_groups)])
        if attack is not None and spoilt:
            means[:spoilt] = ATTACKS[attack](means[spoilt:])
        weights = weights + combine(plan.rule, means, plan.max_spoilt).value
    return accuracy(weights, test)
