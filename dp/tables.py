"""Inversion tables: 63-bit thresholds that are the true ones rounded down, with a guide into them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .laws import Cumulative, Law, cumulative
from .rational import power_of_two

UNIFORM_BITS = 63  # the 64th bit of the word is the sign
GUIDE_BITS = 12
_TOP = (1 << UNIFORM_BITS) - 1
_FIRST_PRECISION = 128

# The kernel's fixed point: rate <= 2**-15 (Gaussian: 1 / (2 * 128**2)) or 2**-5 (Laplace: 1/32), a bit to
# spare.
RATE_HEADROOM = {True: 14, False: 4}


@dataclass(frozen=True)
class Table:
    """What the kernel needs of a law.

    thresholds: uint64 (blocks,), floor(F(h) * 2**63) for the cumulative distribution F of the block; the last
    entry is 2**63 - 1, so that a uniform prefix at or above it is left to the arbiter.
    guide: int16 (2**12,), the first block whose threshold exceeds the given leading bits.
    rate: floor(rate * 2**(64 + headroom)).
    """

    thresholds: npt.NDArray[np.uint64]
    guide: npt.NDArray[np.int16]
    shift: int
    rate: int
    curved: bool


def _thresholds(law: Law, bits: int) -> list[int] | None:
    """Return the exact floors, or None when `bits` of precision leave one of them undecided."""
    table: Cumulative = cumulative(law, bits)
    highest = table.total + table.slack
    floors = []
    for block, total in enumerate(table.sums):
        low = (total << UNIFORM_BITS) // highest
        high = ((total + table.error(block)) << UNIFORM_BITS) // table.total
        if low != min(high, _TOP):  # F < 1, whatever the enclosure says
            return None
        floors.append(low)
        if low == _TOP:
            return floors
    return None


@lru_cache(maxsize=64)
def table_for(law: Law) -> Table:
    """Build the table of a law (milliseconds); the last 64 laws are kept."""
    bits = _FIRST_PRECISION
    while (floors := _thresholds(law, bits)) is None:
        bits *= 2
    thresholds = np.array(floors, dtype=np.uint64)
    cells = np.arange(1 << GUIDE_BITS, dtype=np.uint64) << np.uint64(UNIFORM_BITS - GUIDE_BITS)
    guide = np.searchsorted(thresholds, cells, side="right").astype(np.int16)
    scaled = law.rate * power_of_two(64 + RATE_HEADROOM[law.curved])
    thresholds.flags.writeable = guide.flags.writeable = False
    rate = scaled.numerator // scaled.denominator if law.shift else 0
    return Table(thresholds, guide, law.shift, rate, law.curved)
