"""The part of MessagePack that messages use; what is encoded is the shortest form, and any form is decoded."""

import struct
from typing import Any

from .refusal import Refused, require

_NEGATIVE = {1: 0xD0, 2: 0xD1, 4: 0xD2, 8: 0xD3}


def _size(fix: int | None, fix_limit: int, heads: dict[int, int], length: int) -> bytes:
    if fix is not None and length < fix_limit:
        return bytes([fix | length])
    width, head = next((w, h) for w, h in heads.items() if length < 256**w)
    return bytes([head]) + length.to_bytes(width, "big")


def encode(value: Any) -> bytes:  # noqa: PLR0911 - one line a type
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if value < 0:
            if value >= -32:
                return value.to_bytes(1, "big", signed=True)
            width, head = next((w, h) for w, h in _NEGATIVE.items() if value >= -(2 ** (8 * w - 1)))
            return bytes([head]) + value.to_bytes(width, "big", signed=True)
        case int():
            return _size(0x00, 0x80, {1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}, value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case bytes():
            return _size(None, 0, {1: 0xC4, 2: 0xC5, 4: 0xC6}, len(value)) + value
        case str():
            text = value.encode()
            return _size(0xA0, 32, {1: 0xD9, 2: 0xDA, 4: 0xDB}, len(text)) + text
        case list() | tuple():
            return _size(0x90, 16, {2: 0xDC, 4: 0xDD}, len(value)) + b"".join(map(encode, value))
        case dict():
            items = b"".join(encode(key) + encode(item) for key, item in value.items())
            return _size(0x80, 16, {2: 0xDE, 4: 0xDF}, len(value)) + items
    raise TypeError(type(value).__name__)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        require(self.at + count <= len(self.data), "MalformedMessage")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def pairs(self, count: int) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value()
            require(isinstance(key, str | int) and key not in out, "MalformedMessage")
            out[key] = self.value()
        return out

    def value(self) -> Any:  # noqa: PLR0911 - one line a head byte
        head = self.take(1)[0]
        if head < 0x80:
            return head
        if head < 0x90:
            return self.pairs(head & 15)
        if head < 0xA0:
            return [self.value() for _ in range(head & 15)]
        if head < 0xC0:
            return self.take(head & 31).decode()
        if head in {0xC0, 0xC2, 0xC3}:
            return {0xC0: None, 0xC2: False, 0xC3: True}[head]
        if 0xC4 <= head <= 0xC6:
            return self.take(self.number(1 << (head - 0xC4)))
        if head == 0xCB:
            return struct.unpack(">d", self.take(8))[0]
        if 0xCC <= head <= 0xCF:
            return self.number(1 << (head - 0xCC))
        if head >= 0xE0:
            return head - 256
        if 0xD0 <= head <= 0xD3:
            return int.from_bytes(self.take(1 << (head - 0xD0)), "big", signed=True)
        if 0xD9 <= head <= 0xDB:
            return self.take(self.number(1 << (head - 0xD9))).decode()
        if head in {0xDC, 0xDD}:
            return [self.value() for _ in range(self.number(2 if head == 0xDC else 4))]
        if head in {0xDE, 0xDF}:
            return self.pairs(self.number(2 if head == 0xDE else 4))
        raise Refused("MalformedMessage")


def decode(data: bytes) -> Any:
    reader = _Reader(data)
    try:
        value = reader.value()
    except (UnicodeDecodeError, RecursionError):
        raise Refused("MalformedMessage") from None
    require(reader.at == len(data), "MalformedMessage")
    return value
