"""Authenticated encryption with mandatory associated data: ChaCha20-Poly1305 (RFC 8439), on libsodium."""

from __future__ import annotations

from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt, crypto_aead_chacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError

from .errors import AuthenticationFailed, ParameterError
from .randomness import SYSTEM, RandomBytes

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = NONCE_BYTES + TAG_BYTES


def seal(key: bytes, plaintext: bytes, *, associated_data: bytes, random: RandomBytes = SYSTEM) -> bytes:
    """Encrypt and authenticate; return nonce, ciphertext and tag in one string.

    Args:
        key: 32 bytes, secret, derived for one sender, one recipient and one session.
        plaintext: any length.
        associated_data: what the ciphertext is bound to; not encrypted, must not be empty.
        random: gives the nonce, 12 bytes.

    Security: the nonce is random, 96 bits: one key must not seal more than 2**32 messages.
    """
    _check(key, associated_data)
    nonce = random(NONCE_BYTES)
    data = bytes(memoryview(plaintext))  # bytes of a number would be zeros
    return nonce + crypto_aead_chacha20poly1305_ietf_encrypt(data, bytes(associated_data), nonce, bytes(key))


def open(key: bytes, sealed: bytes, *, associated_data: bytes) -> bytes:
    """Return the plaintext of `seal`, or raise.

    Raises:
        AuthenticationFailed: the key, the associated data or any bit of `sealed` is not what it was. Tags are
            compared in constant time.
    """
    _check(key, associated_data)
    if len(sealed) < OVERHEAD_BYTES:
        raise AuthenticationFailed(f"a ciphertext has at least {OVERHEAD_BYTES} bytes, not {len(sealed)}")
    nonce, ciphertext = bytes(sealed[:NONCE_BYTES]), bytes(sealed[NONCE_BYTES:])  # views of buffers are taken, too
    try:
        return crypto_aead_chacha20poly1305_ietf_decrypt(ciphertext, bytes(associated_data), nonce, bytes(key))
    except CryptoError:
        raise AuthenticationFailed("a ciphertext does not verify") from None


def _check(key: bytes, associated_data: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise ParameterError(f"a key is {KEY_BYTES} bytes long, not {len(key)}")
    if not associated_data:
        raise ParameterError("associated_data must not be empty: it says what the ciphertext is bound to")
