"""Random 64-bit words: AES-256 over a counter, keyed by the operating system for each draw.

No generator outlives the call that made it, so nothing can be seeded, forked, shared or rewound. Two
processes that fork from one another never repeat a word.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_CHUNK_WORDS = 32_768  # 256 KiB: the counters and the words stay in a core's cache
_SMALLEST_CHUNK = 64
_CHUNKS_PER_KEY = 64  # 2**20 blocks: a permutation differs from random bits by at most 2**-89 per key


class WordSource(Protocol):
    """Whatever hands out fresh uniform words; tests put chosen words behind it."""

    def chunk(self) -> Words:
        """Return fresh words, shape (n,), uint64, n >= 64; the next call may overwrite them."""


class SystemWords:
    """A stream of uniform words under a fresh key of the operating system.

    Security: AES-256 on distinct counter blocks. Words are exactly uniform but for the cipher's own
    advantage and the birthday gap of a permutation, under 2**-89 for each key; a key serves at most 16 MiB.
    """

    def __init__(self, expected_words: int = _CHUNK_WORDS) -> None:
        words = min(_CHUNK_WORDS, max(_SMALLEST_CHUNK, expected_words + expected_words % 2))
        self._words: Words = np.empty(words, dtype=np.uint64)
        self._output = self._words.data.cast("B")
        self._blocks = words // 2
        self._counters: Words = np.zeros((self._blocks, 2), dtype=np.uint64)
        self._rekey()

    def _rekey(self) -> None:
        from Crypto.Cipher import AES

        self._cipher = AES.new(os.urandom(32), AES.MODE_ECB)
        self._counters[:, 0] = np.arange(self._blocks, dtype=np.uint64)
        self._chunks = 0

    def chunk(self) -> Words:
        """Return the next words; the array is overwritten by the next call."""
        if self._chunks == _CHUNKS_PER_KEY:
            self._rekey()
        self._cipher.encrypt(self._counters.data.cast("B"), output=self._output)
        self._counters[:, 0] += np.uint64(self._blocks)
        self._chunks += 1
        return self._words


def system_bits(count: int) -> int:
    """Return `count` uniform bits of the operating system as an integer in [0, 2**count)."""
    return int.from_bytes(os.urandom((count + 7) // 8), "little") >> (-count % 8)
