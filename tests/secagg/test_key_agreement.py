from __future__ import annotations

import pytest
from Crypto.Protocol.DH import import_x25519_private_key, import_x25519_public_key, key_agreement
from hypothesis import assume, given
from hypothesis import strategies as st

from secagg.errors import AuthenticationFailed, ParameterError
from secagg.key_agreement import KEY_BYTES, KeyPair, check_public_key
from tests.strategies import seeds

FIELD = 2**255 - 19
BASE_POINT = (9).to_bytes(32, "little")

# RFC 7748, section 5.2: scalar, u-coordinate, output.
RFC_7748 = [
    (
        "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
        "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
    ),
    (
        "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
        "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
    ),
]

# The u-coordinates of all points of order 1, 2, 4 and 8 on the curve and its twist (the list on the Curve25519 page);
# a test below derives from the ladder that they are right, and by counting that none is missing.
ORDER_EIGHT = [
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]
LOW_ORDER = [0, 1, FIELD - 1, *(int.from_bytes(bytes.fromhex(u), "little") for u in ORDER_EIGHT)]


def encodings(coordinate: int) -> list[bytes]:
    """All 32-byte strings that stand for a coordinate: with the field added or not, with the top bit set or not."""
    below = [value for value in (coordinate, coordinate + FIELD) if value < 2**255]
    return [(value + top).to_bytes(32, "little") for value in below for top in (0, 2**255)]


ALL_LOW_ORDER = [encoding for coordinate in LOW_ORDER for encoding in encodings(coordinate)]


def ladder(scalar: bytes, u: bytes) -> bytes:
    """X25519 as RFC 7748, section 5, writes it down, on Python integers."""
    k = int.from_bytes(scalar, "little") & ((1 << 254) - 8) | (1 << 254)
    x1 = (int.from_bytes(u, "little") & ((1 << 255) - 1)) % FIELD
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in reversed(range(255)):
        bit = k >> t & 1
        if bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        x3, z3 = pow(da + cb, 2, FIELD), x1 * pow(da - cb, 2, FIELD) % FIELD
        x2, z2 = aa * bb % FIELD, (aa - bb) * (aa + 121665 * (aa - bb)) % FIELD
        if bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, FIELD - 2, FIELD) % FIELD).to_bytes(32, "little")


@pytest.mark.parametrize(("scalar", "u", "output"), RFC_7748)
def test_agreement_gives_the_outputs_of_rfc_7748(scalar: str, u: str, output: str) -> None:
    assert KeyPair(bytes.fromhex(scalar)).agree(bytes.fromhex(u)).hex() == output


def test_a_thousand_iterations_give_the_output_of_rfc_7748() -> None:
    scalar, u = BASE_POINT, BASE_POINT
    for number in range(1, 1001):
        scalar, u = KeyPair(scalar).agree(u), scalar
        if number == 1:
            assert scalar.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert scalar.hex() == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


@given(seeds, seeds)
def test_both_sides_agree_and_so_does_pycryptodome(private: bytes, other: bytes) -> None:
    ours, theirs = KeyPair(private), KeyPair(other)
    shared = ours.agree(theirs.public_bytes)
    assert shared == theirs.agree(ours.public_bytes)
    assert shared == key_agreement(
        static_priv=import_x25519_private_key(private),
        static_pub=import_x25519_public_key(theirs.public_bytes),
        kdf=bytes,
    )
    assert ours.public_bytes == ladder(private, BASE_POINT)


@given(seeds, seeds)
def test_any_coordinate_agrees_as_the_ladder_of_the_rfc_says(private: bytes, coordinate: bytes) -> None:
    # Half of all coordinates lie on the twist, and some are not reduced; X25519 takes both.
    assume(coordinate not in ALL_LOW_ORDER)
    assert KeyPair(private).agree(coordinate) == ladder(private, coordinate)


@given(seeds, st.sampled_from([2, 3, 9, 18]))
def test_coordinates_that_are_not_reduced_stand_for_their_remainder(private: bytes, coordinate: int) -> None:
    outputs = {KeyPair(private).agree(encoding) for encoding in encodings(coordinate)}
    assert outputs == {ladder(private, coordinate.to_bytes(32, "little"))}
    assert len(encodings(coordinate)) == 4


def test_the_table_of_low_orders_is_right_and_complete() -> None:
    # Every clamped scalar is a multiple of 8, and takes exactly these points to zero.
    for encoding in ALL_LOW_ORDER:
        assert ladder(bytes(32), encoding) == ladder(b"\xff" * 32, encoding) == bytes(32)
    assert len(ALL_LOW_ORDER) == len(set(ALL_LOW_ORDER)) == 14
    # The curve has 8 points of low order (its cofactor), the twist 4, both in cyclic groups: infinity, which encodes as
    # 0, one point of order 2 at u = 0, and the others in pairs that share their u: 3 pairs and 1 pair.
    assert len(LOW_ORDER) == 1 + 3 + 1


@pytest.mark.parametrize("public_bytes", ALL_LOW_ORDER, ids=bytes.hex)
def test_points_of_low_order_are_refused_in_every_encoding(public_bytes: bytes) -> None:
    for private in (bytes(32), b"\xff" * 32, bytes(range(32))):
        with pytest.raises(AuthenticationFailed, match="low order"):
            KeyPair(private).agree(public_bytes)
    with pytest.raises(AuthenticationFailed, match="low order"):
        check_public_key(public_bytes)


@given(seeds)
def test_a_key_that_passes_the_check_never_gives_zeros(public_bytes: bytes) -> None:
    assume(public_bytes not in ALL_LOW_ORDER)
    check_public_key(public_bytes)
    assert any(KeyPair(bytes(32)).agree(public_bytes))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(AuthenticationFailed, match=f"{KEY_BYTES} bytes long, not {size}"):
        KeyPair(bytes(32)).agree(bytes(size))
    with pytest.raises(AuthenticationFailed, match=f"{KEY_BYTES} bytes long, not {size}"):
        check_public_key(bytes(size))
    with pytest.raises(ParameterError, match=f"{KEY_BYTES} bytes long, not {size}"):
        KeyPair(bytes(size))


@given(seeds)
def test_a_pair_is_restored_from_its_private_bytes(private: bytes) -> None:
    pair = KeyPair(bytearray(private))
    assert pair.private_bytes == private
    assert type(pair.private_bytes) is bytes
    assert KeyPair(pair.private_bytes).public_bytes == pair.public_bytes


def test_generated_pairs_are_all_different() -> None:
    assert len({KeyPair.generate().private_bytes for _ in range(20)}) == 20
