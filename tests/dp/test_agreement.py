"""Calibration, account and ledger agree: what was calibrated for a goal fits a budget of that goal, and fills it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dp.accounting import Method, delta_of, epsilon_of
from dp.analytic import gaussian_delta, gaussian_epsilon, gaussian_limit, gaussian_noise_multiplier
from dp.calibration import discrete_gaussian_sigma, gaussian_sigma, noise_multiplier
from dp.discrete import SLACK, smoothing_variance, summed_gaussians_ratios
from dp.distributed import Goal, NoiseShare, local_sigma_for
from dp.errors import BudgetExceededError, PrivacyParameterError
from dp.events import (
    Composed,
    DiscreteGaussianEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
)
from dp.ledger import Budget, Composition, Cost, Ledger
from dp.mechanisms import discrete_laplace_mechanism, laplace
from dp.nearness import MU_OF_SLACK, ideal
from dp.pld import MAX_POINTS, loss_distribution
from dp.preparation import Preparation
from dp.sensitivity import Adjacency, Norm, Sensitivity

ADD = Adjacency.ADD_REMOVE
EPSILONS, LOG_DELTAS = st.floats(0.01, 30), st.floats(-30, -2)
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    path: Path = tmp_path_factory.mktemp("agreement") / "ledger.db"
    return Ledger.open(str(path), create=True)


def pays(ledger: Ledger, epsilon: object, delta: object, composition: Composition, *spends: object) -> None:
    """Demand that a fresh budget of exactly this goal affords all of these."""
    name = f"budget {next(NUMBERS)}"
    ledger.create(Budget(name, epsilon, delta, adjacency=ADD, composition=composition))  # type: ignore[arg-type]
    for number, spend in enumerate(spends):
        ledger.spend(name, spend, round_id=str(number))  # type: ignore[arg-type]
    assert float(ledger.status(name).epsilon) <= float(epsilon)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(epsilon=EPSILONS, log_delta=LOG_DELTAS, rounds=st.integers(1, 20))
def test_calibrated_gaussian_noise_fits_its_goal(ledger: Ledger, epsilon: float, log_delta: float, rounds: int) -> None:
    delta = math.exp(log_delta)
    event = GaussianEvent(noise_multiplier(epsilon, delta, rounds=rounds), ADD)
    account = epsilon_of(Repeated(event, rounds), delta)
    assert epsilon * (1 - 1e-9) - 1e-12 <= account <= epsilon
    pays(ledger, epsilon, delta, Composition.SUM, Cost(account, delta, adjacency=ADD))
    pays(ledger, epsilon, delta, Composition.GAUSSIAN, *[event] * rounds)
    sensitivity = Sensitivity(3.7, Norm.L2, ADD)
    one = GaussianEvent(gaussian_sigma(epsilon, delta, sensitivity) / 3.7, ADD)
    assert epsilon_of(one, delta) <= epsilon


@pytest.mark.parametrize(("epsilon", "delta"), [("1", "1e-5"), ("0.1", "1e-6"), ("1.1", "3e-7"), ("0.7", "1e-9")])
def test_a_goal_in_decimals_is_the_same_goal(ledger: Ledger, epsilon: str, delta: str) -> None:
    multiplier = noise_multiplier(float(epsilon), float(delta), rounds=7)
    pays(ledger, epsilon, delta, Composition.GAUSSIAN, *[GaussianEvent(multiplier, ADD)] * 7)


@settings(deadline=None, max_examples=25)
@given(epsilon=st.floats(0.05, 8), log_delta=st.floats(-25, -3), sensitivity=st.integers(1, 5))
def test_calibrated_discrete_noise_fits_its_goal(
    ledger: Ledger, epsilon: float, log_delta: float, sensitivity: int
) -> None:
    delta = math.exp(log_delta)
    for dimension in (1, 30):
        sigma = discrete_gaussian_sigma(epsilon, delta, sensitivity, dimension)
        account = epsilon_of(DiscreteGaussianEvent(sigma, sensitivity, dimension, ADD), delta)
        assert account <= epsilon
        pays(ledger, epsilon, delta, Composition.SUM, Cost(account, delta, adjacency=ADD))
    bound = Sensitivity(sensitivity, Norm.L1, ADD)
    for release in (
        discrete_laplace_mechanism(np.array([3]), bound, epsilon=epsilon),
        laplace(np.array([3.0]), bound, epsilon=epsilon),
    ):
        assert epsilon_of(release.event, 0.0) <= epsilon
        pays(ledger, epsilon, 0, Composition.SUM, release.event)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "rounds"),
    [(1.0, 1e-5, 0.1, 20), (4.0, 1e-6, 0.02, 50), (0.5, 1e-5, 0.3, 5), (0.1, math.exp(-14), 0.25, 1)],
)
def test_calibrated_noise_on_samples_fits_its_goal(epsilon: float, delta: float, rate: float, rounds: int) -> None:
    found = noise_multiplier(epsilon, delta, rounds=rounds, sampling_rate=rate, tolerance=1e-2, interval=1e-2)
    event = Repeated(PoissonSampled(rate, GaussianEvent(found, ADD)), rounds)
    assert epsilon_of(event, delta, interval=1e-2) <= epsilon


@pytest.mark.long
@settings(deadline=None, max_examples=50)
@given(epsilon=st.floats(0.1, 8), log_delta=st.floats(-18, -5), rate=st.floats(0.01, 1), rounds=st.integers(1, 50))
def test_calibrated_noise_on_any_samples_fits_its_goal(
    epsilon: float, log_delta: float, rate: float, rounds: int
) -> None:
    test_calibrated_noise_on_samples_fits_its_goal(epsilon, math.exp(log_delta), rate, rounds)


def test_the_limit_of_gaussian_noise_is_that_of_the_references() -> None:
    for epsilon, delta, mu in ((4, 1e-6, 0.83785876), (1, 1e-5, 0.26805112), (8, 1e-5, 1.66603060)):
        assert math.sqrt(gaussian_limit(epsilon, delta)) == pytest.approx(mu, abs=6e-9)


@pytest.mark.parametrize("rounds", [1, 3, 10, 100])
@pytest.mark.parametrize(("epsilon", "delta"), [(4.0, 1e-6), (1.0, 1e-5), (8.0, 1e-5)])
def test_a_fresh_ledger_affords_what_a_goal_promises(ledger: Ledger, epsilon: float, delta: float, rounds: int) -> None:
    goal = Goal(ADD, delta, epsilon=epsilon, rounds=rounds)
    made = Preparation(1000, 1.0, 200.0)
    bounds = NoiseShare(0.5, made.dimension, made.l2_bound, made.l1_bound)
    sigma = local_sigma_for(goal, goal.gaussian_multiplier(), bounds, 90)
    share = NoiseShare(sigma, made.dimension, made.l2_bound, made.l1_bound)
    pays(ledger, epsilon, delta, Composition.GAUSSIAN, *[share.event(90, ADD)] * rounds)
    name = f"budget {next(NUMBERS)}"
    ledger.create(Budget(name, epsilon, delta, adjacency=ADD, composition=Composition.GAUSSIAN))
    with pytest.raises(BudgetExceededError):
        ledger.spend(name, Repeated(share.event(90, ADD), rounds + 1), round_id="one more")


def test_a_gaussian_budget_counts_squares_of_mu_and_nothing_else(ledger: Ledger) -> None:
    budget = Budget("kinds", 3, 1e-6, adjacency=ADD, composition=Composition.GAUSSIAN)
    ledger.create(budget)
    events = (GaussianEvent(8.0, ADD), DiscreteGaussianEvent(900.0, 100.0, 50, ADD))
    ledger.spend("kinds", Composed((events[0], Repeated(events[1], 2))), round_id="0")
    spent = 1 / 64 + 2 * (100 / math.sqrt(900**2 - math.log(14 * 50 * 2**58) / (2 * math.pi**2))) ** 2
    assert float(ledger.status("kinds").spent["squared_mu"]) == pytest.approx(spent, rel=1e-12)
    assert float(ledger.status("kinds").epsilon) == pytest.approx(gaussian_epsilon(spent**-0.5, 1e-6), rel=1e-9)
    for wrong in (
        LaplaceEvent(5.0, ADD, 1),
        SkellamEvent(90.0, 1.0, 1.0, ADD),
        PoissonSampled(0.1, GaussianEvent(8.0, ADD)),
        SummedDiscreteGaussianEvent(0.5, 2, 1.0, 1.0, 9, ADD),
        Cost("0.1", adjacency=ADD),
    ):
        with pytest.raises(PrivacyParameterError, match="make a budget"):
            ledger.spend("kinds", wrong, round_id="1")


# Nearness to Gaussian noise.


@pytest.mark.parametrize("local_sigma", [1.05, 1.3, 2.0])
def test_of_many_clients_the_best_number_is_counted_and_more_cost_no_more(local_sigma: float) -> None:
    def multiplier(clients: int) -> float:
        event = ideal(SummedDiscreteGaussianEvent(local_sigma, clients, 1.0, 1.0, 1, ADD))
        assert isinstance(event, GaussianEvent)
        return event.noise_multiplier

    most = 400_000
    clients = np.arange(1, most + 1)
    slack = 2 * summed_gaussians_ratios(local_sigma, clients) + SLACK
    variance = clients * local_sigma**2
    near = variance > 1.25 * smoothing_variance(1)
    mus = np.where(
        near, 1 / np.sqrt(np.where(near, variance - smoothing_variance(1), 1)) + MU_OF_SLACK * slack, math.inf
    )
    least = np.minimum.accumulate(mus)
    for number in (10_000, 10_001, 10_002, 12_345, 100_000, most):
        assert multiplier(number) == pytest.approx(1 / least[number - 1], rel=1e-9)
    found = [multiplier(number) for number in (9_999, 10_001, 10_002, 10**5, 10**9, 2**53)]
    assert all(more >= fewer * (1 - 1e-14) for fewer, more in itertools.pairwise(found))


def test_being_near_costs_no_more_mu_than_is_counted() -> None:
    # k-DP is Gaussian DP of 2 quantile(e**k / (1 + e**k)).
    for k in (1e-9, 1e-3, 0.1, 1.0, 5.0, 30.0):
        mu = -2 * stats.norm.ppf(1 / (1 + math.exp(k)))
        assert mu <= MU_OF_SLACK * k * (1 + 1e-6)
        assert MU_OF_SLACK * k * (1 - k**2) <= mu


def test_discrete_noise_is_as_private_as_its_mu_says() -> None:
    """Exactly, for sums of three clients' noise on one integer."""
    for sigma, clients in ((1.5, 3), (2.0, 3), (1.2, 5)):
        reach = 60
        x = np.arange(-reach, reach + 1)
        one = np.exp(-(x**2) / (2 * sigma**2))
        law = np.ones(1)
        for _ in range(clients):
            law = np.convolve(law, one / one.sum())
        event = ideal(SummedDiscreteGaussianEvent(sigma, clients, 1.0, 1.0, 1, ADD))
        assert isinstance(event, GaussianEvent)
        moved = np.append(0.0, law[:-1])
        for epsilon in (0.0, 0.3, 1.0, 2.0):
            exact = np.maximum(0.0, law - math.exp(epsilon) * moved).sum()
            assert exact <= gaussian_delta(event.noise_multiplier, epsilon)


# Sampling and clients' own noise.


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_sampling_does_not_amplify_sums_of_clients_own_noise(rate: float) -> None:
    """Where the others are one short of the least number, there is a sum if and only if the client is in it."""
    clients, multiplier, epsilon = 12, 1.0, 1.0
    exact = rate * gaussian_delta(multiplier, epsilon)  # its noise comes with it: the sum itself tells of both
    claimed = delta_of(PoissonSampled(rate, GaussianEvent(multiplier, ADD)), epsilon)
    assert exact > 1.5 * claimed
    event = SummedDiscreteGaussianEvent(50.0, clients, 50.0, 50.0, 1, ADD)
    for sampled in (lambda: PoissonSampled(rate, event), lambda: FixedSizeSampled(3, 12, Repeated(event, 2))):
        with pytest.raises(PrivacyParameterError, match="takes its noise along"):
            sampled()


# Bounded work, and the least of what is sound.


@pytest.mark.parametrize(
    ("event", "low", "high"),
    [
        (LaplaceEvent(1e-3, ADD, 1), 999.9, 1000.0),
        (LaplaceEvent(1e-5, ADD, 1), 99_999.0, 100_000.0),
        (Repeated(PoissonSampled(1.0, GaussianEvent(1.0, ADD)), 10**6), 504_263.8, 504_263.9),
        (Repeated(PoissonSampled(0.999, GaussianEvent(1.0, ADD)), 10**6), 490_000.0, 504_263.9),
        (Repeated(PoissonSampled(0.01, GaussianEvent(0.1, ADD)), 10), 160.18, 160.2),
        (Repeated(PoissonSampled(0.01, GaussianEvent(0.001, ADD)), 10), 5.0e6, 5.02e6),
    ],
)
def test_large_losses_are_accounted_for_on_bounded_grids(event: Event, low: float, high: float) -> None:
    assert low <= epsilon_of(event, 1e-5) <= high


def test_a_grid_has_a_bounded_number_of_points() -> None:
    for event in (
        Repeated(PoissonSampled(0.01, GaussianEvent(0.1, ADD)), 1000),
        Composed(
            (LaplaceEvent(0.01, ADD, 1), LaplaceEvent(0.02, ADD, 1), PoissonSampled(0.1, GaussianEvent(0.2, ADD)))
        ),
        Repeated(LaplaceEvent(0.1, ADD, 2), 10_000),
    ):
        distribution, _ = loss_distribution(event)
        assert distribution._pmf_remove.size <= MAX_POINTS
    with pytest.raises(PrivacyParameterError, match="method='rdp'"):
        epsilon_of(LaplaceEvent(1e-5, ADD, 1), 1e-5, Method.PLD)


@pytest.mark.parametrize(
    "event",
    [
        Repeated(PoissonSampled(0.001, GaussianEvent(20.0, ADD)), 100_000),
        Repeated(PoissonSampled(0.01, GaussianEvent(2.0, ADD)), 100),
        Repeated(LaplaceEvent(200.0, ADD, 3), 1000),
        DiscreteGaussianEvent(3.0, 1.0, 1, ADD),
        Composed((GaussianEvent(2.0, ADD), LaplaceEvent(4.0, ADD, 1))),
    ],
)
def test_auto_is_the_least_of_what_is_sound(event: Event) -> None:
    found = epsilon_of(event, 1e-5)
    for method in (Method.PLD, Method.RDP):
        assert found <= epsilon_of(event, 1e-5, method)
        assert delta_of(event, 0.5) <= delta_of(event, 0.5, method)


def test_a_sums_cost_is_the_less_of_gaussian_and_divergence() -> None:
    coarse = SummedDiscreteGaussianEvent(0.9, 8, 6.0, 30.0, 64, ADD)  # near the least noise that has a Gaussian
    assert epsilon_of(coarse, 1e-5) == epsilon_of(coarse, 1e-5, Method.RDP)
    inner = ideal(coarse)
    assert isinstance(inner, GaussianEvent)
    assert epsilon_of(coarse, 1e-5) < gaussian_epsilon(inner.noise_multiplier, 1e-5)
    fine = SummedDiscreteGaussianEvent(50.0, 8, 60.0, 300.0, 64, ADD)
    assert epsilon_of(fine, 1e-5) < epsilon_of(fine, 1e-5, Method.RDP)
    assert SLACK < 1e-17


# Edges.


def test_a_delta_below_all_floats_is_not_zero() -> None:
    for event in (
        PoissonSampled(0.01, GaussianEvent(1.0, ADD)),
        SkellamEvent(900.0, 1.0, 1.0, ADD),
        SummedDiscreteGaussianEvent(50.0, 8, 60.0, 300.0, 64, ADD),
    ):
        for method in (Method.AUTO, Method.RDP):
            assert 0 < delta_of(event, 1000.0, method) < 1e-11
    assert delta_of(LaplaceEvent(2.0, ADD, 1), 0.5) == 0.0


def test_rates_that_no_float_holds_and_events_too_deep_are_named() -> None:
    with pytest.raises(PrivacyParameterError, match="1e-100"):
        PoissonSampled(5e-324, GaussianEvent(1.0, ADD))
    event: Event = GaussianEvent(100.0, ADD)
    for _ in range(100):
        event = Repeated(event, 1)
    with pytest.raises(PrivacyParameterError, match="100 deep"):
        Repeated(event, 1)
    assert epsilon_of(event, 1e-5) == epsilon_of(GaussianEvent(100.0, ADD), 1e-5)
    assert gaussian_noise_multiplier(1.0, 1e-5) == pytest.approx(3.730631634815947, rel=1e-12)
