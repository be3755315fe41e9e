"""Samples of records under clients' noise: data sets are told apart by no more than is claimed, and by hardly less."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dp.accounting import Method, delta_of, epsilon_of
from dp.calibration import noise_multiplier
from dp.distributed import Goal, NoiseShare, local_sigma_for
from dp.errors import PrivacyParameterError
from dp.events import (
    Composed,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    PoissonSampled,
    Repeated,
    SummedDiscreteGaussianEvent,
)
from dp.nearness import ideal
from dp.pld import NoDistributionError, loss_distribution
from dp.rdp import rdp_curve
from dp.sampled import gaussian_distribution, moved_gaussian_distribution
from dp.sensitivity import Adjacency, Unit

from .whole_sums import ERROR, Client, Record, whole_delta

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE


def sum_event(
    local_sigma: float,
    honest: int,
    bound: float,
    relation: Adjacency = ADD,
    *,
    dimension: int = 1,
    nonnegative: bool = False,
) -> SummedDiscreteGaussianEvent:
    share = NoiseShare(local_sigma, dimension, bound, bound * math.sqrt(dimension), nonnegative, Unit.RECORD)
    return share.event(honest, relation)


def claimed(event: Event, rate: Fraction, epsilon: float, rounds: int = 1, method: Method = Method.AUTO) -> float:
    return delta_of(Repeated(PoissonSampled(float(rate), event), rounds), epsilon, method)


# Against the second implementation.


def records(bound: int, dimension: int, least: int) -> list[Record]:
    every = itertools.product(range(least, bound + 1), repeat=dimension)
    return [record for record in every if sum(entry**2 for entry in record) <= bound**2]


@given(data=st.data())
def test_no_two_data_sets_are_told_apart_by_more_than_is_claimed(data: st.DataObject) -> None:
    dimension, bound = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 4))
    relation, nonnegative = data.draw(st.sampled_from(Adjacency)), data.draw(st.booleans())
    record = st.sampled_from(records(bound, dimension, 0 if nonnegative else -bound))
    clients: list[list[Record]] = data.draw(st.lists(st.lists(record, max_size=2), min_size=1, max_size=3))
    with_one, without = ([[new, *clients[0]], *clients[1:]] for new in data.draw(st.tuples(record, record)))
    if relation is ADD:
        without = clients
    rate, epsilon = Fraction(data.draw(st.integers(1, 20)), 20), data.draw(st.floats(0, 3))
    local_sigma, honest = data.draw(st.floats(0.5, 3.0)), data.draw(st.integers(1, 3))
    rounds = data.draw(st.integers(1, 2)) if dimension == 1 else 1
    event = sum_event(local_sigma, honest, bound, relation, dimension=dimension, nonnegative=nonnegative)
    true = whole_delta(
        with_one,
        without,
        rate=rate,
        local_sigma=local_sigma,
        honest=honest,
        epsilon=epsilon,
        rounds=rounds,
        cut=data.draw(st.integers(1, 8)),
    )
    assert true <= claimed(event, rate, epsilon, rounds) + ERROR
    for method in (Method.PLD, Method.RDP):
        try:
            bound_of_method = claimed(event, rate, epsilon, rounds, method)
        except NoDistributionError:
            continue  # too coarse for it
        assert true <= bound_of_method + ERROR


WORST: list[tuple[list[Client], list[Client], Adjacency]] = [
    ([[(20,)], []], [[], []], ADD),
    ([[(20,)], []], [[(0,)], []], REPLACE),
]


@pytest.mark.parametrize(("here", "there", "relation"), WORST)
@pytest.mark.parametrize("rate", [Fraction(1, 10), Fraction(1, 2)])
@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("epsilon", [0.25, 1.0, 2.0])
def test_claims_are_tight_and_would_be_refuted_at_less_noise_or_a_smaller_rate(
    here: list[Client], there: list[Client], relation: Adjacency, rate: Fraction, rounds: int, epsilon: float
) -> None:
    """Four clients' noise, in sum of deviation 14; a record adds 20 to an entry that is never below 0."""
    local_sigma, honest = 7.0, 4

    def true(share: float = 1.0, at: Fraction = rate) -> float:
        sigma = share * local_sigma
        return whole_delta(here, there, rate=at, local_sigma=sigma, honest=honest, epsilon=epsilon, rounds=rounds)

    event = sum_event(local_sigma, honest, 20, relation, nonnegative=True)
    said = claimed(event, rate, epsilon, rounds)
    assert true() <= said
    if relation is REPLACE and rounds == 2:
        return  # one pair for both directions: sound, but composed less tightly
    assert true() >= 0.93 * said
    assert true(0.96) > said
    assert true() > claimed(event, rate * Fraction(95, 100), epsilon, rounds)


def test_two_entries_are_accounted_as_tightly_as_one() -> None:
    rate = Fraction(1, 5)
    event = sum_event(7.0, 4, 20, dimension=2)
    here: list[Client] = [[(12, 16)], []]
    for epsilon in (0.5, 1.5):
        said = claimed(event, rate, epsilon)
        true, less = (
            whole_delta(here, [[], []], rate=rate, local_sigma=sigma, honest=4, epsilon=epsilon)
            for sigma in (7.0, 6.72)
        )
        assert 0.9 * said <= true <= said < less


@pytest.mark.parametrize("rate", [Fraction(1, 10), Fraction(1, 2)])
def test_replaced_counts_are_not_halves_of_their_sensitivity(rate: Fraction) -> None:
    """They move by sqrt(2) of their bound: half of that is less than what one of them is away from zero."""
    event = sum_event(7.0, 4, 20, REPLACE, dimension=2, nonnegative=True)
    inner = ideal(event)
    assert isinstance(inner, GaussianEvent)
    true = whole_delta([[(20, 0)]], [[(0, 20)]], rate=rate, local_sigma=7.0, honest=4, epsilon=1.0)
    assert delta_of(PoissonSampled(float(rate), inner), 1.0) < 0.75 * true  # as central releases are accounted
    assert true <= claimed(event, rate, 1.0)


def test_a_noise_that_is_not_counted_takes_nothing_back() -> None:
    """Fewer honest clients are counted than bring noise: what is claimed for the fewer holds."""
    rate, epsilon = Fraction(1, 4), 0.5
    said = [claimed(sum_event(2.0, honest, 6), rate, epsilon) for honest in (2, 3, 4)]
    assert said == sorted(said, reverse=True)
    assert whole_delta([[(6,)]], [[]], rate=rate, local_sigma=2.0, honest=4, epsilon=epsilon) <= said[-1]


@pytest.mark.parametrize("epsilon", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_replaced_contributions_are_the_worst_on_one_side(epsilon: float, rate: float) -> None:
    """Of all a, b in the plane within 1 of each other and of 0, none has a larger delta than 1 and 0."""
    sigma, step = 0.8, 0.05
    axis = np.arange(-6, 6, step)
    x, y = np.meshgrid(axis, axis)

    def density(place: tuple[float, float]) -> np.ndarray:
        return stats.norm.pdf(x, place[0], sigma) * stats.norm.pdf(y, place[1], sigma) * step**2

    def delta(a: tuple[float, float], b: tuple[float, float]) -> float:
        here, there = ((1 - rate) * density((0, 0)) + rate * density(place) for place in (a, b))
        return float(np.maximum(here - math.exp(epsilon) * there, 0).sum())

    worst = delta((1, 0), (0, 0))
    angles = np.linspace(0, math.pi, 13)
    for length, angle, distance, turn in itertools.product((0.4, 1.0), (0.0, 0.9), (0.5, 1.0), angles):
        a = (length * math.cos(angle), length * math.sin(angle))
        b = (a[0] + distance * math.cos(turn), a[1] - distance * math.sin(turn))
        if math.hypot(*b) <= 1 + 1e-9:
            assert delta(a, b) <= worst + 1e-4


# What holds for all of them.


@given(
    rate=st.floats(1e-3, 1),
    more=st.floats(1, 10),
    local_sigma=st.floats(0.5, 12),
    honest=st.integers(1, 200),
    dimension=st.integers(1, 2000),
    bound=st.floats(1, 60),
    relation=st.sampled_from(Adjacency),
    rounds=st.integers(1, 300),
)
def test_a_smaller_rate_never_costs_more_and_none_more_than_no_sampling(
    rate: float,
    more: float,
    local_sigma: float,
    honest: int,
    dimension: int,
    bound: float,
    relation: Adjacency,
    rounds: int,
) -> None:
    event = sum_event(local_sigma, honest, bound, relation, dimension=dimension)
    often = min(1.0, rate * more)
    whole = epsilon_of(Repeated(event, rounds), 1e-6)
    few, many = (epsilon_of(Repeated(PoissonSampled(q, event), rounds), 1e-6) for q in (rate, often))
    assert few <= many * (1 + 1e-5) + 1e-5
    assert max(few, many) <= whole
    assert epsilon_of(Repeated(PoissonSampled(1.0, event), rounds), 1e-6) == whole


def test_ideal_noise_reaches_into_samples() -> None:
    event = sum_event(5.0, 10, 8.0, dimension=30)
    near = ideal(event)
    assert isinstance(near, GaussianEvent)
    assert ideal(Composed((Repeated(PoissonSampled(0.2, event), 3),))) == Composed(
        (Repeated(PoissonSampled(0.2, near), 3),)
    )
    replaced = PoissonSampled(0.2, sum_event(5.0, 10, 8.0, REPLACE, dimension=30))
    assert ideal(replaced) == replaced  # Gaussian noise on samples is stated for halves of a sensitivity
    for relation in Adjacency:
        nested = PoissonSampled(0.2, Repeated(sum_event(5.0, 10, 8.0, relation, dimension=30), 1))
        assert epsilon_of(nested, 1e-6) == epsilon_of(PoissonSampled(0.2, nested.event.event), 1e-6)


def test_noise_that_is_too_coarse_is_accounted_as_if_all_records_were_in() -> None:
    event = sum_event(0.5, 2, 1.0, dimension=1000)
    assert ideal(event) == event
    sampled = Repeated(PoissonSampled(0.01, event), 5)
    with pytest.raises(NoDistributionError, match=r"local_sigma = 0\.5 is too coarse"):
        loss_distribution(sampled)
    orders = np.array([1.5, 2.0, 32.0])
    assert np.array_equal(rdp_curve(sampled, orders), rdp_curve(Repeated(event, 5), orders))
    assert epsilon_of(sampled, 1e-6) == epsilon_of(Repeated(event, 5), 1e-6)


def test_tiny_contributions_under_coarse_noise_get_the_orders_of_what_is_not_sampled() -> None:
    event = SummedDiscreteGaussianEvent(1.5, 1, 1e-3, 1e-3, 1, ADD, Unit.RECORD)
    assert ideal(event) == event
    assert epsilon_of(PoissonSampled(0.5, event), 1e-6) <= epsilon_of(event, 1e-6)
    assert delta_of(PoissonSampled(0.5, event), 0.005) <= delta_of(event, 0.005)


@pytest.mark.parametrize(("multiplier", "rate"), [(0.7, 0.3), (2.0, 0.05), (1.0, 1.0)])
def test_a_replaced_record_shows_as_one_that_is_there_whichever_way_it_is_replaced(
    multiplier: float, rate: float
) -> None:
    """The deltas of one side are those of the other at -epsilon, as for a pair whose two laws change places."""
    interval = 1e-2
    moved = moved_gaussian_distribution(multiplier, rate, interval)
    removed = gaussian_distribution(multiplier, rate, interval)
    assert moved._symmetric
    for epsilon in (0.0, 0.2, 1.0, 2.0):
        delta = moved.get_delta_for_epsilon(epsilon)
        assert delta == pytest.approx(removed._pmf_remove.get_delta_for_epsilon(epsilon), rel=1e-9)
        turned = 1 - math.exp(-epsilon) * (1 - delta)
        assert moved._pmf_remove.get_delta_for_epsilon(-epsilon) == pytest.approx(turned, rel=1e-9)


def test_divergences_of_samples_are_never_above_those_of_all() -> None:
    orders = np.array([1.5, 2.0, 8.0, 64.0])
    event = sum_event(2.5, 3, 3.0)
    whole = rdp_curve(event, orders)
    for rate in (0.01, 0.5, 0.999999):
        curve = rdp_curve(PoissonSampled(rate, event), orders)
        assert (curve <= whole).all()
        assert rate > 0.99 or (curve < whole)[:2].all()
    replaced = sum_event(2.5, 3, 3.0, REPLACE)
    assert np.array_equal(rdp_curve(PoissonSampled(0.01, replaced), orders), rdp_curve(replaced, orders))
    fixed = FixedSizeSampled(10, 1000, replaced)
    assert (rdp_curve(fixed, orders) <= rdp_curve(replaced, orders)).all()


# Goals.


@pytest.mark.parametrize(
    ("epsilon", "delta", "rounds", "rate"),
    [
        (1.0, 1e-6, 1, 0.1),
        (2.0, 1e-5, 10**4, 0.01),
        (8.0, 1e-5, 1000, 0.5),
        (1.0, 1e-5, 1, 1e-9),
        (0.5, 1e-6, 300, 0.9),
    ],
)
@pytest.mark.parametrize("relation", Adjacency)
def test_a_plan_of_samples_has_the_least_noise_that_meets_its_goal(
    epsilon: float, delta: float, rounds: int, rate: float, relation: Adjacency
) -> None:
    goal = Goal(relation, delta, epsilon=epsilon, rounds=rounds, sampling_rate=rate)
    share = NoiseShare(1.0, 1024, 200.0, 2000.0, unit=Unit.RECORD)
    multiplier = goal.gaussian_multiplier()
    sigma = local_sigma_for(goal, multiplier, share, 50)

    def spent(local_sigma: float) -> float:
        event = NoiseShare(local_sigma, 1024, 200.0, 2000.0, unit=Unit.RECORD).event(50, relation)
        return epsilon_of(Repeated(PoissonSampled(rate, event), rounds), delta)

    assert spent(sigma) <= epsilon < spent(sigma * (1 - 3e-5))
    if relation is ADD:
        assert multiplier == pytest.approx(
            noise_multiplier(epsilon, delta, rounds=rounds, sampling_rate=rate), rel=3e-5
        )
    whole = Goal(relation, delta, epsilon=epsilon, rounds=rounds)
    assert sigma < local_sigma_for(whole, whole.gaussian_multiplier(), share, 50)


def test_a_goal_without_sampling_is_what_it_was() -> None:
    event = sum_event(5.0, 10, 8.0)
    assert Goal(ADD, 1e-6, epsilon=1.0, rounds=3).series(event) == Repeated(event, 3)
    assert Goal(ADD, 1e-6, epsilon=1.0, rounds=3, sampling_rate=0.5).series(event) == Repeated(
        PoissonSampled(0.5, event), 3
    )


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.0001, math.nan, 1e-101])
def test_rates_that_are_no_probabilities_are_named(rate: float) -> None:
    with pytest.raises(PrivacyParameterError, match="sampling_rate"):
        Goal(ADD, 1e-6, epsilon=1.0, sampling_rate=rate)


def test_clients_are_not_sampled() -> None:
    for goal in (
        Goal(ADD, 1e-6, epsilon=1.0, sampling_rate=0.5),
        Goal(ADD, 1e-6, noise_multiplier=1.0, sampling_rate=0.5),
    ):
        with pytest.raises(PrivacyParameterError, match="takes its noise along"):
            local_sigma_for(goal, goal.gaussian_multiplier(), NoiseShare(1.0, 1024, 200.0, 2000.0), 50)


@pytest.mark.parametrize(("rounds", "rate"), [(10**14, 1.0), (10**14, 0.999)])
def test_errors_say_which_way_to_turn_and_how_far(rounds: int, rate: float) -> None:
    def multiplier(epsilon: float, rounds: int) -> float:
        return Goal(ADD, 1e-6, epsilon=epsilon, rounds=rounds, sampling_rate=rate).gaussian_multiplier()

    with pytest.raises(
        PrivacyParameterError, match=r"raise epsilon to [\d.e-]+, or lower rounds to about \d+$"
    ) as error:
        multiplier(1e-6, rounds)
    words = str(error.value).replace(",", "").split()
    assert multiplier(1.01 * float(words[words.index("to") + 1]), rounds) > 0
    assert multiplier(1e-6, int(0.99 * int(words[-1]))) > 0


@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_several_sums_under_one_sample_are_one_vector(relation: Adjacency) -> None:
    parts = [sum_event(40.0, 9, 60.0, relation, dimension=256), sum_event(80.0, 9, 60.0, relation, dimension=256)]
    joint = math.sqrt(sum((part.l2_sensitivity / part.local_sigma) ** 2 for part in parts))
    one = sum_event(40.0, 9, 40.0 * joint / (2 if relation is REPLACE else 1), relation, dimension=256)
    for rate in (0.1, 0.9):
        costs = [epsilon_of(Repeated(PoissonSampled(rate, event), 50), 1e-5) for event in (Composed(tuple(parts)), one)]
        assert costs[0] == pytest.approx(costs[1], rel=2e-3)
