"""Authenticated encryption with mandatory associated data: ChaCha20-Poly1305 (RFC 8439), on pycryptodome."""

from __future__ import annotations

import os

from Crypto.Cipher import ChaCha20_Poly1305

from .errors import AuthenticationFailed, ParameterError

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


def seal(key: bytes, plaintext: bytes, *, associated_data: bytes) -> bytes:
    """Encrypt and authenticate; return nonce, ciphertext and tag in one string.

    Args:
        key: 32 bytes, secret, derived for one sender, one recipient and one session.
        plaintext: any length.
        associated_data: what the ciphertext is bound to; not encrypted, must not be empty.

    Security: the nonce is random, 96 bits: one key must not seal more than 2**32 messages.
    """
    return _seal(key, plaintext, associated_data, os.urandom(NONCE_BYTES))


def open(key: bytes, sealed: bytes, *, associated_data: bytes) -> bytes:
    """Return the plaintext of `seal`, or raise.

    Raises:
        AuthenticationFailed: the key, the associated data or any bit of `sealed` is not what it was. Tags are
            compared in constant time.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise AuthenticationFailed(f"a ciphertext has at least {OVERHEAD_BYTES} bytes, not {len(sealed)}")
    cipher = _cipher(key, sealed[:NONCE_BYTES], associated_data)
    try:
        plaintext: bytes = cipher.decrypt_and_verify(sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:])
    except ValueError:
        raise AuthenticationFailed("a ciphertext does not verify") from None
    return plaintext


def _seal(key: bytes, plaintext: bytes, associated_data: bytes, nonce: bytes) -> bytes:
    ciphertext, tag = _cipher(key, nonce, associated_data).encrypt_and_digest(plaintext)
    return b"".join((nonce, ciphertext, tag))


def _cipher(key: bytes, nonce: bytes, associated_data: bytes) -> ChaCha20_Poly1305.ChaCha20Poly1305Cipher:
    if len(key) != KEY_BYTES:
        raise ParameterError(f"a key is {KEY_BYTES} bytes long, not {len(key)}")
    if not associated_data:
        raise ParameterError("associated_data must not be empty: it says what the ciphertext is bound to")
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(associated_data)
    return cipher
