"""The vectors of SPEC section 29: what rounds cost, at the edges of the closed form and by Renyi divergences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dp.discrete import smoothing_variance, summed_gaussians_ratio
from dp.distributed import LARGEST_SUM_SLACK

from .private_encodings import counts, floats

Case = dict[str, Any]


def _nearly(dimension: int, clients: int, part: float) -> float:
    """A parameter with which the sum of so many clients' noise costs this part of what nearness may cost."""
    low, high = 0.5, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        near = 2 * dimension * summed_gaussians_ratio(middle, clients) <= part * LARGEST_SUM_SLACK
        low, high = (low, middle) if near else (middle, high)
    return high


def _between(dimension: int, clients: int) -> float:
    """A parameter with which the noise of so many clients is near enough, and that of one more is not."""
    more = summed_gaussians_ratio(_nearly(dimension, clients, 1.0), clients + 1)
    fewer = summed_gaussians_ratio(_nearly(dimension, clients, 1.0), clients)
    return _nearly(dimension, clients, (1 + fewer / more) / 2)


def cases() -> Iterator[tuple[str, str, Case]]:
    for name, vectors, honest, delta, rounds in _cases():
        for adjacency in ("add-remove", "replace-one"):
            given = {"vectors": vectors, "clients": honest + 2, "honest": honest}
            given |= {"adjacency": adjacency, "delta": delta.hex(), "rounds": rounds}
            yield f"{name}, {adjacency}", "private_epsilon", given


def _cases() -> Iterator[tuple[str, list[Case], int, float, int]]:
    def votes(length: int, scale: int, sigma: float) -> Case:
        return counts(length, 1, scale, sigma)

    near = _nearly(64, 12, 0.75)
    yield "a slack that counts in many rounds", [votes(64, 1, near)], 12, 1e-5, 500
    yield "a slack that counts in a small epsilon", [floats(64, 1.0, 0.5, near)], 2000, 0.3, 3
    yield "slacks of two vectors", [votes(64, 1, near), votes(16, 1, 1.875)], 12, 1e-5, 500
    yield "one client's noise, which alone is near enough", [votes(2**20, 1, 1.92)], 2, 1e-5, 1
    yield "two of three clients' noise", [votes(64, 1, _between(64, 2))], 3, 1e-5, 4
    yield "three of six clients' noise", [votes(64, 1, _between(64, 3))], 6, 1e-5, 4
    yield "three of seven clients' noise, which is too few", [votes(64, 1, _between(64, 3))], 7, 1e-5, 4
    least = math.sqrt(1.25 * smoothing_variance(64))
    yield "hardly more noise than discreteness takes", [votes(64, 1, least * (1 + 1e-6))], 1, 1e-5, 2
    yield "hardly less noise than discreteness takes", [votes(64, 1, least * (1 - 1e-6))], 1, 1e-5, 2
    yield "divergences at low orders", [votes(9, 2, 1.0)], 5, 1e-5, 3
    yield "divergences at an order of some ten", [votes(9, 1, 1.125)], 60, 1e-6, 1
    yield "divergences at the order 96", [votes(2, 1, 1.25)], 400, 5e-6, 1
    yield "divergences at an order of some hundred", [votes(2, 1, 1.25)], 400, 1e-12, 1
    yield "divergences at an order of several hundred", [votes(1, 1, 1.25)], 400, 1e-100, 1
    yield "the least noise", [votes(36, 1, 0.5)], 20, 1e-5, 1
    yield "fewer clients' noise, of better divergence", [votes(4096, 1, 0.75)], 40, 1e-5, 1
    yield "floats, by divergence", [floats(60, 0.75, 4.0, 1.25)], 40, 1e-5, 1
    yield "floats of one entry, by divergence", [floats(1, 0.5, 1.0, 0.9375)], 9, 1e-4, 7
    yield "noise that is near, beside some that is not", [votes(16, 7, 40.0), votes(64, 1, 1.0)], 12, 1e-5, 2
    yield "many rounds by divergence", [votes(16, 1, 1.0)], 50, 1e-5, 100
