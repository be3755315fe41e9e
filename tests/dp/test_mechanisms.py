"""Releases at their edges: which grid, which sensitivity, how much room; no event claims more noise than was drawn."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dp import mechanisms
from dp.accounting import epsilon_of
from dp.calibration import discrete_gaussian_sigma
from dp.errors import PrivacyParameterError
from dp.events import DiscreteGaussianEvent, DiscreteLaplaceEvent
from dp.samplers import MAX_SCALE, MIN_SCALE
from dp.sensitivity import Adjacency, Norm, Sensitivity, round_up

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE


@pytest.mark.parametrize(
    ("d", "gaussian_grid", "laplace_grid"), [(1, 20, 20), (4, 21, 22), (9, 22, 24), (1024, 25, 30)]
)
def test_the_grid_is_a_millionth_of_what_a_coordinate_contributes(
    d: int, gaussian_grid: int, laplace_grid: int
) -> None:
    values = np.zeros(d)
    release = mechanisms.gaussian(values, Sensitivity(1.0, Norm.L2, REPLACE), sigma=2.0)
    assert release.granularity == 2.0**-gaussian_grid
    # Rounding moves each coordinate by up to half a step, before and after.
    steps = round_up(2.0**gaussian_grid + math.sqrt(d))
    assert release.event == DiscreteGaussianEvent(2.0 * 2.0**gaussian_grid, steps, d, REPLACE)
    assert release.scale == 2.0
    release = mechanisms.laplace(values, Sensitivity(1.0, Norm.L1, REPLACE), scale=2.0)
    assert release.granularity == 2.0**-laplace_grid
    assert release.event == DiscreteLaplaceEvent(2.0 * 2.0**laplace_grid, 2**laplace_grid + d, d, REPLACE)
    assert release.scale == 2.0


def test_sensitivities_in_another_norm_count_every_coordinate() -> None:
    each = Sensitivity(0.9, Norm.LINF, REPLACE)
    floats, integers = np.zeros(9), np.zeros(9, dtype=np.int64)
    event = mechanisms.gaussian(floats, each, sigma=2.0, granularity=0.5).event
    assert event == DiscreteGaussianEvent(4.0, round_up(2 * round_up(2.7) + 3), 9, REPLACE)
    assert mechanisms.laplace(floats, each, scale=2.0, granularity=0.5).event == DiscreteLaplaceEvent(
        4.0, 25, 9, REPLACE
    )
    event = mechanisms.discrete_gaussian_mechanism(integers, each, sigma=2.0).event
    assert event == DiscreteGaussianEvent(2.0, round_up(2.7), 9, REPLACE)
    assert mechanisms.discrete_laplace_mechanism(integers, each, scale=2.0).event == DiscreteLaplaceEvent(
        2.0, 9, 9, REPLACE
    )


@pytest.mark.parametrize("noise", [Fraction(11, 10), Fraction(2, 3), Fraction(10, 3), Fraction(5)])
def test_an_event_never_claims_more_noise_than_was_drawn(noise: Fraction) -> None:
    sensitivity = Sensitivity(1.0, Norm.L1, ADD)
    for event in (
        mechanisms.discrete_gaussian_mechanism([1, 2], sensitivity, sigma=noise).event,
        mechanisms.gaussian([1.0, 2.0], sensitivity, sigma=noise, granularity=1.0).event,
    ):
        assert isinstance(event, DiscreteGaussianEvent)
        assert event.sigma <= noise < math.nextafter(event.sigma, math.inf)
    for event in (
        mechanisms.discrete_laplace_mechanism([1, 2], sensitivity, scale=noise).event,
        mechanisms.laplace([1.0, 2.0], sensitivity, scale=noise, granularity=1.0).event,
    ):
        assert isinstance(event, DiscreteLaplaceEvent)
        assert event.scale <= noise < math.nextafter(event.scale, math.inf)


def test_coarse_grids_are_calibrated_to_what_rounding_adds() -> None:
    one = Sensitivity(1.0, Norm.L2, ADD)
    release = mechanisms.gaussian([0.3], one, epsilon=1.0, delta=1e-5, granularity=4.0)
    assert isinstance(release.event, DiscreteGaussianEvent)
    assert release.event.sensitivity == pytest.approx(1.25)
    assert release.scale == 4 * discrete_gaussian_sigma(1.0, 1e-5, release.event.sensitivity)
    assert epsilon_of(release.event, 1e-5) <= 1.0
    release = mechanisms.laplace([0.3, 0.4], Sensitivity(1.0, Norm.L1, ADD), epsilon=0.5, granularity=0.25)
    assert release.event == DiscreteLaplaceEvent(12.0, 6, 2, ADD)
    assert release.scale == 3.0


def test_integers_that_move_by_fractions_move_by_whole_steps() -> None:
    release = mechanisms.discrete_laplace_mechanism([1, 2], Sensitivity(1.5, Norm.L1, ADD), epsilon=0.25)
    assert release.event == DiscreteLaplaceEvent(8.0, 2, 2, ADD)
    assert (release.scale, release.granularity) == (8.0, 1.0)
    release = mechanisms.discrete_gaussian_mechanism(
        [1, 2], Sensitivity(2.0, Norm.L2, REPLACE), epsilon=1.0, delta=1e-5
    )
    assert isinstance(release.event, DiscreteGaussianEvent)
    assert release.scale == release.event.sigma == discrete_gaussian_sigma(1.0, 1e-5, 2.0, 2)
    assert (release.event.adjacency, release.granularity) == (REPLACE, 1.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_values_get_as_much_room_as_noise_may_need(sign: int) -> None:
    one = Sensitivity(1.0, Norm.L1, ADD)
    most = 2**62 - 64 * 3 - 1
    assert abs(int(mechanisms.discrete_laplace_mechanism([sign * most, 0], one, scale=3).value[0]) - sign * most) < 200
    assert abs(int(mechanisms.discrete_gaussian_mechanism([0, sign * most], one, sigma=3).value[1]) - sign * most) < 200
    most = 2**53 - 64 * 3 - 1
    assert abs(float(mechanisms.laplace([sign * most], one, scale=3, granularity=1).value[0]) - sign * most) < 200
    for call in (
        lambda: mechanisms.discrete_laplace_mechanism([sign * (2**62 - 64 * 3)], one, scale=3),
        lambda: mechanisms.discrete_gaussian_mechanism([sign * (2**62 - 64 * 3), 0], one, sigma=3),
        lambda: mechanisms.laplace([sign * float(2**53 - 64 * 3)], one, scale=3, granularity=1),
        lambda: mechanisms.gaussian([sign * float(2**53 - 64 * 3)], one, sigma=3, granularity=1),
    ):
        with pytest.raises(PrivacyParameterError, match="do not fit below"):
            call()


def test_noise_is_as_narrow_and_as_wide_as_samplers_draw() -> None:
    one = Sensitivity(1.0, Norm.L1, ADD)
    for scale in (MIN_SCALE, MAX_SCALE):
        assert mechanisms.discrete_laplace_mechanism([0], one, scale=scale).scale == scale
    for scale in (MIN_SCALE * (1 - Fraction(1, 10**9)), MAX_SCALE * (1 + Fraction(1, 10**9))):
        with pytest.raises(PrivacyParameterError, match="grid steps wide"):
            mechanisms.discrete_laplace_mechanism([0], one, scale=scale)


def test_grids_are_powers_of_two_that_floats_hold() -> None:
    one = Sensitivity(1.0, Norm.L2, ADD)
    with pytest.raises(PrivacyParameterError, match=r"granularity = 0\.3 must be a power of two; 0\.25 is near"):
        mechanisms.gaussian([1.0], one, sigma=1.0, granularity=0.3)
    tiny = Sensitivity(2.0**-1000, Norm.L2, ADD)
    assert mechanisms.gaussian([0.0], tiny, sigma=2.0**-1000).granularity == 2.0**-1020
    with pytest.raises(PrivacyParameterError, match="beyond floats"):
        mechanisms.gaussian([0.0], Sensitivity(2.0**-1010, Norm.L2, ADD), sigma=2.0**-1010)
    with pytest.raises(PrivacyParameterError, match="beyond the grid"):
        mechanisms.gaussian([1.7e308], one, sigma=1.0)


def test_bad_entries_are_named_by_their_place() -> None:
    one = Sensitivity(1.0, Norm.L2, ADD)
    with pytest.raises(PrivacyParameterError, match=r"index \(1, 0\) is not finite"):
        mechanisms.gaussian([[1.0, 2.0], [math.nan, math.inf]], one, sigma=1.0)
    with pytest.raises(PrivacyParameterError, match="got float64"):
        mechanisms.discrete_gaussian_mechanism([1.0], one, sigma=1.0)
    with pytest.raises(PrivacyParameterError, match="9223372036854775808 exceeds"):
        mechanisms.discrete_gaussian_mechanism(np.array([2**63], np.uint64), one, sigma=1.0)
    release = mechanisms.discrete_gaussian_mechanism(np.array([7, 2**40], np.uint64), one, sigma=1.0)
    assert np.abs(release.value - np.array([7, 2**40])).max() < 64


@pytest.mark.parametrize(
    "goal",
    [
        {},
        {"sigma": 1.0, "epsilon": 1.0},
        {"sigma": 1.0, "delta": 1e-5},
        {"sigma": 1.0, "epsilon": 1.0, "delta": 1e-5},
        {"delta": 1e-5},
    ],
)
def test_either_the_noise_or_the_goal(goal: dict[str, float]) -> None:
    one = Sensitivity(1.0, Norm.L2, ADD)
    for release, value in ((mechanisms.gaussian, 1.0), (mechanisms.discrete_gaussian_mechanism, 1)):
        with pytest.raises(PrivacyParameterError, match="either the noise"):
            release([value], one, **goal)  # type: ignore[operator]
        with pytest.raises(PrivacyParameterError, match="needs delta"):
            release([value], one, epsilon=1.0)  # type: ignore[operator]
    goal = {"scale" if name == "sigma" else name: size for name, size in goal.items() if name != "delta"}
    if goal != {"scale": 1.0}:
        for release, value in ((mechanisms.laplace, 1.0), (mechanisms.discrete_laplace_mechanism, 1)):
            with pytest.raises(PrivacyParameterError, match="either the noise"):
                release([value], one, **goal)  # type: ignore[operator]
