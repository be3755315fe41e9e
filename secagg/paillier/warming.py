"""Loads the compiled loops of this package before they are needed."""

from __future__ import annotations

import numpy as np

from .montgomery import WORTH, montgomery
from .squares import Squares

_MODULUS = (1 << 127) - 1


def warm_up() -> None:
    """Load the loops that sums, openings, noise and proofs use where there is much to do, so that none waits for them.

    It takes about a second in a new process, and some six where nothing was compiled before. Nothing is loaded where
    the processor has no use for loops, or `integers.choose` named a library.
    """
    arithmetic = montgomery(_MODULUS, WORTH)
    if arithmetic is None:
        return
    arithmetic.power_all([2], 3)
    arithmetic.product_with(arithmetic.blocks(bytes(8), 8), bytes(8), 8)
    arithmetic.product_of_powers([2], [3], window=2, windows=1)
    arithmetic.chosen_products(arithmetic.table([[1, 2]], num_bytes=8), np.zeros((1, 1), np.uint8))
    Squares(arithmetic).power_all([2], 3)
