"""Messages as bytes: a frame that tells damage, a limit before anything is read, and one way to write a message.

A frame is the magic `SAGG`, one byte of version, the XXH3 of the body in 16 bytes, and the body in MessagePack (SPEC
section 8). XXH3 tells damage, not malice: anyone can find other bytes of the same digest, as anyone writes the digest
of other bytes. Authenticity is the business of the transport, of the sealed shares, and of signatures. Nothing is
decoded before its size and digest are checked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from xxhash import xxh3_128_digest

from secagg.errors import MalformedMessage

MAGIC = b"SAGG"
DIGEST_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + DIGEST_BYTES
_LONGEST_TEXT = 500
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct, *, version: int) -> bytes:
    """Return a message in its frame."""
    body = msgspec.msgpack.encode(message)
    return b"".join((MAGIC, bytes([version]), digest(body), body))


def decode(data: bytes, message_type: Any, *, version: int, max_bytes: int) -> Any:
    """Return the message of the given type (or union of types) that the frame holds, and nothing else.

    Raises:
        MalformedMessage: longer than `max_bytes`, another version, damaged, of another type, or with a field out of
            bounds.
    """
    return decode_body(body_of(data, version=version, max_bytes=max_bytes), message_type)


def body_of(data: bytes, *, version: int, max_bytes: int) -> memoryview:
    """Return the body of a frame, not yet decoded. Raises MalformedMessage: too long, another version, damaged."""
    if len(data) > max_bytes:
        raise MalformedMessage(f"a message of {len(data)} bytes is longer than the {max_bytes} that this round allows")
    if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise MalformedMessage("these bytes are no message of ours")
    if data[len(MAGIC)] != version:
        raise MalformedMessage(f"the message has version {data[len(MAGIC)]}, but this is version {version}")
    body = memoryview(data)[HEADER_BYTES:]
    if data[len(MAGIC) + 1 : HEADER_BYTES] != digest(body):
        raise MalformedMessage("the message was damaged on its way")
    return body


def decode_body(body: bytes | memoryview, message_type: Any) -> Any:
    """Return the message that these bytes of MessagePack are, if they are written in the one way that it can be.

    Raises:
        MalformedMessage: of another type, with a field out of bounds, or written in another way.
    """
    try:
        message = _decoder(message_type).decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MalformedMessage(f"the message cannot be decoded: {printable(error)}") from None
    if not _is_written(message, body):
        # The decoder overlooks what this finds: a key twice in a map, a last field left out, a number in a long form.
        raise MalformedMessage("the message is not written in the one way that it can be")
    return message


def _is_written(message: Any, body: bytes | memoryview) -> bool:
    """Tell whether this is how a message is written, given that it was decoded from this.

    One of which most is bytes that lie there as they are need not be copied for that. Its `pieces()` are how it is
    written: views of what is long, and bytes of all that is around it.
    """
    pieces = getattr(message, "pieces", None)
    if pieces is None:
        written = bytearray()  # which is held against a view without a copy of that
        _ENCODER.encode_into(message, written)
        return len(written) == len(body) and written.startswith(body)
    at = 0
    for piece in pieces():
        # Where all before a view is written so, and says how long it is, the decoder has found the view just here.
        if not isinstance(piece, memoryview) and body[at : at + len(piece)] != piece:
            return False
        at += len(piece)
    return at == len(body)


def fingerprint(data: bytes) -> bytes:
    """Return what tells a frame from any other of an honest writer: its header, which holds a digest of the body.

    Security: who wants to can write two frames of one fingerprint, and has the second taken for the first again. So
    nothing may come of a repetition but what came of the first.
    """
    return bytes(data[:HEADER_BYTES])


def digest(body: bytes | memoryview) -> bytes:
    """Return the XXH3 of a body, DIGEST_BYTES, big-endian."""
    return xxh3_128_digest(body)


def printable(text: object) -> str:
    """Return a text that may hold a peer's words as one that is fit for a log or a terminal: visible, and short."""
    return "".join(character if character.isprintable() else "?" for character in str(text)[-_LONGEST_TEXT:])


@lru_cache(maxsize=64)
def _decoder(message_type: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(message_type, strict=True)
