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


def add_unpacked(words: npt.NDArray[np.uint64], bits: np.uint64, lanes: npt.NDArray[Any]) -> None:
    """Add lanes.size elements of `bits` (1 to 63) bits to the lanes."""
    source, width = words.view(np.uint8), int(bits)
    for start in range(0, lanes.size, _AT_ONCE):
        stretch = lanes[start : start + _AT_ONCE]
        digits = np.zeros((stretch.size, 8 * lanes.itemsize), dtype=np.uint8)
        packed = source[start * width // 8 : -(-(start + stretch.size) * width // 8)]
        digits[:, :width] = np.unpackbits(packed, count=digits.shape[0] * width, bitorder="little").reshape(-1, width)
        np.add(stretch, np.packbits(digits, axis=1, bitorder="little").view(lanes.dtype)[:, 0], out=stretch)
