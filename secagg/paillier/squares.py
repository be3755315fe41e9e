"""Powers mod the square of a modulus n, eight abreast, by arithmetic mod n alone.

A residue of n**2 is a pair, x = a + b * n with a and b below 2 * n. For factors x and y, Montgomery's reduction of the
lower halves' product finds q with a_x * a_y + q * n = radix * a, so that a_x * a_y / radix = a - q / radix * n. Hence
x * y / radix is the pair of a and (a_x * b_y + b_x * a_y - q) / radix mod n: three products and two reductions of half
the length where the whole takes as much as four and four, and two and a half where x is y.

Source: the digits to the base n of Takagi, Fast RSA-type cryptosystems using n-adic expansion (1997).
"""

from __future__ import annotations

from collections.abc import Sequence

from .integers import Integer, backend, join, width
from .limbs import WINDOW
from .montgomery import Blocks, Montgomery, montgomery, window_digits


class Squares:
    """Arithmetic mod n**2. Threads may share it; they run beside one another.

    With a and b below 2 * n and a radix of at least 8 * n, a new a is below (4 * n**2 + radix * n) / radix, and a new b
    below (8 * n**2 + radix * n) / radix: both below 2 * n again. A new b is a whole number above -1, since what is
    reduced to it is above -radix.

    Args:
        arithmetic: that mod n.

    Security: as `Montgomery`.
    """

    def __init__(self, arithmetic: Montgomery) -> None:
        self._arithmetic = arithmetic
        self._n = arithmetic.modulus
        self._square = self._pair(arithmetic.radix**2)
        self._unit = self._pair(arithmetic.radix)
        self._one = self._pair(1)

    def _pair(self, value: int) -> Blocks:
        high, low = divmod(value % self._n**2, self._n)
        pair = self._arithmetic.aligned(2, *self._arithmetic.repeated(1).shape[1:])
        pair[:1], pair[1:] = self._arithmetic.repeated(low), self._arithmetic.repeated(high)
        return pair

    def _product(self, pairs: Blocks, pair: Blocks) -> Blocks:
        from . import _montgomery_kernels

        results = self._arithmetic.aligned(*pairs.shape)
        _montgomery_kernels.multiply_pairs(results, pairs, pair, self._arithmetic.room())
        return results

    def power_all(self, bases: Sequence[Integer], exponent: int) -> list[Integer]:
        """Return base ** exponent mod n**2 for residues of n**2, and an exponent that is not negative."""
        from . import _montgomery_kernels

        if not bases:
            return []
        arithmetic, size = self._arithmetic, width(self._n)
        n = backend().integer(self._n)
        halves = [[base % n for base in bases], [base // n for base in bases]]
        low, high = (arithmetic.blocks(join(half, size), size) for half in halves)
        pairs = arithmetic.aligned(len(low), 2, *low.shape[1:])
        pairs[:, 0], pairs[:, 1] = low, high
        table = arithmetic.aligned(1 << WINDOW, *self._unit.shape)
        table[0] = self._unit
        powers = arithmetic.aligned(*pairs.shape)
        inside, digits = self._product(pairs, self._square), window_digits(exponent)
        _montgomery_kernels.power_pairs(powers, inside, digits, table, arithmetic.room())
        results = self._product(powers, self._one)
        found = []
        for half in (0, 1):
            low[:] = results[:, half]
            found.append(arithmetic.unreduced(low, len(bases)))
        return [(a + b * n) % n**2 for a, b in zip(*found, strict=True)]


def squares(n: int, multiplications: int) -> Squares | None:
    """Return the arithmetic mod n**2 where `montgomery` returns one mod n."""
    arithmetic = montgomery(n, multiplications)
    return None if arithmetic is None else Squares(arithmetic)
