"""Conversions and composition at their edges: against many digits, on the private side, to the last place."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.analytic import gaussian_delta, gaussian_epsilon, gaussian_noise_multiplier, smallest
from dp.errors import PrivacyParameterError
from dp.zcdp import advanced_composition, basic_composition, gaussian_rho, zcdp_delta, zcdp_epsilon, zcdp_rho

deltas = st.floats(-30, -0.2).map(lambda e: 10**e)


def exact_zcdp_delta(rho: float, epsilon: float) -> mpmath.mpf:
    """Corollary 13 at its minimum, found by the zero of its logarithm's slope."""
    r, e = mpmath.mpf(rho), mpmath.mpf(epsilon)
    low, high = mpmath.mpf(1), (e + 1) / r + 10
    for _ in range(150):
        alpha = (low + high) / 2
        if (2 * alpha - 1) * r - e + mpmath.log1p(-1 / alpha) < 0:
            low = alpha
        else:
            high = alpha
    return mpmath.exp((alpha - 1) * (alpha * r - e) + alpha * mpmath.log1p(-1 / alpha)) / (alpha - 1)


@given(st.floats(-6, 1).map(lambda e: 10**e), st.floats(0, 40))
@example(1e-6, 0.0)
@example(4e-4, 1.0)
@example(1e-3, 1.5)
@example(2e-3, 2.0)
def test_zcdp_deltas_are_the_least_and_rounded_up(rho: float, epsilon: float) -> None:
    with mpmath.workdps(40):
        true = min(mpmath.mpf(1), exact_zcdp_delta(rho, epsilon))
        found = zcdp_delta(rho, epsilon)
        assert found <= 1
        if true > mpmath.mpf("1e-290"):
            assert true <= found <= true * (1 + mpmath.mpf("1e-11"))


@given(st.floats(1e-3, 30), deltas)
def test_the_largest_rho_is_private_and_the_largest(epsilon: float, delta: float) -> None:
    rho = zcdp_rho(epsilon, delta)
    assert zcdp_delta(rho, epsilon) <= delta
    assert zcdp_delta(rho * (1 + 1e-9), epsilon) > delta
    back = zcdp_epsilon(rho, delta)
    assert back == pytest.approx(epsilon, rel=1e-9)
    assert zcdp_delta(rho, back) <= delta


def test_where_delta_is_free_epsilon_is_nothing() -> None:
    assert zcdp_epsilon(1e-3, 0.9) == 0.0
    edge = zcdp_delta(1e-3, 0.0)
    assert zcdp_epsilon(1e-3, edge) == 0.0
    assert zcdp_epsilon(1e-3, edge * (1 - 1e-6)) > 0
    assert gaussian_epsilon(100.0, 0.5) == 0.0
    assert gaussian_epsilon(1.0, gaussian_delta(1.0, 0.0)) == 0.0


@pytest.mark.parametrize("multiplier", [0.1, 0.3, 1.0, 3.0, 1e6])
def test_rho_is_rounded_up_and_hardly(multiplier: float) -> None:
    with mpmath.workdps(30):
        true = 1 / (2 * mpmath.mpf(multiplier) ** 2)
        assert true <= gaussian_rho(multiplier) <= true * (1 + mpmath.mpf("2e-15"))


def test_basic_composition_adds_up_and_no_further_than_one() -> None:
    epsilon, delta = basic_composition([(0.1, 1e-7)] * 10)
    assert 1.0 <= epsilon <= 1 + 1e-14
    assert 1e-6 <= delta <= 1e-6 * (1 + 1e-14)
    assert basic_composition([(0.5, 0.0), (0.0, 0.0)]) == (pytest.approx(0.5), 0.0)
    assert basic_composition([(0.5, 0.7), (0.5, 0.7)])[1] == 1.0
    assert basic_composition([]) == (0.0, 0.0)


def test_advanced_composition_counts_every_delta_and_beats_the_sum_or_equals_it() -> None:
    epsilon, delta = advanced_composition(0.1, 1e-8, 100, 1e-6)
    # Dwork, Rothblum (2016): 0.1 sqrt(200 log(1e6)) + 10 tanh(0.05), worked out to 30 digits.
    with mpmath.workdps(30):
        true = mpmath.mpf(0.1) * mpmath.sqrt(200 * mpmath.log(10**6)) + 100 * mpmath.mpf(0.1) * mpmath.tanh(
            mpmath.mpf(0.1) / 2
        )
        assert true * (1 - mpmath.mpf("1e-15")) <= epsilon <= true * (1 + mpmath.mpf("1e-14"))
    assert 2e-6 <= delta <= 2e-6 * (1 + 1e-14)
    assert advanced_composition(0.1, 0.1, 100, 0.5)[1] == 1.0
    few, _ = advanced_composition(0.1, 0.0, 2, 1e-6)
    assert 0.2 <= few <= 0.2 * (1 + 1e-14)
    for bad in ((0.1, 0.0, 0, 1e-6), (0.1, 0.0, 2, 0.0), (0.1, 1.0, 2, 1e-6), (0.0, 0.0, 2, 1e-6)):
        with pytest.raises(PrivacyParameterError):
            advanced_composition(*bad)


# Gaussian noise.


@given(st.floats(-3, 3).map(lambda e: 10**e), st.floats(0, 60))
@example(1e-3, 0.0)
@example(1e-3, 0.1)
@example(1e3, 0.0)
@example(1.0, 38.0)
@example(1.0, 39.5)
def test_gaussian_deltas_are_probabilities(s: float, epsilon: float) -> None:
    assert 0 < gaussian_delta(s, epsilon) <= 1
    assert gaussian_delta(s, epsilon) >= gaussian_delta(s * 1.001, epsilon) * (1 - 1e-12)


@pytest.mark.parametrize(
    ("s", "epsilon"),
    [
        (1.0, 0.0),
        (0.5, 0.999),
        (0.5, 1.0),
        (0.5, 1.999),
        (0.2, 12.4),
        (0.2, 12.6),
        (1.0, 12.4),
        (1.0, 12.6),
        (1.0, 38.9),
    ],
)
def test_gaussian_deltas_where_their_forms_meet(s: float, epsilon: float) -> None:
    with mpmath.workdps(400):
        a = 1 / (2 * mpmath.mpf(s)) - mpmath.mpf(epsilon) * s
        true = mpmath.ncdf(a) - mpmath.exp(epsilon) * mpmath.ncdf(a - 1 / mpmath.mpf(s))
        assert true <= gaussian_delta(s, epsilon) <= true * (1 + mpmath.mpf("2e-11")) + mpmath.mpf("1e-322")


def test_small_deltas_are_rounded_up_everywhere() -> None:
    # From a = -1 to -37.4, where half the square of a has an error of its own: a hundred times that of delta's factors.
    with mpmath.workdps(60):
        for k in range(10, 375):
            s, a = 0.5 + k % 7, -k / 10
            epsilon = (0.5 / s - a) / s
            exactly = 1 / (2 * mpmath.mpf(s)) - mpmath.mpf(epsilon) * s
            true = mpmath.ncdf(exactly) - mpmath.exp(epsilon) * mpmath.ncdf(exactly - 1 / mpmath.mpf(s))
            assert true <= gaussian_delta(s, epsilon) <= true * (1 + mpmath.mpf("1e-9"))


def test_deltas_below_all_floats_are_not_taken_for_nothing() -> None:
    assert gaussian_delta(1.0, 60.0) == 5e-324
    assert gaussian_delta(1.0, 38.9) > 5e-324
    assert gaussian_delta(100.0, 1.0) == 5e-324


@given(st.floats(0.05, 10), deltas)
def test_the_least_multiplier_is_the_least_to_its_last_places(epsilon: float, delta: float) -> None:
    s = gaussian_noise_multiplier(epsilon, delta)
    assert gaussian_delta(s, epsilon) <= delta
    assert gaussian_delta(s * (1 - 1e-11), epsilon) > delta * (1 - 1e-9)


def test_bisections_ask_no_more_often_than_floats_have_bits() -> None:
    asked = []

    def good(x: float) -> bool:
        asked.append(x)
        return x >= 0.7

    found = smallest(good, 0.5, 1.0)
    assert 0.7 <= found <= 0.7 * (1 + 4e-16)
    assert len(asked) <= 60
    assert all(0.5 < x < 1 for x in asked)
    asked.clear()
    assert 0.7 <= smallest(good, 0.5, 1.0, 1e-3) <= 0.7 * (1 + 1e-3)
    assert len(asked) <= 10
    assert math.nextafter(1.0, 2) == smallest(lambda x: x > 1, 1.0, math.nextafter(1.0, 2))
