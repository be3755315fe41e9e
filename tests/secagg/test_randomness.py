"""Sources of randomness that are handed in: what draws takes all it draws from them, in a known order and size."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import aead, field, shamir
from secagg.encoding import FixedPoint
from secagg.key_agreement import KeyPair
from secagg.paillier import FullExponents, KeyHolder, Lanes, NoisePool, ShortExponents, encrypt, open_partially
from secagg.paillier.moduli import safe_prime
from secagg.paillier.threshold import _deal
from secagg.randomness import RandomBytes, below, bits
from secagg.signatures import Identity
from tests.secagg.paillier.fixed_keys import private_key


class Recorded:
    """A source that is the same for the same label, and keeps the sizes that were asked for."""

    def __init__(self, label: int) -> None:
        self.label, self.sizes = label, list[int]()

    def __call__(self, size: int) -> bytes:
        self.sizes.append(size)
        return hashlib.shake_256(b"%d/%d" % (self.label, len(self.sizes))).digest(size)


KEY = private_key(256)
P, Q = KEY.factors
CODEC = FixedPoint(1.0, 16, 3)
HALVES = np.full(40, 0.5 / CODEC.scale)


def _opening(random: RandomBytes) -> Any:
    key, shares = _deal(2, 3, P, Q, min_bits=256, random=Recorded(3))
    lanes = Lanes(256, 32, 4)
    vector = encrypt(np.arange(4, dtype="<u4"), lanes, NoisePool(ShortExponents(key.public_key, random=Recorded(4))))
    return open_partially(shares[0], vector, lanes, context=b"x", random=random)


DRAWING: dict[str, tuple[Callable[[RandomBytes], Any], list[int] | None]] = {
    "X25519 key": (lambda random: KeyPair.generate(random=random).private_bytes, [32]),
    "Ed25519 key": (lambda random: Identity.generate(random=random).private_bytes, [32]),
    "nonce": (lambda random: aead.seal(bytes(32), b"text", associated_data=b"x", random=random), [12]),
    "elements": (lambda random: field.random_elements(5, random=random).tolist(), [20]),
    "shares": (lambda random: shamir.split(bytes(32), threshold=3, indices=[1, 2, 3], random=random), [72]),
    "levels": (lambda random: CODEC.quantise(HALVES, random=random)[0].tolist(), [32]),
    "residues": (lambda random: CODEC.encode(HALVES, random=random).residues.tolist(), [32]),
    "short exponent": (lambda random: ShortExponents(KEY.public_key, random=random).draw(), [16]),
    "root": (lambda random: FullExponents(KEY.public_key, random=random).draw(), None),
    "residue by its factors": (lambda random: KeyHolder(KEY, random=random).draw(), None),
    "dealt key": (lambda random: _deal(2, 3, P, Q, min_bits=256, random=random), None),
    "safe prime": (lambda random: safe_prime(64, random=random), None),
    "partial opening": (_opening, [80]),
}


@pytest.mark.parametrize("what", DRAWING)
def test_all_that_is_drawn_comes_from_the_source_that_was_handed_in(what: str) -> None:
    draw, sizes = DRAWING[what]
    first, again, other = Recorded(1), Recorded(1), Recorded(2)
    drawn = draw(first)
    assert draw(again) == drawn
    assert draw(other) != drawn
    assert first.sizes == again.sizes
    assert first.sizes if sizes is None else first.sizes == sizes


@given(st.binary(min_size=9, max_size=9), st.integers(0, 72))
def test_bits_are_the_lowest_of_the_bytes_and_no_byte_too_many_is_drawn(drawn: bytes, count: int) -> None:
    size = -(-count // 8)
    assert bits(count, lambda asked: drawn[:asked]) == int.from_bytes(drawn[:size], "little") % 2**count


def test_what_is_not_below_the_bound_is_drawn_again() -> None:
    raw = iter([b"\x07", b"\xfd", b"\x06", b"\x0c"])  # of three bits each: 7, 5, 6, 4
    assert below(5, lambda size: next(raw)) == 4
    assert below(1, lambda size: b"") == 0


def test_every_number_below_the_bound_is_as_likely() -> None:
    # 6,000 draws: each of six numbers 1,000 times, with a standard deviation of 29; six of them are exceeded with a
    # probability below 2e-8.
    source = Recorded(6)
    counts = Counter(below(6, source) for _ in range(6000))
    assert set(counts) == set(range(6))
    assert all(abs(count - 1000) < 6 * 29 for count in counts.values())
