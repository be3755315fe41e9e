"""Mechanisms, clipping, rotation, adaptive clips and audits. Statistical tests: false alarms below 1e-9 each."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dp import clipping, mechanisms, samplers
from dp.accounting import epsilon_of
from dp.audit import audit_epsilon, clopper_pearson, epsilon_lower_bound
from dp.errors import PrivacyParameterError
from dp.events import Composed, DiscreteGaussianEvent, DiscreteLaplaceEvent, GaussianEvent
from dp.goodness import check_noise
from dp.laws import gaussian_law, laplace_law
from dp.quantile import AdaptiveClip
from dp.rotation import padded_length, rotate, rotate_back
from dp.sensitivity import Adjacency, Norm, Sensitivity

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
ONE_L1, ONE_L2 = Sensitivity(1.0, Norm.L1, ADD), Sensitivity(1.0, Norm.L2, ADD)
FALSE_ALARM = 1e-9

vectors = arrays(np.float64, st.integers(1, 70), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


def test_a_sensitivity_is_a_float_whatever_it_was_given_as() -> None:
    for value in (1, Fraction(1, 2), np.float32(0.25)):
        assert type(Sensitivity(value, Norm.L2, ADD).value) is float


def test_gaussian_release() -> None:
    values = np.linspace(-5, 5, 100_000).reshape(100, -1)
    sensitivity = Sensitivity(0.5, Norm.L2, ADD)
    release = mechanisms.gaussian(values, sensitivity, epsilon=1.0, delta=1e-5)
    assert isinstance(release.event, DiscreteGaussianEvent)
    assert release.value.shape == values.shape
    assert epsilon_of(release.event, 1e-5) <= 1.0 + 1e-6
    assert release.scale == pytest.approx(0.5 * 3.7306316348, rel=1e-5)
    steps = release.value / release.granularity
    assert np.array_equal(steps, np.rint(steps))
    noise = steps - np.rint(values / release.granularity)
    law = gaussian_law(Fraction(release.scale / release.granularity) ** 2)
    assert check_noise(noise, law, false_alarm=FALSE_ALARM).passed


def test_laplace_release() -> None:
    values = np.linspace(-5, 5, 50_000)
    release = mechanisms.laplace(values, Sensitivity(3.0, Norm.L1, REPLACE), epsilon=0.5)
    assert isinstance(release.event, DiscreteLaplaceEvent)
    assert epsilon_of(release.event, 0.0) == pytest.approx(0.5, rel=1e-9)
    assert release.scale == pytest.approx(6.0, rel=1e-5)
    noise = release.value / release.granularity - np.rint(values / release.granularity)
    law = laplace_law(Fraction(release.scale / release.granularity))
    assert check_noise(noise, law, false_alarm=FALSE_ALARM).passed


@given(vectors, st.data())
def test_the_grids_sensitivity_covers_any_neighbour(values: np.ndarray, data: st.DataObject) -> None:
    step = data.draw(arrays(np.float64, values.shape, elements=st.floats(-1, 1, allow_subnormal=False)))
    grid = 0.25
    moved = np.rint(values / grid) - np.rint((values + step) / grid)
    l2, l1 = float(np.linalg.norm(step)), float(np.abs(step).sum())
    if l2 == 0:
        return
    for event, norm, size in (
        (mechanisms.gaussian(values, Sensitivity(l2, Norm.L2, ADD), sigma=9.0, granularity=grid).event, 2, l2),
        (mechanisms.laplace(values, Sensitivity(l1, Norm.L1, ADD), scale=9.0, granularity=grid).event, 1, l1),
    ):
        assert isinstance(event, DiscreteGaussianEvent | DiscreteLaplaceEvent)
        assert float(np.linalg.norm(moved, norm)) <= event.sensitivity * (1 + 1e-9)
        assert event.sensitivity <= size / grid + values.size + 1


@pytest.mark.parametrize("size", [1, 5000])
def test_integer_releases(size: int) -> None:
    counts = np.arange(size)
    gauss = mechanisms.discrete_gaussian_mechanism(counts, ONE_L2, sigma=3)
    assert gauss.value.dtype == np.int64
    assert gauss.event == DiscreteGaussianEvent(3.0, 1.0, size, ADD)
    lap = mechanisms.geometric_mechanism(counts, Sensitivity(2.0, Norm.L1, REPLACE), epsilon=0.25)
    assert lap.event == DiscreteLaplaceEvent(8.0, 2, size, REPLACE)
    if size > 1000:
        assert check_noise(gauss.value - counts, gaussian_law(Fraction(9)), false_alarm=FALSE_ALARM).passed
        assert check_noise(lap.value - counts, laplace_law(Fraction(8)), false_alarm=FALSE_ALARM).passed


def test_scalars_are_released_as_scalars() -> None:
    assert np.shape(mechanisms.gaussian(3.0, ONE_L2, sigma=1.0).value) == ()
    assert np.shape(mechanisms.laplace(3.0, ONE_L1, epsilon=1.0).value) == ()
    assert np.shape(mechanisms.discrete_laplace_mechanism(3, ONE_L1, epsilon=1.0).value) == ()


def test_histograms() -> None:
    counts = np.array([3, 0, 11])
    assert isinstance(mechanisms.histogram(counts, ONE_L1, 1.0).event, DiscreteLaplaceEvent)
    release = mechanisms.histogram(counts, ONE_L2, 1.0, 1e-6)
    assert isinstance(release.event, DiscreteGaussianEvent)
    assert epsilon_of(release.event, 1e-6) <= 1.0 + 1e-4


@pytest.mark.parametrize(
    "release",
    [
        lambda: mechanisms.gaussian([], ONE_L2, sigma=1.0),
        lambda: mechanisms.gaussian([1.0, math.nan], ONE_L2, sigma=1.0),
        lambda: mechanisms.gaussian([math.inf], ONE_L2, sigma=1.0),
        lambda: mechanisms.gaussian([1.0], ONE_L2, sigma=1e-9),
        lambda: mechanisms.gaussian([1.0], ONE_L2, sigma=1e30),
        lambda: mechanisms.gaussian([1e30], ONE_L2, sigma=1.0),
        lambda: mechanisms.gaussian([1.7e308], ONE_L2, sigma=1.0),
        lambda: mechanisms.gaussian([1.0], ONE_L2),
        lambda: mechanisms.gaussian([1.0], ONE_L2, epsilon=1.0),
        lambda: mechanisms.gaussian([1.0], ONE_L2, sigma=1.0, epsilon=1.0),
        lambda: mechanisms.gaussian([1.0], ONE_L2, sigma=1.0, delta=1e-5),
        lambda: mechanisms.gaussian([1.0], ONE_L2, sigma=1.0, granularity=0.3),
        lambda: mechanisms.gaussian([1.0], ONE_L2, epsilon=-1.0, delta=1e-5),
        lambda: mechanisms.gaussian([1.0], ONE_L2, epsilon=1.0, delta=0.0),
        lambda: mechanisms.gaussian([1.0], ONE_L2, epsilon=1.0, delta=1.0),
        lambda: mechanisms.gaussian([1.0], Sensitivity(1e-320, Norm.L2, ADD), sigma=1e-320),
        lambda: mechanisms.laplace([1.0], ONE_L1, epsilon=0.0),
        lambda: mechanisms.laplace([1.0], ONE_L1, epsilon=math.nan),
        lambda: mechanisms.discrete_laplace_mechanism([1.5], ONE_L1, epsilon=1.0),
        lambda: mechanisms.discrete_laplace_mechanism([2**63 - 1], ONE_L1, epsilon=1.0),
        lambda: mechanisms.discrete_laplace_mechanism(np.array([2**63], np.uint64), ONE_L1, epsilon=1.0),
        lambda: mechanisms.discrete_gaussian_mechanism([-(2**63)], ONE_L2, sigma=1.0),
        lambda: mechanisms.discrete_gaussian_mechanism([1], ONE_L2, sigma=0.001),
        lambda: mechanisms.histogram([], ONE_L1, 1.0),
    ],
)
def test_bad_input_draws_no_noise(release: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "_draw", lambda *_: pytest.fail("noise was drawn"))
    with pytest.raises(PrivacyParameterError):
        release()  # type: ignore[operator]


# Clipping and rounding.


@given(vectors, st.floats(1e-3, 1e5), st.sampled_from(list(Norm)))
def test_clipped_vectors_meet_the_bound_exactly(values: np.ndarray, bound: float, norm: Norm) -> None:
    clipped = clipping.clip(values, bound, norm)
    exact = [abs(Fraction(v)) for v in clipped.tolist()]
    size = {Norm.L1: sum(exact), Norm.LINF: max(exact), Norm.L2: sum(v * v for v in exact)}[norm]
    assert size <= (Fraction(bound) ** 2 if norm is Norm.L2 else Fraction(bound))
    before = {Norm.L1: np.abs(values).sum(), Norm.L2: np.linalg.norm(values), Norm.LINF: np.abs(values).max()}[norm]
    if before < bound * (1 - 1e-9):
        assert np.array_equal(clipped, values)
    elif norm is not Norm.LINF:
        assert np.allclose(clipped, values * (bound / before), rtol=1e-6)


def test_rounded_bounds() -> None:
    # Kairouz, Liu, Steinke (2021): norm 64, d = 1000, beta = exp(-1/2).
    assert clipping.rounded_l2_bound(64, 1000, math.exp(-0.5)) == pytest.approx(66.52677196663642, rel=1e-13)
    assert clipping.rounded_l2_bound(64, 1000, 0) == pytest.approx(64 + math.sqrt(1000))
    assert clipping.rounded_l1_bound(3.0, 100) == pytest.approx(9.0)
    assert clipping.rounded_l1_bound(30.0, 100) == pytest.approx(300.0)


def test_rounding_is_unbiased() -> None:
    # Hoeffding over 400,000 bits, each of four fractions.
    for value in (0.25, -0.3, 7.999, 12345.5):
        mean = float(clipping.randomised_round(np.full(400_000, value)).mean())
        assert abs(mean - value) < math.sqrt(math.log(2 / FALSE_ALARM) / 800_000)
    assert clipping.randomised_round([3.0, -4.0, 0.0]).tolist() == [3, -4, 0]
    assert set(clipping.randomised_round([-1e-300] * 50).tolist()) <= {-1, 0}


@given(st.integers(1, 300), st.floats(0.5, 50), st.sampled_from([0.0, 0.3, math.exp(-0.5), 0.9]), st.integers(0, 99))
def test_conditional_rounding_keeps_its_bound(d: int, norm: float, beta: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=d)
    values = clipping.clip(values * (norm / np.linalg.norm(values)), norm, Norm.L2)
    rounded = clipping.conditionally_round(values, norm, beta)
    assert np.abs(rounded - values).max() < 1
    assert math.sqrt(clipping.integer_norm_squared(rounded)) <= clipping.rounded_l2_bound(norm, d, beta)


def test_norms_of_integers_are_exact() -> None:
    assert clipping.integer_norm_squared(np.array([2**31, -(2**31), 1])) == 2**63 + 1
    assert clipping.integer_norm_squared(np.full(8, 2**30 - 1)) == 8 * (2**30 - 1) ** 2
    assert clipping.integer_norm_squared(np.array([2**63], np.uint64)) == 2**126
    assert clipping.integer_norm_squared(np.full(8, 2**30)) == 2**63
    assert clipping.integer_norm_squared(np.zeros(0, np.int64)) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: clipping.clip([1.0, math.nan], 1.0, Norm.L2),
        lambda: clipping.clip([], 1.0, Norm.L2),
        lambda: clipping.clip([1.0], 0.0, Norm.L2),
        lambda: clipping.randomised_round([2.0**31]),
        lambda: clipping.conditionally_round([3.0, 4.0], 4.9, 0.5),
        lambda: clipping.rounded_l2_bound(1.0, 3, 1.0),
        lambda: clipping.integer_norm_squared(np.array([1.5])),  # type: ignore[arg-type]
        lambda: rotate([1.0], b"short"),
        lambda: rotate([[1.0]], bytes(32)),
        lambda: rotate_back([1.0, 2.0], bytes(32), 3),
        lambda: padded_length(0),
    ],
)
def test_bad_vectors(call: object) -> None:
    with pytest.raises(PrivacyParameterError):
        call()  # type: ignore[operator]


@given(st.integers(1, 200), st.binary(min_size=32, max_size=32))
def test_rotation_keeps_norms_flattens_and_comes_back(length: int, seed: bytes) -> None:
    spike = np.zeros(length)
    spike[length // 2] = 10.0
    rotated = rotate(spike, seed)
    assert rotated.size == padded_length(length)
    assert np.linalg.norm(rotated) == pytest.approx(10.0)
    assert np.abs(rotated).max() == pytest.approx(10 / math.sqrt(rotated.size))
    assert np.allclose(rotate_back(rotated, seed, length), spike, atol=1e-12)
    other = np.arange(length) * 1.0
    assert np.allclose(rotate_back(rotated + rotate(other, seed), seed, length), spike + other, atol=1e-9)


def test_rotations_differ_by_seed() -> None:
    x = np.arange(64.0)
    assert not np.allclose(rotate(x, bytes(32)), rotate(x, bytes(31) + b"\1"))


# Adaptive clipping.


def test_the_clip_moves_towards_its_quantile_from_both_sides() -> None:
    norms = np.exp(np.random.default_rng(5).normal(size=2000))
    for start in (0.01, 100.0):
        state = AdaptiveClip(start, target=0.5, count_sigma=20.0)
        for _ in range(150):
            state = state.update(sum(state.vote(n) > 0 for n in norms), norms.size)
        assert 0.8 < state.clip < 1.25  # the median is 1
    assert state.event == DiscreteGaussianEvent(40.0, 1.0, 1, ADD)
    assert AdaptiveClip(1.0, 0.5, 20.0, adjacency=Adjacency.REPLACE_ONE).event.sensitivity == 2


def test_votes_need_as_little_noise_as_their_inventors_found() -> None:
    # Andrew et al. (2021): z = 2, n = 100, sigma_b = n / 20.
    assert AdaptiveClip(1.0, 0.5, 5.0).noise_multiplier_beside(2.0) == pytest.approx(2.041241452319315, rel=1e-14)
    replaced = AdaptiveClip(1.0, 0.5, 10.0, adjacency=Adjacency.REPLACE_ONE)
    assert replaced.noise_multiplier_beside(2.0) == pytest.approx(2.041241452319315, rel=1e-14)
    with pytest.raises(PrivacyParameterError, match="above 1,"):
        AdaptiveClip(1.0, 0.5, 1.0).noise_multiplier_beside(2.0)


def test_values_and_votes_together_cost_what_was_asked() -> None:
    state = AdaptiveClip(1.0, 0.5, 5.0)
    values = GaussianEvent(state.noise_multiplier_beside(2.0), ADD)
    votes = GaussianEvent(state.event.sigma / state.event.sensitivity, ADD)
    assert epsilon_of(Composed((values, votes)), 1e-5) == pytest.approx(epsilon_of(GaussianEvent(2.0, ADD), 1e-5))


@given(votes=st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=40))
def test_a_sum_of_votes_and_the_count_of_those_within_move_the_clip_alike(votes: list[int]) -> None:
    state = AdaptiveClip(1.0, target=0.5, count_sigma=1.0)
    fraction = sum(vote > 0 for vote in votes) / len(votes)
    assert state.update_from_noisy(sum(votes), len(votes)).clip == pytest.approx(math.exp(-0.2 * (fraction - 0.5)))


def test_the_sign_is_right() -> None:
    state = AdaptiveClip(1.0, target=0.5, count_sigma=1.0)
    assert state.update_from_noisy(80, 100).clip < 1 < state.update_from_noisy(-80, 100).clip
    assert state.update_from_noisy(1e9, 100).clip == pytest.approx(math.exp(-0.1))


@pytest.mark.parametrize("count", [math.nan, math.inf, -math.inf, "5", None])
def test_a_count_that_is_no_number_moves_no_clip(count: Any) -> None:
    with pytest.raises(PrivacyParameterError, match="noisy_votes"):
        AdaptiveClip(1.0, 0.5, 1.0).update_from_noisy(count, 10)


@pytest.mark.parametrize("bad", [{"clip": 0.0}, {"target": 1.0}, {"rate": -1.0}, {"count_sigma": math.nan}])
def test_bad_clips(bad: dict[str, float]) -> None:
    with pytest.raises(PrivacyParameterError):
        AdaptiveClip(**({"clip": 1.0, "target": 0.5, "count_sigma": 1.0} | bad))
    with pytest.raises(PrivacyParameterError):
        AdaptiveClip(1.0, 0.5, 1.0).update(11, 10)


# Audits.


def test_clopper_pearson() -> None:
    # tensorflow/privacy: 500 of 500 against 0 of 500 at alpha = .01.
    assert 4.54 <= epsilon_lower_bound(500, 0, 500, 0.01) < 4.545
    from scipy import stats

    for hits, runs, alpha in ((0, 10, 0.05), (3, 10, 0.01), (999, 1000, 1e-6), (10, 10, 0.2)):
        low, high = clopper_pearson(hits, runs, alpha)
        assert low == pytest.approx(stats.beta.ppf(alpha, hits, runs - hits + 1) if hits else 0, rel=1e-6)
        assert high == pytest.approx(stats.beta.ppf(1 - alpha, hits + 1, runs - hits) if hits < runs else 1, rel=1e-6)


def _gaussian_pair(sigma: float) -> tuple[object, object]:
    return (lambda n: samplers.discrete_gaussian(sigma, n)), (lambda n: 8 + samplers.discrete_gaussian(sigma, n))


def test_audits_stay_below_the_accountant_and_catch_half_the_noise() -> None:
    sigma = 8 * 3.7306316348159374  # (1, 1e-5) for a sensitivity of 8
    delta, confidence = 1e-5, 1 - 1e-9
    right = audit_epsilon(*_gaussian_pair(sigma), runs=100_000, delta=delta, confidence=confidence)  # type: ignore[arg-type]
    claim = epsilon_of(DiscreteGaussianEvent(sigma, 8.0, 1, ADD), delta)
    assert 0 < right.epsilon_lower <= claim
    broken = audit_epsilon(*_gaussian_pair(sigma / 2), runs=1_000_000, delta=delta, confidence=confidence)  # type: ignore[arg-type]
    assert 1.0 < broken.epsilon_lower <= epsilon_of(DiscreteGaussianEvent(sigma / 2, 8.0, 1, ADD), delta)
    laplace = (lambda n: samplers.discrete_laplace(5.0, n)), (lambda n: 10 + samplers.discrete_laplace(5.0, n))
    caught = audit_epsilon(*laplace, runs=100_000, confidence=confidence)  # drawn for 2, claimed to be 1
    assert 1.0 < caught.epsilon_lower <= 2.0


def test_audits_refuse_what_shows_nothing() -> None:
    for call in (
        lambda: audit_epsilon(np.zeros, np.zeros, runs=50),
        lambda: audit_epsilon(np.zeros, np.zeros, confidence=1.0),
        lambda: audit_epsilon(lambda n: np.full(n, math.nan), np.zeros),
        lambda: audit_epsilon(lambda n: np.zeros(n - 1), np.zeros),
        lambda: clopper_pearson(11, 10, 0.1),
    ):
        with pytest.raises(PrivacyParameterError):
            call()
    assert audit_epsilon(np.zeros, np.zeros, runs=200).epsilon_lower == 0
