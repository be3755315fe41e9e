"""Running products of ciphertexts mod n**2, position by position: what adding encrypted vectors is.

Two implementations of one interface: integers of Python's or gmpy2's one by one, and AVX-512 with eight at once. Values
are immutable, so a rejected batch is discarded by dropping it.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import ParameterError
from . import integers
from .integers import Integer, all_invertible, backend
from .keys import PublicKey
from .montgomery import Blocks, Montgomery, montgomery


class Products(Protocol):
    """How to multiply ciphertexts; what a running product is made of is the implementation's own business."""

    releases_lock: bool
    """Whether threads multiply at the same time."""

    def empty(self) -> Any:
        """Return the product of nothing."""

    def times(self, value: Any, data: bytes) -> Any:
        """Return the product with one more vector's ciphertexts, which are in range."""

    def in_range(self, data: bytes) -> bool:
        """Tell whether all ciphertexts are below n**2; zero is not invertible, and falls by that."""

    def invertible(self, value: Any) -> bool:
        """Tell whether all positions are invertible mod n."""

    def ciphertexts(self, value: Any) -> bytes:
        """Return the positions' ciphertexts, side by side, big-endian."""


def products_of(key: PublicKey, count: int, max_addends: int) -> Products:
    """Return the way that suits `count` positions and so many addends."""
    abreast = montgomery(key.n_squared, count * max_addends)
    return _OneByOne(key, count) if abreast is None else _Abreast(key, count, abreast)


class _Ciphertexts:
    def __init__(self, key: PublicKey, count: int) -> None:
        self._n, self._n_squared, self._size = key.n, backend().integer(key.n_squared), key.ciphertext_bytes
        self._count = count
        self._limit = integers.to_bytes(self._n_squared, self._size)

    def in_range(self, data: bytes) -> bool:
        """Compare bytes: big-endian numbers of one length are in the order of their bytes."""
        each = [data[start : start + self._size] for start in range(0, len(data), self._size)]
        return all(one < self._limit for one in each)


class _OneByOne(_Ciphertexts):
    releases_lock = False

    def empty(self) -> list[Integer]:
        return [backend().integer(1)] * self._count

    def times(self, value: list[Integer], data: bytes) -> list[Integer]:
        modulus = self._n_squared
        return [a * b % modulus for a, b in zip(value, integers.split(data, self._size), strict=True)]

    def invertible(self, value: list[Integer]) -> bool:
        return all_invertible(value, self._n)

    def ciphertexts(self, value: list[Integer]) -> bytes:
        return integers.join(value, self._size)


class _Abreast(_Ciphertexts):
    """A running product is (its blocks, how many factors 1 / radix these carry)."""

    releases_lock = True

    def __init__(self, key: PublicKey, count: int, arithmetic: Montgomery) -> None:
        super().__init__(key, count)
        self._arithmetic = arithmetic

    def empty(self) -> tuple[Blocks, int]:
        ones = integers.join([backend().integer(1)] * self._count, self._size)
        return self._arithmetic.blocks(ones, self._size), 0

    def times(self, value: tuple[Blocks, int], data: bytes) -> tuple[Blocks, int]:
        blocks, factors = value
        if len(data) != self._count * self._size:
            raise ParameterError(f"{len(data)} bytes of ciphertext, but {self._count} of {self._size} bytes are summed")
        return self._arithmetic.product_with(blocks, data, self._size), factors + 1

    def invertible(self, value: tuple[Blocks, int]) -> bool:
        """Fold the blocks into one; the radix is a power of two, and so is no factor of n."""
        blocks, _ = value
        while len(blocks) > 1:
            half = len(blocks) // 2
            folded = self._arithmetic.product(blocks[:half], blocks[half : 2 * half])
            if len(blocks) % 2:
                folded[:1] = self._arithmetic.product(folded[:1], blocks[-1:])
            blocks = folded
        return all_invertible(self._arithmetic.integers(blocks, 8), self._n)

    def ciphertexts(self, value: tuple[Blocks, int]) -> bytes:
        blocks, factors = value
        restored = self._arithmetic.restored(blocks, factors)
        return integers.join(self._arithmetic.integers(restored, self._count), self._size)
