"""Brackets hold what numpy and scikit-learn compute from the data themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from protocols.statistics.estimates.order import area_under_curve
from protocols.statistics.families.bins import bracket
from secagg.errors import EstimateError, ParameterError

# Eighths, and shares in 64ths: numpy interpolates these without rounding.
DATA = st.lists(st.integers(-400, 400).map(lambda eighths: eighths / 8), min_size=1, max_size=60)
EDGES = st.sets(st.integers(-60, 60), min_size=2, max_size=15).map(sorted)
SHARES = st.integers(0, 64).map(lambda part: part / 64)


@settings(max_examples=400)
@given(DATA, EDGES, SHARES, st.data())
def test_the_bracket_holds_numpys_quantile(
    data: list[float], edges: list[int], share: float, more: st.DataObject
) -> None:
    """With counts below the edges as they are, and with bounds on them, as where some are hidden."""
    below = [sum(value < edge for value in data) for edge in edges[:-1]] + [sum(value <= edges[-1] for value in data)]
    slack = more.draw(st.integers(0, 3))
    low, high = [max(n - slack, 0) for n in below], [min(n + slack, len(data)) for n in below]
    bottom, top = bracket(edges, low, high, len(data), share)
    quantile = np.quantile(data, share)
    assert bottom is None or bottom <= quantile
    assert top is None or quantile <= top
    assert bottom in (None, *edges)
    if not slack and bottom is not None and top is not None and len(data) == 1:
        assert top == edges[edges.index(int(bottom)) + 1]  # the very bin


def test_quantiles_by_hand() -> None:
    edges, below = (0.0, 10.0, 20.0, 30.0), [1, 3, 7, 9]  # one below, 2, 4 and 2 in bins, one above
    assert bracket(edges, below, below, 10, 0.5) == (10, 20)
    assert bracket(edges, below, below, 10, 0.01) == (None, 10)
    assert bracket(edges, below, below, 10, 0.25) == (0, 20)  # between the third and the fourth value
    assert bracket(edges, below, below, 10, 0.99) == (20, None)


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
    with pytest.raises(EstimateError) as caught:
        area_under_curve([0, 0], [1, 2])
    assert caught.value.reason == "empty-margin"


def test_impossible_counts_are_refused() -> None:
    for positives, negatives in [([], []), ([1], [1, 2]), ([-1, 2], [1, 1])]:
        with pytest.raises(ParameterError, match="same bins"):
            area_under_curve(positives, negatives)
