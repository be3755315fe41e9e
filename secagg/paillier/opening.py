"""The combiner's arithmetic: from members' roots to plaintexts, run by run of ciphertexts, on processes.

Nothing here is secret but the plaintexts that come out: everyone who has the partial openings can compute this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from multiprocessing import get_context

from . import integers
from .integers import Integer, Progress, backend, width

_CHUNK = 32
"""Ciphertexts that are opened at once, and reported together."""

_WINDOW = 6
"""Bits of the exponent that one multiplication of a lift deals with, at most."""


class Lift:
    """The map root -> root**n mod n**2, for public roots mod n; n is odd.

    Source: numbers mod n**2 as two digits to the base n, as searches for Wieferich primes compute mod p**2 (Crandall,
    Dilcher, Pomerance 1997). From (low + high n)**2 = low**2 + 2 low high n, a squaring takes two products and two
    divisions of the modulus's own size: 0.7 to 0.9 of the time of gmpy2's powmod mod n**2, and a third of Python's pow.

    Security: takes time that depends on the root, so it is no way to draw noise.
    """

    def __init__(self, n: int) -> None:
        self._n = backend().integer(n)
        self._plan, self._tail = _sliding_windows(int(n), _WINDOW)

    def __call__(self, root: Integer) -> Integer:
        """Return root**n mod n**2, from 0 to n**2 - 1."""
        n = self._n
        low = backend().integer(root) % n
        square_high, square_low = divmod(low * low, n)
        lows, highs = [low], [backend().integer(0)]
        for _ in range((1 << (_WINDOW - 1)) - 1):  # the odd powers
            high = lows[-1] * square_high + highs[-1] * square_low
            carry, low = divmod(lows[-1] * square_low, n)
            lows.append(low)
            highs.append((high + carry) % n)
        low, high = lows[self._plan[0][1]], highs[self._plan[0][1]]
        for squarings, odd in self._plan[1:]:
            low, high = self._squared(low, high, squarings)
            high = high * lows[odd] + low * highs[odd]
            carry, low = divmod(low * lows[odd], n)
            high = (high + carry) % n
        low, high = self._squared(low, high, self._tail)
        return low + high * n

    def _squared(self, low: Integer, high: Integer, times: int) -> tuple[Integer, Integer]:
        n = self._n
        for _ in range(times):
            high *= low + low
            carry, low = divmod(low * low, n)
            high = (high + carry) % n
        return low, high


def _sliding_windows(exponent: int, window: int) -> tuple[list[tuple[int, int]], int]:
    """Cut an exponent into odd windows: (squarings before it, index among the odd powers); and squarings at the end."""
    digits = f"{exponent:b}"
    plan: list[tuple[int, int]] = []
    position = squarings = 0
    while position < len(digits):
        if digits[position] == "0":
            position, squarings = position + 1, squarings + 1
            continue
        odd = digits[position : position + window].rstrip("0")
        plan.append((squarings + len(odd), int(odd, 2) >> 1))
        position, squarings = position + len(odd), 0
    return plan, squarings


def interpolation(members: Sequence[int]) -> tuple[int, dict[int, int]]:
    """Return (E, member -> E times its Lagrange coefficient at zero), E being the least that makes them integers.

    E divides the factorial of the committee's size, and is 1 for members whose numbers are consecutive.
    """
    exact = {
        member: math.prod((Fraction(other, other - member) for other in members if other != member), start=Fraction(1))
        for member in members
    }
    common = math.lcm(*(coefficient.denominator for coefficient in exact.values()))
    return common, {member: int(coefficient * common) for member, coefficient in exact.items()}


@dataclass(frozen=True)
class Opener:
    """Interpolates in the exponent, and checks; `threshold` members' images, for one n.

    With D the committee's factorial and E as `interpolation` has it, the images' product to twice their coefficients is
    root**(4 D E) for root the n-th root of the ciphertext mod n; its inverse, lifted to the n-th power mod n**2, leaves
    (1 + n)**(4 D E m) of the ciphertext's own 4 D E-th power. Any other root leaves something that is not 1 mod n.

    Args:
        n: the modulus.
        factorial: D.
        members: whose images these are.
    """

    n: int
    factorial: int
    members: tuple[int, ...]

    @cached_property
    def _lift(self) -> Lift:
        return Lift(self.n)

    def open(self, ciphertexts: bytes, images: Sequence[bytes]) -> list[int] | None:
        """Return the plaintexts mod n of ciphertexts that were checked, or None if any of them does not open.

        Args:
            ciphertexts: side by side.
            images: each member's, invertible mod n, side by side; in the order of `members`.
        """
        arithmetic = backend()
        n = arithmetic.integer(self.n)
        n_squared, size = n * n, width(self.n)
        common, coefficients = interpolation(self.members)
        exponents = [2 * coefficients[member] for member in self.members]
        scale = 4 * self.factorial * common
        unscale = arithmetic.invert(scale, n)
        columns = zip(*(integers.split(column, size) for column in images), strict=True)
        plaintexts = []
        for ciphertext, values in zip(integers.split(ciphertexts, width(self.n**2)), columns, strict=True):
            above = below = arithmetic.integer(1)
            for exponent, value in zip(exponents, values, strict=True):
                if exponent > 0:
                    below = below * arithmetic.powmod(value, exponent, n) % n
                else:
                    above = above * arithmetic.powmod(value, -exponent, n) % n
            inverse_root = above * arithmetic.invert(below, n) % n
            left = arithmetic.powmod(ciphertext, scale, n_squared) * self._lift(inverse_root) % n_squared
            if left % n != 1:
                return None
            plaintexts.append(int(left // n * unscale % n))
        return plaintexts


def open_all(
    opener: Opener, ciphertexts: bytes, images: Mapping[int, bytes], *, workers: int, progress: Progress | None
) -> list[int] | None:
    """Open a vector of any length as `Opener.open` does, on `workers` processes where it is worth starting them."""
    sizes = [width(opener.n**2)] + [width(opener.n)] * len(opener.members)
    columns = [ciphertexts, *(images[member] for member in opener.members)]
    count = len(ciphertexts) // sizes[0]
    runs = [
        [column[start * size : (start + _CHUNK) * size] for column, size in zip(columns, sizes, strict=True)]
        for start in range(0, count, _CHUNK)
    ]
    plaintexts: list[int] = []

    def keep(opened: list[int] | None) -> bool:
        if opened is None:
            return False
        plaintexts.extend(opened)
        if progress is not None:
            progress(len(opened))
        return True

    if workers == 1 or len(runs) < 2 * workers:
        return plaintexts if all(keep(opener.open(run[0], run[1:])) for run in runs) else None
    arguments = (opener, backend().name)
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=arguments) as processes:
        if all(keep(opened) for opened in processes.map(_open, runs)):
            return plaintexts
        processes.shutdown(cancel_futures=True)
    return None


_worker_opener: list[Opener] = []


def _start(opener: Opener, backend_name: str) -> None:
    integers.choose(backend_name)
    _worker_opener[:] = [opener]


def _open(run: list[bytes]) -> list[int] | None:
    return _worker_opener[0].open(run[0], run[1:])
