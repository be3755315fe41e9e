"""Residues of one modulus, eight abreast: Montgomery's multiplication on the vector unit of the processor.

Python's integers and gmpy2's are faster for a few numbers: loading the compiled loops takes longer than they need.
`montgomery` says when it is worth it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from .integers import Integer, backend, join, split, width
from .limbs import DOUBLES, INTEGERS, LANES, STEP, WINDOW, Limbs

Blocks = npt.NDArray[Any]
"""Residues (blocks, limbs, 8): limbs of one kind, the lowest first; the last block is filled up with ones."""

_LEAST_BITS = 53
_SPARE = 3
"""The radix is above so many doublings of the modulus: squares.py needs all of them, the rest two."""
_ALIGNMENT = 64
_UNIT = 2.0**52
"""From here to its double, doubles are the integers."""
_MAX_LIMBS = 340
"""Sums are signed, and must stay within 2**63.

A column of a product takes a low and a high half of at most one product a limb, below 2**53 together: as much again
from multiples of the modulus, and as much once more where squares.py adds two products. That is below
6 * 340 * 2**52, and what a carry and a quotient add, 2**53, fits below 2**63 = 2048 * 2**52, too.

The square of the largest key has 316, or 322 of 51 bits.
"""
WORTH = 100_000
"""Multiplications from which on compiled loops are worth loading: as long as gmpy2 takes for them, about a second."""


class Montgomery:
    """Arithmetic mod an odd modulus on blocks of eight residues. Threads may share it; they run beside one another.

    Every value is below twice the modulus. `product` leaves a factor of 1 / radix behind, which whoever multiplies
    keeps account of: see `restored`.

    Args:
        modulus: odd, of 53 bits at least, and at most 340 limbs with 3 bits to spare.
        limbs: what residues are cut into.

    Raises:
        ParameterError: the modulus is none of these.

    Security: what the compiled loops do depends on the modulus's and the exponent's length and on nothing else, but
    for the rows of a table of powers that are read: these are the exponent's digits. Integers go in and come out
    through the backend, whose time depends on numbers: what is secret comes here blinded.
    """

    def __init__(self, modulus: int, limbs: Limbs = INTEGERS) -> None:
        self.modulus, self.limbs = int(modulus), limbs
        bits, most = self.modulus.bit_length(), _MAX_LIMBS * limbs.bits - _SPARE
        if self.modulus % 2 == 0 or self.modulus >> _LEAST_BITS - 1 <= 0 or bits > most:
            # and no more in an error: the modulus may be the square of a secret factor
            raise ParameterError(
                f"a modulus of {bits} bits, but it must be odd, of {_LEAST_BITS} to {most}: compute with integers"
            )
        self._count = -(-(bits + _SPARE) // limbs.bits)
        self.radix = 1 << (self._count * limbs.bits)
        self._inverse = self._cut(-pow(self.modulus, -1, 1 << STEP * limbs.bits) % (1 << STEP * limbs.bits), STEP)
        self._row = self._cut(self.modulus, self._count)
        self._one = self.repeated(1)
        self._square = self.repeated(self.radix**2 % self.modulus)

    def _cut(self, value: int, count: int) -> Blocks:
        bits = self.limbs.bits
        return np.array([value >> (bits * index) & ((1 << bits) - 1) for index in range(count)], self.limbs.kind)

    def aligned(self, *shape: int) -> Blocks:
        """Return an array for limbs."""
        return _aligned(shape, self.limbs.kind)

    def room(self) -> tuple[int, Blocks, Blocks, Blocks, Blocks]:
        """Return what the compiled loops ask for; no two threads may work in one.

        Raises:
            ParameterError: limbs are doubles, and this thread was told to round them otherwise than to the nearest.
        """
        if self.limbs == DOUBLES and not (_UNIT + 0.5 == _UNIT and _UNIT + 1.5 == _UNIT + 2):
            raise ParameterError(
                "this thread rounds doubles otherwise than to the nearest: call fesetround(FE_TONEAREST), or compute "
                "with integers"
            )
        sums = _aligned((2 * self._count, LANES), np.int64)
        return self.limbs.bits, self._row, self._inverse, sums, self.aligned(self._count, LANES)

    def repeated(self, value: int) -> Blocks:
        """Return one block with the same residue eight times."""
        block = self.aligned(1, self._count, LANES)
        block[0] = self._cut(value, self._count)[:, None]
        return block

    def blocks(self, data: bytes, num_bytes: int) -> Blocks:
        """Read residues of num_bytes each, big-endian, side by side; they must be below the modulus."""
        from . import _montgomery_kernels

        count = -(-len(data) // (num_bytes * LANES))
        blocks = self.aligned(count, self._count, LANES)
        _montgomery_kernels.read(np.frombuffer(data, np.uint8), num_bytes, self.limbs.bits, blocks)
        return blocks

    def integers(self, blocks: Blocks, count: int) -> list[Integer]:
        """Return the first `count` residues, from 0 to modulus - 1.

        Raises:
            ParameterError: there are fewer, or these are not this modulus's blocks.
        """
        modulus = backend().integer(self.modulus)
        return [value % modulus for value in self.unreduced(blocks, count)]

    def unreduced(self, blocks: Blocks, count: int) -> list[Integer]:
        """Return the first `count` residues as they are, from 0 to 2 * modulus - 1. Raises as `integers`."""
        from . import _montgomery_kernels

        self._check(blocks)
        if count > len(blocks) * LANES:
            raise ParameterError(f"{count} residues asked of {len(blocks)} blocks of {LANES}: ask for fewer")
        num_bytes = width(2 * self.modulus)
        data = np.empty(count * num_bytes, np.uint8)
        _montgomery_kernels.write(blocks, num_bytes, self.limbs.bits, data)
        return split(data.data, num_bytes)

    def product(self, a: Blocks, b: Blocks) -> Blocks:
        """Return a * b / radix, position by position; b may be one block, for all of a's.

        Raises:
            ParameterError: the compiled loop would read beyond a or b.
        """
        from . import _montgomery_kernels

        self._check(a)
        self._check(b)
        if len(b) not in (1, len(a)):
            raise ParameterError(f"{len(a)} blocks cannot be multiplied by {len(b)}: give as many, or one for all")
        results = self.aligned(*a.shape)
        _montgomery_kernels.multiply(results, a, b, self.room())
        return results

    def product_with(self, a: Blocks, data: bytes, num_bytes: int) -> Blocks:
        """Return what `product` makes of a and of the residues that `blocks` would read.

        Raises:
            ParameterError: the compiled loop would read beyond a, or there are fewer residues than blocks.
        """
        from . import _montgomery_kernels

        self._check(a)
        if len(a) != -(-len(data) // (num_bytes * LANES)):
            raise ParameterError(f"{len(a)} blocks cannot be multiplied by {len(data)} bytes: give as many residues")
        results = self.aligned(*a.shape)
        _montgomery_kernels.multiply_read(results, a, np.frombuffer(data, np.uint8), num_bytes, self.room())
        return results

    def restored(self, blocks: Blocks, products: int) -> Blocks:
        """Return the blocks with the factors 1 / radix taken out that so many products have left behind."""
        return self.product(blocks, self.repeated(pow(self.radix, products + 1, self.modulus)))

    def power(self, bases: Blocks, exponent: int) -> Blocks:
        """Return bases ** exponent, for an exponent that is not negative."""
        from . import _montgomery_kernels

        table = self.aligned(1 << WINDOW, self._count, LANES)
        table[0] = self.repeated(self.radix % self.modulus)[0]
        inside, powers = self.product(bases, self._square), self.aligned(*bases.shape)
        _montgomery_kernels.power(powers, inside, window_digits(exponent), table, self.room())
        return self.product(powers, self._one)

    def product_of_powers(self, bases: Sequence[Integer], exponents: Sequence[int], window: int, windows: int) -> int:
        """Return the product of base ** exponent for residues of the modulus and public exponents.

        Source: Pippenger's bucket method, in each of the eight columns for itself.

        Args:
            bases: from 0 to modulus - 1.
            exponents: from 0 to 2**(window * windows) - 1.
            window: bits of a digit, at most 16.
            windows: digits of an exponent.
        """
        from . import _montgomery_kernels

        size, mask = width(self.modulus), (1 << window) - 1
        inside = self.product(self.blocks(join(bases, size), size), self._square)
        digits = np.zeros((windows, len(inside) * LANES), np.int64)
        for place in range(windows):
            shift = window * (windows - 1 - place)
            digits[place, : len(exponents)] = [exponent >> shift & mask for exponent in exponents]
        one = self.repeated(self.radix % self.modulus)
        result, buckets = one.copy(), self.aligned(1 << window, *one[0].shape)
        _montgomery_kernels.product_of_powers(
            result[0],
            inside,
            digits.reshape(windows, len(inside), LANES),
            buckets,
            one[0],
            self.room(),
        )
        columns = self.integers(self.product(result, self._one), LANES)
        return int(functools.reduce(lambda a, b: a * b % self.modulus, columns))

    def table(self, rows: Sequence[Sequence[Integer]], num_bytes: int) -> Blocks:
        """Return rows of as many numbers each for `chosen_products`, (rows, entries, limbs of an entry).

        Args:
            rows: numbers below the modulus and below 256**num_bytes; shorter ones are cheaper to multiply by.
            num_bytes: how long they are.
        """
        limbs = min(self._count, -(-(8 * num_bytes + 1) // self.limbs.bits))
        table = np.empty((len(rows), len(rows[0]), limbs), self.limbs.kind)
        for entries, row in zip(table, rows, strict=True):
            blocks = self.blocks(join(row, num_bytes), num_bytes)[:, :limbs]
            entries[:] = blocks.transpose(0, 2, 1).reshape(-1, limbs)[: len(row)]
        return table

    def chosen_products(self, table: Blocks, digits: npt.NDArray[np.uint8]) -> list[Integer]:
        """Return products of one entry of every row of a table, chosen by digits (rows, products).

        Raises:
            ParameterError: the compiled loop would read beyond the table.
        """
        from . import _montgomery_kernels

        rows, count = digits.shape
        if rows != len(table) or count < 1 or digits.max() >= table.shape[1]:
            raise ParameterError(f"digits of shape {digits.shape} do not choose from a table of {table.shape}")
        padded = np.zeros((rows, -(-count // LANES), LANES), np.uint8)
        padded.reshape(rows, -1)[:, :count] = digits
        results = self.aligned(padded.shape[1], self._count, LANES)
        left_behind = backend().powmod(2, self.limbs.bits * table.shape[2] * rows, self.modulus)
        results[:] = self.repeated(int(left_behind))
        _montgomery_kernels.multiply_chosen(results, table, padded, self.room())
        return self.integers(results, count)

    def _check(self, blocks: Blocks) -> None:
        if blocks.shape[1:] != (self._count, LANES) or blocks.dtype != self.limbs.kind:
            raise ParameterError(
                f"blocks of {blocks.shape[1:]} as {blocks.dtype}, but this modulus's are of {(self._count, LANES)} as "
                f"{np.dtype(self.limbs.kind)}: use the arithmetic that made them"
            )

    def power_all(self, bases: Sequence[Integer], exponent: int) -> list[Integer]:
        """Return base ** exponent mod modulus for residues of the modulus."""
        size = width(self.modulus)
        return self.integers(self.power(self.blocks(join(bases, size), size), exponent), len(bases))


def montgomery(modulus: int, multiplications: int) -> Montgomery | None:
    """Return the arithmetic if this processor has the instructions, so much work is worth it, and nobody chose else."""
    if not backend().abreast or multiplications < WORTH or modulus.bit_length() < _LEAST_BITS or modulus % 2 == 0:
        return None
    from . import _limb_rows

    limbs = _limb_rows.fastest()
    return None if limbs is None else Montgomery(modulus, limbs)


def window_digits(exponent: int) -> npt.NDArray[np.int64]:
    """Return the digits of WINDOW bits of an exponent that is not negative, the highest first."""
    places = range((max(1, exponent.bit_length()) - 1) // WINDOW, -1, -1)
    return np.array([exponent >> (WINDOW * place) & ((1 << WINDOW) - 1) for place in places], np.int64)


def _aligned(shape: tuple[int, ...], kind: type[np.generic]) -> Blocks:
    """Return an array that starts where a line of the cache does: vectors that straddle two lines cost twice."""
    size = int(np.prod(shape))
    spare = np.empty(size + _ALIGNMENT // 8, kind)
    start = -spare.ctypes.data % _ALIGNMENT // 8
    return spare[start : start + size].reshape(shape)
