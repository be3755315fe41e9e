"""Residues mod n**2 in two halves, x = a * (1 + t * n) mod n**2 with a = x mod n: cheaper to multiply by.

(1 + t * n) * (1 + u * n) is 1 + (t + u) * n mod n**2. So the product of many such x takes multiplications by their a
alone, which are half as long as they are, while their t add up: `_whole` puts the sum back in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import getitem
from typing import NamedTuple

import numpy as np

from .integers import Integer, backend, inverses, width
from .montgomery import Blocks, Montgomery
from .powers import abreast_product, best_window, bucket_product


class FixedBase:
    """Powers of one base mod n**2, each a product of entries of a table: one for every digit of the exponent.

    Source: Brickell, Gordon, McCurley, Wilson 1992. An exponent's bytes, or its half-bytes, *are* its digits, and no
    squarings are left.

    Args:
        base: from 1 to n**2 - 1, invertible.
        n: the modulus, of which n**2 is the square.
        exponent_bytes: how long exponents are.
        window: bits of a digit: 8, for rows of 256 entries, one a byte; or 4, for rows of 16, two a byte.
    """

    def __init__(self, base: Integer, n: Integer, exponent_bytes: int, window: int) -> None:
        self.window = window
        self._n = n
        self._residues: list[list[Integer]] = []
        self._lifts: list[list[Integer]] = []
        self._one = backend().integer(1)
        inverse = backend().invert(base % n, n)
        entry = base % n, base // n * inverse % n, inverse
        for _ in range(8 // window * exponent_bytes):
            entry = self._add_row(*entry, 1 << window)

    def _add_row(self, residue: Integer, lift: Integer, inverse: Integer, count: int) -> tuple[Integer, ...]:
        """Add powers 0 to count - 1 of one base to the table; return the next power, and its residue's inverse."""
        residues, lifts, power_inverse = [self._one], [self._one - 1], self._one
        for _ in range(count):
            quotient, power = divmod(residues[-1] * residue, self._n)
            power_inverse = power_inverse * inverse % self._n
            # with q the quotient and r the power, q n + r = r (1 + (q / r) n)
            lifts.append((lifts[-1] + lift + quotient * power_inverse) % self._n)
            residues.append(power)
        following = residues.pop(), lifts.pop(), power_inverse
        self._residues.append(residues)
        self._lifts.append(lifts)
        return following

    def power(self, exponent: bytes) -> Integer:
        """Return the base to the power of exponent_bytes bytes, read as a little-endian integer."""
        digits = exponent if self.window == 8 else [digit for byte in exponent for digit in (byte & 15, byte >> 4)]
        factors = [*map(getitem, self._residues, digits), self._one]
        modulus, product = self._n**2, self._one
        for one, other in zip(factors[::2], factors[1::2], strict=False):  # of an even number, the added 1 is left out
            product = product * (one * other) % modulus
        return self._lifted(product, digits)

    def abreast(self, arithmetic: Montgomery) -> Abreast:
        """Return what computes many powers at once, from a table with a window of 8."""
        return Abreast(arithmetic, arithmetic.table(self._residues, width(self._n)), self._lifted)

    def _lifted(self, product: Integer, digits: Sequence[int]) -> Integer:
        return _whole(product, sum(map(getitem, self._lifts, digits)), self._n)


class Abreast(NamedTuple):
    """Powers of one base on the vector unit."""

    arithmetic: Montgomery
    table: Blocks
    lifted: Callable[[Integer, Sequence[int]], Integer]

    def powers(self, exponents: Sequence[bytes]) -> list[Integer]:
        """Return what `FixedBase.power` does for each of at least one exponent."""
        digits = np.frombuffer(b"".join(exponents), np.uint8).reshape(len(exponents), -1)
        return list(map(self.lifted, self.arithmetic.chosen_products(self.table, digits.T), exponents))


def _whole(product: Integer, lift: Integer, n: Integer) -> Integer:
    """Return product * (1 + lift * n) mod n**2."""
    return product * (1 + lift % n * n) % n**2


def product_of_powers(
    bases: Sequence[Integer], exponents: Sequence[int], n: Integer, *, bits: int, times: int = 1
) -> Integer:
    """Return the product of base ** exponent mod n**2, for public bases and exponents.

    Source: Pippenger's bucket method as in `powers.powmod_product`, with digits from minus to plus half a window's
    range, and so half the buckets: the inverses that these take come with the halves.

    Args:
        bases: from 1 to n**2 - 1, invertible.
        exponents: from 0 to 2**bits - 1.
        n: the modulus, of which n**2 is the square.
        bits: how long exponents are.
        times: how often this is going to be asked, which may make the vector unit worth it.
    """
    n = backend().integer(n)
    product = abreast_product(bases, exponents, n**2, bits=bits, times=times)
    return _product(bases, exponents, n, bits) if product is None else product


def _product(bases: Sequence[Integer], exponents: Sequence[int], n: Integer, bits: int) -> Integer:
    arithmetic = backend()
    modulus, window = n**2, best_window(len(bases), bits)
    residues = [base % n for base in bases]
    inverted = inverses(residues, n)
    negative = [0] * len(bases)  # what the digits below zero of each exponent are worth, without the sign
    half, mask, places = 1 << (window - 1), (1 << window) - 1, range(0, bits, window)
    offset = sum(half << place for place in places[:-1])
    shifted = [exponent + offset for exponent in exponents]  # digits 0 to mask, that stand for -half to half - 1
    one = result = arithmetic.integer(1)
    for place in reversed(places):
        result = arithmetic.powmod(result, 1 << window, modulus)
        zero, size = (0, mask + 2) if place == places[-1] else (half, half + 1)  # the highest digit is never negative
        buckets: list[Integer] = [one] * size
        for index, exponent in enumerate(shifted):
            digit = (exponent >> place & (-1 if zero == 0 else mask)) - zero
            if digit > 0:
                buckets[digit] = buckets[digit] * residues[index] % modulus
            elif digit:
                buckets[-digit] = buckets[-digit] * inverted[index] % modulus
                negative[index] -= digit << place
        result = result * bucket_product(buckets, modulus) % modulus
    lift = one - one
    for base, residue, inverse, exponent, less in zip(bases, residues, inverted, exponents, negative, strict=True):
        # where the inverse stood for 1 / residue, the product got 1 + s n too much, as residue * inverse is that
        lift += base // n * inverse % n * exponent - residue * inverse // n * less
    return _whole(result, lift, n)
