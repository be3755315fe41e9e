from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.statistics.estimates.moments import Moments
from protocols.statistics.estimates.significance import t_quantile, t_tails
from protocols.statistics.estimates.tests import Difference, analysis_of_variance, student, welch
from secagg.errors import EstimateError, ParameterError

from .sites import moments

FINE = Fraction(1, 10**12)
GROUP = st.lists(st.fractions(-20, 20, max_denominator=100), min_size=2, max_size=12)


def floats(group: list[Fraction]) -> list[float]:
    return [float(value) for value in group]


@pytest.mark.parametrize(("ask", "equal"), [(student, True), (welch, False)])
def test_two_hundred_pairs_of_groups_agree_with_scipy(ask: Callable[..., Difference], equal: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = [
            [Fraction(int(v), 100) for v in rng.integers(-500, 500, size=rng.integers(2, 40)) + shift]
            for shift in rng.integers(0, 300, size=2)
        ]
        ours = ask(*(moments(group, Fraction(-8), FINE) for group in data), 0.9)
        theirs = stats.ttest_ind(*map(floats, data), equal_var=equal)
        assert ours.test.statistic == pytest.approx(theirs.statistic, rel=1e-8)
        assert ours.test.p == pytest.approx(theirs.pvalue, rel=1e-7)
        assert ours.test.degrees[0] == pytest.approx(theirs.df)
        interval = theirs.confidence_interval(0.9)
        # scipy 1.12 has eight digits of the quantile, and an end near 0 has fewer; ours is checked below.
        ends, width = (ours.interval.low, ours.interval.high), interval.high - interval.low
        assert ends == pytest.approx((interval.low, interval.high), abs=1e-7 * width)
        assert float(ours.estimate.value) == pytest.approx(np.mean(floats(data[0])) - np.mean(floats(data[1])))


@pytest.mark.parametrize("degrees", [1, 2.5, 7, 38, 1000.0, 1e7])
@pytest.mark.parametrize("confidence", [0.01, 0.5, 0.9, 0.95, 0.999999])
def test_the_quantile_of_t_leaves_what_it_promises(degrees: float, confidence: float) -> None:
    assert t_tails(t_quantile(confidence, degrees), degrees) == pytest.approx(1 - confidence, rel=1e-9)


def test_two_hundred_analyses_of_variance_agree_with_scipy() -> None:
    rng = np.random.default_rng(6)
    for _ in range(200):
        data = [
            [Fraction(int(v), 100) for v in rng.integers(-500, 500, size=rng.integers(2, 30))]
            for _ in range(rng.integers(2, 7))
        ]
        ours = analysis_of_variance([moments(group, Fraction(-8), FINE) for group in data])
        theirs = stats.f_oneway(*map(floats, data))
        assert ours.test.statistic == pytest.approx(theirs.statistic, rel=1e-8)
        assert ours.test.p == pytest.approx(theirs.pvalue, rel=1e-7)


# NIST's analysis of variance, https://www.itl.nist.gov/div898/strd/anova/anova.html, as in the files that scipy keeps
# for its own tests (nist_anova).
RESISTANCES = """
    196.3052 196.1240 196.1890 196.2569 196.3403
    196.3042 196.3825 196.1669 196.3257 196.0422
    196.1303 196.2005 196.2889 196.0343 196.1811
    196.2795 196.1748 196.1494 196.1485 195.9885
    196.2119 196.1051 196.1850 196.0052 196.2090
"""


def test_the_certified_resistances() -> None:
    data = [[Fraction(word) for word in line.split()] for line in RESISTANCES.strip().splitlines()]
    for step, digits in ((Fraction(1, 10**4), 5e-15), (Fraction(1, 300), None)):
        found = analysis_of_variance([moments(group, Fraction(195), step) for group in data])
        if digits:
            assert found.test.statistic == pytest.approx(1.18046237440255, rel=digits)
            assert float(found.between) == pytest.approx(5.11462616000000e-2, rel=digits)
            assert float(found.within) == pytest.approx(2.16636560000000e-1, rel=digits)
            assert found.share == pytest.approx(1.90999039051129e-1, rel=digits)
        assert abs(found.test.statistic - 1.18046237440255) <= found.test.error


@pytest.mark.parametrize("base", [1, 10**6, 10**12])
def test_simon_and_lesage_at_ten_to_the_twelfth_show_no_cancellation(base: int) -> None:
    # SmLs03, 06 and 09: nine treatments, 2001 records each, the mean and then pairs of a tenth below and above it.
    means = [base + Fraction(tenths, 10) for tenths in (4, 3, 5, 3, 5, 3, 5, 3, 5)]
    data = [[mean, *(mean + Fraction(sign, 10) for _ in range(1000) for sign in (-1, 1))] for mean in means]
    found = analysis_of_variance([moments(group, Fraction(0), Fraction(1, 10)) for group in data])
    assert found.test.statistic == 2001
    assert found.between == Fraction("160.08")
    assert found.within == 180
    assert found.share == pytest.approx(4.70712773465067e-1, rel=5e-15)
    assert found.test.degrees == (8, 18000)


@given(GROUP, GROUP, st.fractions(Fraction(1, 500), 2, max_denominator=500))
def test_every_error_holds_what_rounding_hid(one: list[Fraction], two: list[Fraction], step: Fraction) -> None:
    coarse = [moments(group, Fraction(1, 7), step) for group in (one, two)]
    fine = [moments(group, Fraction(0), Fraction(1, 10**15)) for group in (one, two)]
    if any(not sum(group.squares for group in both) for both in (coarse, fine)):
        return
    for ask in (student, welch):
        ours, true = ask(*coarse), ask(*fine)
        assert abs(ours.test.statistic - true.test.statistic) <= ours.test.error + true.test.error
        assert abs(ours.estimate.value - true.estimate.value) <= ours.estimate.error + true.estimate.error
    ours_f, true_f = analysis_of_variance(coarse).test, analysis_of_variance(fine).test
    assert abs(ours_f.statistic - true_f.statistic) <= ours_f.error + true_f.error


def test_two_groups_have_f_equal_to_t_squared() -> None:
    groups = [Moments(5, 10, 40, None, Fraction(0), Fraction(1)), Moments(4, 20, 120, None, Fraction(0), Fraction(1))]
    found = analysis_of_variance(groups)
    assert found.test.statistic == pytest.approx(student(*groups).test.statistic ** 2)
    assert found.test.p == pytest.approx(student(*groups).test.p)
    assert found.share == pytest.approx(float(found.between / (found.between + found.within)))


def test_a_step_coarser_than_the_spread_has_no_bound() -> None:
    groups = [Moments(2, 1, 1, None, Fraction(0), Fraction(1)), Moments(2, 1, 1, None, Fraction(0), Fraction(1))]
    assert student(*groups).test.error == welch(*groups).test.error == float("inf")
    assert analysis_of_variance(groups).test.error == float("inf")


@pytest.mark.parametrize(
    ("sizes", "varied", "reason"),
    [((0, 5), True, "too-few-records"), ((1, 1), True, "too-few-records"), ((4, 4), False, "constant")],
)
def test_what_has_no_value_is_named(sizes: tuple[int, int], varied: bool, reason: str) -> None:
    groups = [Moments(n, n, n + 4 * varied * bool(n), None, Fraction(0), Fraction(1)) for n in sizes]
    for ask in (student, welch, lambda *both: analysis_of_variance(both)):
        with pytest.raises(EstimateError) as caught:
            ask(*groups)
        assert caught.value.reason == reason


def test_bad_questions_are_refused() -> None:
    group = Moments(4, 6, 14, None, Fraction(0), Fraction(1))
    with pytest.raises(ParameterError, match="two groups"):
        analysis_of_variance([group])
    with pytest.raises(ParameterError, match="between 0 and 1"):
        student(group, group, 1.0)
