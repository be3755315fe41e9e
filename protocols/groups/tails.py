"""How many groups a few clients reach, in floats whose error is bounded: for plans of many clients.

Everything is products and sums of positive numbers, so that nothing cancels. What is too rare to matter is left out,
and added to the upper bound. So what comes out is two numbers between which the exact one lies (`occupancy` has it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .occupancy import counted_sizes

FLOAT_ERROR = 2.0**-28
"""Of a law, relative, beside what was left out: 8 roundings of 2**-53 for each of at most 2**20 clients are less."""
_CUT = 2.0**-160
_LEFT_OUT = 2.0**-130
"""More than everything that is left out of a law: at most 2**21 cells of `_CUT` at each end, twice."""
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """Probabilities of `first`, `first` + 1 and so on; of all other numbers together less than 2**-130."""

    first: int
    mass: _Floats

    def more_than(self, most: int) -> float:
        """Return an upper bound on the probability of more than `most`."""
        return float(self.mass[max(most + 1 - self.first, 0) :].sum()) * (1 + FLOAT_ERROR) + _LEFT_OUT

    def least_rare(self, limit: float) -> tuple[int, int]:
        """Return the least x of which Pr[more than x] may be below a limit, and the least of which it surely is."""
        more = np.append(np.cumsum(self.mass[:0:-1])[::-1], 0.0)
        may = int(np.argmax(more * (1 - FLOAT_ERROR) < limit))
        surely = int(np.argmax(more * (1 + FLOAT_ERROR) + _LEFT_OUT < limit))
        return self.first + may, self.first + surely


def hypergeometric(total: int, marked: int, drawn: int) -> Law:
    """Return the law of how many of the drawn are marked, from its mode outwards by the ratio of neighbours."""
    first, last = max(0, drawn - (total - marked)), min(drawn, marked)
    mode = min(last, max(first, (drawn + 1) * (marked + 1) // (total + 2)))
    others = total - marked - drawn

    def rising(steps: _Floats) -> npt.NDArray[Any]:
        x = mode + steps
        ratio: npt.NDArray[Any] = (marked - x) * (drawn - x) / ((x + 1) * (others + x + 1))
        return ratio

    def falling(steps: _Floats) -> npt.NDArray[Any]:
        x = mode - steps
        ratio: npt.NDArray[Any] = x * (others + x) / ((marked - x + 1) * (drawn - x + 1))
        return ratio

    below, above = _weights(falling, mode - first), _weights(rising, last - mode)
    weights = np.concatenate([below[::-1], [1.0], above])
    return Law(mode - len(below), weights / weights.sum())


def _weights(ratio: Callable[[_Floats], npt.NDArray[Any]], count: int) -> _Floats:
    """Return the products of ratios, which fall, up to the first that is below the cut."""
    taken = min(count, 256)
    while True:
        weights = np.cumprod(ratio(np.arange(taken, dtype=np.float64)))
        small = np.flatnonzero(weights < _CUT)
        if len(small):
            return weights[: small[0]]
        if taken == count:
            return weights
        taken = min(count, 4 * taken)


class Spread:
    """How many of some groups so many clients reach, who are dealt to groups by a uniform permutation.

    How many of them are in the larger groups is hypergeometric, and both kinds of groups go on by themselves. Among
    equal groups, seats are filled one by one, and how many are reached is a Markov chain.

    Args:
        num_clients: who are dealt.
        groups: whose sizes differ by one at most.
        clients: who are counted.
    """

    def __init__(self, num_clients: int, groups: int, clients: int) -> None:
        size, larger = divmod(num_clients, groups)
        self._most = min(groups, clients)
        there = hypergeometric(num_clients, larger * (size + 1), clients)
        last = there.first + len(there.mass) - 1
        in_larger = _reached(larger, size + 1, there.first, last)
        in_others = _reached(groups - larger, size, clients - last, clients - there.first)
        self._shares = there.mass
        self._larger = in_larger
        # Pr[at least so many of the others]: the first for all that are fewer, and 0 behind the last.
        self._others = [Law(law.first, np.append(np.cumsum(law.mass[::-1])[::-1], 0.0)) for law in reversed(in_others)]

    def more_than(self, most: int) -> tuple[float, float]:
        """Return between which two numbers the probability lies that more than `most` groups are reached."""
        if most < 0:
            return 1.0, 1.0
        if most >= self._most:
            return 0.0, 0.0
        total = 0.0
        for share, larger, others in zip(self._shares, self._larger, self._others, strict=True):
            needed = most + 1 - others.first - larger.first - np.arange(len(larger.mass))
            at_least = others.mass[np.clip(needed, 0, len(others.mass) - 1)]
            total += share * float(np.dot(larger.mass, at_least))
        return total * (1 - FLOAT_ERROR), total * (1 + FLOAT_ERROR) + _LEFT_OUT

    def not_rare(self, limit: float) -> int:
        """Return the largest x with Pr[more than x groups are reached] >= limit for sure; -1 if there is none."""
        least, most = -1, self._most  # surely more than the first, never more than the second
        while most - least > 1:
            middle = (least + most) // 2
            if self.more_than(middle)[0] >= limit:
                least = middle
            else:
                most = middle
        return least


@lru_cache(maxsize=4)
def spread(num_clients: int, groups: int, clients: int) -> Spread:
    """Return the law of how many groups so many clients reach."""
    return Spread(num_clients, groups, clients)


def _reached(groups: int, size: int, first: int, last: int) -> list[Law]:
    """Return the laws of how many of equal groups j clients reach, j from `first` to `last`."""
    seats, law, low = groups * size, np.ones(1), 0
    full = np.arange(groups + 1, dtype=np.float64) * size  # seats in as many groups
    laws = [Law(0, law)] if first == 0 else []
    for j in range(last):
        here = full[low : low + len(law)]
        following = np.zeros(len(law) + 1)
        following[:-1] = law * (here - j)
        following[1:] += law * (seats - here)
        following /= seats - j
        start, end = 0, len(following)
        while following[start] < _CUT:
            start += 1
        while following[end - 1] < _CUT:
            end -= 1
        law, low = following[start:end], low + start
        if j + 1 >= first:
            laws.append(Law(low, law))
    return laws


def mean_reached(num_clients: int, groups: int, clients: int) -> float:
    """Return how many groups so many clients reach on average; its relative error is below 2**-28."""
    mean = 0.0
    for size, count in counted_sizes(num_clients, groups):
        seats = np.arange(size, dtype=np.float64)
        clean = (num_clients - clients - seats) / (num_clients - seats)
        mean += count * (1 - float(np.prod(np.maximum(clean, 0.0))))
    return mean
