"""Bound what one contribution can do: clip, round at random, and know the integer vector's true norm.

Noise is calibrated to what is released, which is the rounded vector: its norm is computed on the integers, exactly,
and never taken from the floats. Source: Kairouz, Liu, Steinke (2021), sections 4.1 and 4.2.
"""

from __future__ import annotations

import math
import os
import sys
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from .arrays import finite, readable
from .errors import PrivacyParameterError
from .randomness import RandomBytes, WordStream
from .rational import Real, exact, number, positive, power_of_two
from .sensitivity import Norm, check_count, named, round_up

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

_LARGEST = float(1 << 30)  # entries that are rounded: far below the limits of an int64
_TRIES = 1000
_TOO_OFTEN = f"{_TRIES} roundings exceeded the bound, which has probability below beta**{_TRIES}; raise beta's bound"
_DOUBT = Fraction(1, 1 << 40)  # a norm in floats errs by less, whatever the length


def clip(vector: npt.ArrayLike, bound: Real, norm: Norm) -> Floats:
    """Scale `vector` so that its norm is at most `bound`, and truly so in the floats that are returned.

    L1 and L2 scale the whole vector; LINF clips each entry. A scaled vector is shrunk by some last places until its
    norm, summed without rounding, is within the bound.

    Args:
        vector: finite floats of any shape.
        bound: > 0.
        norm: L1, L2 or LINF.

    Returns:
        float64 of the same shape.

    Raises:
        PrivacyParameterError: NaN, infinity, an empty vector, or a bound <= 0.
    """
    number(bound, "bound")
    limit, norm = positive(bound, "bound"), named(Norm, norm)
    values = finite(vector)
    if norm is Norm.LINF:
        top = _floor(limit)
        return np.clip(values, -top, top)
    # Numbers below 1, but for a power of two, which is exact: no norm of them overflows.
    exponent = _exponent(values)
    small, room = np.ldexp(values, -exponent), limit / power_of_two(exponent)
    if _fits(small, room, norm):
        return values
    shrink = min(float(limit) / _norm(small, norm), sys.float_info.max)
    for attempt in range(39):
        # By so much that the quick look will do: exact sums of a million entries take a quarter of a second.
        shrink *= 1 - 2.0 ** (attempt - 39)
        result = small * shrink
        if _fits(result, limit, norm):
            return result
    return np.zeros_like(values)  # not reached: 2**-39 * 2**38 shrinks everything


def clip_rows(rows: Floats, bound: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Clip each row of finite floats (n, d) in L2, as `clip` does but for last digits; and say which were changed.

    What becomes of a row depends on that row alone, to the last bit: noise that covers one row counts on the others to
    stay as they are. So sums are taken in one fixed order, whatever the number of rows and their place in memory.
    """
    rows = np.ascontiguousarray(rows)
    with np.errstate(all="ignore"):  # what overflows is no less beyond doubt, or looked at closer
        exponents = np.frexp(np.abs(rows).max(axis=1, initial=0.0))[1]
        small, room = np.ldexp(rows, -exponents[:, np.newaxis]), np.ldexp(bound, -exponents)
        norms = _row_norms(small)
        # Beyond doubt too long, and at the first try short enough; `clip` looks closer at what lies between.
        shrinks = bound / np.where(norms > 0, norms, 1.0) * (1 - 2.0**-39)
        result = small * shrinks[:, np.newaxis]
        changed: npt.NDArray[np.bool_] = norms > room * (1 + 2.0**-38)
        sure = np.where(changed, _row_norms(result) <= bound * (1 - 1.5 * 2.0**-40), norms <= room * (1 - 2.0**-38))
    np.copyto(result, rows, where=~changed[:, np.newaxis])
    for index in np.flatnonzero(~sure):
        row = rows[index]
        result[index] = clipped = clip(row, bound, Norm.L2)
        changed[index] = clipped is not row
    return result, changed


def _row_norms(rows: Floats) -> Floats:
    """Return the L2 norm of each row; halves are added to halves, so that the order of sums is the same for all."""
    count, width = rows.shape[0], 1 << max(0, rows.shape[1] - 1).bit_length()
    largest = np.abs(rows).max(axis=1, initial=0.0)
    sums = np.zeros((count, width))
    np.divide(rows, np.where(largest > 0, largest, 1.0)[:, np.newaxis], out=sums[:, : rows.shape[1]])
    sums *= sums
    while width > 1:
        width //= 2
        sums = sums[:, :width] + sums[:, width:]
    norms: Floats = largest * np.sqrt(sums[:, 0])
    return norms


def _exponent(values: Floats) -> int:
    """Return the least e for which every magnitude is below 2**e; 0 where all are 0."""
    return math.frexp(float(np.abs(values).max()))[1]


def _fits(values: Floats, limit: Fraction, norm: Norm) -> bool:
    size = _norm(values, norm)
    return size <= limit * (1 - _DOUBT) or (size <= limit * (1 + _DOUBT) and _within(values, limit, norm))


def _norm(values: Floats, norm: Norm) -> float:
    largest = float(np.abs(values).max())
    if largest == 0:
        return 0.0
    scaled = values / largest
    total = math.sqrt(float((scaled * scaled).sum())) if norm is Norm.L2 else float(np.abs(scaled).sum())
    return largest * total


def _within(values: Floats, limit: Fraction, norm: Norm) -> bool:
    """Decide norm <= limit with a rounding-proof margin: fsum is exact, squares err by one part in 2**53."""
    unit = power_of_two(_exponent(values))
    small = np.ldexp(np.abs(values), -_exponent(values)).ravel()
    if norm is Norm.L1:
        return Fraction(math.nextafter(math.fsum(small.tolist()), math.inf)) * unit <= limit
    squares = math.fsum((small * small).tolist()) * (1 + 2.0**-50)
    return Fraction(squares) * unit**2 <= limit**2


def _floor(value: Fraction) -> float:
    result = float(value)
    return result if result <= value else math.nextafter(result, 0.0)


def integer_norm_squared(vector: npt.NDArray[np.integer]) -> int:
    """Return the exact sum of squares of an integer vector."""
    values = readable(vector)
    if values.dtype.kind not in "iu":
        raise PrivacyParameterError(f"integers expected, got {values.dtype}")
    largest = max(-int(values.min()), int(values.max())) if values.size else 0
    if largest**2 * values.size >= 1 << 63:
        return sum(int(v) ** 2 for v in values.ravel().tolist())
    wide = values.astype(np.int64).ravel()
    return int(np.dot(wide, wide))


def rounded_l2_bound(l2_norm: float, dimension: int, beta: float) -> float:
    """Return the L2 norm that conditional rounding allows (Kairouz, Liu, Steinke 2021, proposition 22), rounded up.

    The smaller of norm + sqrt(d) and sqrt(norm**2 + d/4 + sqrt(2 log(1/beta)) (norm + sqrt(d)/2)).

    Args:
        l2_norm: of the vector in grid units, > 0.
        dimension: number of entries, after padding.
        beta: in [0, 1); unconditioned rounding stays within the second bound with probability at least 1 - beta.
            0 asks for the bound that always holds.
    """
    norm = number(l2_norm, "l2_norm", math.inf)
    d = check_count(dimension, "dimension")
    if not 0 <= exact(beta, "beta") < 1:
        raise PrivacyParameterError(f"beta = {beta} must lie in [0, 1); exp(-1/2) is usual")
    always = norm + math.sqrt(d)
    if beta == 0:
        return round_up(always)
    square = norm * norm + d / 4 + math.sqrt(2 * math.log(1 / beta)) * (norm + math.sqrt(d) / 2)
    return round_up(min(always, math.sqrt(square)))


def rounded_l1_bound(l2_bound: float, dimension: int) -> float:
    """Return an L1 bound for integers of that L2 norm: min(sqrt(d), norm) * norm, rounded up."""
    l2_bound = number(l2_bound, "l2_bound", math.inf)
    return round_up(l2_bound * min(math.sqrt(check_count(dimension, "dimension")), l2_bound))


def randomised_round(vector: npt.ArrayLike, *, random: RandomBytes = os.urandom) -> Int64s:
    """Round each entry up or down at random so that its expectation is the entry itself, to 2**-53.

    An entry x becomes floor(x) + 1 with probability x - floor(x), to 2**-53 where x is below 1 in magnitude and
    exactly elsewhere; random integers decide by comparison.

    Args:
        vector: finite floats.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Raises:
        PrivacyParameterError: NaN, infinity, an empty vector, entries of 2**30 or more in magnitude.
    """
    values = finite(vector)
    return round_with(values, WordStream(values.size, random=random))


def conditionally_round(
    vector: npt.ArrayLike, l2_norm: Real, beta: float, *, random: RandomBytes = os.urandom
) -> Int64s:
    """Round at random until the integer vector's own L2 norm is within `rounded_l2_bound`.

    Run by the client. Source: Kairouz, Liu, Steinke (2021), algorithm 1: rejection conditions the rounding, so that
    every released vector meets the bound that the noise is calibrated to. The bound is compared with the exact
    integer sum of squares.

    Args:
        vector: floats in grid units, of L2 norm at most `l2_norm`.
        l2_norm: the clipping norm in grid units.
        beta: in [0, 1); exp(-1/2) is usual. A try succeeds with probability at least 1 - beta.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Raises:
        PrivacyParameterError: a vector longer than `l2_norm`, or bad entries.
    """
    values = finite(vector)
    return conditionally_round_with(values, l2_norm, beta, WordStream(values.size, random=random))


def conditionally_round_with(values: Floats, l2_norm: Real, beta: float, source: WordStream) -> Int64s:
    """Round as `conditionally_round`, finite floats with the next words of a source: one for each entry and try."""
    limit = number(l2_norm, "l2_norm")
    norm = _norm(values, Norm.L2)
    if norm > limit * (1 + 1e-12):  # the rounded vector's norm is what counts, and is exact
        raise PrivacyParameterError(f"the vector's norm {norm:.6g} exceeds l2_norm = {limit:.6g}; clip it first")
    bound = rounded_l2_bound(limit, values.size, beta)
    most = math.floor(Fraction(bound) ** 2)
    for _ in range(_TRIES):
        rounded = round_with(values, source)
        if integer_norm_squared(rounded) <= most:
            return rounded
    raise PrivacyParameterError(_TOO_OFTEN)


def conditionally_round_rows(rows: Floats, l2_norm: float, beta: float, source: WordStream) -> Int64s:
    """Round each row of clipped floats (n, d) as `conditionally_round_with`, one after the other with the same words.

    All rows that are left are tried at once, with the words that are theirs if none is rejected. A rejected row takes
    the words behind its own, and so do all that follow.
    """
    low = np.floor(rows)
    chance = ((rows - low) * 2.0**53).astype(np.uint64)
    levels: Int64s = low.astype(np.int64)
    most = math.floor(Fraction(rounded_l2_bound(l2_norm, rows.shape[1], beta)) ** 2)
    words = source.take(rows.size).reshape(rows.shape)
    done = tries = 0
    while done < len(rows):
        tried = levels[done:] + ((words >> np.uint64(11)) < chance[done:])
        # Entries stay below the norm, of at most 2**29 steps, and one: no sum of their squares overflows.
        rejected = np.flatnonzero(np.einsum("ij,ij->i", tried, tried) > most)
        fitting = int(rejected[0]) if rejected.size else len(tried)
        levels[done : done + fitting] = tried[:fitting]
        done += fitting
        if done < len(rows):
            tries = 1 if fitting else tries + 1
            if tries == _TRIES:
                raise PrivacyParameterError(_TOO_OFTEN)
            words = np.concatenate((words[fitting + 1 :], source.take(rows.shape[1])[np.newaxis]))
    return levels


def round_with(values: Floats, source: WordStream) -> Int64s:
    """Round at random with one word of the source for each entry."""
    if float(np.abs(values).max()) >= _LARGEST:
        raise PrivacyParameterError(
            f"entries up to {np.abs(values).max():.3g} exceed 2**30 grid steps; use a coarser grid"
        )
    low = np.floor(values)
    # 0 to 2**53, and 2**53 itself only by the rounding of tiny negatives.
    chance = ((values - low) * 2.0**53).astype(np.uint64)
    uniform = source.take(values.size).reshape(values.shape) >> np.uint64(11)
    return low.astype(np.int64) + (uniform < chance)
