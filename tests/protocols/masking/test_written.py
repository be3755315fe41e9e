"""A masked input is held against its bytes without being written anew: it must refuse just what that would refuse."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core import framing
from protocols.masking.messages import MaskedInput, ToServer
from secagg.errors import MalformedMessage

SIZES = (0, 1, 31, 32, 255, 256, 65535, 65536)
_DECODER = msgspec.msgpack.Decoder(ToServer)


def forms(value: int, *, short: int = 0, limit: int = 0, long: tuple[tuple[int, int], ...]) -> list[bytes]:
    """All ways to write a number or a length, the shortest first: in the byte of its type, or behind one of a type."""
    fixed = [bytes([short | value])] if value < limit else []
    return fixed + [bytes([tag]) + value.to_bytes(size, "big") for tag, size in long if value < 1 << 8 * size]


def number(value: int) -> list[bytes]:
    signed = [(tag, size) for tag, size in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)) if value < 1 << 8 * size - 1]
    return forms(value, limit=128, long=((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8), *signed))


def array(length: int) -> list[bytes]:
    return forms(length, short=0x90, limit=16, long=((0xDC, 2), (0xDD, 4)))


def binary(data: bytes) -> list[bytes]:
    return [header + data for header in forms(len(data), long=((0xC4, 1), (0xC5, 2), (0xC6, 4)))]


def text(data: bytes) -> list[bytes]:
    return [head + data for head in forms(len(data), short=0xA0, limit=32, long=((0xD9, 1), (0xDA, 2), (0xDB, 4)))]


def tokens(sender: int, vectors: list[bytes], complaints: list[int]) -> list[list[bytes]]:
    """All ways to write each part of a masked input."""
    head = [array(5), text(b"masked-input"), binary(bytes(32)), number(sender), array(len(vectors))]
    return [*head, *map(binary, vectors), array(len(complaints)), *map(number, complaints)]


def held_against_bytes(body: bytes) -> bool:
    """Whether it is taken; it must be if it is what would be written of what it says, and must not be if not."""
    try:
        written = msgspec.msgpack.encode(_DECODER.decode(body)) == body
    except (msgspec.DecodeError, ValueError):
        written = False
    try:
        framing.decode_body(memoryview(body), ToServer)
    except MalformedMessage:
        assert not written
        return False
    assert written
    return True


@pytest.mark.parametrize(
    ("sizes", "complaints"),
    [
        *(((size,), 2) for size in SIZES),
        *(((40,), count) for count in (0, 1, 15, 16, 65535, 65536)),
        *((sizes, 16) for sizes in (SIZES, (0,) * 15, (1,) * 16, (256,) * 66)),
    ],
)
def test_every_longer_form_of_every_part_is_refused(sizes, complaints):
    parts = tokens(99999, [bytes(size) for size in sizes], list(range(1, complaints + 1)))
    shortest = [part[0] for part in parts]
    body = b"".join(shortest)
    message = _DECODER.decode(body)
    assert isinstance(message, MaskedInput)
    assert b"".join(message.pieces()) == body
    assert held_against_bytes(body)
    assert not held_against_bytes(body + b"\0")
    last = len(parts) - 1
    for at in sorted({*range(min(len(parts), 8 + len(sizes))), last}):
        for longer in parts[at][1:]:
            assert not held_against_bytes(b"".join([*shortest[:at], longer, *shortest[at + 1 :]]))


@given(st.data())
def test_whatever_is_bent_is_refused_just_when_it_would_be_written_otherwise(data):
    vectors = data.draw(st.lists(st.binary(max_size=40), max_size=17))
    complaints = data.draw(st.lists(st.integers(0, 70000), max_size=17))
    parts = tokens(data.draw(st.sampled_from([1, 127, 128, 65536])), vectors, complaints)
    body = bytearray().join(data.draw(st.sampled_from([part[0], part[0], *part])) for part in parts)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    held_against_bytes(bytes(body))
