"""Other bytes of the same XXH3: what anybody can make for any message, and what nothing may be gained by."""

from __future__ import annotations

from protocols.core import framing

_AT = range(1024, 1280, 64)
_SECRET = (0xBE4BA423396CFEB8, 0x1CAD21F72C81017C, 0xDB979083E96DD4DE, 0x1F67B3B7A4A44072)
"""The first words of XXH3's secret, which is published with it: what it meets these words of each kilobyte with."""

_LOW = (1 << 32) - 1
_WORDS = 1 << 64


def twin(body: bytes) -> bytes:
    """Return other bytes of the same digest: four words, the first from byte 1024 and the last to 1224, are others.

    XXH3 adds up these words, and the products of their halves under the secret. The first two make the same product as
    before. The others make none, since a half of each is zero, and the same sum.
    """
    assert len(body) >= _AT.stop + 64
    before = [int.from_bytes(body[at : at + 8], "little") for at in _AT]
    halves = (divmod(word ^ secret, _LOW + 1) for word, secret in zip(before, _SECRET, strict=True))
    most, rest = divmod(sum(high * low for high, low in halves) % _WORDS, _LOW)
    first, second = _SECRET[0] ^ (most << 32 | _LOW), _SECRET[1] ^ (rest << 32 | 1)
    left = (sum(before) - first - second) % _WORDS
    third = _SECRET[2] & ~_LOW | (left - _SECRET[3]) & _LOW
    made = bytearray(body)
    for at, word in zip(_AT, (first, second, third, (left - third) % _WORDS), strict=True):
        made[at : at + 8] = word.to_bytes(8, "little")
    assert made != body
    assert framing.digest(made) == framing.digest(body)
    return bytes(made)


def twin_frame(data: bytes) -> bytes:
    """Return another frame under the header of a given one."""
    return data[: framing.HEADER_BYTES] + twin(data[framing.HEADER_BYTES :])
