from __future__ import annotations

import hashlib
import itertools
from contextlib import nullcontext, suppress

import pytest
from Crypto.Signature import eddsa
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from secagg.errors import AuthenticationFailed, ParameterError
from secagg.signatures import PRIVATE_KEY_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Identity, check_public_key, verify
from tests.checker import edwards
from tests.strategies import flipped, seeds
from tests.vectors.signatures import off_by

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

IDENTITY = Identity(bytes(range(32)))
MESSAGE = b"a message"
SIGNATURE = IDENTITY.sign(MESSAGE)


@given(seeds, st.binary(max_size=200))
def test_what_an_identity_signs_verifies_under_its_public_key_only(private: bytes, message: bytes) -> None:
    identity = Identity(private)
    signature = identity.sign(message)
    assert len(signature) == SIGNATURE_BYTES
    assert signature == identity.sign(message)  # deterministic: no nonce to be repeated
    verify(identity.public_bytes, message, signature)
    with pytest.raises(AuthenticationFailed):
        verify(Identity(flipped(private, 0)).public_bytes, message, signature)
    with pytest.raises(AuthenticationFailed):
        verify(identity.public_bytes, message + b"\0", signature)


@pytest.mark.parametrize("part", range(3), ids=["public key", "message", "signature"])
def test_every_single_bit_counts(part: int) -> None:
    parts = [IDENTITY.public_bytes, MESSAGE, SIGNATURE]
    for bit in range(8 * len(parts[part])):
        with pytest.raises(AuthenticationFailed):
            verify(*parts[:part], flipped(parts[part], bit), *parts[part + 1 :])


def test_a_signature_cannot_be_given_another_form() -> None:
    # s + the group order satisfies the same equation; RFC 8032, section 5.1.7, demands s below the order.
    s = int.from_bytes(SIGNATURE[32:], "little")
    for multiple in (1, 2, 3):
        other = SIGNATURE[:32] + (s + multiple * GROUP_ORDER).to_bytes(32, "little")
        with pytest.raises(AuthenticationFailed):
            verify(IDENTITY.public_bytes, MESSAGE, other)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 57, 64])
def test_public_keys_of_another_length_do_not_verify(size: int) -> None:
    with pytest.raises(AuthenticationFailed):
        verify(bytes(size), MESSAGE, SIGNATURE)


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 114, 128])
def test_signatures_of_another_length_do_not_verify(size: int) -> None:
    with pytest.raises(AuthenticationFailed):
        verify(IDENTITY.public_bytes, MESSAGE, (SIGNATURE * 2)[:size])


@given(st.binary(min_size=64, max_size=64))
def test_arbitrary_signatures_do_not_verify(signature: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        verify(IDENTITY.public_bytes, MESSAGE, signature)


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_whatever_the_bytes_nothing_but_the_named_error_is_raised(public: bytes, signature: bytes) -> None:
    with suppress(AuthenticationFailed):
        verify(public, MESSAGE, signature)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_private_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(ParameterError, match=f"{PRIVATE_KEY_BYTES} bytes, not {size}"):
        Identity(bytes(size))


@given(seeds)
def test_an_identity_is_restored_from_its_private_bytes(private: bytes) -> None:
    identity = Identity(bytearray(private))
    assert identity.private_bytes == private
    assert Identity(identity.private_bytes).public_bytes == identity.public_bytes


def test_generated_identities_are_all_different() -> None:
    assert len({Identity.generate().private_bytes for _ in range(20)}) == 20


# What libraries differ on

FIELD = 2**255 - 19
SMALL_ORDER_Y = (
    0,
    1,
    FIELD - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
)


@pytest.mark.parametrize("y", [*SMALL_ORDER_Y, FIELD, FIELD + 1])
@pytest.mark.parametrize("sign", [0, 1])
def test_keys_and_commitments_of_small_order_are_refused(y: int, sign: int) -> None:
    # Under them anyone can sign: 0 is what an identity that nobody filled in looks like.
    encoded = (y | sign << 255).to_bytes(32, "little")
    for signature in (encoded + bytes(32), bytes(64)):
        with pytest.raises(AuthenticationFailed):
            verify(encoded, b"anything", signature)
    with pytest.raises(AuthenticationFailed):
        check_public_key(encoded)
    with pytest.raises(AuthenticationFailed):
        verify(Identity(bytes(32)).public_bytes, b"anything", encoded + bytes(32))


def scalar_of(private: bytes) -> int:
    """The scalar whose multiple of the base point is the public key (RFC 8032, section 5.1.5)."""
    digest = bytearray(hashlib.sha512(private).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 127 | 64
    return int.from_bytes(digest, "little")


NEUTRAL = (1).to_bytes(32, "little")


def test_a_key_that_is_the_neutral_point_verifies_nothing_although_the_equation_holds() -> None:
    # s B = R + h A holds for every message when A is neutral and R = s B; such an R has a large order.
    forged = IDENTITY.public_bytes + (scalar_of(IDENTITY.private_bytes) % GROUP_ORDER).to_bytes(32, "little")
    key = eddsa.import_public_key(NEUTRAL)
    eddsa.new(key, "rfc8032").verify(b"anything", forged)  # the library takes it
    with pytest.raises(AuthenticationFailed, match="not of prime order"):
        verify(NEUTRAL, b"anything", forged)


def test_a_commitment_that_is_the_neutral_point_is_refused_even_from_the_keys_owner() -> None:
    challenge = int.from_bytes(hashlib.sha512(NEUTRAL + IDENTITY.public_bytes + MESSAGE).digest(), "little")
    response = challenge * scalar_of(IDENTITY.private_bytes) % GROUP_ORDER
    signature = NEUTRAL + response.to_bytes(32, "little")
    key = eddsa.import_public_key(IDENTITY.public_bytes)
    eddsa.new(key, "rfc8032").verify(MESSAGE, signature)  # the library takes it
    with pytest.raises(AuthenticationFailed, match="does not verify"):
        verify(IDENTITY.public_bytes, MESSAGE, signature)


def test_whoever_is_off_the_subgroup_is_refused_although_the_equation_with_the_cofactor_holds() -> None:
    taken_by_libsodium = 0
    for key, commitment in itertools.product(range(8), repeat=2):
        public, signature = off_by(key, commitment, MESSAGE)
        eddsa.new(eddsa.import_public_key(public), "rfc8032").verify(MESSAGE, signature)  # another library takes all
        if key == commitment == 0:
            verify(public, MESSAGE, signature)
            continue
        with pytest.raises(AuthenticationFailed):
            verify(public, MESSAGE, signature)
        if key:
            with pytest.raises(AuthenticationFailed):
                check_public_key(public)
        with suppress(BadSignatureError):
            crypto_sign_open(signature + MESSAGE, public)
            taken_by_libsodium += 1
    assert taken_by_libsodium  # of those that satisfy the equation without the cofactor as well


@given(st.binary(min_size=PUBLIC_KEY_BYTES, max_size=PUBLIC_KEY_BYTES))
def test_a_public_key_is_sound_if_the_second_implementation_has_it_in_the_subgroup(public: bytes) -> None:
    with nullcontext() if edwards.admitted(public) else pytest.raises(AuthenticationFailed):
        check_public_key(public)


def test_a_key_that_is_no_point_is_refused() -> None:
    for y in (2, 7, FIELD - 2):
        with pytest.raises(AuthenticationFailed):
            check_public_key(y.to_bytes(32, "little"))
