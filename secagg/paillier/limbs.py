"""How the compiled loops of this package hold large numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Limbs(NamedTuple):
    """What residues are cut into: numbers of so many bits, each held in one of that type."""

    bits: int
    kind: type[np.generic]


INTEGERS = Limbs(52, np.uint64)
"""For AVX-512 IFMA, and ordinary instructions."""
DOUBLES = Limbs(51, np.float64)
"""For AVX2 with FMA."""

LANES = 8
"""Numbers side by side."""
STEP = 4
"""Digits that the loops multiply by at once."""
WINDOW = 5
"""Bits of a digit of a power's exponent."""
