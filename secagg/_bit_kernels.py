"""Compiled loops of residues.py. Imports numba: import this module only from inside a function.

Both loops see the bit string as little-endian 64-bit words: element i starts at bit i * bits, that is in word
(i * bits) >> 6, and spills into the next word when it does not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compiling import compiled

ONE = np.uint64(1)
WORD = np.uint64(64)
IN_WORD = np.uint64(63)
LOG_WORD = np.uint64(6)
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def pack(lanes: Any, bits: Any, words: Any) -> None:
    """Write the low `bits` (1 to 63) bits of each lane; `words` has one word to spare and need not be zero."""
    mask = ALL >> (WORD - bits)
    window = np.uint64(0)
    filled = np.uint64(0)
    at = 0
    for i in range(lanes.size):
        value = np.uint64(lanes[i]) & mask
        window |= value << filled
        filled += bits
        if filled >= WORD:
            words[at] = window
            at += 1
            filled -= WORD
            window = value >> (bits - filled)  # filled == 0 shifts by `bits` <= 63: nothing is left
    words[at] = window


@compiled
def add_unpacked(words: Any, bits: Any, lanes: Any) -> None:
    """Add lanes.size elements of `bits` (1 to 63) bits to the lanes; `words` has one word to spare."""
    mask = ALL >> (WORD - bits)
    done = 0
    if bits + bits <= WORD:  # two at once
        done = lanes.size // 2 * 2
        for i in range(lanes.size // 2):
            position = np.uint64(i) * (bits + bits)
            word = position >> LOG_WORD
            shift = position & IN_WORD
            # Two shifts to the left, so that none is by 64.
            window = (words[word] >> shift) | ((words[word + ONE] << ONE) << (IN_WORD - shift))
            lanes[2 * i] += window & mask
            lanes[2 * i + 1] += (window >> bits) & mask
    rest = lanes[done:]
    for i in range(rest.size):
        position = np.uint64(done + i) * bits
        word = position >> LOG_WORD
        shift = position & IN_WORD
        rest[i] += ((words[word] >> shift) | ((words[word + ONE] << ONE) << (IN_WORD - shift))) & mask
