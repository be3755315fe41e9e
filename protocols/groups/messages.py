"""The messages of a draw, and the door between them and bytes (SPEC section 48)."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ..core import framing
from .plan import MAX_GROUPED_CLIENTS

VERSION = 1
_BYTES_PER_CLIENT = 128

Number = Annotated[int, Meta(ge=1, le=MAX_GROUPED_CLIENTS)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What all messages have in common: the run, which the server draws at random, 32 bytes."""

    run: Bytes32

    def __repr__(self) -> str:  # some hold nonces
        return f"{type(self).__name__}(...)"


class Invitation(Message, frozen=True, tag="groups/v1/invitation"):
    """Server to each client: a draw of these terms, a digest of the plan and of everyone's identities."""

    terms: Bytes32


class Commitment(Message, frozen=True, tag="groups/v1/commitment"):
    """Client to server: a commitment to its nonce, signed."""

    sender: Number
    commitment: Bytes32
    signature: Signature


class Commitments(Message, frozen=True, tag="groups/v1/commitments"):
    """Server to each client: everyone's, in order of numbers."""

    commitments: tuple[Bytes32, ...]
    signatures: tuple[Signature, ...]


class Nonce(Message, frozen=True, tag="groups/v1/nonce"):
    """Client to server: its nonce, signed together with all the commitments that it was shown."""

    sender: Number
    nonce: Bytes32
    signature: Signature


class Nonces(Message, frozen=True, tag="groups/v1/nonces"):
    """Server to each client: everyone's, in order of numbers."""

    nonces: tuple[Bytes32, ...]
    signatures: tuple[Signature, ...]


class Settled(Message, frozen=True, tag="groups/v1/settled"):
    """Client to server: it knows its group by this coin."""

    sender: Number
    coin: Bytes32


ToClient = Invitation | Commitments | Nonces
ToServer = Commitment | Nonce | Settled
M = TypeVar("M", bound=Message)


def encode(message: Message) -> bytes:
    """Return the message as bytes."""
    return framing.encode(message, version=VERSION)


def decode(data: bytes, message_type: type[M] | Any, num_clients: int) -> M:
    """Return the message of the given type, or union of types, that the bytes are.

    Raises:
        MalformedMessage: too long for so many clients, another version, damaged, of another type, out of bounds.
    """
    most = framing.HEADER_BYTES + _BYTES_PER_CLIENT * (num_clients + 2)
    message: M = framing.decode(data, message_type, version=VERSION, max_bytes=most)
    return message
