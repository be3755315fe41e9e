from __future__ import annotations

import hashlib
from itertools import combinations

import pytest
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from hypothesis import given
from hypothesis import strategies as st

from secagg.derivation import MAX_DERIVED_BYTES, Label, derive, digest, frame, hkdf
from secagg.errors import ParameterError

labels = st.sampled_from(Label)
contexts = st.lists(st.binary(max_size=6), max_size=4)


def test_hkdf_gives_the_second_output_of_rfc_5869() -> None:
    """Appendix A.2; the other two are among the vectors."""
    secret, salt, info = bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100))
    assert hkdf(secret, salt=salt, info=info, length=82).hex() == (
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
    )


@given(
    st.binary(min_size=1, max_size=80),
    st.binary(max_size=80),
    st.binary(max_size=80),
    st.integers(1, MAX_DERIVED_BYTES),
)
def test_hkdf_agrees_with_pycryptodome(secret: bytes, salt: bytes, info: bytes, length: int) -> None:
    assert hkdf(secret, salt=salt, info=info, length=length) == HKDF(secret, length, salt, SHA256, context=info)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, MAX_DERIVED_BYTES])
def test_a_shorter_output_is_the_start_of_a_longer_one(length: int) -> None:
    longest = hkdf(b"secret", salt=b"", info=b"", length=MAX_DERIVED_BYTES)
    assert hkdf(b"secret", salt=b"", info=b"", length=length) == longest[:length]


@pytest.mark.parametrize("length", [0, -1, MAX_DERIVED_BYTES + 1])
def test_lengths_that_hkdf_does_not_derive_are_refused(length: int) -> None:
    with pytest.raises(ParameterError, match="1 to 8160 bytes"):
        hkdf(b"secret", salt=b"", info=b"", length=length)
    with pytest.raises(ParameterError, match="1 to 8160 bytes"):
        derive(b"secret", Label.SESSION, length=length)


def unframe(framed: bytes) -> list[bytes]:
    """Read a frame back: that this can be done is why no two frames are equal."""
    parts = []
    while framed:
        size = int.from_bytes(framed[:4], "big")
        parts.append(framed[4 : 4 + size])
        assert len(parts[-1]) == size
        framed = framed[4 + size :]
    return parts


@given(labels, contexts)
def test_a_frame_can_be_read_back(label: Label, context: list[bytes]) -> None:
    assert unframe(frame(label, *context)) == [label.value, *context]


@given(labels, contexts, labels, contexts)
def test_different_labels_or_contexts_have_different_frames(
    label: Label, context: list[bytes], other_label: Label, other_context: list[bytes]
) -> None:
    same = (label, context) == (other_label, other_context)
    assert (frame(label, *context) == frame(other_label, *other_context)) == same
    assert (digest(label, *context) == digest(other_label, *other_context)) == same


@pytest.mark.parametrize(
    ("context", "other"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        ((b"ab",), (b"a", b"b")),
        ((b"",), ()),
        ((b"", b"a"), (b"a", b"")),
        ((b"\0\0\0\x01a",), (b"", b"a")),
    ],
)
def test_moving_a_border_between_parts_changes_everything(context: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
    label = Label.PAIRWISE_MASK
    assert frame(label, *context) != frame(label, *other)
    assert digest(label, *context) != digest(label, *other)
    assert derive(b"secret", label, *context) != derive(b"secret", label, *other)


def test_a_frame_is_each_part_behind_its_length() -> None:
    assert frame(Label.SESSION) == b"\0\0\0\x11secagg/v1/session"
    assert frame(Label.SESSION, b"", b"xy") == b"\0\0\0\x11secagg/v1/session" + b"\0\0\0\0" + b"\0\0\0\x02xy"


def test_labels_are_distinct_versioned_and_no_prefix_matters() -> None:
    values = [label.value for label in Label.__members__.values()]  # aliases included
    assert len(set(values)) == len(Label.__members__)
    assert all(value.startswith(b"secagg/v1/") for value in values)
    # Though one label may start with another, no frame starts with another label's frame.
    frames = [frame(label) for label in Label]
    assert not any(a.startswith(b) or b.startswith(a) for a, b in combinations(frames, 2))


@given(st.binary(min_size=16, max_size=48), labels, contexts, st.integers(1, 100))
def test_a_derivation_is_hkdf_without_salt_on_the_frame(
    secret: bytes, label: Label, context: list[bytes], length: int
) -> None:
    expected = HKDF(secret, length, b"", SHA256, context=frame(label, *context))
    assert derive(secret, label, *context, length=length) == expected
    assert digest(label, *context) == hashlib.sha256(frame(label, *context)).digest()


def test_every_label_and_every_secret_derives_something_else() -> None:
    derived = {derive(secret, label) for secret in (bytes(32), b"\1" + bytes(31)) for label in Label}
    assert len(derived) == 2 * len(Label)
    assert {len(value) for value in derived} == {32}
