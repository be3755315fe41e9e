"""What callers hand in is taken for what it is, or refused by an error of dp's that names it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

from dp import (
    accounting,
    audit,
    calibration,
    clipping,
    distributed,
    events,
    goodness,
    mechanisms,
    quantile,
    rotation,
    samplers,
)
from dp.analytic import gaussian_delta, gaussian_epsilon
from dp.discrete import summed_gaussians_ratio
from dp.errors import PrivacyParameterError
from dp.groups import group_event
from dp.laws import laplace_law
from dp.preparation import Preparation
from dp.sensitivity import Adjacency, Norm, Sensitivity, check_delta, check_epsilon
from dp.zcdp import basic_composition, gaussian_rho, zcdp_epsilon

SHARE = distributed.NoiseShare(3.0, 4, 5.0, 9.0)
REPLACE = Adjacency.REPLACE_ONE

NAMED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "norm": (lambda name: Sensitivity(2.0, name, REPLACE).bound(Norm.L1, 9), Norm.LINF),
    "norm of a bound": (lambda name: Sensitivity(2.0, Norm.LINF, REPLACE).bound(name, 9), Norm.L1),
    "norm of a clip": (lambda name: clipping.clip([3.0, 4.0], 1.0, name).tolist(), Norm.LINF),
    "adjacency of a sum": (lambda name: Sensitivity.of_sum(2.0, Norm.L2, name), REPLACE),
    "adjacency of an event": (lambda name: events.GaussianEvent(2.0, name).adjacency.name, REPLACE),
    "adjacency of a share": (lambda name: SHARE.event(9, name), REPLACE),
    "adjacency of a goal": (lambda name: distributed.Goal(name, 1e-5, 1.0).adjacency.name, REPLACE),
    "adjacency of a clip": (lambda name: quantile.AdaptiveClip(1.0, 0.5, 3.0, adjacency=name).event, REPLACE),
    "adjacency of an account": (lambda name: accounting.Accountant(name).adjacency.name, REPLACE),
    "method": (
        lambda name: calibration.noise_multiplier(1.0, 1e-5, rounds=2, method=name),
        accounting.Method.RDP,
    ),
}


@pytest.mark.parametrize("door", NAMED)
def test_a_text_that_spells_a_member_is_that_member_and_any_other_is_refused(door: str) -> None:
    call, member = NAMED[door]
    for spelt in ("".join(member), np.str_(member)):
        assert call(spelt) == call(member)
    for wrong in (member.upper(), member + " ", 1, None, []):
        with pytest.raises(PrivacyParameterError, match="choose one of"):
            call(wrong)


MOVED = Sensitivity(1, Norm.L2, Adjacency.ADD_REMOVE)
GOOD = np.array([1, 0, 2, 0])
UNREADABLE: dict[str, Any] = {
    "masked": np.ma.masked_array(GOOD, mask=[False, True, False, False]),
    "a list with a masked array": [np.ma.masked_array(GOOD, mask=[False, True, False, False])],
    "a masked array deep in lists": [([np.ma.masked_array([1, 7], mask=[False, True])],)],
    "something missing": [1, 0, 2, None],
    "complex": GOOD + 1j,
    "texts": GOOD.astype(str),
    "records": np.array([(1,), (0,), (2,), (0,)], dtype=[("value", "i8")]),
    "times": GOOD.astype("m8[s]"),
    "ragged": [[1, 0], [2]],
    "long floats": GOOD.astype(np.longdouble),
}
ARRAYS: dict[str, Callable[[Any], Any]] = {
    "clip": lambda values: clipping.clip(values, 1.0, Norm.L2),
    "round": clipping.randomised_round,
    "round within a norm": lambda values: clipping.conditionally_round(values, 9.0, 0.5),
    "norm of integers": clipping.integer_norm_squared,
    "Gaussian noise": lambda values: mechanisms.gaussian(values, MOVED, sigma=1.0),
    "Laplace noise": lambda values: mechanisms.laplace(values, MOVED, scale=1.0),
    "discrete Gaussian noise": lambda values: mechanisms.discrete_gaussian_mechanism(values, MOVED, sigma=1.0),
    "discrete Laplace noise": lambda values: mechanisms.discrete_laplace_mechanism(values, MOVED, scale=1.0),
    "rotation": lambda values: rotation.rotate(values, bytes(32)),
    "rotation back": lambda values: rotation.rotate_back(values, bytes(32), 4),
    "preparation": lambda values: Preparation(4, 9.0, 1.0).prepare(values, bytes(32)),
    "goodness": lambda values: goodness.check_noise(values, laplace_law(Fraction(1))),
    "audit": lambda values: audit.audit_epsilon(lambda runs: values, lambda runs: values, runs=100),
    "orders": lambda values: accounting.epsilon_of(SHARE.event(9, REPLACE), 1e-5, accounting.Method.RDP, orders=values),
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("door", ARRAYS)
def test_an_array_that_cannot_be_read_faithfully_is_refused(door: str, what: str) -> None:
    with pytest.raises(PrivacyParameterError, match=r"masked|cannot be read|at most 64 bits"):
        ARRAYS[door](UNREADABLE[what])


COUNTS: dict[str, Callable[[Any], Any]] = {
    "rounds": lambda count: distributed.Goal(REPLACE, 1e-5, 1.0, rounds=count).rounds,
    "repetitions": lambda count: events.Repeated(events.GaussianEvent(1.0, REPLACE), count).count,
    "dimension": lambda count: events.LaplaceEvent(1.0, REPLACE, count).dimension,
    "dimension of a share": lambda count: distributed.NoiseShare(3.0, count, 5.0, 9.0).dimension,
    "length": lambda count: Preparation(count, 9.0, 1.0).length,
    "dimension of a bound": lambda count: Sensitivity(2.0, Norm.LINF, REPLACE).bound(Norm.L1, count),
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "sensitivity": lambda value: Sensitivity(value, Norm.L2, REPLACE).value,
    "sum": lambda value: Sensitivity.of_sum(value, Norm.L2, Adjacency.ADD_REMOVE).value,
    "multiplier": lambda value: events.GaussianEvent(value, REPLACE).noise_multiplier,
    "rate": lambda value: events.PoissonSampled(value, events.GaussianEvent(1.0, REPLACE)).rate,
    "epsilon": lambda value: events.ApproximateEvent(value, 0, REPLACE).epsilon,
    "delta": lambda value: events.ApproximateEvent(1, value, REPLACE).delta,
    "delta of a goal": lambda value: distributed.Goal(REPLACE, value, 1.0).delta,
    "sigma of a share": lambda value: distributed.NoiseShare(value, 4, 5.0, 9.0).local_sigma,
    "scale": lambda value: Preparation(4, 9.0, value).scale,
    "clip": lambda value: quantile.AdaptiveClip(value, 0.5, 3.0).clip,
    "target": lambda value: quantile.AdaptiveClip(1.0, value, 3.0).target,
}


@pytest.mark.parametrize("door", COUNTS)
def test_whole_numbers_are_kept_as_pythons_own_and_all_else_is_refused(door: str) -> None:
    call = COUNTS[door]
    for three in (np.int64(3), np.uint8(3), np.array(3)):
        assert type(call(three)) is type(call(3))
        assert call(three) == call(3)
    for wrong in (True, np.True_, 3.0, "3", None, 0):
        with pytest.raises(PrivacyParameterError, match="whole number"):
            call(wrong)


@pytest.mark.parametrize("door", NUMBERS)
def test_real_numbers_are_kept_as_pythons_floats_and_all_else_is_refused(door: str) -> None:
    call = NUMBERS[door]
    for half in (np.float32(0.5), np.float64(0.5), Fraction(1, 2)):
        assert type(call(half)) is float
        assert call(half) == 0.5
    for wrong in (True, np.True_, "0.5", None, float("nan"), float("inf"), np.array(0.5), 10**400, Fraction(-1, 2)):
        with pytest.raises(PrivacyParameterError):
            call(wrong)


THIRD, HUGE = Fraction(3, 10), 2**53 + 1  # the nearest floats are below
ABOVE: dict[str, Callable[[Any], Any]] = {
    "sensitivity": NUMBERS["sensitivity"],
    "sum": NUMBERS["sum"],
    "rho": lambda value: events.ZCDPEvent(value, REPLACE).rho,
    "epsilon": NUMBERS["epsilon"],
    "sensitivity of an event": lambda value: events.DiscreteGaussianEvent(1.0, value, 1, REPLACE).sensitivity,
    "bound of a share": lambda value: distributed.NoiseShare(3.0, 4, value, 9.0).l2_bound,
    "noise of a goal": lambda value: distributed.Goal(REPLACE, 1e-5, noise_multiplier=value).noise_multiplier,
}
BELOW: dict[str, Callable[[Any], Any]] = {
    "multiplier": NUMBERS["multiplier"],
    "variance": lambda value: events.SkellamEvent(value, 1.0, 1.0, REPLACE).variance,
    "scale": lambda value: events.DiscreteLaplaceEvent(value, 1, 1, REPLACE).scale,
    "epsilon of a goal": lambda value: distributed.Goal(REPLACE, 1e-5, value).epsilon,
    "a goal": check_epsilon,
}


@pytest.mark.parametrize("door", [*ABOVE, *BELOW])
def test_what_is_no_float_is_kept_on_the_private_side(door: str) -> None:
    for value in (THIRD, Fraction(1, 10), HUGE, 2**53 + 3):
        if door in ABOVE:
            assert value <= Fraction(ABOVE[door](value)) <= value * (1 + Fraction(1, 2**51))
        else:
            assert value * (1 - Fraction(1, 2**51)) <= Fraction(BELOW[door](value)) <= value
    for delta in (THIRD, Fraction(1, 10)):
        assert check_delta(delta) <= delta <= events.ApproximateEvent(1, delta, REPLACE).delta


def test_noise_for_a_sensitivity_that_is_no_float_is_enough() -> None:
    assert calibration.laplace_scale(0.5, Sensitivity(THIRD, Norm.L1, REPLACE)) >= THIRD * 2  # type: ignore[arg-type]


BEYOND: dict[str, Callable[[Any], Any]] = {
    "sigma of a draw": samplers.discrete_gaussian,
    "variance of a draw": samplers.discrete_gaussian_of_variance,
    "scale of a draw": samplers.discrete_laplace,
    "sigma": lambda value: mechanisms.gaussian([1.0], MOVED, sigma=value),
    "scale": lambda value: mechanisms.laplace([1.0], MOVED, scale=value),
    "epsilon": lambda value: mechanisms.laplace([1.0], MOVED, epsilon=1 / Fraction(value)),
    "sigma of integers": lambda value: mechanisms.discrete_gaussian_mechanism([1], MOVED, sigma=value),
    "scale of integers": lambda value: mechanisms.discrete_laplace_mechanism([1], MOVED, scale=value),
    "epsilon of integers": lambda value: mechanisms.histogram([1], MOVED, 1 / Fraction(value)),  # type: ignore[arg-type]
    "granularity": lambda value: mechanisms.gaussian([1.0], MOVED, sigma=1.0, granularity=value),
    "delta of noise": lambda value: gaussian_delta(value, 1.0),
    "epsilon of noise": lambda value: gaussian_epsilon(value, 1e-5),
    "rho": lambda value: zcdp_epsilon(value, 1e-5),
    "norm": lambda value: clipping.rounded_l2_bound(value, 3, 0.5),
    "norm of a rounding": lambda value: clipping.conditionally_round([1.0], value, 0.5),
    "multiplier beside votes": quantile.AdaptiveClip(1.0, 0.5, 3.0).noise_multiplier_beside,
    "dimension": lambda value: MOVED.bound(Norm.L1, value),
    "dimension of an event": lambda value: events.DiscreteGaussianEvent(9.0, 1.0, value, REPLACE),
    "sensitivity of integers": lambda value: events.DiscreteLaplaceEvent(9.0, value, 1, REPLACE),
    "clients": lambda value: events.SummedDiscreteGaussianEvent(9.0, value, 1.0, 1.0, 1, REPLACE),
    "rounds": lambda value: calibration.noise_multiplier(1.0, 1e-5, rounds=value),
    "size": lambda value: group_event(events.GaussianEvent(1.0, REPLACE), value),
    "sensitivity in steps": lambda value: calibration.discrete_gaussian_sigma(1.0, 1e-5, value),
    "noise of clients": lambda value: summed_gaussians_ratio(value, 3),
    "number of clients": lambda value: summed_gaussians_ratio(1.0, value),
}


@pytest.mark.parametrize("door", BEYOND)
def test_what_is_beyond_floats_is_refused_by_name(door: str) -> None:
    for value in (10**400, 10**4000 + 1):
        with pytest.raises(PrivacyParameterError, match=r"beyond|must be greater"):
            BEYOND[door](value)


def test_bounds_beyond_floats_are_infinite_or_refused() -> None:
    assert gaussian_rho(1e-200) == float("inf")
    assert 0 < gaussian_rho(1e200) <= gaussian_rho(1e100) <= 0.5e-200 * (1 + 1e-15)
    with pytest.raises(PrivacyParameterError, match="sensitivity in l2"):
        mechanisms.gaussian(np.ones(100), Sensitivity(1.7e308, Norm.LINF, REPLACE), sigma=1)
    assert quantile.AdaptiveClip(1.0, 0.5, 3.0).update_from_noisy(10**400, 3).clip < 1
    assert basic_composition([(1.7e308, 0.5), (1.7e308, 0.6)]) == (float("inf"), 1.0)
    for sigma in (0.1, 0.0, float("nan"), 1e200):
        with pytest.raises(PrivacyParameterError, match="local_sigma"):
            summed_gaussians_ratio(sigma, 10)


def test_what_is_no_event_is_told_so() -> None:
    release = mechanisms.gaussian([1.0], MOVED, sigma=1.0)
    for wrong in (release, None, "gaussian", 1.0):
        with pytest.raises(PrivacyParameterError, match="no event"):
            accounting.Accountant(Adjacency.ADD_REMOVE).compose(wrong)  # type: ignore[arg-type]
        with pytest.raises(PrivacyParameterError, match="no event"):
            accounting.epsilon_of(events.PoissonSampled(0.5, wrong), 1e-5)  # type: ignore[arg-type]
    with pytest.raises(PrivacyParameterError, match="no tuple"):
        events.Composed(release.event)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [partial(events.Repeated, count=1), partial(events.PoissonSampled, 1)])
def test_events_too_deep_are_refused_in_time(wrap: Callable[[Any], Any]) -> None:
    event: Any = events.GaussianEvent(1.0, REPLACE)
    for _ in range(events.DEEPEST):
        event = wrap(event)
    assert accounting.epsilon_of(event, 1e-5) > 0
    with pytest.raises(PrivacyParameterError, match="deep"):
        wrap(event)


@pytest.mark.parametrize("value", [5e-324, 1e-101, 1e101, 1e308])
def test_events_beyond_what_accounts_can_square_are_refused(value: float) -> None:
    gaussian = events.GaussianEvent(1.0, REPLACE)
    for make in (
        lambda: events.PoissonSampled(value, gaussian),
        lambda: events.LaplaceEvent(value, REPLACE, 1),
        lambda: events.DiscreteGaussianEvent(value, 1.0, 1, REPLACE),
        lambda: events.SummedDiscreteGaussianEvent(9.0, 9, value, 1.0, 1, REPLACE),
        lambda: events.ZCDPEvent(value, REPLACE),
    ):
        with pytest.raises(PrivacyParameterError, match="must lie between 1e-100 and 1e"):
            make()


@pytest.mark.parametrize("value", [5e-324, 1e-101, 1e101, 1e300])
def test_an_epsilon_is_squared_by_no_account(value: float) -> None:
    assert value <= accounting.epsilon_of(events.ApproximateEvent(value, 0, REPLACE), 0) <= value * (1 + 1e-9) + 1e-300
    with pytest.raises(PrivacyParameterError, match="at most 1e"):
        events.ApproximateEvent(1.1e300, 0, REPLACE)
