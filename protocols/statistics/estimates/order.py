"""The area under the ROC curve from counts in bins: a bracket, not a guess.

Counts hide where in its bin a record lies. What is returned are both ends of what the statistic of the data can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

from secagg.errors import EstimateError, ParameterError


@dataclass(frozen=True, slots=True)
class Bracket:
    """Both ends of where a statistic of the data lies, ends included."""

    low: Fraction
    high: Fraction


def area_under_curve(positives: Sequence[int], negatives: Sequence[int]) -> Bracket:
    """Bracket the area under the ROC curve, the share of pairs in which the positive record has the higher score.

    Args:
        positives: counts of positive records by bin of score, the least score first. Every record is in a bin.
        negatives: counts of the others, in the same bins.

    Returns:
        From the share of pairs whose positive record is in a higher bin, to that with all pairs of one bin added. Ties
        of scores count one half, so the area of the scores themselves lies between.

    Raises:
        ParameterError: no bins, different numbers of bins, or a negative count.
        EstimateError: no positive or no negative records (`empty-margin`).
    """
    if not positives or len(positives) != len(negatives) or min(*positives, *negatives) < 0:
        raise ParameterError("positives and negatives are counted in the same bins, and no count is negative")
    pairs = sum(positives) * sum(negatives)
    if not pairs:
        raise EstimateError("an area needs positive and negative records", reason="empty-margin")
    lower = accumulate(negatives, initial=0)
    wins = sum(count * below for count, below in zip(positives, lower, strict=False))
    ties = sum(count * other for count, other in zip(positives, negatives, strict=True))
    return Bracket(Fraction(wins, pairs), Fraction(wins + ties, pairs))
