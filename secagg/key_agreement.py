"""X25519 key agreement (RFC 7748), on pycryptodome."""

from __future__ import annotations

import os
from typing import final

from Crypto.Protocol.DH import import_x25519_private_key
from Crypto.PublicKey.ECC import EccKey, EccXPoint  # type: ignore[attr-defined]

from .errors import AuthenticationFailed, ParameterError

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
"""The u-coordinates of points of order 1, 2, 4 and 8 on the curve and its twist."""


def check_public_key(public_bytes: bytes) -> None:
    """Raise AuthenticationFailed if every agreement with this public key would be refused, without agreeing on one."""
    _coordinate(public_bytes)


@final
class KeyPair:
    """An X25519 key pair. Its repr shows the public half only.

    Security: a pair is for one session; `private_bytes` is as secret as everything agreed on with it.
    """

    __slots__ = ("_private", "_private_bytes", "public_bytes")

    def __init__(self, private_bytes: bytes) -> None:
        """Take 32 secret bytes, as `private_bytes` gave them. Raises ParameterError on any other length."""
        if len(private_bytes) != KEY_BYTES:
            raise ParameterError(f"an X25519 private key is {KEY_BYTES} bytes long, not {len(private_bytes)}")
        self._private_bytes = bytes(private_bytes)
        self._private: EccKey = import_x25519_private_key(self._private_bytes)
        self.public_bytes: bytes = self._private.public_key().export_key(format="raw")

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a fresh pair from the operating system's randomness."""
        return cls(os.urandom(KEY_BYTES))

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
        point = EccXPoint(_coordinate(peer_public_bytes), "Curve25519")
        point *= self._private.d
        try:
            x = point.x
        except ValueError:  # the point at infinity has none
            raise AuthenticationFailed("an X25519 public key is of low order") from None
        return int(x).to_bytes(KEY_BYTES, "little")

    def __repr__(self) -> str:
        return f"KeyPair(public_bytes={self.public_bytes.hex()})"


def _coordinate(public_bytes: bytes) -> int:
    """Return the u-coordinate that 32 bytes stand for (RFC 7748, section 5), unless it is of low order."""
    if len(public_bytes) != KEY_BYTES:
        raise AuthenticationFailed(f"an X25519 public key is {KEY_BYTES} bytes long, not {len(public_bytes)}")
    coordinate = (int.from_bytes(public_bytes, "little") & ((1 << 255) - 1)) % _FIELD
    if coordinate in _LOW_ORDER:
        raise AuthenticationFailed("an X25519 public key is of low order")
    return coordinate
