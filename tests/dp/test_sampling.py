"""Coins of records: independent, of the rate that is asked for and never above it, from 64 bits each."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp import (
    Adjacency,
    GaussianEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
    Unit,
    epsilon_of,
    sample_records,
)
from dp.distributed import Goal
from dp.errors import PrivacyParameterError
from dp.events import Composed
from dp.randomness import WordStream

FALSE_ALARM = 1e-9
COUNT = 1_000_000


def by_chance(taken: int, rate: float) -> bool:
    """Whether so many of COUNT may be due to chance: Bernstein's bound, at FALSE_ALARM."""
    off = abs(taken - rate * COUNT)
    return off**2 / (2 * (COUNT * rate * (1 - rate) + off / 3)) <= math.log(2 / FALSE_ALARM)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
def test_as_many_take_part_as_the_rate_says(rate: float) -> None:
    taken = sample_records(COUNT, rate).size
    assert by_chance(taken, rate)
    assert not by_chance(taken, rate * 1.06)  # the test rejects what is a little wrong
    assert not by_chance(taken, rate / 1.06)


def test_coins_are_independent() -> None:
    """Of pairs of neighbours, a quarter are both in at a half."""
    inside = np.zeros(2 * COUNT, dtype=bool)
    inside[sample_records(2 * COUNT, 0.5)] = True
    assert by_chance(int((inside[::2] & inside[1::2]).sum()), 0.25)


@given(st.integers(0, 300), st.floats(0, 1, exclude_min=True))
def test_a_word_decides_for_each_record(count: int, rate: float) -> None:
    key = bytes(range(32))
    words = WordStream(count, random=lambda size: key[:size]).take(count).tolist()
    expected = [i for i, word in enumerate(words) if word < math.floor(rate * 2.0**64)]
    assert sample_records(count, rate, random=lambda size: key[:size]).tolist() == expected


@pytest.mark.parametrize("rate", [0, -0.5, 1.5, float("nan"), True, "0.5"])
def test_a_rate_is_a_probability(rate: float) -> None:
    with pytest.raises(PrivacyParameterError, match="rate"):
        sample_records(10, rate)
    with pytest.raises(PrivacyParameterError, match="rate"):
        Goal(Adjacency.ADD_REMOVE, 1e-5, epsilon=1.0, sampling_rate=rate)


def test_all_and_nobody() -> None:
    assert sample_records(5, 1.0, random=lambda _: b"").tolist() == [0, 1, 2, 3, 4]
    assert sample_records(0, 0.5).tolist() == []
    assert sample_records(1000, 1e-100).tolist() == []
    with pytest.raises(PrivacyParameterError, match="count"):
        sample_records(-1, 0.5)


def records(
    clients: int = 9, sigma: float = 40.0, adjacency: Adjacency = Adjacency.ADD_REMOVE
) -> SummedDiscreteGaussianEvent:
    return SummedDiscreteGaussianEvent(sigma, clients, 60.0, 900.0, 256, adjacency, Unit.RECORD)


def test_sampled_records_cost_what_sampled_gaussian_noise_does() -> None:
    near = GaussianEvent(3 * 40.0 / 60.0, Adjacency.ADD_REMOVE)
    for rate, rounds in ((0.05, 300), (0.5, 3)):
        ours, ideal = (epsilon_of(Repeated(PoissonSampled(rate, event), rounds), 1e-5) for event in (records(), near))
        assert ideal <= ours <= ideal * 1.01


def test_several_sums_under_one_sample_are_one_vector() -> None:
    both = Composed((records(), records(sigma=80.0)))
    one = GaussianEvent((2.0**-2 + 4.0**-2) ** -0.5, Adjacency.ADD_REMOVE)
    ours, ideal = (epsilon_of(Repeated(PoissonSampled(0.1, event), 100), 1e-5) for event in (both, one))
    assert ideal <= ours <= ideal * 1.01


@given(st.sampled_from([0.01, 0.1, 0.4]), st.sampled_from([0.5, 0.9, 1.0]), st.integers(1, 50))
def test_a_higher_rate_costs_more(low: float, high: float, rounds: int) -> None:
    costs = [epsilon_of(Repeated(PoissonSampled(rate, records()), rounds), 1e-5) for rate in (low, high)]
    assert costs[0] <= costs[1] <= epsilon_of(Repeated(records(), rounds), 1e-5) * (1 + 1e-9)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(PrivacyParameterError, match="add-remove adjacency alone"):
        PoissonSampled(0.5, records(adjacency=Adjacency.REPLACE_ONE))
    with pytest.raises(PrivacyParameterError, match="add-remove adjacency alone"):
        Goal(Adjacency.REPLACE_ONE, 1e-5, epsilon=1.0, sampling_rate=0.5)
    with pytest.raises(PrivacyParameterError, match="split the event"):
        epsilon_of(PoissonSampled(0.5, records(clients=1, sigma=0.5)), 1e-5)


@pytest.mark.parametrize(("epsilon", "rounds", "rate"), [(1.0, 20, 0.2), (3.0, 100, 0.05), (8.0, 1000, 0.01)])
def test_a_goal_is_met_with_hardly_more_noise_than_it_takes(epsilon: float, rounds: int, rate: float) -> None:
    goal = Goal(Adjacency.ADD_REMOVE, 1e-5, epsilon=epsilon, rounds=rounds, sampling_rate=rate)
    multiplier = goal.gaussian_multiplier()
    spent = [
        epsilon_of(goal.series(GaussianEvent(multiplier * factor, Adjacency.ADD_REMOVE)), 1e-5)
        for factor in (1.0, 1 - 1e-4)
    ]
    assert spent[0] <= epsilon < spent[1]


def test_coins_come_from_the_operating_system_unless_replayed() -> None:
    assert sample_records.__kwdefaults__ == {"random": os.urandom}
