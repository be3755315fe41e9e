"""Sizes and times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def size_of(count: float) -> str:
    """Return a number of bytes in a fitting unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    total = max(0, round(seconds))
    if total < 10:
        return f"{max(0.0, seconds):.1f} s"
    for (unit, size), (smaller, part) in pairwise(_UNITS):
        if total >= size:
            rest = total % size // part
            return f"{total // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{total} s"


def moment(at: float) -> str:
    """Return a point in time, in UTC to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def many(count: int, one: str, more: str = "") -> str:
    """Return a number with its noun, which takes an s unless `more` is given."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
