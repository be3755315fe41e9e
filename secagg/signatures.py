"""Ed25519 identities (RFC 8032), on libsodium.

RFC 8032 leaves open which equation a verifier checks, with the cofactor or without, and libraries differ, libsodium's
versions among them; so they do on points of small order and encodings that are not canonical. Parties must not: here a
public key A and a signature's R must each be the canonical encoding of a point of the subgroup of prime order L, other
than the neutral one, and S must be below L. Honest signers make no others, and for such points both equations are one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import final

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from .errors import AuthenticationFailed, ParameterError
from .randomness import SYSTEM, RandomBytes

__all__ = ["Identity", "check_public_key", "verify"]

PRIVATE_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


@final
class Identity:
    """A long-lived Ed25519 signing key. Its repr shows the public half only."""

    __slots__ = ("_key", "public_bytes")

    def __init__(self, private_bytes: bytes) -> None:
        """Take the 32 secret bytes of RFC 8032. Raises ParameterError on any other length."""
        if len(private_bytes) != PRIVATE_KEY_BYTES:
            raise ParameterError(f"an Ed25519 private key is {PRIVATE_KEY_BYTES} bytes, not {len(private_bytes)}")
        self.public_bytes, self._key = crypto_sign_seed_keypair(bytes(private_bytes))

    @classmethod
    def generate(cls, *, random: RandomBytes = SYSTEM) -> Identity:
        """Make a fresh identity from 32 random bytes."""
        return cls(random(PRIVATE_KEY_BYTES))

    @property
    def private_bytes(self) -> bytes:
        """The 32 secret bytes, to be stored; never to be logged."""
        return self._key[:PRIVATE_KEY_BYTES]

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message; frame messages with a label (`derivation.frame`)."""
        return crypto_sign(bytes(memoryview(message)), self._key)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"Identity(public_bytes={self.public_bytes.hex()})"


def check_public_key(public_bytes: bytes) -> None:
    """Raise AuthenticationFailed if no signature verifies under this public key: see above which ones are sound."""
    if len(public_bytes) != PUBLIC_KEY_BYTES or not _is_sound(bytes(public_bytes)):
        raise AuthenticationFailed("an Ed25519 public key is malformed or not of prime order")


def verify(public_bytes: bytes, message: bytes, signature: bytes) -> None:
    """Return if the signature of the message verifies under the public key; raise AuthenticationFailed if not."""
    check_public_key(public_bytes)
    signature = bytes(signature)  # a view of a buffer is taken, too
    if len(signature) != SIGNATURE_BYTES or not crypto_core_ed25519_is_valid_point(signature[:PUBLIC_KEY_BYTES]):
        raise AuthenticationFailed("a signature does not verify")
    try:
        crypto_sign_open(signature + bytes(memoryview(message)), bytes(public_bytes))
    except BadSignatureError:
        raise AuthenticationFailed("a signature does not verify") from None


@lru_cache(maxsize=1 << 12)  # a key is checked when it is advertised, and again with each of its signatures
def _is_sound(public_bytes: bytes) -> bool:
    return crypto_core_ed25519_is_valid_point(public_bytes)
