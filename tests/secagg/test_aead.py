from __future__ import annotations

import pytest
from Crypto.Cipher import ChaCha20_Poly1305
from hypothesis import given
from hypothesis import strategies as st

from secagg import aead
from secagg.aead import KEY_BYTES, NONCE_BYTES, OVERHEAD_BYTES, TAG_BYTES
from secagg.errors import AuthenticationFailed, ParameterError
from tests.strategies import flipped, seeds

KEY = bytes(range(32))
NONCE = bytes(range(50, 62))
AD = b"from 1 to 2 in session 3"


def seal(plaintext: bytes) -> bytes:
    return aead.seal(KEY, plaintext, associated_data=AD, random=lambda size: NONCE)


@given(seeds, st.binary(max_size=300), st.binary(min_size=1, max_size=100))
def test_opening_undoes_sealing(key: bytes, plaintext: bytes, associated_data: bytes) -> None:
    sealed = aead.seal(key, plaintext, associated_data=associated_data)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert aead.open(key, sealed, associated_data=associated_data) == plaintext
    # Nonce, ciphertext and tag, in this order, as anyone's implementation makes them.
    cipher = ChaCha20_Poly1305.new(key=key, nonce=sealed[:NONCE_BYTES])
    cipher.update(associated_data)
    assert b"".join(cipher.encrypt_and_digest(plaintext)) == sealed[NONCE_BYTES:]


@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(40)])
def test_every_single_bit_of_key_ciphertext_and_associated_data_counts(plaintext: bytes) -> None:
    parts = (KEY, seal(plaintext), AD)
    for number, part in enumerate(parts):
        for bit in range(8 * len(part)):
            key, sealed, associated = (*parts[:number], flipped(part, bit), *parts[number + 1 :])
            with pytest.raises(AuthenticationFailed):
                aead.open(key, sealed, associated_data=associated)


@pytest.mark.parametrize("other", [AD[:-1], AD + b"\0", AD + AD, b"\0" + AD])
def test_associated_data_of_another_length_is_refused(other: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        aead.open(KEY, seal(b"plaintext"), associated_data=other)


def test_every_truncation_and_extension_is_refused() -> None:
    sealed = seal(bytes(40))
    for size in range(len(sealed)):
        for part in (sealed[:size], sealed[len(sealed) - size :]):
            with pytest.raises(AuthenticationFailed):
                aead.open(KEY, part, associated_data=AD)
    for longer in (sealed + b"\0", b"\0" + sealed, sealed + sealed):
        with pytest.raises(AuthenticationFailed):
            aead.open(KEY, longer, associated_data=AD)


@given(st.binary(max_size=100))
def test_bytes_that_nobody_sealed_are_refused(sealed: bytes) -> None:
    with pytest.raises(AuthenticationFailed):
        aead.open(KEY, sealed, associated_data=AD)


def test_the_plaintext_cannot_be_moved_into_the_associated_data() -> None:
    # Ciphertext and associated data are each authenticated with their length.
    sealed = seal(bytes(16))
    with pytest.raises(AuthenticationFailed):
        aead.open(KEY, NONCE + sealed[-TAG_BYTES:], associated_data=AD + sealed[NONCE_BYTES:-TAG_BYTES])


def test_empty_associated_data_is_refused() -> None:
    with pytest.raises(ParameterError, match="associated_data must not be empty"):
        aead.seal(KEY, b"plaintext", associated_data=b"")
    with pytest.raises(ParameterError, match="associated_data must not be empty"):
        aead.open(KEY, bytes(OVERHEAD_BYTES), associated_data=b"")


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_keys_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(ParameterError, match=f"{KEY_BYTES} bytes long, not {size}"):
        aead.seal(bytes(size), b"plaintext", associated_data=AD)
    with pytest.raises(ParameterError, match=f"{KEY_BYTES} bytes long, not {size}"):
        aead.open(bytes(size), bytes(OVERHEAD_BYTES), associated_data=AD)


def test_every_sealing_has_a_nonce_of_its_own() -> None:
    # Among 100 nonces of 96 random bits two agree with probability below 2**-83.
    nonces = {aead.seal(KEY, b"same", associated_data=AD)[:NONCE_BYTES] for _ in range(100)}
    assert len(nonces) == 100
