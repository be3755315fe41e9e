"""What a query says of the columns that it reads: public bounds, edges and levels, never taken from the data."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec

from secagg.errors import ParameterError

from ..core.numbers import real, whole

MAX_NAME = 200
"""Characters of a name, a level or a text in a filter."""
MAX_BOUND = 1e100
LEAST_RANGE = 1e-100
MAX_BITS = 32
OTHER, MISSING = "(other)", "(missing)"


def text(value: Any, what: str) -> str:
    """Return a name; raise ParameterError for anything else than 1 to 200 printable characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise ParameterError(f"{what} is {value!r:.60}, but must be 1 to {MAX_NAME} printable characters")
    return value


def bound(value: Any, what: str) -> float:
    """Return a finite float, never -0.0; raise ParameterError for anything else."""
    return float(real(value, what, -MAX_BOUND, MAX_BOUND)) + 0.0


class Number(msgspec.Struct, frozen=True, tag="number", array_like=True, forbid_unknown_fields=True):
    """A column of numbers. What is outside its bounds, and NaN, is counted apart and enters no moment.

    Attributes:
        name: of the column.
        lo, hi: public bounds; values from lo to hi enter moments.
        bits: a value becomes one of 2^bits integers, equally far apart from lo to hi; 2 to 32.
        edges: public edges of bins, ascending, for histograms, ecdf, quantiles and the median; may be empty.

    Raises:
        ParameterError: a value is out of range.
    """

    name: str
    lo: float
    hi: float
    bits: int = 16
    edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check every field."""
        fix = msgspec.structs.force_setattr
        text(self.name, "a column's name")
        fix(self, "lo", bound(self.lo, f"lo of {self.name!r}"))
        fix(self, "hi", bound(self.hi, f"hi of {self.name!r}"))
        fix(self, "bits", whole(self.bits, f"bits of {self.name!r}", 2, MAX_BITS))
        if not self.hi - self.lo >= LEAST_RANGE:
            raise ParameterError(f"hi of {self.name!r} is {self.hi:g}, but must be above lo, {self.lo:g}")
        edges = tuple(bound(edge, f"an edge of {self.name!r}") for edge in self.edges)
        if len(edges) == 1 or any(not before < after for before, after in pairwise(edges)):
            raise ParameterError(f"edges of {self.name!r} must be two or more numbers, ascending")
        fix(self, "edges", edges)

    @property
    def top(self) -> int:
        """The integer that hi becomes."""
        return (1 << self.bits) - 1

    @property
    def step(self) -> Fraction:
        """How far apart two neighbouring integers are, in the column's units."""
        return _step(self.lo, self.hi, self.top)


@lru_cache(4096)
def _step(lo: float, hi: float, top: int) -> Fraction:
    """Return a step: every pair of columns asks for it."""
    return (Fraction(hi) - Fraction(lo)) / top


class Levels(msgspec.Struct, frozen=True, tag="levels", array_like=True, forbid_unknown_fields=True):
    """A column of texts. Those that are not listed are counted as `other`, empty ones as `missing`.

    Attributes:
        name: of the column.
        levels: the public levels, 1 to 1000, distinct; none is called (other) or (missing).

    Raises:
        ParameterError: a value is out of range.
    """

    name: str
    levels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check every field."""
        text(self.name, "a column's name")
        levels = tuple(text(level, f"a level of {self.name!r}") for level in self.levels)
        if not 1 <= len(levels) <= 1000 or len(set(levels)) != len(levels):
            raise ParameterError(f"levels of {self.name!r} must be 1 to 1000 distinct texts")
        if {OTHER, MISSING} & set(levels):
            raise ParameterError(f"a level of {self.name!r} is called as what is counted apart, {OTHER} or {MISSING}")
        msgspec.structs.force_setattr(self, "levels", levels)

    @property
    def cells(self) -> int:
        """How many cells a row may fall into: the levels, other, missing."""
        return len(self.levels) + 2

    @property
    def names(self) -> tuple[str, ...]:
        """What these cells are called."""
        return (*self.levels, OTHER, MISSING)


Column = Number | Levels


def even_edges(lo: float, hi: float, bins: int) -> tuple[float, ...]:
    """Return the edges of so many bins of one width: each the float nearest to the exact value.

    Raises:
        ParameterError: no bins, or more than 100,000, or lo is not below hi.
    """
    bins = whole(bins, "bins", 1, 100_000)
    low, high = Fraction(bound(lo, "lo of bins")), Fraction(bound(hi, "hi of bins"))
    if not low < high:
        raise ParameterError(f"hi of bins is {hi:g}, but must be above lo, {lo:g}")
    return tuple(float(low + (high - low) * at / bins) for at in range(bins + 1))
