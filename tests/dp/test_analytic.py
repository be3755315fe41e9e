"""Closed forms against published reference values and against mpmath, to their digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp.analytic import gaussian_delta, gaussian_epsilon, gaussian_noise_multiplier, smallest
from dp.discrete import (
    discrete_gaussian_delta,
    discrete_gaussian_deltas,
    discrete_laplace_deltas,
    gaussian_equivalent,
    summed_gaussians_ratio,
)
from dp.errors import PrivacyParameterError
from dp.laws import gaussian_law, laplace_law
from dp.mass import mass
from dp.zcdp import advanced_composition, basic_composition, gaussian_rho, zcdp_delta, zcdp_epsilon, zcdp_rho

epsilons = st.floats(1e-3, 30)
deltas = st.floats(-30, -0.2).map(lambda e: 10**e)
multipliers = st.floats(-1.5, 3).map(lambda e: 10**e)


def exact_gaussian_delta(s: float, epsilon: float) -> mpmath.mpf:
    a = 1 / (2 * mpmath.mpf(s)) - mpmath.mpf(epsilon) * s
    return mpmath.ncdf(a) - mpmath.exp(epsilon) * mpmath.ncdf(a - 1 / mpmath.mpf(s))


@pytest.mark.parametrize(("s", "epsilon", "delta"), [(1, 1, 0.12693674), (1 / 3, 1, 0.78760074), (1, 2, 0.02092364)])
def test_gaussian_delta(s: float, epsilon: float, delta: float) -> None:
    assert gaussian_delta(s, epsilon) == pytest.approx(delta, abs=5e-9)  # dp_accounting's tests


@pytest.mark.parametrize(
    ("epsilon", "delta", "sigma"),
    [(1, 1e-5, 3.7306316348159374), (0.1, 1e-6, 36.304690426195194), (10, 1e-5, 0.4998886197090323)],
)
def test_analytic_sigma(epsilon: float, delta: float, sigma: float) -> None:
    found = gaussian_noise_multiplier(epsilon, delta)
    assert found == pytest.approx(sigma, rel=1e-12)  # dp_accounting, whose own tolerance is 1e-12
    assert gaussian_delta(found, epsilon) <= delta


@given(multipliers, epsilons)
def test_gaussian_delta_is_never_below_the_truth_and_hardly_above(s: float, epsilon: float) -> None:
    with mpmath.workdps(400):
        true = exact_gaussian_delta(s, epsilon)
        found = gaussian_delta(s, epsilon)
        assert true <= found
        assert found <= true * (1 + mpmath.mpf("1e-6")) + mpmath.mpf("1e-300")


@given(epsilons, deltas)
def test_calibration_and_its_inverse_meet_on_the_private_side(epsilon: float, delta: float) -> None:
    s = gaussian_noise_multiplier(epsilon, delta)
    assert gaussian_delta(s, epsilon) <= delta
    assert gaussian_delta(s * (1 - 1e-6), epsilon) > delta
    if 0.05 <= epsilon <= 10:
        assert gaussian_delta(s * (1 - 1e-11), epsilon) > delta * (1 - 1e-9)
    back = gaussian_epsilon(s, delta)
    assert back == pytest.approx(epsilon, rel=1e-5)
    assert gaussian_delta(s, back) <= delta


@given(epsilons, epsilons, deltas, deltas)
def test_noise_falls_with_epsilon_and_with_delta(e1: float, e2: float, d1: float, d2: float) -> None:
    assert gaussian_noise_multiplier(max(e1, e2), d1) <= gaussian_noise_multiplier(min(e1, e2), d1) * (1 + 1e-12)
    assert gaussian_noise_multiplier(e1, max(d1, d2)) <= gaussian_noise_multiplier(e1, min(d1, d2)) * (1 + 1e-12)


def test_discrete_gaussian_delta() -> None:
    # Code beside Canonne, Kamath, Steinke (2020).
    assert discrete_gaussian_delta(gaussian_law(Fraction(1)), 1, 1.0) == pytest.approx(0.14135133940562192, rel=2e-14)


@given(st.floats(0.3, 30), st.integers(1, 5), st.floats(0, 5), st.booleans())
def test_discrete_deltas_are_hockey_sticks(scale: float, move: int, epsilon: float, curved: bool) -> None:
    law = gaussian_law(Fraction(scale) ** 2) if curved else laplace_law(Fraction(scale))
    x = np.arange(-2000, 2001)
    here, there = mass(law, x), mass(law, x - move)
    plain = float(np.maximum(0, here - math.exp(epsilon) * there).sum())
    many = (discrete_gaussian_deltas if curved else discrete_laplace_deltas)(law, move, np.array([epsilon]))[0]
    assert plain - 1e-13 <= many <= plain + 1e-11
    if curved:
        one = discrete_gaussian_delta(law, move, epsilon)
        assert plain - 1e-13 <= one <= plain + 1e-11


def test_summed_gaussians() -> None:
    # Kairouz, Liu, Steinke (2021).
    assert summed_gaussians_ratio(0.5, 100) == pytest.approx(9.7011585, abs=5e-8)
    assert summed_gaussians_ratio(1.0, 100) == pytest.approx(5.4778870e-4, abs=5e-12)
    assert summed_gaussians_ratio(1.0, 10**7) >= summed_gaussians_ratio(1.0, 10**4)


@pytest.mark.parametrize(("sigma", "clients"), [(0.6, 2), (0.6, 8), (0.8, 5), (1.0, 3)])
def test_the_sum_of_discrete_gaussians_is_as_near_to_one_as_stated(sigma: float, clients: int) -> None:
    x = np.arange(-60, 61)
    one = mass(gaussian_law(Fraction(sigma) ** 2), x)
    total = one
    for _ in range(clients - 1):
        total = np.convolve(total, one)
    centre = total.size // 2
    ideal = mass(gaussian_law(clients * Fraction(sigma) ** 2), np.arange(-6, 7))
    ratio = np.abs(np.log(total[centre - 6 : centre + 7] / ideal)).max()
    assert ratio <= summed_gaussians_ratio(sigma, clients)


@pytest.mark.parametrize(("sigma", "s"), [(3.0, 0.8), (2.0, 1.0), (5.0, 1.2)])
def test_rounded_gaussians_are_as_near_to_discrete_ones_as_stated(sigma: float, s: float) -> None:
    # The claim of dp.discrete by quadrature: N(0, sigma^2 - s^2), then a discrete Gaussian of parameter s around it.
    tau = math.sqrt(sigma**2 - s**2)
    y = np.linspace(-12 * tau, 12 * tau, 40_001)
    density = np.exp(-0.5 * (y / tau) ** 2) / (tau * math.sqrt(2 * math.pi)) * (y[1] - y[0])
    z = np.arange(-100, 101)
    kernel = np.exp(-0.5 * ((z[:, None] - y[None, :]) / s) ** 2)
    rounded = (kernel / kernel.sum(axis=0)) @ density
    ideal = mass(gaussian_law(Fraction(sigma) ** 2), z)
    inside = np.abs(z) <= 5 * sigma
    kappa = 7 * math.exp(-2 * (math.pi * s) ** 2)
    assert np.abs(np.log(rounded[inside] / ideal[inside])).max() <= kappa + 1e-10


def test_gaussian_equivalents() -> None:
    assert gaussian_equivalent(100.0**2, 10**6) == pytest.approx(100, rel=2e-4)
    assert gaussian_equivalent(2.0, 10**6) is None


def test_zcdp() -> None:
    # Code beside Canonne, Kamath, Steinke (2020).
    assert zcdp_delta(0.025, 1) == pytest.approx(1.3361319064032213e-06, rel=5e-14)
    assert zcdp_epsilon(0.025, 1e-6) == pytest.approx(1.014074254726128, rel=1e-14)
    assert zcdp_rho(1, 1e-6) == pytest.approx(0.024355970359538372, rel=1e-14)


@given(st.floats(1e-4, 10), deltas)
def test_zcdp_conversions_meet(rho: float, delta: float) -> None:
    epsilon = zcdp_epsilon(rho, delta)
    assert zcdp_delta(rho, epsilon) <= delta
    if epsilon > 0:
        assert zcdp_rho(epsilon, delta) <= rho * (1 + 1e-9)
        multiplier = 1 / math.sqrt(2 * rho)
        assert gaussian_epsilon(multiplier, delta) <= epsilon * (1 + 1e-9)
        assert gaussian_rho(multiplier) == pytest.approx(rho)


@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf, True, "1"])
def test_bad_parameters(bad: object) -> None:
    for call in (
        lambda: gaussian_noise_multiplier(bad, 1e-5),  # type: ignore[arg-type]
        lambda: gaussian_noise_multiplier(1.0, bad),  # type: ignore[arg-type]
        lambda: gaussian_delta(bad, 1.0),  # type: ignore[arg-type]
        lambda: zcdp_delta(bad, 1.0),  # type: ignore[arg-type]
        lambda: zcdp_epsilon(0.1, bad),  # type: ignore[arg-type]
        lambda: basic_composition([(-1.0, bad)]),  # type: ignore[list-item]
        lambda: advanced_composition(bad, 0.0, 3, 1e-6),  # type: ignore[arg-type]
    ):
        with pytest.raises(PrivacyParameterError):
            call()


# Conversions and composition at their edges: on the private side, to the last place.


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
        true = exact_gaussian_delta(s, epsilon)
        assert true <= gaussian_delta(s, epsilon) <= true * (1 + mpmath.mpf("2e-11")) + mpmath.mpf("1e-322")


def test_small_deltas_are_rounded_up_everywhere() -> None:
    # From a = -1 to -37.4, where half the square of a has an error of its own: a hundred times that of delta's factors.
    with mpmath.workdps(60):
        for k in range(10, 375):
            s, a = 0.5 + k % 7, -k / 10
            epsilon = (0.5 / s - a) / s
            true = exact_gaussian_delta(s, epsilon)
            assert true <= gaussian_delta(s, epsilon) <= true * (1 + mpmath.mpf("1e-9"))


def test_deltas_below_all_floats_are_not_taken_for_nothing() -> None:
    assert gaussian_delta(1.0, 60.0) == 5e-324
    assert gaussian_delta(1.0, 38.9) > 5e-324
    assert gaussian_delta(100.0, 1.0) == 5e-324


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
