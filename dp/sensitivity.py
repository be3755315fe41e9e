"""How far a query can move: a norm, a bound, and the adjacency of data sets, none of them ever implicit."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from .errors import PrivacyParameterError
from .rational import Real, exact, number


class Adjacency(StrEnum):
    """Which pairs of data sets are adjacent.

    ADD_REMOVE: one has a record more than the other. REPLACE_ONE: equally many records, one of them different; a sum
    of contributions of norm at most C then moves by up to 2 C.
    """

    ADD_REMOVE = "add-remove"
    REPLACE_ONE = "replace-one"


class Unit(StrEnum):
    """Whose data adjacent data sets differ in: all that one client hands in, or one record of a client's."""

    CLIENT = "client"
    RECORD = "record"


class Norm(StrEnum):
    """The norm in which a query's change is bounded."""

    L1 = "l1"
    L2 = "l2"
    LINF = "linf"


Name = TypeVar("Name", bound=StrEnum)

MAX_COUNT = 2**53
"""More than a float counts exactly is refused."""


def named(kind: type[Name], value: Any) -> Name:
    """Return the member of an enumeration that `value` is or spells; raise PrivacyParameterError for all else.

    Whoever compares members by identity calls this first: a text equals its member, but is not it.
    """
    try:
        return kind(value)
    except ValueError:
        raise PrivacyParameterError(f"{value!r} is no {kind.__name__}; choose one of {', '.join(kind)}") from None


@dataclass(frozen=True)
class Sensitivity:
    """The most that a query changes between adjacent data sets: `value` > 0, finite, in the units of the query.

    What is no float is kept as the next one above.

    Raises PrivacyParameterError for anything else than a positive finite value, a Norm and an Adjacency.
    """

    value: float
    norm: Norm
    adjacency: Adjacency

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number(self.value, "sensitivity", math.inf))
        object.__setattr__(self, "norm", named(Norm, self.norm))
        object.__setattr__(self, "adjacency", named(Adjacency, self.adjacency))

    @classmethod
    def of_sum(cls, clip: float, norm: Norm, adjacency: Adjacency) -> Sensitivity:
        """Return the sensitivity of a sum of contributions clipped to `clip`: doubled when one is replaced."""
        factor = 2 if named(Adjacency, adjacency) is Adjacency.REPLACE_ONE else 1
        return cls(factor * exact(clip, "clip"), norm, adjacency)  # type: ignore[arg-type]

    def bound(self, norm: Norm, dimension: int) -> float:
        """Return a bound in another norm for vectors of `dimension` entries, rounded up.

        L2 <= L1, L1 <= sqrt(d) L2, L2 <= sqrt(d) Linf, L1 <= d Linf; Linf is at most any of them.

        Raises:
            PrivacyParameterError: a dimension that is no whole number of at least 1, or a bound beyond floats.
        """
        norm = named(Norm, norm)
        dimension = check_count(dimension, "dimension")
        if norm is self.norm or dimension == 1 or norm is Norm.LINF or (self.norm, norm) == (Norm.L1, Norm.L2):
            return self.value
        factor = dimension if self.norm is Norm.LINF and norm is Norm.L1 else math.sqrt(dimension)
        return number(round_up(self.value * factor), f"the sensitivity in {norm}")


def round_up(value: float, steps: int = 4) -> float:
    """Return a float a few last places above `value`, so that rounding errors never favour less privacy; 0 stays 0."""
    if value == 0:
        return 0.0
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    return value


def float_above(value: Fraction) -> float:
    """Return the least float that is at least `value`; infinity beyond all of them."""
    try:
        result = float(value)
    except OverflowError:
        return math.inf
    return result if result >= value else math.nextafter(result, math.inf)


def check_epsilon(epsilon: Real, *, zero: bool = False) -> float:
    """Return a goal as a float, rounded down; raise PrivacyParameterError unless finite, > 0 (or 0 if `zero`)."""
    return 0.0 if zero and exact(epsilon, "epsilon") == 0 else number(epsilon, "epsilon", 0.0)


def check_delta(delta: Real, *, zero: bool = False) -> float:
    """Return a goal as a float, rounded down; raise PrivacyParameterError unless 0 < delta < 1 (or 0 if `zero`)."""
    value = float(delta) if isinstance(delta, float) else exact(delta, "delta")
    if zero and value == 0:
        return 0.0
    if not 0 < value < 1:
        low = "[0" if zero else "(0"
        raise PrivacyParameterError(
            f"delta = {delta} must lie in {low}, 1); choose well below one over the number of records, such as 1e-6"
        )
    return number(value, "delta", 0.0)


def check_count(count: int, name: str, most: int = MAX_COUNT) -> int:
    """Return `count` as an int; raise PrivacyParameterError unless it is a whole number from 1 on, not a boolean."""
    try:
        if isinstance(count, bool | np.bool_):
            raise TypeError
        whole = operator.index(count)
    except TypeError:
        whole = 0
    if whole < 1:
        raise PrivacyParameterError(f"{name} = {count!r} must be a whole number of at least 1")
    if whole > most:
        raise PrivacyParameterError(f"{name} is beyond {float(most):.17g}; give a whole number of at most that")
    return whole
