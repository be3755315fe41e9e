"""What a round of Paillier summation has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from secagg.encoding import Levels


@dataclass(frozen=True)
class PaillierResult:
    """The outcome of a completed round.

    Attributes:
        survivors: the names of the contributors whose updates are in the sums.
        total_weight: the sum of the weights; the number of survivors in a round without weights.
        levels: int64 (length,): the exact sums in the encoding's levels.
        sums: float64 (length,): the same in the units of the updates, each times its weight.
        excluded: name -> why its messages were refused.
        liars: members whose partial openings were wrong; the sums are right nonetheless.
    """

    survivors: frozenset[str]
    total_weight: int
    levels: Levels = field(repr=False)
    sums: npt.NDArray[np.float64] = field(repr=False)
    excluded: Mapping[str, str]
    liars: frozenset[str]
