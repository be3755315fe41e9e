"""Words in place of the operating system's, for the noise and the rounding of private vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from dp import clipping, samplers
from dp.preparation import Preparation
from secagg.prg import keystream

_WORDS = 4096
"""More than any draw of a vector's takes."""


class Words:
    """The 64-bit words of a seed's stream, little-endian, each handed out once."""

    def __init__(self, seed: str) -> None:
        self._words = np.frombuffer(bytes(keystream(bytes.fromhex(seed), 8 * _WORDS)), dtype="<u8").astype(np.uint64)
        self._at = 0

    @property
    def taken(self) -> int:
        """How many were handed out."""
        return self._at

    def take(self, count: int) -> Any:
        self._at += count
        if self._at > _WORDS:
            raise ValueError("a vector's draw takes more words than there are")
        return self._words[self._at - count : self._at]


class _Chunks:
    """Stands in for `SystemWords`."""

    def __init__(self, words: Words, count: int) -> None:
        self._words, self._count = words, count

    def chunk(self) -> Any:
        return self._words.take(self._count)


def rounded_from(seed: str, values: Any, l2_norm: float, beta: float) -> tuple[list[int], int]:
    """What `conditionally_round` makes of a seed's words, and how many tries it takes."""
    words = Words(seed)
    with patch.object(clipping, "SystemWords", lambda expected_words: _Chunks(words, expected_words)):
        levels = clipping.conditionally_round(values, l2_norm, beta)
    return levels.tolist(), words.taken // len(values)


def prepared_from(seed: str, values: Any, preparation: Preparation, rotation_seed: bytes) -> list[int]:
    """What a preparation makes of values that need no clipping, and of a seed's words."""
    words = Words(seed)
    with patch.object(clipping, "SystemWords", lambda expected_words: _Chunks(words, expected_words)):
        levels, clipped = preparation.prepare(values, rotation_seed)
    if clipped:
        raise ValueError("values that are clipped: nobody else can tell what becomes of them")
    return [int(level) for level in levels]


@contextmanager
def replaced_noise(given: dict[str, Any]) -> Iterator[None]:
    """Let noise be made of the words that a client's vector has, and rounding take its words one try after another."""
    names = iter(given.get("noise_seeds", ()))
    rounding = {name: Words(seed) for name, seed in given["rounding_seeds"].items()}
    current = next(names, "")

    def for_rounding(expected_words: int) -> _Chunks:
        return _Chunks(rounding[current], expected_words)

    def for_noise(expected_words: int) -> _Chunks:
        nonlocal current
        words, current = Words(given["noise_seeds"][current]), next(names, "")
        return _Chunks(words, _WORDS)

    with patch.object(clipping, "SystemWords", for_rounding), patch.object(samplers, "SystemWords", for_noise):
        yield
