"""Intervals hold what the pooled rows have as often as they say; a value that noise has taken away is named.

Each statistic is answered DRAWS times with fresh noise. More misses than a binomial law of 5 % has but once in 10^7 are
an error: with 17 statistics in 3 settings, a false alarm in 10^5. Noise that is half as much again is told apart.
"""

import math

import numpy as np
import pytest
from scipy.stats import binom

from protocols.statistics.kinds import Kind
from protocols.statistics.private.answer import _share, noisy_bracket
from protocols.statistics.private.intervals import CONFIDENCE, Doubt, Noisy, Z, ratio, smooth, within

from ..tables_of_sites import AGE
from .answering import FEATURES, QUANTILES, answered, pooled, truths, values_of

DRAWS = 600
MOST = int(binom.isf(1e-7, DRAWS, 1 - CONFIDENCE))


def misses(count, deviation, stated, draws=DRAWS):
    columns, exact = pooled(count)
    expected = truths(columns)
    quantiles = dict(zip(QUANTILES, np.quantile(columns["age"], QUANTILES), strict=True))
    rng, missed = np.random.default_rng(count), dict.fromkeys([*expected, *quantiles], 0)
    known = dict.fromkeys(expected, 0)
    for _ in range(draws):
        noise = rng.normal(size=len(exact)) * deviation / FEATURES.weights
        by_kind, fit = answered(exact + noise, stated)
        for name, value in values_of(by_kind, fit).items():
            missed[name] += not value.low - 1e-9 <= expected[name] <= value.high + 1e-9
            known[name] += value.value is not None
        brackets = by_kind[Kind.QUANTILES].value["brackets"]
        for one, (name, value) in zip(brackets, quantiles.items(), strict=True):
            missed[name] += not holds(one, value)
    return missed, known


def holds(found, value):
    return (found["low"] is None or found["low"] <= value) and (found["high"] is None or value <= found["high"])


@pytest.mark.parametrize(("count", "deviation"), [(2000, 5.0), (400, 8.0), (60, 25.0)])
def test_intervals_hold_the_pooled_value_as_often_as_they_say(count, deviation):
    missed, known = misses(count, deviation, deviation)
    assert max(missed.values()) <= MOST, missed
    if count == 2000:
        assert set(known.values()) == {DRAWS}
    if count == 60:  # some of them are not told from anything, and say so
        assert known["correlation"] < DRAWS / 2


def test_too_short_intervals_are_found_out():
    missed, _ = misses(2000, 7.5, 5.0)
    short = {name for name, times in missed.items() if times > MOST}
    assert short == set(missed) - set(QUANTILES)  # brackets are a bin wide


@pytest.mark.parametrize("quantile", [0.02, 0.3, 0.5, 0.9])
def test_brackets_hold_numpys_quantile_however_many_edges_there_are(quantile):
    """At the worst place for a value, right at an edge, and with 400 edges: no more than 5 % miss, of which each end
    has half."""
    edges = tuple(float(at) for at in range(401))
    rng = np.random.default_rng(3)
    data = np.sort(rng.normal(200, 60, 3000).clip(1, 399))
    counts = np.array([0, *np.histogram(data, edges)[0], 0], dtype=float)
    value, deviation, missed = np.quantile(data, quantile), 10.0, 0
    for _ in range(2000):
        missed += not holds(
            noisy_bracket(edges, counts + rng.normal(size=len(counts)) * deviation, deviation, quantile), value
        )
    assert missed <= binom.isf(1e-7, 2000, 1 - CONFIDENCE)


def test_a_bracket_without_noise_is_the_bin_of_the_quantile():
    edges = (0.0, 1.0, 2.0, 3.0)
    data = np.array([0.5, 0.6, 1.5, 1.6, 2.5, 2.6])
    counts = np.array([0, 2, 2, 2, 0], dtype=float)
    found = noisy_bracket(edges, counts, 1e-9, 0.5)
    assert (found["low"], found["high"]) == (1.0, 2.0)
    assert holds(found, np.quantile(data, 0.5))
    assert noisy_bracket(edges, np.array([9.0, 1, 0, 0, 0]), 1e-9, 0.5) == {"low": None, "high": 0.0, "doubt": None}
    assert noisy_bracket(edges, np.array([0.0, 0, 0, 1, 9]), 1e-9, 0.5) == {"low": 3.0, "high": None, "doubt": None}
    nothing = noisy_bracket(edges, counts, 100.0, 0.5)
    assert nothing == {"low": None, "high": None, "doubt": Doubt.TOO_NOISY}


def test_ratios_are_fiellers():
    """All r with |t - r b| <= Z sqrt(v_t - 2 r c + r^2 v_b), found by trying."""
    top, bottom, variances = 30.0, 100.0, (9.0, 16.0, 4.0)
    found = ratio(top, bottom, variances, -math.inf, math.inf)
    tried = np.linspace(0, 1, 1_000_001)
    kept = tried[
        np.abs(top - tried * bottom) <= Z * np.sqrt(variances[0] - 2 * tried * variances[2] + tried**2 * variances[1])
    ]
    assert (found.low, found.high) == pytest.approx((kept[0], kept[-1]), abs=2e-6)
    assert found.value == pytest.approx(0.3)


@pytest.mark.parametrize("bottom", [-100.0, -1.0, 0.0, 7.0])
def test_a_ratio_of_what_is_not_told_from_nothing_may_be_anything(bottom):
    assert ratio(5.0, bottom, (1.0, 16.0, 0.0), -1.0, 1.0) == Noisy(None, -1.0, 1.0, Doubt.TOO_NOISY)


def test_impossible_values_are_shown_and_named():
    assert within(-3.0, 2.0, 0.0, math.inf) == Noisy(-3.0, 0.0, 0.0, Doubt.IMPOSSIBLE)
    assert within(-3.0, 5.0, 0.0, math.inf) == Noisy(-3.0, 0.0, 2.0, Doubt.IMPOSSIBLE)
    assert within(math.nan, 5.0, 0.0, 9.0) == within(1.0, math.inf, 0.0, 9.0) == Noisy(None, 0.0, 9.0, Doubt.TOO_NOISY)
    assert ratio(110.0, 100.0, (1.0, 1.0, 0.0), -1.0, 1.0).doubt is Doubt.IMPOSSIBLE
    assert _share(np.array([-3.0, 90.0, 2.0]), 1, 1.0).doubt is Doubt.IMPOSSIBLE
    assert Noisy(1.0, 0.5, 2.0).moved(3.0, 1.0) == Noisy(4.0, 2.5, 7.0)
    assert Noisy(None, -1.0, 1.0, Doubt.TOO_NOISY).moved(2.0, 5.0) == Noisy(None, 3.0, 7.0, Doubt.TOO_NOISY)


def test_linear_functions_reach_as_far_as_their_noise_and_bent_ones_further():
    slopes = np.array([[1.0, -2.0], [0.5, 0.0]])
    values, reaches = smooth(lambda totals: slopes @ totals, np.array([3.0, 4.0]), np.array([0.1, 0.2]))
    assert values == pytest.approx([-5.0, 1.5])
    assert reaches == pytest.approx(Z * np.array([math.hypot(0.1, 0.4), 0.05]))
    _, bent = smooth(lambda totals: totals**2, np.array([10.0]), np.array([1.0]))
    assert bent == pytest.approx(Z * 20 + Z**2)
    _, lost = smooth(lambda totals: totals**2, np.array([0.1]), np.array([1.0]))
    assert np.isinf(lost).all()
    _, none = smooth(lambda totals: np.sqrt(totals) if totals[0] > 0 else totals * math.nan, np.ones(1), np.ones(1))
    assert np.isinf(none).all()


def test_the_edges_of_the_query_are_those_of_the_answer():
    _, exact = pooled(100)
    by_kind, _ = answered(exact, 1.0)
    assert by_kind[Kind.ECDF].value["edges"] == list(AGE.edges)
