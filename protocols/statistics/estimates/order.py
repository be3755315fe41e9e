"""Distribution function, quantiles and the area under the ROC curve from counts in bins: brackets, not guesses.

Counts hide where in its bin a record lies. What is returned are both ends of what the statistic of the data can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from secagg.errors import EstimateError, ParameterError

from .estimate import at_least


@dataclass(frozen=True, slots=True)
class Bracket:
    """Both ends of where a statistic of the data lies, ends included; infinite where public edges do not reach."""

    low: Fraction | float
    high: Fraction | float


@dataclass(frozen=True, slots=True)
class BinnedCounts:
    """Counts of records by public edges, as `numpy.histogram` counts them.

    Attributes:
        edges: rising, one more than bins. A bin holds its left edge and not its right one; the last bin holds both.
        counts: records, a number for each bin.
        below, above: records outside all bins.

    Raises:
        ParameterError: the edges do not rise or are not finite, a count is negative, or their numbers do not fit.
    """

    edges: tuple[Fraction, ...]
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "edges", tuple(map(Fraction, self.edges)))
        except (ValueError, OverflowError) as error:
            raise ParameterError("edges are finite numbers") from error
        if not self.counts or len(self.edges) != len(self.counts) + 1:
            raise ParameterError(f"{len(self.counts)} bins have {len(self.counts) + 1} edges, not {len(self.edges)}")
        if any(left >= right for left, right in pairwise(self.edges)):
            raise ParameterError("edges must rise")
        if min(*self.counts, self.below, self.above) < 0:
            raise ParameterError("counts are not negative")

    @property
    def n(self) -> int:
        """Records in bins and outside."""
        return self.below + sum(self.counts) + self.above

    def distribution(self) -> tuple[Fraction, ...]:
        """The share of records below each edge, and at or below the last one: exact, a number for each edge."""
        n = self.n
        at_least(n, 1, "a distribution")
        return tuple(Fraction(count, n) for count in accumulate(self.counts, initial=self.below))

    def quantile(self, share: Fraction | float) -> Bracket:
        """Bracket `numpy.quantile(data, share)`: linear between the two records next to the place (n - 1) share.

        Args:
            share: from 0 to 1; 1/2 for the median. A float stands for the very number that it holds.

        Raises:
            ParameterError: the share is outside.
            EstimateError: no records (`too-few-records`).
        """
        if not 0 <= share <= 1:
            raise ParameterError(f"a share of {share} is not possible: choose one from 0 to 1")
        at_least(self.n, 1, "a quantile")
        place = (self.n - 1) * Fraction(share)
        before = math.floor(place)
        part = place - before
        first = self._bin_of(before)
        if not part:
            return first
        second = self._bin_of(before + 1)
        return Bracket(_between(first.low, second.low, part), _between(first.high, second.high, part))

    @property
    def median(self) -> Bracket:
        """The quantile of one half."""
        return self.quantile(Fraction(1, 2))

    def _bin_of(self, rank: int) -> Bracket:
        """The bin that holds the record with `rank` records before it in order."""
        upto = self.below
        if rank < upto:
            return Bracket(-math.inf, self.edges[0])
        for index, count in enumerate(self.counts):
            upto += count
            if rank < upto:
                return Bracket(self.edges[index], self.edges[index + 1])
        return Bracket(self.edges[-1], math.inf)


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


def _between(left: Fraction | float, right: Fraction | float, part: Fraction) -> Fraction | float:
    """Go this part of the way from left to right; to an infinite end, all of it."""
    if math.isinf(left) or math.isinf(right):
        return left if math.isinf(left) else right
    return Fraction(left) + part * (Fraction(right) - Fraction(left))
