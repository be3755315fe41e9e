"""Plans of several vectors at their edges: votes that are none, weights that noise drowns, and what is impossible."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dp import Unit
from protocols import (
    JointPlan,
    PlannedVector,
    PrivatePlan,
    PrivateVector,
    PrivateVotes,
    RoundConfig,
    ThreatModel,
    weighed,
)
from protocols.masking.result import RoundResult
from secagg.errors import ParameterError, StateError

DELTA = 1e-5
MODEL = ThreatModel(20, 0.1, 0.1)
UPDATE = PlannedVector(name="update", length=6, l2_clip=2.0)


def joint(*parts: Any, **changes: Any) -> JointPlan:
    given: dict[str, Any] = {"threat_model": MODEL, "epsilon": 4.0, "delta": DELTA, "parts": parts}
    return JointPlan(**(given | changes))


def test_one_part_is_a_plan_of_its_own() -> None:
    alone = PrivatePlan(threat_model=MODEL, length=6, l2_clip=2.0, epsilon=4.0, delta=DELTA)
    ours, theirs = joint(UPDATE).config.vectors[0], alone.config.vectors[0]
    assert isinstance(ours, PrivateVector)
    assert isinstance(theirs, PrivateVector)
    assert ours.local_sigma / ours.scale == pytest.approx(theirs.local_sigma / theirs.scale, rel=1e-4)


def test_the_votes_are_of_what_is_handed_in() -> None:
    plan = joint(PlannedVector(name="update", length=6, l2_clip=2.0, follows=0.5))
    config = plan.config
    votes = next(codec for codec in config.codecs if codec.name == "votes on update")
    for vector, vote in (
        (np.full(6, 0.1), 1),
        (np.full(6, 2.0), -1),
        (np.array([0, 0, 1.99, 0, 0, 0]), 1),
        (np.full(6, np.nan), -1),
        (np.full(6, 1e308), -1),
        (np.zeros(6), 1),
        (np.full(6, 5e-324), 1),
    ):
        levels, changed = votes.levels(vector, b"", random=bytes)  # type: ignore[attr-defined]
        assert levels.tolist() == [vote * votes.spec.scale]  # type: ignore[attr-defined]
        assert changed == 0
    with pytest.raises(Exception, match="the round sums \\['update'\\]"):
        config.encode({"update": np.zeros(6), "votes on update": np.ones(1)}, session_id=bytes(32))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"of": "other"}, "no private vector of the round"),
        ({"of": "votes"}, "no private vector of the round"),
        ({"length": 2}, "one number"),
        ({"unit": Unit.RECORD}, "different units|of the unit"),
        ({"scale": 0}, "scale of 'votes' is 0"),
        ({"max_records": 2}, "its unit is the client"),
        ({"local_sigma": 0.1}, "below 1/2"),
    ],
)
def test_bad_votes_are_refused(change: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"name": "votes", "of": "v", "scale": 3, "local_sigma": 4.0}
    with pytest.raises(ParameterError, match=text):
        RoundConfig(MODEL, (PrivateVector("v", 4, 1.0, 20.0, 9.0), PrivateVotes(**(given | change))))


def test_weights_that_noise_drowns_give_no_mean() -> None:
    plan = joint(UPDATE, PlannedVector(name="examples", length=1, l2_clip=1.0), epsilon=0.5)
    config = plan.config
    level = {"update": np.zeros(config.codecs[0].length, dtype=np.int64), "examples": np.array([3])}
    result = RoundResult(frozenset({"a", "b"}), 2, level, {}, frozenset(), {}, config, bytes(32))
    with pytest.raises(StateError, match="there is no mean; give the weights a greater share"):
        plan.weighted_mean(result, "update", "examples")


def test_a_bound_on_weights_is_positive() -> None:
    for bound in (0, -1, math.nan, math.inf):
        with pytest.raises(ParameterError, match="max_weight"):
            weighed([1.0], 1, bound)


# What is impossible.


@pytest.mark.parametrize(
    ("parts", "changes", "text"),
    [
        ((), {}, "at least one"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, follows=0.0),), {}, "target"),
        (("update",), {}, "PlannedVector"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, follows=math.nan),), {}, "target"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, share=0),), {}, "share of 'v'"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, share=math.inf),), {}, "share of 'v'"),
        ((PlannedVector(name="v", length=0, l2_clip=1.0),), {}, "part 'v': length is 0"),
        ((PlannedVector(name="v", length=3, l2_clip=-1.0),), {}, "part 'v': l2_clip"),
        ((UPDATE, UPDATE), {}, "distinct"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, follows=1.5),), {}, "target"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, follows=0.5, rate=0),), {}, "rate"),
        (
            (PlannedVector(name="v", length=3, l2_clip=1.0, follows=0.5, count_sigma=0.1),),
            {},
            "raise it above",
        ),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, follows=0.5),), {"unit": "record"}, "give voters"),
        ((PlannedVector(name="v", length=3, l2_clip=1.0, max_records=2),), {}, "its unit is the client"),
        ((UPDATE,), {"epsilon": 1e-12, "delta": 1e-12, "rounds": 1000}, "raise epsilon to"),
        ((UPDATE,), {"max_modulus_bits": 5}, "part 'update': max_modulus_bits is 5, but .* raise max_modulus_bits to"),
        ((UPDATE,), {"epsilon": None}, "either epsilon or noise_multiplier"),
    ],
)
def test_what_is_impossible_names_the_knob(parts: Any, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ParameterError, match=text):
        joint(*parts, **changes)


def test_parts_are_a_tuple() -> None:
    for parts in (None, 5):
        with pytest.raises(ParameterError, match="parts is a"):
            JointPlan(threat_model=MODEL, epsilon=1.0, delta=DELTA, parts=parts)  # type: ignore[arg-type]
