"""The whole mechanism of a round for records, as a law over integers: a second implementation, for small cases.

From SPEC sections 13, 16 and 27 alone, by enumeration: each record's coin, what its row becomes and with which
probability, the sum of a client's rows and its cut, the sum over honest clients, and the noise of those whose noise
nobody knows. Probabilities are floats; what is cut off is below 1e-30, and sums err by less than 1e-13.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Level = tuple[int, ...]
Law = Mapping[Level, float]
Array = npt.NDArray[np.float64]
_BETA = math.exp(-0.5)


@dataclass(frozen=True)
class Floats:
    """Records of one number: clipped, in steps, rounded at random until within the bound; `sign` is the rotation's."""

    l2_clip: float
    scale: float
    room: int
    sign: int = 1

    def of_record(self, value: float) -> Law:
        scaled = self.sign * self.scale * max(-self.l2_clip, min(self.l2_clip, value))
        low = math.floor(scaled)
        possible = {low: 1 - (scaled - low), low + 1: scaled - low}
        kept = {level: share for level, share in possible.items() if share > 0 and abs(level) <= self.bound}
        most = math.floor(min(self.bound, math.ceil(self.l2_clip * self.scale) + 1))
        return {(max(-most, min(most, level)),): share / math.fsum(kept.values()) for level, share in kept.items()}

    @property
    def bound(self) -> float:
        norm = self.l2_clip * self.scale
        return min(norm + 1, math.sqrt(norm**2 + 0.25 + math.sqrt(2 * math.log(1 / _BETA)) * (norm + 0.5)))

    @property
    def cut(self) -> int:
        return self.room * math.floor(min(self.bound, math.ceil(self.l2_clip * self.scale) + 1))

    @property
    def lowest(self) -> int:
        return -self.cut


@dataclass(frozen=True)
class Counts:
    """Records of some counts: what is below 0 is 0, and too many are scaled down."""

    max_per_record: int
    max_total: int
    scale: int

    def of_record(self, value: Sequence[int]) -> Law:
        counts = [max(0, count) for count in value]
        total = sum(counts)
        if total > self.max_per_record:
            return {tuple(count * self.max_per_record * self.scale // total for count in counts): 1.0}
        return {tuple(count * self.scale for count in counts): 1.0}

    @property
    def cut(self) -> int:
        return self.max_total * self.scale

    @property
    def lowest(self) -> int:
        return 0


def _sum(first: Law, second: Law) -> dict[Level, float]:
    total: dict[Level, float] = {}
    for (a, p), (b, q) in itertools.product(first.items(), second.items()):
        level = tuple(x + y for x, y in zip(a, b, strict=True))
        total[level] = total.get(level, 0.0) + p * q
    return total


def _of_client(kind: Floats | Counts, records: Iterable[object], rate: float, entries: int) -> Law:
    nothing = (0,) * entries
    total: dict[Level, float] = {nothing: 1.0}
    for record in records:
        tossed = {nothing: 1 - rate}
        for level, share in kind.of_record(record).items():  # type: ignore[arg-type]
            tossed[level] = tossed.get(level, 0.0) + rate * share
        total = _sum(total, tossed)
    cut: dict[Level, float] = {}
    for level, share in total.items():
        inside = tuple(max(kind.lowest, min(kind.cut, entry)) for entry in level)
        cut[inside] = cut.get(inside, 0.0) + share
    return cut


def _noise(local_sigma: float, clients: int, half: int) -> Array:
    """The law of the sum of so many discrete Gaussians on one integer, from -half to half."""
    reach = math.ceil(13 * local_sigma)
    weights = np.exp(-((np.arange(-reach, reach + 1) / local_sigma) ** 2) / 2)
    one = weights / weights.sum()
    total = np.ones(1)
    for _ in range(clients):
        total = np.convolve(total, one)
    middle = total.size // 2
    assert half <= middle
    return total[middle - half : middle + half + 1]


def released(
    kind: Floats | Counts,
    clients: Sequence[Sequence[object]],
    *,
    rate: float,
    local_sigma: float,
    noisy: int,
    entries: int,
    half: int,
) -> Array:
    """Return the law of the sum of honest clients' records and the noise of `noisy` of them, from -half to half."""
    total: Law = {(0,) * entries: 1.0}
    for records in clients:
        total = _sum(total, _of_client(kind, records, rate, entries))
    wide = half + max(abs(entry) for level in total for entry in level)
    one = _noise(local_sigma, noisy, min(wide, noisy * math.ceil(13 * local_sigma)))
    center = one.size // 2
    law = np.zeros((2 * half + 1,) * entries)
    for level, share in total.items():
        sides = []
        for entry in level:
            side = np.zeros(2 * half + 1)
            at = np.arange(-half, half + 1) - entry + center
            inside = (at >= 0) & (at < one.size)
            side[inside] = one[at[inside]]
            sides.append(side)
        shifted = sides[0] if entries == 1 else np.multiply.outer(*sides)
        law += share * shifted
    return law


def delta_between(first: Array, second: Array, epsilon: float) -> float:
    """Return the least delta at epsilon between two laws, in either direction."""
    grown = math.exp(epsilon)
    return max(float(np.maximum(a - grown * b, 0.0).sum()) for a, b in ((first, second), (second, first)))


def twice(law: Array) -> Array:
    """Two releases with fresh coins and noise."""
    return np.multiply.outer(law.ravel(), law.ravel())
