"""Random 64-bit words: the AES-256 stream of a key that is drawn anew for each call.

No generator outlives the call that made it, so nothing can be seeded, forked or rewound by accident. Two
processes that fork from one another never repeat a word.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

RandomBytes = Callable[[int], bytes]
"""A source of random bytes: called with a number, it returns so many. The default is `os.urandom`, everywhere.

Security: noise and rounding are as good as this source. Hand in another one only to replay what was recorded.
"""
Words = npt.NDArray[np.uint64]

KEY_BYTES = 32
MAX_UNREAD = 64
_CHUNK_WORDS = 32_768  # 256 KiB: the counters and the words stay in a core's cache
_SMALLEST_CHUNK = 64
_BLOCKS_PER_KEY = 1 << 20  # a permutation differs from random bits by at most 2**-89 per key


class WordSource(Protocol):
    """Whatever hands out fresh uniform words; tests put chosen words behind it."""

    def chunk(self, unread: int = 0) -> Words:
        """Return the last `unread` words of the chunk before (at most 64), and fresh ones behind them.

        Shape (n,), uint64, n >= 64; the next call may overwrite them.
        """


class WordStream:
    """The words of a stream under a fresh key, in order: none is left out, whatever the size of the chunks.

    The stream is that of `secagg.prg`: AES-256 in counter mode from zero on, read as little-endian words. After 16 MiB
    at most the next key is drawn, and a new stream begins.

    Args:
        expected_words: how many will be wanted, if that is known: fewer are made ready at once.
        random: source of the keys, 32 bytes each.

    Security: words are exactly uniform but for the cipher's own advantage and the birthday gap of a permutation, under
    2**-89 for each key.
    """

    def __init__(self, expected_words: int = _CHUNK_WORDS, *, random: RandomBytes = os.urandom) -> None:
        words = min(_CHUNK_WORDS, max(_SMALLEST_CHUNK, expected_words + expected_words % 2))
        self._random = random
        self._words: Words = np.empty(MAX_UNREAD + words, dtype=np.uint64)
        self._output = self._words[MAX_UNREAD:].data.cast("B")
        self._counters = np.zeros((words // 2, 2), dtype=">u8")
        self._taken = self._words.size
        self._rekey()

    def _rekey(self) -> None:
        from Crypto.Cipher import AES

        self._cipher = AES.new(self._random(KEY_BYTES), AES.MODE_ECB)
        self._next_block = 0

    def chunk(self, unread: int = 0) -> Words:
        """Return the last `unread` words of the chunk before, and fresh ones; the next call overwrites them."""
        blocks = len(self._counters)
        if self._next_block + blocks > _BLOCKS_PER_KEY:
            self._rekey()
        self._counters[:, 1] = np.arange(self._next_block, self._next_block + blocks, dtype=np.uint64)
        self._words[MAX_UNREAD - unread : MAX_UNREAD] = self._words[self._words.size - unread :]
        self._cipher.encrypt(self._counters.data.cast("B"), output=self._output)
        self._next_block += blocks
        return self._words[MAX_UNREAD - unread :]

    def take(self, count: int) -> Words:
        """Return the next `count` words, uint64 (count,), a copy."""
        taken: Words = np.empty(count, dtype=np.uint64)
        done = 0
        while done < count:
            if self._taken == self._words.size:
                self.chunk()
                self._taken = MAX_UNREAD
            size = min(count - done, self._words.size - self._taken)
            taken[done : done + size] = self._words[self._taken : self._taken + size]
            self._taken, done = self._taken + size, done + size
        return taken


def random_bits(count: int, *, random: RandomBytes = os.urandom) -> int:
    """Return `count` uniform bits as an integer in [0, 2**count)."""
    return int.from_bytes(random((count + 7) // 8), "little") >> (-count % 8)


def random_below(bound: int, *, random: RandomBytes = os.urandom) -> int:
    """Return a uniform integer in [0, bound), by rejection; bound >= 1."""
    bits = (bound - 1).bit_length()
    while (value := random_bits(bits, random=random)) >= bound:
        pass
    return value
