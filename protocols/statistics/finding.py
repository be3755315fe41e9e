"""One thing that an analyst is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .kinds import Kind


@dataclass(frozen=True)
class Finding:
    """One statistic, of all rows or of one group of them.

    Attributes:
        statistic, columns: as asked.
        group: the cell of `group_by`; None without groups.
        value: a Fraction where it is exact in the rounded data, a float where it is the root of one, an int for counts;
            for statistics of several parts a dict of what SPEC section 44 lists. None where it is hidden or undefined.
            Within a dict, what is hidden is None.
        error: the value of the data before rounding is at most this far away, for a dict the largest of its parts'
            errors; None where there is no value. It says nothing about sampling.
        n: how many rows it is of; None where that is hidden.
        suppressed: the rule that hides the value; None where all is shown. For dicts: what is hidden or undefined ->
            the rule.
        interval: of `correlation`, Fisher's z interval at 95 %, drawn apart by the error; None where there is none.
        reason: of what is undefined, why: a word of `EstimateError`, such as `constant` or `singular-design`. Where it
            is parts of a dict: part -> word.
    """

    statistic: Kind
    columns: tuple[str, ...]
    group: str | None
    value: Any
    error: Any
    n: int | None
    suppressed: Any = None
    interval: tuple[float, float] | None = None
    reason: str | Mapping[str, str] | None = None
