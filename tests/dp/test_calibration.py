"""Searches for the least noise: they end on the private side, waste no more than they say, and ask few times."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.accounting import Method, epsilon_of
from dp.analytic import gaussian_delta, gaussian_epsilon, gaussian_noise_multiplier, smallest
from dp.calibration import (
    _search,
    discrete_gaussian_sigma,
    fixed_size_noise_multiplier,
    gaussian_sigma,
    laplace_epsilon,
    laplace_scale,
    least_parameter,
    noise_multiplier,
)
from dp.discrete import discrete_gaussian_delta
from dp.errors import PrivacyParameterError
from dp.events import DiscreteGaussianEvent, Event, GaussianEvent, PoissonSampled, Repeated, ZCDPEvent
from dp.laws import gaussian_law
from dp.rational import exact
from dp.sensitivity import Adjacency, Norm, Sensitivity

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE


class Counting:
    """A falling curve of spending that counts how often it is asked."""

    def __init__(self, curve: Callable[[float], float]) -> None:
        self._curve, self.calls = curve, 0

    def __call__(self, x: float) -> float:
        self.calls += 1
        return self._curve(x)


powers = st.floats(0.5, 2.5)
leasts = st.floats(-4, 4).map(lambda e: 10**e)


@given(leasts, powers, st.sampled_from([1e-2, 1e-5]), st.floats(0.05, 20))
def test_a_search_ends_just_above_the_least(least: float, power: float, tolerance: float, epsilon: float) -> None:
    spent = Counting(lambda x: epsilon * (least / x) ** power * (1 + (least / x)) / 2)
    found = _search(spent, epsilon, 1.0, 0.5, tolerance)
    assert spent(found) <= epsilon
    assert least * (1 - 1e-12) <= found <= least * (1 + tolerance)
    assert spent.calls <= 25


def test_a_search_passes_through_what_is_infinite_and_what_is_nothing() -> None:
    cliff = Counting(lambda x: math.inf if x < 3 else 1 / x)
    found = _search(cliff, 0.5, 1.0, 0.5, 1e-6)
    assert 3 <= found <= 3 * (1 + 1e-6)
    step = Counting(lambda x: 0.0 if x > 1e-3 else 2.0)
    found = _search(step, 0.5, 1.0, 0.5, 1e-6)
    assert 1e-3 < found <= 1e-3 * (1 + 1e-6)
    assert max(cliff.calls, step.calls) <= 70


@pytest.mark.parametrize("method", [Method.AUTO, Method.RDP])
def test_a_search_without_an_end_is_refused(method: Method) -> None:
    # The noise of such an event does not depend on what is searched for.
    with pytest.raises(PrivacyParameterError, match=r"no noise reaches epsilon = 0\.5"):
        least_parameter(lambda _: GaussianEvent(5.0, ADD), 0.5, 1e-5, method=method, interval=1e-2)
    with pytest.raises(PrivacyParameterError, match=r"epsilon = 5\.0 is met without noise"):
        least_parameter(lambda _: GaussianEvent(5.0, ADD), 5.0, 1e-5, method=method, interval=1e-2)


@pytest.mark.parametrize("least", [1e-90, 1e90])
def test_a_search_reaches_as_far_as_events_do(least: float) -> None:
    found = _search(lambda x: least / x, 1.0, 1.0, 0.5, 1e-6)
    assert least <= found <= least * (1 + 1e-6)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_the_least_parameter_is_the_least(tolerance: float) -> None:
    asked = 0

    def event(x: float) -> Event:
        nonlocal asked
        asked += 1
        return ZCDPEvent(0.5 / x**2, ADD)

    for epsilon in (0.1, 1.0, 20.0):
        asked = 0
        found = least_parameter(event, epsilon, 1e-6, method=Method.RDP, tolerance=tolerance)
        assert epsilon_of(event(found), 1e-6) <= epsilon
        assert epsilon_of(event(found * (1 - 2 * tolerance)), 1e-6) > epsilon
        assert asked <= 25


@pytest.mark.parametrize("tolerance", [1e-3, 1e-5])
def test_a_search_on_a_coarse_grid_leaves_few_steps_to_the_fine_one(tolerance: float) -> None:
    grids: list[float] = []

    def event(x: float) -> Event:
        grids.append(x)
        return Repeated(PoissonSampled(0.2, GaussianEvent(x, ADD)), 5)

    found = least_parameter(event, 1.0, 1e-5, tolerance=tolerance, interval=1e-3)
    asked = len(grids)
    assert epsilon_of(event(found), 1e-5, interval=1e-3) <= 1.0
    assert epsilon_of(event(found * (1 - 2 * tolerance)), 1e-5, interval=1e-3) > 1.0
    assert asked <= 16
    assert grids[asked - 1] == found  # what is returned was asked about last, on the fine grid


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ((math.nan, 1e-5), "epsilon"),
        ((-1.0, 1e-5), "epsilon"),
        ((0.0, 1e-5), "epsilon"),
        ((1.0, 0.0), "delta"),
        ((1.0, math.nan), "delta"),
    ],
)
def test_a_search_refuses_goals_that_are_none(goal: tuple[float, float], words: str) -> None:
    with pytest.raises(PrivacyParameterError, match=f"{words} = "):
        least_parameter(lambda x: GaussianEvent(x, ADD), *goal)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan])
def test_a_tolerance_of_nothing_is_refused(tolerance: float) -> None:
    with pytest.raises(PrivacyParameterError, match="tolerance"):
        least_parameter(lambda x: GaussianEvent(x, ADD), 1.0, 1e-5, tolerance=tolerance)


@given(st.floats(0.02, 0.98), st.floats(1e-3, 1e6))
def test_bisection_ends_at_neighbouring_floats(share: float, scale: float) -> None:
    edge = share * scale
    found = smallest(lambda x: x >= edge, 0.0, scale)
    assert edge <= found <= edge * (1 + 1e-15)


# Closed forms.


@pytest.mark.parametrize("change", [{"sampling_rate": True}, {"sampling_rate": 1.01}, {"epsilon": 0.0}, {"delta": 1.0}])
def test_goals_are_checked_where_a_closed_form_answers(change: dict[str, object]) -> None:
    arguments = {"epsilon": 1.0, "delta": 1e-5, "rounds": 3, "sampling_rate": 1.0, "adjacency": ADD} | change
    with pytest.raises(PrivacyParameterError):
        noise_multiplier(**arguments)  # type: ignore[arg-type]


def test_without_sampling_many_rounds_are_one_gaussian() -> None:
    exactly = noise_multiplier(1.0, 1e-5, rounds=9)
    assert gaussian_delta(exactly / 3, 1.0) <= 1e-5 < gaussian_delta(exactly / 3 * (1 - 1e-9), 1.0)
    by_rdp = noise_multiplier(1.0, 1e-5, rounds=9, method=Method.RDP, tolerance=1e-3)
    assert exactly * 1.01 < by_rdp < exactly * 1.2


def test_without_sampling_the_accountant_that_was_named_agrees() -> None:
    for method in Method:
        found = noise_multiplier(1.0, 1e-5, rounds=3, method=method, tolerance=1e-3, interval=1e-3)
        assert epsilon_of(Repeated(GaussianEvent(found, ADD), 3), 1e-5, method, 1e-3) <= 1.0


def test_replacing_needs_more_noise_on_a_sample_than_removing() -> None:
    remove = noise_multiplier(1.0, 1e-5, rounds=5, sampling_rate=0.2, tolerance=1e-2, interval=1e-3)
    replace = noise_multiplier(1.0, 1e-5, rounds=5, sampling_rate=0.2, adjacency=REPLACE, tolerance=1e-2, interval=1e-3)
    event = Repeated(PoissonSampled(0.2, GaussianEvent(replace, REPLACE)), 5)
    assert epsilon_of(event, 1e-5, interval=1e-3) <= 1.0
    assert replace != pytest.approx(remove, rel=1e-2)


@pytest.mark.parametrize("goal", [(0.0, 1e-5), (1.0, 0.0), (1.0, 1.0)])
def test_impossible_goals_of_fixed_size_samples(goal: tuple[float, float]) -> None:
    with pytest.raises(PrivacyParameterError, match="must"):
        fixed_size_noise_multiplier(*goal, rounds=3, batch=10, population=100)


def test_scales_count_the_dimension_and_round_up() -> None:
    wide = Sensitivity(0.1, Norm.LINF, ADD)
    assert laplace_scale(0.5, wide) == Fraction(0.1) / Fraction(0.5)  # of one entry, unless more are said
    assert laplace_epsilon(0.5, wide) == pytest.approx(0.2, rel=1e-15)
    assert gaussian_sigma(1.0, 1e-5, wide) == pytest.approx(0.1 * gaussian_noise_multiplier(1.0, 1e-5), rel=1e-14)
    assert gaussian_sigma(1.0, 1e-5, wide, 9) == pytest.approx(0.3 * gaussian_noise_multiplier(1.0, 1e-5), rel=1e-12)
    assert laplace_scale(0.5, wide, 9) == Fraction(wide.bound(Norm.L1, 9)) / Fraction(0.5)
    for scale in (0.1, 0.3, 7.0):
        bound = laplace_epsilon(scale, wide, 9)
        true = Fraction(wide.bound(Norm.L1, 9)) / Fraction(scale)
        assert true <= Fraction(bound) <= true * (1 + Fraction(1, 2**50))
    for wrong in (0.0, -1.0, math.inf):
        with pytest.raises(PrivacyParameterError, match="epsilon"):
            laplace_scale(wrong, wide)
        with pytest.raises(PrivacyParameterError, match="scale"):
            laplace_epsilon(wrong, wide)


# Discrete Gaussian noise.


@pytest.mark.parametrize(("epsilon", "delta", "move"), [(1.0, 1e-5, 1), (0.1, 1e-6, 3), (5.0, 1e-3, 1)])
def test_one_integer_gets_the_least_noise_by_the_exact_formula(epsilon: float, delta: float, move: int) -> None:
    sigma = discrete_gaussian_sigma(epsilon, delta, float(move))

    def cost(value: float) -> float:
        return discrete_gaussian_delta(gaussian_law(exact(value, "sigma") ** 2), move, epsilon)

    assert cost(sigma) <= delta
    assert cost(sigma * (1 - 1e-8)) > delta
    assert discrete_gaussian_sigma(epsilon, delta, move + 0.9) == pytest.approx(sigma, rel=1e-8)  # whole steps only


def test_one_integer_in_wide_noise_is_as_gaussian_noise() -> None:
    multiplier = gaussian_noise_multiplier(1.0, 1e-5)
    sigma = discrete_gaussian_sigma(1.0, 1e-5, 1e5)
    assert multiplier * 1e5 <= sigma <= multiplier * 1e5 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("epsilon", "move", "d"), [(1.0, 1.0, 2), (1.0, 10.0, 1000), (20.0, 1.5, 50), (0.3, 1.0, 10**6)]
)
def test_vectors_get_the_least_noise_that_is_accounted_for(epsilon: float, move: float, d: int) -> None:
    sigma = discrete_gaussian_sigma(epsilon, 1e-5, move, d)
    assert epsilon_of(DiscreteGaussianEvent(sigma, move, d, ADD), 1e-5) <= epsilon
    less = DiscreteGaussianEvent(sigma * (1 - 1e-6), move, d, ADD)
    assert min(epsilon_of(less, 1e-5), epsilon_of(less, 1e-5, Method.RDP)) > epsilon
    assert gaussian_epsilon(sigma / move, 1e-5) <= epsilon


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((1.0, 1e-5, 0.999), "whole steps"),
        ((1.0, 1e-5, math.nan), "finite"),
        ((1.0, 1e-5, 1.0, 0), "dimension"),
        ((0.0, 1e-5, 1.0), "epsilon"),
        ((1.0, 0.0, 1.0), "delta"),
    ],
)
def test_impossible_noise_is_refused(arguments: tuple[float, ...], words: str) -> None:
    with pytest.raises(PrivacyParameterError, match=words):
        discrete_gaussian_sigma(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("delta", [1e-29, 1e-31, 1e-40, 1e-300])
def test_deltas_below_what_sums_can_see_get_noise_all_the_same(delta: float) -> None:
    sigma = discrete_gaussian_sigma(1.0, delta, 1.0)
    multiplier = gaussian_noise_multiplier(1.0, delta)
    assert multiplier * (1 - 1e-3) <= sigma <= multiplier * 1.01
    # The tail above the loss of epsilon is a bound from below on nine tenths of delta; to 30 digits.
    with mpmath.workdps(30):
        x = range(math.floor(sigma**2 - 0.5) + 1, math.floor(sigma**2 - 0.5) + 400)
        losses = [(2 * k + 1) / (2 * mpmath.mpf(sigma) ** 2) for k in x]
        masses = [mpmath.exp(-(mpmath.mpf(k) ** 2) / (2 * mpmath.mpf(sigma) ** 2)) for k in x]
        true = mpmath.fsum(m * (1 - mpmath.exp(1 - loss)) for m, loss in zip(masses, losses, strict=True))
        assert true / (mpmath.mpf(sigma) * mpmath.sqrt(2 * mpmath.pi)) <= delta
