"""Where randomness comes from: the operating system, or a source that a caller hands in.

Everything in this package that draws takes a source as its keyword `random`. What leaves no trace in an outcome (bases
of primality tests, blinding of secret exponents) is always the operating system's.
"""

from __future__ import annotations

import os
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""Takes a number of bytes and returns exactly so many: uniform, unpredictable, and never returned before.

Security: secrets are as good as the source; whoever hands in recorded bytes publishes them. A source that more than one
thread uses must be thread-safe, as the operating system's is, and one that keeps state must not survive a fork.
"""

SYSTEM: RandomBytes = os.urandom


def bits(count: int, random: RandomBytes) -> int:
    """Return `count` uniform bits as an integer: ceil(count / 8) bytes, little-endian, without the highest bits."""
    return int.from_bytes(random(-(-count // 8)), "little") & ((1 << count) - 1)


def below(bound: int, random: RandomBytes) -> int:
    """Return a uniform integer from 0 to bound - 1, the bound being positive: `bits`, redrawn until below it."""
    count = (int(bound) - 1).bit_length()
    while (number := bits(count, random)) >= bound:
        pass
    return number
