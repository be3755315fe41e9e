"""What sites do before an estimate: round to whole steps and sum. Written for tests, apart from the engine."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from protocols.statistics.estimates.moments import CoMoments, Moments

SITES = 7


def levels(data: Sequence[Fraction], lo: Fraction, step: Fraction) -> list[int]:
    return [round((Fraction(value) - lo) / step) for value in data]


def split(q: Sequence[int]) -> list[list[int]]:
    return [list(q[site::SITES]) for site in range(SITES)]


def moments(data: Sequence[Fraction], lo: Fraction, step: Fraction) -> Moments:
    """Sums at seven sites, then the sum of their sums."""
    sums = [[sum(q**power for q in site) for power in range(4)] for site in split(levels(data, lo, step))]
    n, s1, s2, s3 = (sum(column) for column in zip(*sums, strict=True))
    return Moments(n, s1, s2, s3, lo, step)


def comoments(
    x: Sequence[Fraction], y: Sequence[Fraction], los: tuple[Fraction, Fraction], steps: tuple[Fraction, Fraction]
) -> CoMoments:
    pairs = zip(levels(x, los[0], steps[0]), levels(y, los[1], steps[1]), strict=True)
    return CoMoments(moments(x, los[0], steps[0]), moments(y, los[1], steps[1]), sum(p * q for p, q in pairs))
