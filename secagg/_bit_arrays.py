"""The loops of `_bit_kernels` in numpy: for as little work as is no reason to load a compiler.

A stretch of lanes is spread out to one bit a byte, the low bits first, and gathered again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_AT_ONCE = 1 << 14
"""Lanes in a stretch, whose bits stay in cache; a multiple of 8, so that each stretch begins with a whole byte."""


def pack(lanes: npt.NDArray[Any], bits: int, words: npt.NDArray[np.uint64]) -> None:
    """Write the low `bits` (1 to 63) bits of each lane; `words` has one word to spare and need not be zero."""
    target = words.view(np.uint8)
    for start in range(0, lanes.size, _AT_ONCE):
        stretch = lanes[start : start + _AT_ONCE]
        digits = np.unpackbits(stretch.view(np.uint8).reshape(stretch.size, -1), axis=1, count=bits, bitorder="little")
        packed = np.packbits(digits, bitorder="little")
        at = start * bits // 8
        target[at : at + packed.size] = packed


def unpack(words: npt.NDArray[np.uint64], bits: int, lanes: npt.NDArray[Any]) -> None:
    """Read lanes.size elements of `bits` (1 to 63) bits."""
    source = words.view(np.uint8)
    for start in range(0, lanes.size, _AT_ONCE):
        stretch = lanes[start : start + _AT_ONCE]
        digits = np.zeros((stretch.size, 8 * lanes.itemsize), dtype=np.uint8)
        packed = source[start * bits // 8 : -(-(start + stretch.size) * bits // 8)]
        digits[:, :bits] = np.unpackbits(packed, count=digits.shape[0] * bits, bitorder="little").reshape(-1, bits)
        stretch[:] = np.packbits(digits, axis=1, bitorder="little").view(lanes.dtype)[:, 0]
