"""From values to integers, from integers to limbs that a session sums, and back: exact at every step.

A site's total is an integer below 2^63 or far above it. It travels in limbs of 24 bits, one coordinate each, and the
sums of limbs are put together again in Python's integers: exact for any number of rows, bits and sites.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Number

LIMB_BITS = 24
_TOP = (1 << LIMB_BITS) - 1
_NEAR_A_TIE = 1e-4
"""In float64 a level is off by less than 2^-18 where there are 2^32 of them: nearer to a tie exact numbers decide."""
_CHUNK = 1 << 14


def quantise(column: Number, values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return (x - lo) / (hi - lo) * (2^bits - 1) rounded to the nearest integer, ties to even, for x from lo to hi.

    Args:
        column: with its bounds.
        values: (n,), all from lo to hi.

    Returns:
        int64 (n,), from 0 to 2^bits - 1. So x is off from lo + q * step by at most half a step.
    """
    levels = (values - column.lo) / (column.hi - column.lo) * column.top
    rounded = np.rint(levels)
    lo, span = Fraction(column.lo), Fraction(column.hi) - Fraction(column.lo)
    for at in np.flatnonzero(np.abs(np.abs(levels - rounded) - 0.5) < _NEAR_A_TIE):
        rounded[at] = round((Fraction(float(values[at])) - lo) / span * column.top)
    return rounded.astype(np.int64)


def exact_sum(*factors: tuple[npt.NDArray[np.int64], int]) -> int:
    """Return the sum over rows of the product of powers, as an integer of Python's.

    Args:
        factors: pairs of non-negative levels below 2^32, all of one length, and a power.
    """
    length = len(factors[0][0])
    reach = 1
    for levels, power in factors:
        reach *= max(1, int(levels.max(initial=0))) ** power
    exact = reach * _CHUNK < 1 << 63
    total = 0
    for start in range(0, length, _CHUNK):
        product: Any = 1
        for levels, power in factors:
            part = levels[start : start + _CHUNK]
            product = product * (part if exact else part.astype(object)) ** power
        total += int(product.sum())
    return total


def limbs_of(bound: int) -> int:
    """Return how many limbs a total up to this bound takes."""
    return max(1, -(-bound.bit_length() // LIMB_BITS))


def split(total: int, count: int) -> list[int]:
    """Return a total in so many limbs, the lowest first."""
    return [total >> LIMB_BITS * at & _TOP for at in range(count)]


def join(limbs: Sequence[int]) -> int:
    """Return the total of limbs, or of sums of limbs, which may be larger than a limb."""
    return sum(int(limb) << LIMB_BITS * at for at, limb in enumerate(limbs))
