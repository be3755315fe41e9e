"""The combiner's arithmetic: from members' roots to plaintexts, run by run of ciphertexts.

Nothing here is secret but the plaintexts that come out: everyone who has the partial openings can compute this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from .integers import Integer, Progress, backend
from .powers import powmod_all

_RUN = 1024
"""Ciphertexts that are opened at once: a lie among them ends the attempt before the next run."""


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

    def open(
        self,
        ciphertexts: Sequence[Integer],
        images: Sequence[Sequence[Integer]],
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[int] | None:
        """Return the plaintexts mod n of ciphertexts that were checked, or None if any of them does not open.

        Args:
            ciphertexts: from 1 to n**2 - 1.
            images: each member's, invertible mod n, one a ciphertext; in the order of `members`.
            workers: threads.
            progress: told of every ciphertext.
        """
        plaintexts: list[int] = []
        for start in range(0, len(ciphertexts), _RUN):
            run = slice(start, start + _RUN)
            opened = self._open(ciphertexts[run], [column[run] for column in images], workers, progress)
            if opened is None:
                return None
            plaintexts += opened
        return plaintexts

    def _open(
        self,
        ciphertexts: Sequence[Integer],
        images: Sequence[Sequence[Integer]],
        workers: int,
        progress: Progress | None,
    ) -> list[int] | None:
        arithmetic = backend()
        n = arithmetic.integer(self.n)
        n_squared = n * n
        common, coefficients = interpolation(self.members)
        exponents = [2 * coefficients[member] for member in self.members]
        scale = 4 * self.factorial * common
        unscale = arithmetic.invert(scale, n)
        inverse_roots = []
        for values in zip(*images, strict=True):
            above = below = arithmetic.integer(1)
            for exponent, value in zip(exponents, values, strict=True):
                if exponent > 0:
                    below = below * arithmetic.powmod(value, exponent, n) % n
                else:
                    above = above * arithmetic.powmod(value, -exponent, n) % n
            inverse_roots.append(above * arithmetic.invert(below, n) % n)
        scaled = powmod_all(ciphertexts, scale, n_squared, root=n, workers=workers)
        lifted = powmod_all(inverse_roots, n, n_squared, root=n, workers=workers, progress=progress)
        plaintexts = []
        for left, right in zip(scaled, lifted, strict=True):
            one_above = left * right % n_squared
            if one_above % n != 1:
                return None
            plaintexts.append(int(one_above // n * unscale % n))
        return plaintexts
