"""Words in place of the operating system's, for the rounding of private vectors."""

from __future__ import annotations

from typing import Any

from dp import clipping
from dp.preparation import Preparation
from protocols.audit.fixed_randomness import Words, for_conditional_rounding


def rounded_from(seed: str, values: Any, l2_norm: float, beta: float) -> tuple[list[int], int]:
    """What `conditionally_round` makes of a seed's words, and how many tries it takes."""
    words = Words(seed)
    with for_conditional_rounding(words):
        levels = clipping.conditionally_round(values, l2_norm, beta)
    return levels.tolist(), words.taken // len(values)


def prepared_from(seed: str, values: Any, preparation: Preparation, rotation_seed: bytes) -> list[int]:
    """What a preparation makes of values that need no clipping, and of a seed's words."""
    with for_conditional_rounding(Words(seed)):
        levels, clipped = preparation.prepare(values, rotation_seed)
    if clipped:
        raise ValueError("values that are clipped: nobody else can tell what becomes of them")
    return [int(level) for level in levels]
