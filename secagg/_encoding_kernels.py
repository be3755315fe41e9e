"""Compiled loops of encoding.py. Imports numba: import this module only from inside a function.

Each takes float64 to levels as numpy does there, bit for bit, in one pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._compiling import compiled

UNIT = np.float64(2.0**-53)
UNUSED_BITS = np.uint64(11)
NOT_FINITE = -1


@compiled
def nearest(values: Any, clip: Any, scale: Any, top: Any, levels: Any) -> Any:
    """Write the levels nearest to the scaled values; return how many were clipped, or NOT_FINITE."""
    clipped = 0
    finite = True
    for i in range(values.size):
        magnitude = abs(values[i])
        finite &= magnitude < np.inf
        clipped += magnitude > clip
        rounded = np.rint(min(clip, max(-clip, values[i])) * scale)
        levels[i] = np.int64(min(top, max(-top, rounded)))
    return clipped if finite else NOT_FINITE


@compiled
def stochastic(values: Any, clip: Any, scale: Any, top: Any, lanes: Any, levels: Any) -> Any:
    """As `nearest`, up where the lane's bits from 11 on, as a fraction, are below what is above the level."""
    clipped = 0
    finite = True
    for i in range(values.size):
        magnitude = abs(values[i])
        finite &= magnitude < np.inf
        clipped += magnitude > clip
        scaled = min(clip, max(-clip, values[i])) * scale
        rounded = np.floor(scaled)
        rounded += np.float64(lanes[i] >> UNUSED_BITS) * UNIT < scaled - rounded
        levels[i] = np.int64(min(top, max(-top, rounded)))
    return clipped if finite else NOT_FINITE
