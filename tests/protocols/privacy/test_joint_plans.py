"""Several private vectors in one round: they cost what one costs, and clips follow their quantile at no extra cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp import Adjacency, Unit
from dp.accounting import epsilon_of
from dp.errors import BudgetExceededError
from dp.events import Event, GaussianEvent, Repeated
from dp.ledger import Budget, Ledger
from dp.nearness import merged
from protocols import (
    ClientPolicy,
    JointPlan,
    PlannedCounts,
    PlannedVector,
    PrivacyDemand,
    PrivatePlan,
    PrivateVotes,
    RoundResult,
    ThreatModel,
    weighed,
)
from protocols.masking.transitions import ServerPhase
from protocols.simulation.masked import Simulation
from secagg.errors import EncodingError, ParameterError, StateError

HUNDRED, TWELVE = ThreatModel(100, 0.0, 0.0), ThreatModel(12, 0.1, 0.1)
SESSION = bytes(32)


def joint(*parts: PlannedVector | PlannedCounts, model: ThreatModel = HUNDRED, **goal: Any) -> JointPlan:
    stated = {"epsilon": 4.0} if "noise_multiplier" not in goal else {}
    return JointPlan(threat_model=model, parts=parts, **({"delta": 1e-5} | stated | goal))


def update(clip: float = 1.0, length: int = 20, **more: Any) -> PlannedVector:
    return PlannedVector(name="update", length=length, l2_clip=clip, **more)


def summed(plan: JointPlan, inputs: Sequence[Mapping[str, Any]]) -> RoundResult:
    """What a round gives: masks cancel exactly, so that the sum of what clients encode is the round's."""
    config = plan.config
    totals: list[Any] = []
    for values in inputs:
        encoded = [each.residues for each in config.encode(values, session_id=SESSION)]
        totals = [a + b for a, b in zip(totals, encoded, strict=True)] if totals else encoded
    bits = [codec.modulus_bits for codec in config.codecs]
    totals = [total % total.dtype.type(1 << each) for total, each in zip(totals, bits, strict=True)]
    survivors = frozenset(f"client-{number:03}" for number in range(len(inputs)))
    return RoundResult.decode(config, SESSION, totals, survivors, {}, ())


def multiplier(plan: JointPlan | PrivatePlan) -> float:
    """Of the one Gaussian release that a round is worth."""
    return worth(plan.event())


def worth(event: Event) -> float:
    """The multiplier of the one Gaussian release that an event is worth."""
    release = merged(event)
    assert isinstance(release, GaussianEvent)
    return release.noise_multiplier


# What it costs


def test_votes_and_vector_share_the_noise_as_andrew_et_al_have_it() -> None:
    plan = joint(update(follows=0.5), noise_multiplier=2.0)
    assert plan.clips["update"].count_sigma == 5
    assert plan.clips["update"].noise_multiplier_beside(2.0) == pytest.approx(2.041241452319315, rel=1e-15)
    vector, votes = plan.config.vectors
    assert isinstance(votes, PrivateVotes)
    assert votes.local_sigma * 10 / votes.scale == pytest.approx(2 * 5, rel=0.05)
    bound = plan.config.codecs[0].share.l2_bound  # type: ignore[attr-defined]
    assert vector.local_sigma * 10 / bound == pytest.approx(2.041241452319315, rel=1e-3)  # type: ignore[union-attr]
    assert 2 <= multiplier(plan) <= 2 * (1 + 1e-7)


@settings(max_examples=15)
@given(
    st.floats(0.3, 10.0),
    st.integers(1, 20),
    st.sampled_from(Adjacency),
    st.sampled_from((None, 0.2, 0.5)),
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=3),
)
def test_many_vectors_cost_what_one_does(
    epsilon: float, rounds: int, adjacency: Adjacency, follows: float | None, shares: list[float]
) -> None:
    goal: dict[str, Any] = {"epsilon": epsilon, "rounds": rounds, "adjacency": adjacency}
    parts = [
        PlannedCounts(name=f"counts {i}", bins=i + 1, share=share)
        if i % 2
        else PlannedVector(name=f"floats {i}", length=3 + i, l2_clip=2.0**i, share=share, follows=follows)
        for i, share in enumerate(shares)
    ]
    plan = joint(*parts, **goal)
    alone = PrivatePlan(threat_model=HUNDRED, length=3, l2_clip=1.0, delta=1e-5, **goal)
    assert epsilon * (1 - 1e-4) <= plan.epsilon_total <= epsilon
    assert multiplier(plan) == pytest.approx(multiplier(alone), rel=1e-5)
    for demanded, refused in ((epsilon, False), (epsilon * (1 - 1e-3), True)):
        demand = PrivacyDemand(demanded, 1e-5, rounds, adjacency, corrupt_fraction=0.0)
        with pytest.raises(ParameterError, match="may cost epsilon") if refused else nullcontext():
            ClientPolicy.permissive(demand).check(plan.config)


def test_a_share_of_the_precision_is_that_much_less_noise_over_the_clip() -> None:
    plan = joint(update(2.0), PlannedVector(name="loss", length=1, l2_clip=0.5, share=3.0))
    noise = {name: plan.deviation(name, 100) for name in ("update", "loss")}
    assert (noise["update"] / 2.0) / (noise["loss"] / 0.5) == pytest.approx(3.0, rel=0.02)
    with pytest.raises(ParameterError, match="no vector 'other', but"):
        plan.deviation("other", 100)


@pytest.mark.parametrize("followers", [1, 2, 4, 9])
@pytest.mark.parametrize("adjacency", Adjacency)
def test_votes_take_a_quarter_at_most_unless_told_otherwise(followers: int, adjacency: Adjacency) -> None:
    parts = [PlannedVector(name=f"v{i}", length=4, l2_clip=1.0, follows=0.5) for i in range(followers)]
    plan = joint(*parts, PlannedCounts(name="c", bins=3), epsilon=0.5, adjacency=adjacency)
    moved = 2 if adjacency is Adjacency.REPLACE_ONE else 1
    spent = sum((moved / (2 * clip.count_sigma)) ** 2 for clip in plan.clips.values())
    assert spent == pytest.approx(plan.goal.gaussian_multiplier() ** -2 / 4, rel=1e-9)
    assert plan.epsilon_total <= 0.5


def test_samples_of_records_cost_what_one_sampled_vector_does() -> None:
    goal: dict[str, Any] = {"epsilon": 3.0, "rounds": 20, "unit": Unit.RECORD, "sampling_rate": 0.1}
    plan = joint(
        update(follows=0.5, voters=600, max_records=50), PlannedCounts(name="labels", bins=4, max_total=50), **goal
    )
    alone = PrivatePlan(
        threat_model=HUNDRED, length=20, l2_clip=1.0, delta=1e-5, max_records=50, **(goal | {"epsilon": 3.0})
    )
    assert plan.config.unit is Unit.RECORD
    assert 2.99 <= plan.epsilon_total <= 3.0
    assert alone.epsilon_total <= 3.0
    unsampled = plan.config.event(plan.min_survivors), alone.config.event(alone.min_survivors)
    ours, theirs = map(worth, unsampled)
    assert ours == pytest.approx(theirs, rel=2e-3)
    with pytest.raises(ParameterError, match=r"sampling_rate is 0.1, but must be 1 where the unit is the client"):
        joint(update(), sampling_rate=0.1)


# Clips that follow a quantile


def rounds_until(start: float, rate: float, target: float = 0.5) -> int:
    """In how many rounds a clip comes within a factor of 1.3 of the quantile of norms; they are spread about 1."""
    rng = np.random.default_rng(7)
    norms = np.exp(rng.normal(0.0, 0.5, 100))
    quantile = float(np.quantile(norms, target))
    directions = rng.standard_normal((100, 8))
    updates = directions * (norms / np.linalg.norm(directions, axis=1))[:, None]
    plan = joint(update(start, 8, follows=target, rate=rate), noise_multiplier=2.0)
    first = plan.event()
    for number in range(200):
        if quantile / 1.3 <= plan.parts[0].l2_clip <= 1.3 * quantile:  # type: ignore[union-attr]
            assert plan.event() == first  # a clip that has moved costs the same
            return number
        plan = plan.after(summed(plan, [{"update": row} for row in updates]))
    raise AssertionError("the clip has not come near")


@pytest.mark.parametrize(("start", "rate", "most"), [(100.0, 0.2, 55), (0.01, 1.0, 14)])
def test_a_clip_a_hundred_times_off_finds_the_median(start: float, rate: float, most: int) -> None:
    """Each round moves it by exp(rate / 2) at most: ln(100 / 1.3) of them at 0.1 each take 44 rounds, at 0.5 take 9.

    Noise of 0.05 on the share of those within adds a few: 3 to 5, and 0 to 2, in 50 runs.
    """
    assert math.log(100 / 1.3) / (rate / 2) - 1 <= rounds_until(start, rate) <= most


@given(st.floats(1e-12, 1e12), st.integers(1, 300))
def test_a_budget_of_releases_takes_each_round_whatever_its_clip(clip: float, length: int) -> None:
    goal: dict[str, Any] = {"noise_multiplier": 2.0}
    plans = [joint(update(start, length, follows=0.5), **goal) for start in (1.0, clip)]
    assert plans[0].event() == plans[1].event()
    (vector, _) = plans[1].config.vectors
    assert vector.l2_clip == pytest.approx(clip, rel=1e-13)  # type: ignore[union-attr]


def test_a_budget_of_releases_pays_for_all_rounds_of_a_plan_and_no_more() -> None:
    plan = joint(update(follows=0.5), epsilon=8.0, rounds=20)
    terms: dict[str, Any] = {"epsilon": "8", "delta": "1e-5", "adjacency": Adjacency.ADD_REMOVE}
    with TemporaryDirectory() as folder, Ledger.open(f"{folder}/ledger.db", create=True) as ledger:
        ledger.create(Budget("b", **terms, composition="releases", event=plan.event()))
        for number in range(20):
            moved = replace(plan, parts=(update(1.1 * 0.93**number, follows=0.5),))
            ledger.spend("b", moved.event(), round_id=str(number))
        with pytest.raises(BudgetExceededError):
            ledger.spend("b", plan.event(), round_id="one more")


def test_votes_are_on_the_vector_before_it_is_clipped_and_come_out_with_noise() -> None:
    plan = joint(update(1.0, 4, follows=0.5, count_sigma=30.0), noise_multiplier=20.0)
    rows = [np.full(4, 0.1 if i < 30 else 50.0) for i in range(98)] + [np.full(4, np.nan), np.full(4, np.inf)]
    votes = float(summed(plan, [{"update": row} for row in rows]).sum("votes on update")[0])
    assert abs(votes - (30 - 70)) < 6 * 60
    quiet = joint(update(1.0, 4, follows=0.5, count_sigma=1.0), noise_multiplier=0.5)
    seen = [float(summed(quiet, [{"update": row} for row in rows]).sum("votes on update")[0]) for _ in range(10)]
    assert abs(np.mean(seen) - (30 - 70)) < 6 * 2 / math.sqrt(10)
    assert len(set(seen)) > 1
    with pytest.raises(EncodingError, match="the round sums"):
        plan.config.encode({"update": rows[0], "votes on update": np.ones(1)}, session_id=SESSION)


def test_clips_follow_through_whole_rounds_with_dropouts() -> None:
    parts = (
        update(100.0, 6, follows=0.5, rate=2.0),
        PlannedVector(name="examples", length=1, l2_clip=1.0),
        PlannedCounts(name="labels", bins=3, least_count=0),
    )
    plan = joint(*parts, model=TWELVE, noise_multiplier=0.5, rounds=3)
    policy = ClientPolicy(privacy=PrivacyDemand(plan.epsilon_total * (1 + 1e-9), 1e-5, rounds=3))
    silent = {ServerPhase.MASKED_INPUT: ["client-05"]}
    inputs = {"update": np.full(6, 0.4), "examples": weighed([1.0], 3, 4), "labels": np.array([0, 1, 0])}
    for _ in range(3):
        result = Simulation(plan.config, lambda _: inputs, silent, policy, threads=1).run().result
        assert len(result.survivors) == 11
        clip = plan.clips["update"].clip
        plan = plan.after(result)
        assert plan.clips["update"].clip < clip
    spent = epsilon_of(Repeated(plan.event(), 3), 1e-5)
    assert spent == pytest.approx(plan.epsilon_total, rel=1e-12)
    with pytest.raises(ParameterError, match="no vector 'votes on update'"):
        plan.after(summed(joint(parts[1], parts[2]), [{"examples": np.ones(1), "labels": inputs["labels"]}] * 100))


def test_records_vote_one_by_one() -> None:
    plan = joint(
        update(1.0, 4, follows=0.5, voters=300, max_records=5, count_sigma=2.0), unit=Unit.RECORD, noise_multiplier=1.0
    )
    rows = np.array([[0.1] * 4, [9.0] * 4, [0.2] * 4])
    given: list[Any] = [rows if i % 2 else iter((rows[:2], rows[2:])) for i in range(100)]
    votes = float(summed(plan, [{"update": each} for each in given]).sum("votes on update")[0])
    assert abs(votes - 100) < 6 * 4
    with pytest.raises(ParameterError, match="give voters, the number of records that is expected in a round"):
        joint(update(follows=0.5), unit=Unit.RECORD)


# Weights


def test_a_weighted_mean_comes_out_of_two_noisy_sums() -> None:
    parts = (update(1.0, 3, share=1.0), PlannedVector(name="examples", length=1, l2_clip=1.0))
    plan = joint(*parts, noise_multiplier=0.25)
    values, weights = np.array([0.1, -0.2, 0.3]), [1 + i % 4 for i in range(100)]
    given = [{"update": weighed(values, w, 4), "examples": weighed([1.0], w, 4)} for w in weights]
    mean = plan.weighted_mean(summed(plan, given), "update", "examples")
    noise = (plan.deviation("update", 100) + plan.deviation("examples", 100)) / (sum(weights) / 4)
    assert np.abs(mean - values).max() < 6 * noise < 0.2
    with pytest.raises(StateError, match="there is no mean"):
        plan.weighted_mean(summed(plan, [{"update": np.zeros(3), "examples": np.zeros(1)}] * 100), "update", "examples")
    with pytest.raises(ParameterError, match="'update' has 3 numbers, but weights are one"):
        plan.weighted_mean(summed(plan, given), "examples", "update")


@given(st.floats(), st.floats(1e-3, 1e6))
def test_weights_are_bounded_whatever_they_are(weight: float, most: float) -> None:
    share = float(weighed([1.0], weight, most)[0])
    assert 0 <= share <= 1
    assert share == pytest.approx(weight / most, rel=1e-15) if 0 <= weight <= most else share in (0.0, 1.0)
