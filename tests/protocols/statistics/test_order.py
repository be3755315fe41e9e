from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from protocols.statistics.estimates.order import BinnedCounts, Bracket, area_under_curve
from secagg.errors import EstimateError, ParameterError

# Eighths, and shares in 64ths: numpy interpolates these without rounding.
DATA = st.lists(st.integers(-400, 400).map(lambda eighths: eighths / 8), min_size=1, max_size=60)
EDGES = st.sets(st.integers(-60, 60), min_size=2, max_size=15).map(sorted)
SHARES = st.integers(0, 64).map(lambda part: part / 64)


def binned(data: list[float], edges: list[int]) -> BinnedCounts:
    counts, _ = np.histogram(data, edges)
    below, above = sum(value < edges[0] for value in data), sum(value > edges[-1] for value in data)
    return BinnedCounts(tuple(map(Fraction, edges)), tuple(map(int, counts)), below, above)


@settings(max_examples=1000)
@given(DATA, EDGES, SHARES)
def test_the_bracket_holds_numpys_quantile(data: list[float], edges: list[int], share: float) -> None:
    bracket = binned(data, edges).quantile(share)
    assert bracket.low <= np.quantile(data, share) <= bracket.high


@given(DATA, EDGES)
def test_the_median_and_the_distribution_are_the_datas(data: list[float], edges: list[int]) -> None:
    counts = binned(data, edges)
    assert counts.n == len(data)
    assert counts.median.low <= np.median(data) <= counts.median.high
    shares = counts.distribution()
    for edge, share in zip(edges[:-1], shares[:-1], strict=True):
        assert share == Fraction(sum(value < edge for value in data), len(data))
    assert shares[-1] == Fraction(sum(value <= edges[-1] for value in data), len(data))


@given(DATA, EDGES, SHARES)
def test_a_bracket_is_never_wider_than_the_widest_bin(data: list[float], edges: list[int], share: float) -> None:
    inside = [value for value in data if edges[0] <= value <= edges[-1]] or [float(edges[0])]
    bracket = binned(inside, edges).quantile(share)
    assert bracket.high - bracket.low <= max(right - left for left, right in pairwise(edges))


def test_quantiles_by_hand() -> None:
    counts = BinnedCounts((Fraction(0), Fraction(10), Fraction(20)), (2, 2))
    assert counts.quantile(0) == Bracket(0, 10)
    assert counts.quantile(1) == Bracket(10, 20)
    # Half-way between a record of the first bin and one of the second.
    assert counts.median == Bracket(5, 15)
    assert counts.distribution() == (0, Fraction(1, 2), 1)


def test_records_outside_make_an_end_infinite() -> None:
    edges = (Fraction(0), Fraction(1))
    assert BinnedCounts(edges, (1,), below=1).median == Bracket(-math.inf, Fraction(1, 2))
    assert BinnedCounts(edges, (1,), above=1).median == Bracket(Fraction(1, 2), math.inf)
    assert BinnedCounts(edges, (0,), below=1, above=1).median == Bracket(-math.inf, math.inf)
    assert BinnedCounts(edges, (3,), below=1, above=1).median == Bracket(0, 1)


SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 63)), min_size=2, max_size=60)


@given(SCORES, st.integers(1, 16))
def test_the_bracket_holds_sklearns_area(records: list[tuple[bool, int]], width: int) -> None:
    labels, scores = [label for label, _ in records], [score for _, score in records]
    if len(set(labels)) == 1:
        return
    bins = 64 // width + 1
    counts = {label: [0] * bins for label in (True, False)}
    for label, score in records:
        counts[label][score // width] += 1
    bracket = area_under_curve(counts[True], counts[False])
    area = roc_auc_score(labels, scores)
    assert float(bracket.low) - 1e-12 <= area <= float(bracket.high) + 1e-12
    if width == 1:
        # A bin a score: ties are known, and their half makes the area.
        assert area == pytest.approx(float(bracket.low + bracket.high) / 2)


def test_what_has_no_value_is_named() -> None:
    nobody = BinnedCounts((Fraction(0), Fraction(1)), (0,))
    for ask, reason in [
        (lambda: nobody.median, "too-few-records"),
        (nobody.distribution, "too-few-records"),
        (lambda: area_under_curve([0, 0], [1, 2]), "empty-margin"),
    ]:
        with pytest.raises(EstimateError) as caught:
            ask()
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("edges", "counts", "outside"),
    [((0, 1), (), 0), ((0,), (1,), 0), ((0, 0), (1,), 0), ((1, 0), (1,), 0), ((0, 1), (-1,), 0), ((0, 1), (1,), -1)],
)
def test_impossible_bins_are_refused(edges: tuple[int, ...], counts: tuple[int, ...], outside: int) -> None:
    with pytest.raises(ParameterError):
        BinnedCounts(tuple(map(Fraction, edges)), counts, below=outside)
    with pytest.raises(ParameterError):
        BinnedCounts((Fraction(0), math.inf), (1,))  # type: ignore[arg-type]


def test_impossible_questions_are_refused() -> None:
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ParameterError, match="from 0 to 1"):
            BinnedCounts((Fraction(0), Fraction(1)), (3,)).quantile(share)
    for positives, negatives in [([], []), ([1], [1, 2]), ([-1, 2], [1, 1])]:
        with pytest.raises(ParameterError, match="same bins"):
            area_under_curve(positives, negatives)
