"""What callers hand in is taken for what it is, or refused by an error of dp's that names it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from dp import accounting, audit, calibration, clipping, distributed, events, goodness, mechanisms, quantile, rotation
from dp.errors import PrivacyParameterError
from dp.laws import laplace_law
from dp.preparation import Preparation
from dp.sensitivity import Adjacency, Norm, Sensitivity

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
