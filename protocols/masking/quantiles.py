"""A first round that finds a clip: how many numbers lie between public edges, summed under masks.

A clip that nobody measured fits nobody: it cuts most numbers, or wastes most steps of the encoding. Here each client
counts its own magnitudes; the server learns the counts of all together, and from them between which two edges a
quantile lies, exactly. Counts carry no noise: in private rounds clips follow votes (`JointPlan`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from secagg.encoding import readable
from secagg.errors import EncodingError, ParameterError

from ..core.numbers import real, whole
from ..inputs.vectors import IntegerVector

_MAX_EXPONENT = 1000


class Bracket(NamedTuple):
    """Two edges next to one another: a quantile is above `low` and at most `high`, which so serves as a clip."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MagnitudeCounts:
    """Counts of magnitudes between edges that all clients share: 2**k (1 + j / steps), which floats hold exactly.

    `spec` goes into a `RoundConfig`, what `counts` returns into the round, and its sum into `bracket`.

    Args:
        max_values: the most numbers that one client counts: the length of its update, or 1 where it counts a norm.
        least_exponent: below 2**least_exponent magnitudes are not told apart.
        greatest_exponent: nor above 2**greatest_exponent.
        steps: edges in an octave, a power of two: neighbours are apart by a factor of 1 + 1 / steps at most.
        name: of the vector.

    Raises:
        ParameterError: a number out of range.
    """

    max_values: int
    least_exponent: int = -40
    greatest_exponent: int = 24
    steps: int = 8
    name: str = "magnitudes"

    def __post_init__(self) -> None:
        """Take every field as what it is meant to be."""
        object.__setattr__(self, "max_values", whole(self.max_values, "max_values", 1))
        least = whole(self.least_exponent, "least_exponent", -_MAX_EXPONENT, _MAX_EXPONENT - 1)
        greatest = whole(self.greatest_exponent, "greatest_exponent", least + 1, _MAX_EXPONENT)
        steps = whole(self.steps, "steps", 1, 1 << 16)
        if steps & (steps - 1):
            raise ParameterError(f"steps is {steps}, but must be a power of two")
        for name, value in (("least_exponent", least), ("greatest_exponent", greatest), ("steps", steps)):
            object.__setattr__(self, name, value)

    @cached_property
    def edges(self) -> npt.NDArray[np.float64]:
        """The edges, ascending: float64."""
        octaves = np.arange(self.least_exponent, self.greatest_exponent)
        parts = np.ldexp(1 + np.arange(self.steps) / self.steps, octaves[:, None]).ravel()
        return np.append(parts, math.ldexp(1.0, self.greatest_exponent))

    @property
    def spec(self) -> IntegerVector:
        """The vector: a count up to each edge from the one before, and one for what is beyond all."""
        return IntegerVector(self.name, len(self.edges) + 1, max_value=self.max_values)

    def counts(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return a client's counts, int64 (spec.length,). NaN and infinities are beyond all edges.

        Args:
            values: floats or integers of any shape, at most max_values of them.

        Raises:
            EncodingError: more of them, or no real numbers.
        """
        array: npt.NDArray[Any] = readable(values)
        if array.dtype.kind not in "fiu" or array.size > self.max_values:
            raise EncodingError(
                f"{array.size} values of {array.dtype} are to be counted, but there is room for {self.max_values} "
                "real numbers"
            )
        # NaN sorts behind all edges.
        places = np.searchsorted(self.edges, np.abs(array.astype(np.float64).ravel()), side="left")
        return np.bincount(places, minlength=self.spec.length).astype(np.int64)

    def bracket(self, total: npt.NDArray[np.integer[Any]], quantile: float) -> Bracket:
        """Return between which edges a quantile of all clients' magnitudes lies: low < it <= high.

        It is the least magnitude that at least a share `quantile` of them does not exceed.

        Args:
            total: the sum of all counts, `RoundResult.sum(name)`.
            quantile: above 0 and at most 1; 0.5 for the median.

        Raises:
            ParameterError: no such quantile, nothing was counted, or it lies beyond the greatest edge.
            EncodingError: the sum is no array of integers.
        """
        share = real(quantile, "quantile", 0, 1)
        if readable(total).dtype.kind not in "iu":
            raise EncodingError(f"the sum is an array of {total.dtype}, but counts are integers: give it as it came")
        within = np.cumsum(total, dtype=np.int64)
        if within.shape != (self.spec.length,):
            raise ParameterError(f"the sum has shape {within.shape}, but these are {self.spec.length} counts")
        rank = math.ceil(Fraction(share) * int(within[-1]))
        if rank < 1:
            raise ParameterError(
                f"quantile is {share}, of {int(within[-1])} magnitudes: give one above 0, and let clients count some"
            )
        place = int(np.searchsorted(within, rank, side="left"))
        if place == len(self.edges):
            raise ParameterError(
                f"more than a share {1 - share:g} of the magnitudes is beyond 2**{self.greatest_exponent}, or not "
                "finite: raise greatest_exponent, or lower quantile"
            )
        return Bracket(float(self.edges[place - 1]) if place else 0.0, float(self.edges[place]))
