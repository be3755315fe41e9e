"""The only door between bytes and messages.

A message on the wire is the magic `SAGG`, one byte of version, 16 bytes of the SHA-256 of the body, and the body in
MessagePack (SPEC section 8). The digest tells damage, not malice: authenticity is the business of the transport, of the
sealed shares, and against a malicious server of signatures. Nothing is decoded before its size and digest are checked.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from secagg.errors import MalformedMessage

from .config import RoundConfig
from .messages import VERSION, Message

M = TypeVar("M", bound=Message)

MAGIC = b"SAGG"
DIGEST_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + DIGEST_BYTES
MAX_INVITATION_BYTES = 64 * 1024
BYTES_PER_PEER = 512
"""More than any message says about one peer, framing included."""
BYTES_PER_LISTED_CLIENT = 10
"""Two ids, framing included: who shared keys, and whose input arrived."""
_LONGEST_TEXT = 500


def encode(message: Message) -> bytes:
    """Return the message as bytes."""
    body = msgspec.msgpack.encode(message)
    return b"".join((MAGIC, bytes([VERSION]), _digest(body), body))


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
    if len(data) > max_bytes:
        raise MalformedMessage(f"a message of {len(data)} bytes is longer than the {max_bytes} that this round allows")
    if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise MalformedMessage("these bytes are no message of ours")
    if data[len(MAGIC)] != VERSION:
        raise MalformedMessage(f"the message has version {data[len(MAGIC)]}, but this is version {VERSION}")
    body = memoryview(data)[HEADER_BYTES:]
    if data[len(MAGIC) + 1 : HEADER_BYTES] != _digest(body):
        raise MalformedMessage("the message was damaged on its way")
    try:
        message: M = _decoder(message_type).decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedMessage(f"the message cannot be decoded: {printable(error)}") from None
    written = msgspec.msgpack.encode(message)
    if len(written) != len(body) or not data.endswith(written):
        # The decoder overlooks what this finds: a key twice in a map, a last field left out, a number in a long form.
        raise MalformedMessage("the message is not written in the one way that it can be")
    return message


def max_bytes(config: RoundConfig) -> int:
    """Return the most bytes that any message to the server may take."""
    return max_request_bytes(config) + config.input_bytes


def max_request_bytes(config: RoundConfig) -> int:
    """Return the most bytes that any message to a client may take; no input travels that way."""
    per_peer = BYTES_PER_PEER * (config.topology.degree + 2)
    lists = BYTES_PER_LISTED_CLIENT * config.threat_model.num_clients
    return HEADER_BYTES + per_peer + lists + MAX_INVITATION_BYTES


def printable(text: object) -> str:
    """Return a text that may hold a peer's words as one that is fit for a log or a terminal: visible, and short."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[-_LONGEST_TEXT:])


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.sha256(body).digest()[:DIGEST_BYTES]


@lru_cache(maxsize=64)
def _decoder(message_type: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(message_type, strict=True)
