"""Residues of one modulus, eight abreast: Montgomery's multiplication on the vector unit of the processor.

Python's integers and gmpy2's are faster for a few numbers: loading the compiled loops takes longer than they need.
`montgomery` says when it is worth it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import ParameterError
from .integers import Integer, backend, join, split, width

Blocks = npt.NDArray[np.uint64]
"""Residues (blocks, limbs, 8): limbs of 52 bits, the lowest first; the last block is filled up with ones."""

_LANES = 8
_LIMB_BITS = 52
_WINDOW = 5
_ALIGNMENT = 64
_MAX_LIMBS = 1023
"""A sum takes four halves of products below 2**52 and a carry below 2**12 a row: with more rows, it might pass 2**64.

The square of the largest key has 316.
"""
_WORTH = 100_000
"""Multiplications from which on compiled loops are worth loading: as long as gmpy2 takes for them, about a second."""


class Montgomery:
    """Arithmetic mod an odd modulus on blocks of eight residues. Threads may share it; they run beside one another.

    Every value is below twice the modulus. `product` leaves a factor of 1 / radix behind, which whoever multiplies
    keeps account of: see `restored`.

    Args:
        modulus: odd, of 53 to 53194 bits.

    Raises:
        ParameterError: the modulus is none of these.

    Security: what the compiled loops do depends on the modulus's and the exponent's length and on nothing else, but
    for the rows of a table of powers that are read: these are the exponent's digits. Integers go in and come out
    through the backend, whose time depends on numbers: what is secret comes here blinded.
    """

    def __init__(self, modulus: int) -> None:
        self.modulus = int(modulus)
        bits = self.modulus.bit_length()  # and no more in an error: the modulus may be the square of a secret factor
        if self.modulus % 2 == 0 or self.modulus >> _LIMB_BITS <= 0 or bits > _MAX_LIMBS * _LIMB_BITS - 2:
            raise ParameterError(
                f"a modulus of {bits} bits, but it must be odd, of {_LIMB_BITS + 1} to {_MAX_LIMBS * _LIMB_BITS - 2}: "
                "compute with integers"
            )
        self._limbs = -(-(self.modulus.bit_length() + 2) // _LIMB_BITS)  # so that 4 * modulus is below the radix
        self.radix = 1 << (self._limbs * _LIMB_BITS)
        self._inverse = np.array([-pow(self.modulus, -1, 1 << _LIMB_BITS) % (1 << _LIMB_BITS)], np.uint64)
        self._row = np.ascontiguousarray(self.repeated(self.modulus)[0, :, 0])
        self._one = self.repeated(1)
        self._square = self.repeated(self.radix**2 % self.modulus)

    def repeated(self, value: int) -> Blocks:
        """Return one block with the same residue eight times."""
        limbs = [value >> (_LIMB_BITS * index) & ((1 << _LIMB_BITS) - 1) for index in range(self._limbs)]
        block = _aligned(1, self._limbs, _LANES)
        block[0] = np.array(limbs, np.uint64)[:, None]
        return block

    def blocks(self, data: bytes, num_bytes: int) -> Blocks:
        """Read residues of num_bytes each, big-endian, side by side; they must be below the modulus."""
        from . import _montgomery_kernels

        count = -(-len(data) // (num_bytes * _LANES))
        blocks = _aligned(count, self._limbs, _LANES)
        blocks[-1:] = self._one
        _montgomery_kernels.read(np.frombuffer(data, np.uint8), num_bytes, blocks)
        return blocks

    def integers(self, blocks: Blocks, count: int) -> list[Integer]:
        """Return the first `count` residues, from 0 to modulus - 1.

        Raises:
            ParameterError: there are fewer, or these are not this modulus's blocks.
        """
        from . import _montgomery_kernels

        self._check(blocks)
        if count > len(blocks) * _LANES:
            raise ParameterError(f"{count} residues asked of {len(blocks)} blocks of {_LANES}: ask for fewer")
        num_bytes = width(2 * self.modulus)
        data = np.empty(count * num_bytes, np.uint8)
        _montgomery_kernels.write(blocks, num_bytes, data)
        modulus = backend().integer(self.modulus)
        return [value % modulus for value in split(data.data, num_bytes)]

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
        results = _aligned(*a.shape)
        sums = _aligned(self._limbs, _LANES)
        _montgomery_kernels.multiply(results, a, b, self._row, self._inverse, sums)
        return results

    def restored(self, blocks: Blocks, products: int) -> Blocks:
        """Return the blocks with the factors 1 / radix taken out that so many products have left behind."""
        return self.product(blocks, self.repeated(pow(self.radix, products + 1, self.modulus)))

    def power(self, bases: Blocks, exponent: int) -> Blocks:
        """Return bases ** exponent, for an exponent that is not negative."""
        from . import _montgomery_kernels

        table = _aligned(1 << _WINDOW, self._limbs, _LANES)
        table[0] = self.repeated(self.radix % self.modulus)[0]
        mask = (1 << _WINDOW) - 1
        places = range((max(1, exponent.bit_length()) - 1) // _WINDOW, -1, -1)
        digits = np.array([exponent >> (_WINDOW * place) & mask for place in places], np.int64)
        inside, powers = self.product(bases, self._square), _aligned(*bases.shape)
        sums = _aligned(self._limbs, _LANES)
        _montgomery_kernels.power(powers, inside, digits, table, self._row, self._inverse, sums)
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
        digits = np.zeros((windows, len(inside) * _LANES), np.int64)
        for place in range(windows):
            shift = window * (windows - 1 - place)
            digits[place, : len(exponents)] = [exponent >> shift & mask for exponent in exponents]
        one = self.repeated(self.radix % self.modulus)
        result, buckets, sums = one.copy(), _aligned(1 << window, *one[0].shape), _aligned(self._limbs, _LANES)
        _montgomery_kernels.product_of_powers(
            result[0],
            inside,
            digits.reshape(windows, len(inside), _LANES),
            buckets,
            one[0],
            self._row,
            self._inverse,
            sums,
        )
        columns = self.integers(self.product(result, self._one), _LANES)
        return int(functools.reduce(lambda a, b: a * b % self.modulus, columns))

    def table(self, rows: Sequence[Sequence[Integer]], num_bytes: int) -> Blocks:
        """Return rows of as many numbers each for `chosen_products`, (rows, entries, limbs of an entry).

        Args:
            rows: numbers below the modulus and below 256**num_bytes; shorter ones are cheaper to multiply by.
            num_bytes: how long they are.
        """
        limbs = min(self._limbs, -(-(8 * num_bytes + 1) // _LIMB_BITS))
        table = np.empty((len(rows), len(rows[0]), limbs), np.uint64)
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
        padded = np.zeros((rows, -(-count // _LANES), _LANES), np.uint8)
        padded.reshape(rows, -1)[:, :count] = digits
        results = _aligned(padded.shape[1], self._limbs, _LANES)
        left_behind = backend().powmod(2, _LIMB_BITS * table.shape[2] * rows, self.modulus)
        results[:] = self.repeated(int(left_behind))
        sums = _aligned(self._limbs, _LANES)
        _montgomery_kernels.multiply_chosen(results, table, padded, self._row, self._inverse, sums)
        return self.integers(results, count)

    def _check(self, blocks: Blocks) -> None:
        if blocks.shape[1:] != (self._limbs, _LANES):
            raise ParameterError(
                f"blocks of {blocks.shape[1:]}, but this modulus's are of {(self._limbs, _LANES)}: use the arithmetic "
                "that made them"
            )

    def power_all(self, bases: Sequence[Integer], exponent: int) -> list[Integer]:
        """Return base ** exponent mod modulus for residues of the modulus."""
        size = width(self.modulus)
        return self.integers(self.power(self.blocks(join(bases, size), size), exponent), len(bases))


def montgomery(modulus: int, multiplications: int) -> Montgomery | None:
    """Return the arithmetic if this processor has the instructions, so much work is worth it, and nobody chose else."""
    small = modulus.bit_length() <= _LIMB_BITS
    if not backend().abreast or multiplications < _WORTH or small or modulus % 2 == 0:
        return None
    from . import _montgomery_kernels

    return Montgomery(modulus) if _montgomery_kernels.has_instructions() else None


def _aligned(*shape: int) -> Blocks:
    """Return an array that starts where a line of the cache does: vectors that straddle two lines cost twice."""
    size = int(np.prod(shape))
    spare = np.empty(size + _ALIGNMENT // 8, np.uint64)
    start = -spare.ctypes.data % _ALIGNMENT // 8
    aligned: Blocks = spare[start : start + size].reshape(shape)
    return aligned
