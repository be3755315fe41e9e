"""Which groups may be named at all: the rule that keeps most of them, for whoever holds exact counts.

Source: Desfontaines, Voss, Gipson, Mandayam, Differentially private partition selection (2020, arXiv 2006.03684). A
level that occurs in the data of one person alone must not appear, and no noise on its count helps: that it is there
tells. So a group of n units is named with probability p(n), where p(0) = 0 and p(n + 1) is the most that neighbours
allow: min(e^epsilon p(n) + delta, 1 - e^-epsilon (1 - p(n) - delta), 1). No rule that is (epsilon, delta)-private names
any group more often (theorem 1).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from .errors import PrivacyParameterError
from .events import ApproximateEvent
from .randomness import RandomBytes
from .rational import exact, exp_neg
from .sensitivity import Adjacency, check_delta, check_epsilon

BITS = 128
"""Probabilities are whole multiples of 2**-BITS, rounded down: the guarantee is exact, and a draw is, too."""
_ONE = 1 << BITS
_MOST_COUNTS = 1 << 20


@dataclass(frozen=True)
class PartitionSelection:
    """The optimal rule for groups to which each unit adds one, each to one group at most.

    Args:
        epsilon: of the names of all groups together.
        delta: in (0, 1): with which probability a single unit's own group is named.

    Neighbours are with a unit and without it: where one is replaced, two groups change, which costs twice as much.

    Raises:
        PrivacyParameterError: a value is out of range, or more than a million units would be needed.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_epsilon(self.epsilon))
        object.__setattr__(self, "delta", check_delta(self.delta))
        if self.delta < 2.0 ** (8 - BITS):
            raise PrivacyParameterError(f"delta = {self.delta:g} is below 2**{8 - BITS}, where nothing would be named")
        _ = self._scaled

    @cached_property
    def _scaled(self) -> tuple[int, ...]:
        """p(0), p(1), ... in steps of 2**-BITS, up to the first that is 1."""
        # At least e**-epsilon, so that all is at most what epsilon allows.
        shrink, unit = exp_neg(exact(self.epsilon, "epsilon"), 2 * BITS) + 3, 1 << 2 * BITS
        delta = int(exact(self.delta, "delta") * _ONE)
        found = [0]
        while found[-1] < _ONE:
            if len(found) > _MOST_COUNTS:
                raise PrivacyParameterError(
                    f"epsilon = {self.epsilon:g} names no group below {_MOST_COUNTS} units for certain; raise it"
                )
            last = found[-1]
            fallen = -(-(_ONE - last - delta) * shrink // unit)
            found.append(min(last * unit // shrink + delta, _ONE - fallen, _ONE))
        return tuple(found)

    def keep_probability(self, count: int) -> Fraction:
        """Return with which probability a group of `count` units is named, exactly: 0 for none."""
        return Fraction(self._scaled[min(max(0, count), len(self._scaled) - 1)], _ONE)

    def keep(self, count: int, *, random: RandomBytes = os.urandom) -> bool:
        """Draw whether a group of `count` units is named. Run by who holds the exact count; drawn once for a group.

        Args:
            count: of units, exact: no noise on it.
            random: where random bytes come from; other than os.urandom only to replay what was recorded.
        """
        return int.from_bytes(random(BITS // 8), "big") < self.keep_probability(count) * _ONE

    @property
    def certain(self) -> int:
        """The least count whose group is always named."""
        return len(self._scaled) - 1

    @property
    def event(self) -> ApproximateEvent:
        """What the names of all groups together reveal of a unit, for an accountant."""
        return ApproximateEvent(self.epsilon, self.delta, Adjacency.ADD_REMOVE)
