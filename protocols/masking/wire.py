"""The only door between bytes and messages: the plain frame, and how long each message may be (SPEC section 8)."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ..core import framing
from ..core.threat_model import ThreatModel
from .config import RoundConfig
from .messages import VERSION, Message

M = TypeVar("M", bound=Message)

MAX_INVITATION_BYTES = 64 * 1024
BYTES_PER_PEER = 512
"""More than any message says about one peer, framing included."""
BYTES_PER_LISTED_CLIENT = 10
"""Two ids, framing included: who shared keys, and whose input arrived."""


class _ConfigOutline(msgspec.Struct, array_like=True):
    threat_model: ThreatModel


class _Outline(msgspec.Struct, array_like=True, tag="invitation"):
    """The head of an invitation; the rest is skipped."""

    recipient: int
    config: _ConfigOutline


def encode(message: Message) -> bytes:
    """Return the message as bytes."""
    return framing.encode(message, version=VERSION)


def decode(data: bytes, message_type: type[M] | Any, *, max_bytes: int) -> M:
    """Return the message of the given type (or union of types) that the bytes are, and nothing else.

    Args:
        data: what a peer sent.
        message_type: a `Message` type, or a union such as `ToServer`.
        max_bytes: what the message may take at most: `max_bytes(config)` at the server, `max_request_bytes(config)` at
            a client, or MAX_INVITATION_BYTES before there is a configuration.

    Raises:
        MalformedMessage: too long, another version, damaged, of another type, or with a field out of bounds.
    """
    message: M = framing.decode(data, message_type, version=VERSION, max_bytes=max_bytes)
    return message


def proposed_model(data: bytes) -> ThreatModel | None:
    """Return the threat model of an invitation without deriving what follows from it; None for any other message.

    Raises:
        MalformedMessage: as `decode`.
    """
    body = framing.body_of(data, version=VERSION, max_bytes=MAX_INVITATION_BYTES)
    try:
        return msgspec.msgpack.decode(body, type=_Outline).config.threat_model
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None  # whatever it is, decoding all of it will tell


def fingerprint(data: bytes) -> bytes:
    """Return what tells a message from any other: its header, which holds a digest of the body."""
    return framing.fingerprint(data)


def max_bytes(config: RoundConfig) -> int:
    """Return the most bytes that any message to the server may take."""
    return max_request_bytes(config) + config.input_bytes


def max_request_bytes(config: RoundConfig) -> int:
    """Return the most bytes that any message to a client may take; no input travels that way."""
    per_peer = BYTES_PER_PEER * (config.topology.degree + 2)
    lists = BYTES_PER_LISTED_CLIENT * config.num_clients
    return framing.HEADER_BYTES + per_peer + lists + MAX_INVITATION_BYTES
