"""A party's memory as bytes: what `dump` gives and `load` takes.

Magic, one byte of version, the SHA-256 of the body, and the body in MessagePack. The digest tells damage: a flipped bit
in a running sum would otherwise be a wrong sum. It does not tell malice; dumps are as secret as what they hold.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from secagg.errors import StateError

from .framing import printable

T = TypeVar("T")

MAGIC = b"SAGGDUMP"
DUMP_VERSION = 1
HEADER_BYTES = len(MAGIC) + 1 + hashlib.sha256().digest_size


def encode_state(state: object) -> bytes:
    """Return a state as bytes."""
    body = msgspec.msgpack.encode(state)
    return b"".join((MAGIC, bytes([DUMP_VERSION]), hashlib.sha256(body).digest(), body))


def decode_state(dumped: bytes, state_type: type[T]) -> T:
    """Return the state that `encode_state` wrote; raise StateError for anything else."""
    if dumped[: len(MAGIC)] != MAGIC or len(dumped) < HEADER_BYTES:
        raise StateError("these bytes are no dump of ours")
    if dumped[len(MAGIC)] != DUMP_VERSION:
        raise StateError(f"the dump has version {dumped[len(MAGIC)]}, but this is version {DUMP_VERSION}")
    body = dumped[HEADER_BYTES:]
    if hashlib.sha256(body).digest() != dumped[len(MAGIC) + 1 : HEADER_BYTES]:
        raise StateError("the dump was damaged")
    try:
        return msgspec.msgpack.decode(body, type=state_type)
    except (msgspec.DecodeError, ValueError) as error:
        raise StateError(f"these bytes are no dump of this kind: {printable(error)}") from None
