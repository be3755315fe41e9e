"""Ed25519 identities (RFC 8032), on pycryptodome."""

from __future__ import annotations

import os
from typing import final

from Crypto.PublicKey.ECC import EccKey
from Crypto.Signature import eddsa

from .errors import AuthenticationFailed, ParameterError

PRIVATE_KEY_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_FIELD = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""The y-coordinates of points of order 1, 2, 4 and 8. Under such a public key anyone can sign."""


@final
class Identity:
    """A long-lived Ed25519 signing key. Its repr shows the public half only."""

    __slots__ = ("_key", "_private_bytes", "public_bytes")

    def __init__(self, private_bytes: bytes) -> None:
        """Take the 32 secret bytes of RFC 8032. Raises ParameterError on any other length."""
        if len(private_bytes) != PRIVATE_KEY_BYTES:
            raise ParameterError(f"an Ed25519 private key is {PRIVATE_KEY_BYTES} bytes, not {len(private_bytes)}")
        self._private_bytes = bytes(private_bytes)
        self._key: EccKey = eddsa.import_private_key(self._private_bytes)
        self.public_bytes: bytes = self._key.public_key().export_key(format="raw")

    @classmethod
    def generate(cls) -> Identity:
        """Make a fresh identity from the operating system's randomness."""
        return cls(os.urandom(PRIVATE_KEY_BYTES))

    @property
    def private_bytes(self) -> bytes:
        """The 32 secret bytes, to be stored; never to be logged."""
        return self._private_bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message; frame messages with a label (`derivation.frame`)."""
        return bytes(eddsa.new(self._key, "rfc8032").sign(message))

    def __repr__(self) -> str:
        return f"Identity(public_bytes={self.public_bytes.hex()})"


def check_public_key(public_bytes: bytes) -> None:
    """Raise AuthenticationFailed unless 32 bytes are the canonical encoding of a coordinate that is not of small order.

    Libraries differ in what they do with the others; parties must not.
    """
    if len(public_bytes) != PUBLIC_KEY_BYTES or not _is_sound(public_bytes):
        raise AuthenticationFailed("an Ed25519 public key is malformed or of small order")


def verify(public_bytes: bytes, message: bytes, signature: bytes) -> None:
    """Return if the signature of the message verifies under the public key; raise AuthenticationFailed if not."""
    check_public_key(public_bytes)
    if len(signature) != SIGNATURE_BYTES or not _is_sound(signature[:PUBLIC_KEY_BYTES]):
        raise AuthenticationFailed("a signature does not verify")
    try:
        key = eddsa.import_public_key(public_bytes)
        eddsa.new(key, "rfc8032").verify(message, signature)
    except ValueError:
        raise AuthenticationFailed("a signature does not verify") from None


def _is_sound(encoded_point: bytes) -> bool:
    coordinate = int.from_bytes(encoded_point, "little") & ((1 << 255) - 1)
    return coordinate < _FIELD and coordinate not in _SMALL_ORDER
