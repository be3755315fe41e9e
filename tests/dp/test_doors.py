"""What callers hand in is taken for what it is, or refused by an error of dp's that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dp import accounting, calibration, clipping, distributed, events, quantile
from dp.errors import PrivacyParameterError
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
