"""The second implementation: what a sum of sampled records under clients' noise reveals, outcome by outcome.

From SPEC alone, and from nothing of `dp`: samples are enumerated with their probabilities as Fractions, the noise is
convolved value by value, and delta is summed up over all outcomes. Nothing is bounded, so that whatever an account
claims must not be below. Errors: noise beyond 10 deviations is left out (below 1e-22), and sums of at most 10**7
products of floats lose less than ERROR.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

ERROR = 1e-12
Record = tuple[int, ...]
Client = Sequence[Record]


def sums(clients: Sequence[Client], rate: Fraction, dimension: int, cut: int) -> dict[Record, Fraction]:
    """Return how likely each sum of the clients' values is, with all coins of all clients, without noise."""
    total = {(0,) * dimension: Fraction(1)}
    for records in clients:
        one: Counter[Record] = Counter()
        for coins in itertools.product((0, 1), repeat=len(records)):
            taken = [record for record, coin in zip(records, coins, strict=True) if coin]
            value = tuple(max(-cut, min(cut, sum(record[i] for record in taken))) for i in range(dimension))
            one[value] += math.prod((rate if coin else 1 - rate) for coin in coins)
        both: Counter[Record] = Counter()
        for x, y in itertools.product(total, one):
            both[tuple(a + b for a, b in zip(x, y, strict=True))] += total[x] * one[y]
        total = both
    return dict(total)


def noise(local_sigma: float, clients: int) -> np.ndarray:
    """Return the law of the sum of discrete Gaussians on one integer, around the middle."""
    reach = math.ceil(10 * local_sigma)
    one = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * local_sigma**2))
    law = np.ones(1)
    for _ in range(clients):
        law = np.convolve(law, one / one.sum())
    middle, kept = law.size // 2, math.ceil(10 * local_sigma * math.sqrt(clients))
    return law[max(0, middle - kept) : middle + kept + 1]


def released(values: dict[Record, Fraction], law: np.ndarray, room: int) -> np.ndarray:
    """Return the law of the noisy sum, one axis an entry, for values of magnitude `room` at most."""
    (dimension,) = {len(value) for value in values}
    joint = law
    for _ in range(dimension - 1):
        joint = np.multiply.outer(joint, law)
    result = np.zeros((law.size + 2 * room,) * dimension)
    for value, probability in values.items():
        place = tuple(slice(room + v, room + v + law.size) for v in value)
        result[place] += float(probability) * joint
    return result.ravel()


def delta(here: np.ndarray, there: np.ndarray, epsilon: float, rounds: int) -> float:
    """Return the least delta of so many rounds of the same, the larger of the two directions."""
    for _ in range(rounds - 1):
        here, there = np.multiply.outer(here, here).ravel(), np.multiply.outer(there, there).ravel()
    grown = math.exp(epsilon)
    return max(float(np.maximum(a - grown * b, 0.0).sum()) for a, b in ((here, there), (there, here)))


def whole_delta(
    data: Sequence[Client],
    other: Sequence[Client],
    *,
    rate: Fraction,
    local_sigma: float,
    honest: int,
    epsilon: float,
    rounds: int = 1,
    cut: int = 1 << 30,
) -> float:
    """Return the delta at epsilon by which two data sets can be told apart."""
    dimension = next(len(record) for client in (*data, *other) for record in client)
    both = [sums(clients, rate, dimension, cut) for clients in (data, other)]
    room = max(abs(entry) for values in both for value in values for entry in value)
    law = noise(local_sigma, honest)
    return delta(*(released(values, law, room) for values in both), epsilon, rounds)
