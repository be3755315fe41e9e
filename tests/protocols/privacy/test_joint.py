"""Plans of several vectors: one budget over all of them, clips that follow a quantile, and means by private weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp import Adjacency, GaussianEvent, Unit, epsilon_of
from dp.nearness import merged
from protocols import (
    GraphKind,
    JointPlan,
    PlannedCounts,
    PlannedVector,
    PrivacyDemand,
    PrivatePlan,
    PrivateVector,
    PrivateVotes,
    RoundConfig,
    ThreatModel,
    weighed,
)
from protocols.core.threat_model import Adversary
from protocols.masking.result import RoundResult
from protocols.simulation.masked import Simulation
from secagg.errors import ParameterError, StateError

DELTA = 1e-5
MODEL = ThreatModel(20, 0.1, 0.1)
UPDATE = PlannedVector(name="update", length=6, l2_clip=2.0)


def joint(*parts: Any, **changes: Any) -> JointPlan:
    given: dict[str, Any] = {"threat_model": MODEL, "epsilon": 4.0, "delta": DELTA, "parts": parts}
    return JointPlan(**(given | changes))


def multiplier(plan: JointPlan, name: str) -> float:
    """What the noise of the fewest honest clients is worth on one of the vectors."""
    for codec in plan.config.codecs:
        if codec.name == name:
            event = merged(codec.event(plan.honest, plan.adjacency, plan.unit))  # type: ignore[arg-type]
            assert isinstance(event, GaussianEvent)
            return event.noise_multiplier
    raise AssertionError(name)


def test_votes_take_what_andrew_says_and_no_more() -> None:
    """Andrew et al. 2021: z = 2, n = 100, sigma_b = n / 20."""
    following = PlannedVector(name="update", length=6, l2_clip=2.0, follows=0.5, count_sigma=5.0)
    plan = joint(following, threat_model=ThreatModel(100), epsilon=None, noise_multiplier=2.0)
    assert multiplier(plan, "update") == pytest.approx(2.041241452319315, rel=1e-7)
    assert multiplier(plan, "votes on update") == pytest.approx(10.0, rel=1e-7)
    alone = epsilon_of(GaussianEvent(2.0, Adjacency.ADD_REMOVE), DELTA)
    assert epsilon_of(plan.event(), DELTA) == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("adjacency", list(Adjacency))
def test_a_round_with_votes_costs_what_it_costs_without(adjacency: Adjacency) -> None:
    following = PlannedVector(name="update", length=6, l2_clip=2.0, follows=0.5)
    with_votes, without = (joint(part, rounds=5, adjacency=adjacency) for part in (following, UPDATE))
    for plan in (with_votes, without):
        assert 4.0 * (1 - 1e-5) <= plan.epsilon_total <= 4.0
    share = multiplier(without, "update") / multiplier(with_votes, "update")
    assert share**2 == pytest.approx(0.75, rel=1e-4)  # three quarters of the privacy, where a twentieth is too little


def test_one_part_is_a_plan_of_its_own() -> None:
    alone = PrivatePlan(threat_model=MODEL, length=6, l2_clip=2.0, epsilon=4.0, delta=DELTA)
    ours, theirs = joint(UPDATE).config.vectors[0], alone.config.vectors[0]
    assert isinstance(ours, PrivateVector)
    assert isinstance(theirs, PrivateVector)
    assert ours.local_sigma / ours.scale == pytest.approx(theirs.local_sigma / theirs.scale, rel=1e-4)


parts = st.lists(
    st.builds(
        PlannedVector,
        name=st.text("abc", min_size=1, max_size=3),
        length=st.integers(1, 40),
        l2_clip=st.floats(0.01, 100),
        share=st.floats(0.25, 4),
        follows=st.sampled_from([None, 0.5, 0.9]),
        voters=st.just(300),
    )
    | st.builds(
        PlannedCounts,
        name=st.text("xyz", min_size=1, max_size=3),
        bins=st.integers(1, 9),
        max_total=st.integers(1, 40),
        share=st.floats(0.25, 4),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda part: part.name,
)


@settings(max_examples=25)
@given(
    parts=parts,
    epsilon=st.floats(0.3, 8),
    rounds=st.integers(1, 30),
    adjacency=st.sampled_from(Adjacency),
    unit=st.sampled_from(Unit),
)
def test_a_plan_meets_its_goal_with_hardly_more_noise_than_it_takes(
    parts: list[Any], epsilon: float, rounds: int, adjacency: Adjacency, unit: Unit
) -> None:
    plan = joint(*parts, epsilon=epsilon, rounds=rounds, adjacency=adjacency, unit=unit)
    assert epsilon * (1 - 1e-4) <= plan.epsilon_total <= epsilon
    demand = PrivacyDemand(epsilon * (1 + 1e-9), DELTA, rounds, adjacency, 0.1, unit=unit)
    demand.check(plan.config)
    with pytest.raises(ParameterError, match="may cost epsilon"):
        PrivacyDemand(epsilon * (1 - 2e-4), DELTA, rounds, adjacency, 0.1, unit=unit).check(plan.config)


def test_a_greater_share_is_less_noise() -> None:
    plan = joint(UPDATE, PlannedVector(name="loss", length=1, l2_clip=1.0, share=0.5))
    assert multiplier(plan, "loss") / multiplier(plan, "update") == pytest.approx(2, rel=1e-6)
    assert plan.deviation("update", 20) > 0
    with pytest.raises(ParameterError, match="no vector 'accuracy'"):
        plan.deviation("accuracy", 20)


def test_samples_of_records_pay_for_several_vectors() -> None:
    parts = (UPDATE, PlannedVector(name="loss", length=1, l2_clip=1.0))
    plan = joint(*parts, unit=Unit.RECORD, sampling_rate=0.1, rounds=50, epsilon=2.0)
    assert 2.0 * (1 - 1e-3) <= plan.epsilon_total <= 2.0
    PrivacyDemand(2.0, DELTA, 50, unit=Unit.RECORD, sampling_rate=0.1).check(plan.config)
    with pytest.raises(ParameterError, match="may cost"):
        PrivacyDemand(2.0, DELTA, 50, unit=Unit.RECORD).check(plan.config)
    with pytest.raises(ParameterError, match="takes its noise along"):
        joint(*parts, sampling_rate=0.1)


# Clips that follow a quantile.


def follow(start: float, rate: float, most: int, unit: Unit = Unit.CLIENT) -> int:
    """Run rounds until the clip is within a factor of 1.3 of the median norm; return how many it took."""
    rng = np.random.default_rng(5)
    model = ThreatModel(24, 0.1, 0.1, Adversary.CURIOUS_SERVER)
    norms = np.exp(rng.normal(0, 0.5, (25, 5 if unit is Unit.RECORD else 1)))
    median = float(np.median(norms[1:]))
    voters = 24 * 5 if unit is Unit.RECORD else None
    part = PlannedVector(
        name="update", length=6, l2_clip=start * median, follows=0.5, rate=rate, voters=voters, max_records=5
    )
    if unit is Unit.CLIENT:
        part = PlannedVector(name="update", length=6, l2_clip=start * median, follows=0.5, rate=rate)
    plan = joint(part, threat_model=model, epsilon=8.0, rounds=most, unit=unit, graph=GraphKind.RANDOM_CYCLES)

    def inputs(name: str) -> dict[str, Any]:
        rows = rng.normal(size=(norms.shape[1], 6))
        rows *= (norms[int(name.rpartition("-")[2])] / np.linalg.norm(rows, axis=1))[:, None]
        return {"update": iter([rows[:2], rows[2:]]) if unit is Unit.RECORD else rows[0]}

    cost = plan.epsilon_total
    for number in range(most + 1):
        if 1 / 1.3 <= plan.clips["update"].clip / median <= 1.3:
            return number
        plan = plan.after(Simulation(plan.config, inputs, {}, threads=1).run().result)
        assert plan.epsilon_total == pytest.approx(cost, rel=1e-6)
    raise AssertionError(f"the clip is {plan.clips['update'].clip / median:.3g} medians after {most} rounds")


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("start", [100.0, 0.01])
def test_a_clip_finds_the_median_from_far_away(start: float, unit: Unit) -> None:
    """ln(100 / 1.3) / (rate / 2) rounds, and a few for noise: 0.05 of the clients moves the clip by a twentieth."""
    assert 8 <= follow(start, 1.0, 20, unit) <= 15


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


# Weights.


def test_means_by_private_weights() -> None:
    parts = (UPDATE, PlannedVector(name="examples", length=1, l2_clip=1.0), PlannedCounts(name="votes", bins=3))
    plan = joint(*parts, threat_model=ThreatModel(40, 0.1, 0.1), epsilon=400.0)
    rng = np.random.default_rng(3)
    values = {name: rng.normal(size=6) / 3 for name in (f"client-{i:02}" for i in range(1, 41))}
    weights = {name: float(rng.integers(1, 30)) for name in values}

    def inputs(name: str) -> dict[str, Any]:
        return {
            "update": weighed(values[name], weights[name], 20),
            "examples": weighed([1.0], weights[name], 20),
            "votes": np.array([1, 0, 0]),
        }

    result = Simulation(plan.config, inputs, {}).run().result
    mean = plan.weighted_mean(result, "update", "examples")
    share = {name: min(20.0, weight) for name, weight in weights.items()}
    exact = sum(values[name] * share[name] for name in values) / sum(share.values())
    assert np.abs(mean - exact).max() < 0.15
    assert result.sum("votes")[0] == pytest.approx(40, abs=10)
    with pytest.raises(ParameterError, match="weights are one"):
        plan.weighted_mean(result, "update", "update")


def test_weights_that_noise_drowns_give_no_mean() -> None:
    plan = joint(UPDATE, PlannedVector(name="examples", length=1, l2_clip=1.0), epsilon=0.5)
    config = plan.config
    level = {"update": np.zeros(config.codecs[0].length, dtype=np.int64), "examples": np.array([3])}
    result = RoundResult(frozenset({"a", "b"}), 2, level, {}, frozenset(), {}, config, bytes(32))
    with pytest.raises(StateError, match="there is no mean; give the weights a greater share"):
        plan.weighted_mean(result, "update", "examples")


@pytest.mark.parametrize(
    ("weight", "share"),
    [(5.0, 0.5), (10.0, 1.0), (11.0, 1.0), (-1.0, 0.0), (math.nan, 0.0), (math.inf, 1.0), (10**400, 1.0)],
)
def test_no_weight_is_refused(weight: float, share: float) -> None:
    assert weighed(np.array([2.0]), weight, 10).tolist() == [2 * share]


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
        ((PlannedVector(name="v", length=3, l2_clip=1.0, share=0),), {}, "share of 'v'"),
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
        ((UPDATE,), {"epsilon": 1e-9, "rounds": 10**12}, "epsilon"),
        ((UPDATE,), {"max_modulus_bits": 5}, "raise max_modulus_bits to"),
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


def test_a_result_of_another_plan_is_refused() -> None:
    following = joint(PlannedVector(name="update", length=6, l2_clip=2.0, follows=0.5))
    config = joint(UPDATE).config
    level = {"update": np.zeros(config.codecs[0].length, dtype=np.int64)}
    with pytest.raises(ParameterError, match="no vector 'votes on update'"):
        following.after(RoundResult(frozenset({"a", "b"}), 2, level, {}, frozenset(), {}, config, bytes(32)))
