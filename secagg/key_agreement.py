"""X25519 key agreement (RFC 7748), on libsodium.

As RFC 7748, section 5, has it, bit 255 of a public key is ignored and the rest is taken mod 2**255 - 19.
"""

from __future__ import annotations

from typing import final

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from .errors import AuthenticationFailed, ParameterError
from .randomness import SYSTEM, RandomBytes

KEY_BYTES = 32

_FIELD = 2**255 - 19
_LOW_ORDER = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""The u-coordinates of points of order 1, 2, 4 and 8 on the curve and its twist: all that agree on zeros."""


def check_public_key(public_bytes: bytes) -> None:
    """Raise AuthenticationFailed if every agreement with this public key would be refused, without agreeing on one."""
    if len(public_bytes) != KEY_BYTES:
        raise AuthenticationFailed(f"an X25519 public key is {KEY_BYTES} bytes long, not {len(public_bytes)}")
    if (int.from_bytes(public_bytes, "little") & ((1 << 255) - 1)) % _FIELD in _LOW_ORDER:
        raise AuthenticationFailed("an X25519 public key is of low order")


@final
class KeyPair:
    """An X25519 key pair. Its repr shows the public half only.

    Security: a pair is for one session; `private_bytes` is as secret as everything agreed on with it.
    """

    __slots__ = ("_private_bytes", "public_bytes")

    def __init__(self, private_bytes: bytes) -> None:
        """Take 32 secret bytes, as `private_bytes` gave them. Raises ParameterError on any other length."""
        if len(private_bytes) != KEY_BYTES:
            raise ParameterError(f"an X25519 private key is {KEY_BYTES} bytes long, not {len(private_bytes)}")
        self._private_bytes = bytes(private_bytes)
        self.public_bytes = crypto_scalarmult_base(self._private_bytes)

    @classmethod
    def generate(cls, *, random: RandomBytes = SYSTEM) -> KeyPair:
        """Make a fresh pair from 32 random bytes."""
        return cls(random(KEY_BYTES))

    @property
    def private_bytes(self) -> bytes:
        """The 32 secret bytes, to be shared or stored; never to be logged."""
        return self._private_bytes

    def agree(self, peer_public_bytes: bytes) -> bytes:
        """Return the 32 shared secret bytes; derive keys from them, never use them as they are.

        Raises:
            AuthenticationFailed: the peer's key is malformed or of low order, so that the secret would be all zero
                (RFC 7748, section 6.1).
        """
        check_public_key(peer_public_bytes)
        return crypto_scalarmult(self._private_bytes, bytes(peer_public_bytes))

    def __repr__(self) -> str:
        return f"KeyPair(public_bytes={self.public_bytes.hex()})"
