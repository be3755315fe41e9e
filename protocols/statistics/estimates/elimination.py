"""Inverses of rationals, exactly, from inverses modulo many primes: nothing cancels, and nothing grows on the way.

Entries become whole numbers. An inverse is the adjugate over the determinant; both, and the leading minors, are minors
of the matrix, and by Hadamard none is beyond the product of its rows' lengths. So their residues modulo primes with a
larger product tell them (Chinese remainders). Residues are below 2^25 in size: products of two are whole in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from operator import mul

import numpy as np
import numpy.typing as npt

from secagg.errors import EstimateError

Matrix = Sequence[Sequence[Fraction | int]]
Residues = npt.NDArray[np.float64]
_PRIME_BITS = 26
_SEGMENT = 1 << 15


@dataclass(frozen=True, slots=True)
class Inverse:
    """A symmetric matrix of rationals, the inverse of one: whole numbers, each times `unit`.

    Attributes:
        whole: rows.
        unit: what they are multiplied by.
    """

    whole: list[list[int]]
    unit: Fraction

    def entry(self, row: int, column: int) -> Fraction:
        """Return one entry."""
        return self.whole[row][column] * self.unit

    def times(self, vector: Sequence[Fraction | int]) -> list[Fraction]:
        """Return the matrix times a vector."""
        numbers, below = _whole(vector)
        unit = self.unit / below
        return [sum(map(mul, row, numbers)) * unit for row in self.whole]

    def form(self, vector: Sequence[Fraction | int]) -> Fraction:
        """Return the vector times the matrix times the vector."""
        numbers, below = _whole(vector)
        total: int = sum(number * sum(map(mul, row, numbers)) for number, row in zip(numbers, self.whole, strict=True))
        return self.unit * total / below**2

    @property
    def reach(self) -> Fraction:
        """The greatest sum of absolute entries in a row."""
        return max(sum(map(abs, row)) for row in self.whole) * abs(self.unit)


def inverse(matrix: Matrix) -> Inverse:
    """Invert a symmetric positive definite matrix of rationals.

    Raises:
        EstimateError: it is not positive definite; the text names the first column that depends on those before it
            (`singular-design`).
    """
    size = len(matrix)
    scale = math.lcm(*(entry.denominator for row in matrix for entry in row))
    whole = [[entry.numerator * (scale // entry.denominator) for entry in row] for row in matrix]
    lengths = [math.isqrt(sum(entry * entry for entry in row)) + 1 for row in whole]
    enough = 2 * math.prod(lengths)
    numbers = np.array(whole, dtype=object).reshape(size, size)
    upper = np.triu_indices(size)
    primes, rows, product = list[int](), list[npt.NDArray[np.int64]](), 1
    dependent = [1] * size
    for prime in _primes():
        minors, residues = _modulo((numbers % prime).astype(np.float64), prime)
        if residues is None:  # a minor is 0, or this prime divides it
            dependent[len(minors)] *= prime
            if dependent[len(minors)] > enough:
                raise _singular(len(minors))
            continue
        primes.append(prime)
        rows.append(np.concatenate([np.array(minors), residues[upper].astype(np.int64) % prime]))
        product *= prime
        if product > enough:
            break
    combined = _combined(primes, rows, product)
    for column, minor in enumerate(combined[:size]):
        # Each is above 0 if, and only if, the matrix is positive definite.
        if minor <= 0:
            raise _singular(column)
    entries = np.empty((size, size), dtype=object)
    entries[upper] = entries.T[upper] = np.array(combined[size:], dtype=object)  # else floats, around 2^63
    return Inverse(entries.tolist(), Fraction(scale, combined[size - 1]))


def _singular(column: int) -> EstimateError:
    return EstimateError(f"column {column} is a combination of those before it: leave it out", reason="singular-design")


def _modulo(matrix: Residues, prime: int) -> tuple[list[int], Residues | None]:
    """Return the leading minors and the adjugate modulo a prime; none behind a minor that is 0, and no adjugate.

    Args:
        matrix: (size, size), which is changed.
        prime: below 2^26.
    """
    share = 1 / prime

    def reduced(values: Residues) -> Residues:
        """Return numbers up to 2^51 as residues of at most half a prime, but for what a rounded quotient is off."""
        values -= np.rint(values * share) * prime
        return values

    minors, minor = list[int](), 1
    reduced(matrix)
    for at in range(len(matrix)):
        pivot = int(matrix[at, at]) % prime
        if not pivot:
            return minors, None
        minor = minor * pivot % prime
        minors.append(minor)
        inverted = float(pow(pivot, -1, prime))
        inverted -= prime if 2 * inverted > prime else 0
        row, column = reduced(matrix[at] * inverted), matrix[:, at].copy()
        row[at], column[at] = inverted, 0
        matrix[:, at] = 0
        matrix -= np.multiply.outer(column, row)
        matrix[at] = row
        reduced(matrix)
    signed = minor - (prime if 2 * minor > prime else 0)
    return minors, reduced(matrix * signed)


def _combined(primes: Sequence[int], rows: Sequence[npt.NDArray[np.int64]], product: int) -> list[int]:
    """Return the numbers, of at most half the product in size, that have these residues: a row for each prime."""
    others = [product // prime for prime in primes]
    shares = [row * pow(other, -1, prime) % prime for row, other, prime in zip(rows, others, primes, strict=True)]
    found = []
    for column in np.array(shares).T.tolist():
        number = sum(map(mul, column, others)) % product
        found.append(number - product if 2 * number > product else number)
    return found


def _primes() -> Iterator[int]:
    """Yield primes below 2^26, the greatest first."""
    for low in range((1 << _PRIME_BITS) - _SEGMENT, 0, -_SEGMENT):
        yield from _segment(low)


@cache
def _segment(low: int) -> list[int]:
    """Return the primes of the _SEGMENT numbers from this even one on, the greatest first."""
    prime = np.zeros(_SEGMENT, dtype=np.bool_)
    prime[1::2] = True
    for divisor in range(3, 1 << _PRIME_BITS // 2, 2):
        prime[-low % divisor :: divisor] = False
    found: list[int] = (low + np.flatnonzero(prime)[::-1]).tolist()
    return found


def _whole(vector: Sequence[Fraction | int]) -> tuple[list[int], int]:
    """Return a vector's entries as whole numbers, and the one that they are over."""
    below: int = math.lcm(*(entry.denominator for entry in vector))
    return [entry.numerator * (below // entry.denominator) for entry in vector], below
