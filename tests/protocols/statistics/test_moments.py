from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from protocols.statistics.estimates.estimate import root
from protocols.statistics.estimates.moments import CoMoments, Moments
from secagg.errors import EstimateError, ParameterError

from .sites import comoments, moments
from .strd import UNIVARIATE

VALUES = st.lists(st.fractions(-50, 50, max_denominator=1000), min_size=2, max_size=30)
STEPS = st.fractions(Fraction(1, 1000), 5, max_denominator=1000)


def exact(data: list[Fraction]) -> Moments:
    """Moments in steps so fine that nothing is rounded."""
    step = Fraction(1, math.lcm(*(value.denominator for value in data)))
    return moments(data, Fraction(0), step)


@pytest.mark.parametrize("name", UNIVARIATE)
@pytest.mark.parametrize("bits", [8, 16, 24])
def test_certified_values_within_the_stated_error_at_few_bits(name: str, bits: int) -> None:
    data, mean, deviation = UNIVARIATE[name]
    lo, hi = min(data) - 1, max(data) + 1
    seven = moments(data, lo, (hi - lo) / (2**bits - 1))
    last_digit = Fraction(1, 10**12)
    assert abs(seven.mean.value - Fraction(mean)) <= seven.mean.error + last_digit
    assert abs(seven.deviation.value - float(deviation)) <= seven.deviation.error + last_digit
    assert abs(seven.variance().value - Fraction(deviation) ** 2) <= seven.variance().error + 1000 * last_digit


@pytest.mark.parametrize("name", UNIVARIATE)
def test_certified_values_to_the_last_digit_with_enough_bits(name: str) -> None:
    data, mean, deviation = UNIVARIATE[name]
    fine = exact(data)
    assert fine.n == len(data)
    # Fifteen significant digits are certified: half a unit of the last one.
    assert abs(fine.mean.value - Fraction(mean)) <= abs(Fraction(mean)) / 10**14
    assert float(fine.deviation.value) == pytest.approx(float(deviation), rel=5e-15)


def test_ten_million_and_a_tenth_shows_no_cancellation() -> None:
    data = UNIVARIATE["NumAcc4"].data
    fine = exact(data)
    assert fine.mean.value == Fraction("10000000.2")
    assert fine.variance().value == Fraction(1, 100)
    assert fine.deviation.value == 0.1
    # What sums of squares in floats make of it.
    x = np.array([float(value) for value in data])
    assert abs((np.sum(x * x) - len(x) * np.mean(x) ** 2) / (len(x) - 1) - 0.01) > 1e-3


@given(VALUES, STEPS)
def test_every_error_holds_what_rounding_hid(data: list[Fraction], step: Fraction) -> None:
    coarse, fine = moments(data, Fraction(-7, 3), step), exact(data)
    assert coarse.mean.contains(fine.mean.value)
    for ddof in (0, 1):
        assert coarse.variance(ddof).contains(fine.variance(ddof).value)
    low, high = root(fine.variance().value)
    assert coarse.deviation.contains(low)
    assert coarse.deviation.contains(high)
    if coarse.squares and fine.squares:
        true = Fraction(float(fine.skewness.value))
        slack = Fraction(1, 10**12)
        assert coarse.skewness.error == math.inf or (
            abs(true - Fraction(coarse.skewness.value)) <= Fraction(coarse.skewness.error) + slack
        )


@given(st.fractions(0, 10**6), st.integers(-400, 400))
def test_roots_are_bounded_closely_whatever_the_size(number: Fraction, power: int) -> None:
    square = number * Fraction(2) ** power
    low, high = root(square)
    assert low * low <= square <= high * high
    assert high - low <= low * Fraction(1, 2**78)
    assert root(square * square) == (square, square)


@given(VALUES)
def test_fine_steps_give_numpys_and_scipys_values(data: list[Fraction]) -> None:
    fine = exact(data)
    x = np.array([float(value) for value in data])
    assert float(fine.mean.value) == pytest.approx(x.mean(), abs=1e-12)
    assert float(fine.variance().value) == pytest.approx(x.var(ddof=1), abs=1e-9)
    assert fine.deviation.value == pytest.approx(x.std(ddof=1), abs=1e-9)
    assume(x.std() > 1e-3)
    assert fine.skewness.value == pytest.approx(stats.skew(x), abs=1e-6)


def test_the_errors_of_mean_variance_and_deviation_are_reached() -> None:
    # The levels 0 and 10 were -1/2 and 21/2, as far apart as rounding allows: a variance of 60.5 was taken for 50.
    rounded = Moments(2, 10, 100, 1000, Fraction(0), Fraction(1))
    assert (rounded.variance().value, rounded.variance().error) == (50, pytest.approx(10.5))
    assert rounded.deviation.value + rounded.deviation.error == pytest.approx(60.5**0.5)
    assert rounded.mean.error == Fraction(1, 2)


def test_skewness_of_one_in_three() -> None:
    # 0, 0, 3: by hand, m3 = 2, m2 = 2, so 2 / 2^1.5.
    assert Moments(3, 3, 9, 27, Fraction(0), Fraction(1, 10**9)).skewness.value == pytest.approx(2**-0.5)


PAIRS = st.lists(
    st.tuples(st.fractions(-50, 50, max_denominator=100), st.fractions(-50, 50, max_denominator=100)),
    min_size=4,
    max_size=25,
)


def fine_pair(x: list[Fraction], y: list[Fraction]) -> CoMoments:
    step = Fraction(1, math.lcm(*(value.denominator for value in [*x, *y])))
    return comoments(x, y, (Fraction(0), Fraction(0)), (step, step))


@given(PAIRS, STEPS, STEPS)
def test_errors_of_covariance_and_correlation_hold_what_rounding_hid(
    pairs: list[tuple[Fraction, Fraction]], step_x: Fraction, step_y: Fraction
) -> None:
    x, y = [list(column) for column in zip(*pairs, strict=True)]
    coarse, fine = comoments(x, y, (Fraction(1, 3), Fraction(-60)), (step_x, step_y)), fine_pair(x, y)
    assert coarse.covariance().contains(fine.covariance().value)
    if coarse.x.squares and coarse.y.squares and fine.x.squares and fine.y.squares:
        assert abs(float(coarse.correlation.value) - float(fine.correlation.value)) <= (
            float(coarse.correlation.error) + float(fine.correlation.error)
        )
        assert abs(float(coarse.correlation.value)) <= 1


@given(PAIRS)
def test_fine_steps_give_scipys_correlation(pairs: list[tuple[Fraction, Fraction]]) -> None:
    x, y = [list(column) for column in zip(*pairs, strict=True)]
    steps = (Fraction(1, 10**15), Fraction(1, 10**15))
    fine = comoments(x, y, (Fraction(0), Fraction(0)), steps)
    a, b = (np.array([float(value) for value in column]) for column in (x, y))
    assert float(fine.covariance().value) == pytest.approx(np.cov(a, b)[0, 1], abs=1e-9)
    assume(min(a.std(), b.std()) > 1e-2)
    result = stats.pearsonr(a, b)
    assume(abs(result.statistic) < 1 - 1e-9)
    assert fine.correlation.value == pytest.approx(result.statistic, abs=1e-9)
    theirs = result.confidence_interval(0.9)
    ours = fine.correlation_interval(0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_a_perfect_correlation_is_one() -> None:
    x = [Fraction(value) for value in (1, 2, 5, 9)]
    pair = fine_pair(x, [3 * value for value in x])
    assert pair.correlation.value == 1.0
    assert pair.correlation_interval().high == 1.0
    assert fine_pair(x, [-value for value in x]).correlation.value == -1.0
    assert fine_pair(x[:2], [Fraction(3), Fraction(8)]).correlation.value == 1.0  # two records are a line


def test_what_has_no_value_is_named() -> None:
    def flat(n: int) -> Moments:
        return Moments(n, 2 * n, 4 * n, 8 * n, Fraction(0), Fraction(1))

    nobody = Moments(0, 0, 0, 0, Fraction(0), Fraction(1))
    varied = Moments(4, 6, 14, 36, Fraction(0), Fraction(1))
    cases = [
        (lambda: nobody.mean, "too-few-records"),
        (lambda: flat(1).variance(), "too-few-records"),
        (lambda: flat(1).deviation, "too-few-records"),
        (lambda: flat(5).skewness, "constant"),
        (lambda: CoMoments(flat(4), varied, 12).correlation, "constant"),
        (lambda: CoMoments(varied, flat(4), 12).correlation, "constant"),
        (
            lambda: fine_pair(
                [Fraction(1), Fraction(2), Fraction(4)], [Fraction(3), Fraction(1), Fraction(1)]
            ).correlation_interval(),
            "too-few-records",
        ),
    ]
    for ask, reason in cases:
        with pytest.raises(EstimateError) as caught:
            ask()
        assert caught.value.reason == reason


def test_impossible_sums_are_refused() -> None:
    good = Moments(4, 6, 14, 36, Fraction(0), Fraction(1))
    for n, s1, s2, s3, step in [
        (4, 6, 8, 0, 1),
        (-1, 0, 0, 0, 1),
        (0, 0, 1, 0, 1),
        (4, 6, 14, 36, 0),
        (4, 6, 14, 36, -1),
    ]:
        with pytest.raises(ParameterError):
            Moments(n, s1, s2, s3, Fraction(0), Fraction(step))
    with pytest.raises(ParameterError, match="one number of records"):
        CoMoments(good, Moments(3, 3, 5, 9, Fraction(0), Fraction(1)), 4)
    with pytest.raises(ParameterError, match="beyond 1"):
        CoMoments(good, good, 99)
    with pytest.raises(ParameterError, match="sum of cubes"):
        _ = Moments(4, 6, 14, None, Fraction(0), Fraction(1)).skewness
    with pytest.raises(ParameterError, match="between 0 and 1"):
        fine_pair([Fraction(v) for v in (1, 2, 4, 8)], [Fraction(v) for v in (3, 1, 1, 0)]).correlation_interval(1.0)
