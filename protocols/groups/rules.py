"""Rules that make one vector of the means of groups, and how many spoilt groups each bears.

A group is spoilt if a bad client is in it: its mean may be anything. Sources: coordinate-wise median and trimmed mean,
Yin et al. 2018; Krum and Multi-Krum, Blanchard et al. 2017; geometric median, Weiszfeld's iteration as Vardi and Zhang
2000 have it; centred clipping, Karimireddy, He and Jaggi 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from dp.arrays import readable
from secagg.errors import ParameterError

from ..core.numbers import in_our_words, real, whole

Vectors = npt.NDArray[np.float64]

CLIPPING_STEPS = 3
WEISZFELD_STEPS = 1000
WEISZFELD_TOLERANCE = 2.0**-40
_THERE, _LEAST = 2.0**-60, 2.0**-900
"""A vector is where the value is if it is so near, of the median distance or at all: the inverse of less overflows."""


class Rule(StrEnum):
    """What is made of the groups' means."""

    SUM = "sum"
    """The sum of the groups' sums, exactly as if there were no groups; its mean. It bears no spoilt group."""
    MEDIAN = "median"
    """Coordinate by coordinate, the middle one, or the mean of the two in the middle."""
    TRIMMED_MEAN = "trimmed-mean"
    """Coordinate by coordinate, the mean without as many of the largest, and of the least, as may be spoilt."""
    KRUM = "krum"
    """The one group's mean that is nearest to its nearest others."""
    MULTI_KRUM = "multi-krum"
    """The mean of as many, best by Krum's measure, as each is measured by."""
    GEOMETRIC_MEDIAN = "geometric-median"
    """The vector with the least sum of distances to all."""
    CENTRED_CLIPPING = "centred-clipping"
    """From a centre on, some steps along the mean of the differences, each shortened to a radius."""
    NORM_CLIPPED_MEAN = "norm-clipped-mean"
    """The mean of the means, each shortened to a radius."""

    def bears(self, groups: int) -> int:
        """Return how many of so many groups may be spoilt; -1 where the rule needs more groups even if none is."""
        match self:
            case Rule.SUM:
                return min(groups, 1) - 1
            case Rule.KRUM | Rule.MULTI_KRUM:
                return max((groups - 3) // 2, -1)
            case _:
                return max((groups - 1) // 2, -1 if groups < 1 else 0)

    def fewest(self, spoilt: int) -> int:
        """Return the fewest groups of which so many may be spoilt, for rules that bear any."""
        return 2 * spoilt + (3 if self in (Rule.KRUM, Rule.MULTI_KRUM) else 1)

    @property
    def clips(self) -> bool:
        """Whether it shortens vectors to a radius: the only rules that weigh groups, too."""
        return self in (Rule.CENTRED_CLIPPING, Rule.NORM_CLIPPED_MEAN)

    def estimated_noise_factor(self, groups: int, spoilt: int) -> float:
        """Estimate how much more noise the outcome has than the mean of one sum, where each group adds all of it.

        An estimate and no bound: rules that choose, or clip, by the noise itself may have a fifth more (section 49). As
        standard deviations of a coordinate, for Gaussian noise that is small beside no radius; asymptotic in the number
        of groups for medians, and the same for the trimmed mean, which lies between mean and median.
        """
        match self:
            case Rule.KRUM:  # one group's noise
                return float(groups)
            case Rule.MULTI_KRUM:
                return groups / math.sqrt(groups - spoilt - 2)
            case Rule.MEDIAN | Rule.TRIMMED_MEAN | Rule.GEOMETRIC_MEDIAN:
                return math.sqrt(groups * math.pi / 2)
            case _:
                return math.sqrt(groups)


@dataclass(frozen=True)
class Combined:
    """What a rule made of groups. It names groups by their place, never clients.

    Attributes:
        rule: which one.
        value: float64 (length,).
        groups: how many there were.
        bears: how many of them may have been spoilt, as it was told.
        distances: of each group's mean from the value, L2, float64 (groups,): for diagnosis. They are as much of the
            clients' data as the means that they are computed from.
        radius: to which vectors were shortened; None for rules that do not clip.
    """

    rule: Rule
    value: Vectors = field(repr=False)
    groups: int
    bears: int
    distances: Vectors
    radius: float | None = None


def combine(
    rule: Rule,
    means: npt.ArrayLike,
    spoilt: int,
    *,
    weights: Sequence[float] | None = None,
    max_weight: float = 1.0,
    radius: float | None = None,
    centre: npt.ArrayLike | None = None,
) -> Combined:
    """Return what the rule makes of the means of groups.

    Args:
        rule: not SUM, unless `spoilt` is 0; it then is the mean, by weight.
        means: one of each group, finite, shape (groups, length).
        spoilt: how many of the groups may be anything.
        weights: of each group, for SUM and the rules that clip; equal where None. All others give groups equal weight,
            for a spoilt one says of itself what it likes.
        max_weight: greater weights count as this.
        radius: > 0, for the rules that clip; None for the median of the lengths that are clipped.
        centre: where centred clipping starts, (length,), such as the outcome of the round before; None for the
            coordinate-wise median.

    Raises:
        ParameterError: fewer groups than the rule needs to bear so many; or a vector, weight or argument that is none.
    """
    rule = Rule(rule)
    vectors = _numbers(means, "means", 2)
    spoilt = whole(spoilt, "spoilt", 0)
    if rule.bears(len(vectors)) < spoilt:
        raise ParameterError(
            f"{rule} of {len(vectors)} groups bears {max(rule.bears(len(vectors)), 0)} spoilt ones, but {spoilt} are "
            "to be borne: take more groups or another rule"
        )
    if radius is not None:
        _only(rule.clips, f"{rule} has no radius")
        radius = real(radius, "radius", math.ulp(0.0))
    if weights is not None:
        _only(rule.clips or rule is Rule.SUM, f"{rule} weighs all groups alike: leave weights out")
    start = None
    if centre is not None:
        _only(rule is Rule.CENTRED_CLIPPING, f"{rule} has no centre")
        start = _numbers(centre, "centre", 1)
        _only(len(start) == vectors.shape[1], f"centre has {len(start)} numbers, but means have {vectors.shape[1]}")
    shares = _shares(weights, len(vectors), real(max_weight, "max_weight", 0))
    match rule:
        case Rule.SUM:
            value = shares @ vectors
        case Rule.MEDIAN:
            value = np.median(vectors, axis=0)
        case Rule.TRIMMED_MEAN:
            value = _trimmed(vectors, spoilt)
        case Rule.KRUM:
            value = vectors[_by_krum(vectors, spoilt)[0]].copy()
        case Rule.MULTI_KRUM:
            value = vectors[np.sort(_by_krum(vectors, spoilt))].mean(axis=0)
        case Rule.GEOMETRIC_MEDIAN:
            value = _geometric_median(vectors)
        case Rule.CENTRED_CLIPPING:
            value, radius = _centred(vectors, shares, radius, start)
        case Rule.NORM_CLIPPED_MEAN:
            clipped, radius = _shortened(vectors, radius)
            value = shares @ clipped
    return Combined(rule, value, len(vectors), spoilt, _lengths(vectors - value), radius)


def _numbers(given: npt.ArrayLike, name: str, dimensions: int) -> Vectors:
    with in_our_words(name):
        array = readable(given)
    if array.ndim != dimensions or 0 in array.shape[:-1] or array.dtype.kind == "b" or not np.isfinite(array).all():
        raise ParameterError(
            f"{name}: {array.dtype} of shape {array.shape}, but must be finite numbers, "
            + ("a row for each group" if dimensions == 2 else "one for each coordinate")
        )
    return array.astype(np.float64)


def _only(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ParameterError(otherwise)


def _shares(weights: Sequence[float] | None, groups: int, max_weight: float) -> Vectors:
    """Return what each group counts for, of one in all."""
    if weights is None:
        return np.full(groups, 1 / groups)
    _only(len(weights) == groups, f"there are {len(weights)} weights for {groups} groups")
    bounded = np.array([min(real(weight, "a weight", 0), max_weight) for weight in weights], dtype=np.float64)
    _only(bool(bounded.sum() > 0), "all weights are zero: no group has a say")
    shares: Vectors = bounded / bounded.sum()
    return shares


def _lengths(vectors: Vectors) -> Vectors:
    """Return the L2 norms of rows, without overflow at what a spoilt group may say."""
    most = np.max(np.abs(vectors), axis=1, initial=0.0)
    scale = np.where(most > 0, most, 1.0)
    norms: Vectors = np.linalg.norm(vectors / scale[:, None], axis=1) * scale
    return norms


def _trimmed(vectors: Vectors, trim: int) -> Vectors:
    kept = np.partition(vectors, (trim, len(vectors) - trim - 1), axis=0)[trim : len(vectors) - trim]
    value: Vectors = kept.mean(axis=0)
    return value


def _by_krum(vectors: Vectors, spoilt: int) -> npt.NDArray[np.intp]:
    """Return the best groups by Krum's measure, the best first: the sum of squares to the nearest others."""
    nearest = len(vectors) - spoilt - 2
    scores = np.empty(len(vectors))
    for at, vector in enumerate(vectors):
        distances = _lengths(np.delete(vectors, at, axis=0) - vector)
        with np.errstate(over="ignore"):  # what is so far away is not chosen
            scores[at] = np.sum(np.partition(distances, nearest - 1)[:nearest] ** 2)
    return np.argsort(scores, kind="stable")[:nearest]


def _geometric_median(vectors: Vectors) -> Vectors:
    value: Vectors = np.median(vectors, axis=0)
    for _ in range(WEISZFELD_STEPS):
        target, force, copies, scale = _drawn(vectors, value)
        if force == 0:
            return value
        # Where the value is one of the vectors, that one holds it back by one unit of force for each copy of it.
        step = (1 - min(1.0, copies / force)) * (target - value)
        value = value + step
        if float(_lengths(step[None])[0]) <= WEISZFELD_TOLERANCE * scale:
            break
    # Towards a vector that is the median itself steps become ever smaller, but whether the nearest one is can be told.
    nearest: Vectors = vectors[int(np.argmin(_lengths(vectors - value)))]
    _, force, copies, _ = _drawn(vectors, nearest)
    return nearest if force <= copies else value


def _drawn(vectors: Vectors, value: Vectors) -> tuple[Vectors, float, int, float]:
    """Return whereto vectors draw a value, with which force, how many are where it is, and how far the others are."""
    away = _lengths(vectors - value)
    scale = float(np.median(away))
    there = away <= max(_THERE * scale, _LEAST)
    inverse = np.divide(1.0, away, out=np.zeros_like(away), where=~there)
    if not inverse.any():
        return value, 0.0, int(there.sum()), scale
    target: Vectors = (inverse / inverse.sum()) @ vectors
    force = float(_lengths((target - value)[None])[0]) * float(inverse.sum())
    return target, force, int(there.sum()), scale


def _shortened(vectors: Vectors, radius: float | None) -> tuple[Vectors, float]:
    norms = _lengths(vectors)
    bound = float(np.median(norms)) if radius is None else radius
    return vectors * np.divide(bound, norms, out=np.ones_like(norms), where=norms > bound)[:, None], bound


def _centred(vectors: Vectors, shares: Vectors, radius: float | None, start: Vectors | None) -> tuple[Vectors, float]:
    value: Vectors = np.median(vectors, axis=0) if start is None else start
    for _ in range(CLIPPING_STEPS):
        clipped, radius = _shortened(vectors - value, radius)
        value = value + shares @ clipped
    return value, radius or 0.0
