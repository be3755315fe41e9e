"""The words behind the noise: which blocks they are, when the key changes, and how many bits are handed out."""

from __future__ import annotations

import numpy as np
import pytest
from Crypto.Cipher import AES

from dp import randomness
from dp.randomness import SystemWords, system_bits

KEY = bytes(range(32))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every key be the same known one, and note how many bytes were asked for."""
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return KEY[:size]

    monkeypatch.setattr(randomness.os, "urandom", urandom)
    return asked


def blocks(first: int, count: int) -> list[int]:
    """AES-256 of consecutive counters of 64 bits, little-endian and before eight zero bytes, as words."""
    counters = b"".join(number.to_bytes(8, "little") + bytes(8) for number in range(first, first + count))
    return np.frombuffer(AES.new(KEY, AES.MODE_ECB).encrypt(counters), dtype="<u8").tolist()


def test_words_are_consecutive_blocks_under_one_key(keys: list[int]) -> None:
    source = SystemWords(64)
    for number in range(5):
        assert source.chunk().tolist() == blocks(32 * number, 32)
    assert keys == [32]


def test_a_key_serves_64_chunks_and_the_next_begins_anew(keys: list[int]) -> None:
    source = SystemWords(64)
    for chunk in range(130):
        source.chunk()
        assert len(keys) == 1 + chunk // 64
    assert source.chunk().tolist() == blocks(32 * (130 % 64), 32)


@pytest.mark.parametrize(
    ("expected", "words"), [(0, 64), (1, 64), (64, 64), (65, 66), (66, 66), (999, 1000), (10**6, 32_768)]
)
def test_as_many_words_as_are_expected_are_made_at_once(expected: int, words: int) -> None:
    assert SystemWords(expected).chunk().size == words


@pytest.mark.parametrize("count", [1, 3, 7, 8, 9, 13, 63, 64, 65, 127])
def test_bits_are_as_many_as_asked_for_and_each_is_sometimes_set_and_sometimes_not(count: int) -> None:
    # Of 100 draws a given bit is always or never set with probability 2**-99.
    drawn = [system_bits(count) for _ in range(100)]
    every, some = drawn[0], 0
    for bits in drawn:
        every, some = every & bits, some | bits
    assert every == 0
    assert some == 2**count - 1


def test_no_more_bytes_are_asked_for_than_bits_need(keys: list[int]) -> None:
    for count in (1, 8, 9, 64):
        system_bits(count)
    assert keys == [1, 1, 2, 8]
