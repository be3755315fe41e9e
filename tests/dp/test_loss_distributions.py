"""Loss distributions against closed forms of delta, kind by kind, and what they say of their own approximations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dp.accounting import Method, delta_of, epsilon_of
from dp.analytic import gaussian_delta
from dp.discrete import discrete_gaussian_delta, discrete_laplace_deltas
from dp.errors import PrivacyParameterError
from dp.events import (
    ApproximateEvent,
    Composed,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    PoissonSampled,
    Repeated,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
)
from dp.laws import gaussian_law, laplace_law
from dp.pld import NoDistributionError, loss_distribution
from dp.rational import exact
from dp.sensitivity import Adjacency

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
INTERVAL = 1e-2

discrete_vector = DiscreteGaussianEvent(300.0, 20.0, 1000, ADD)
EVERY_KIND: list[Event] = [
    GaussianEvent(2.0, ADD),
    LaplaceEvent(2.0, ADD, 1),
    LaplaceEvent(2.0, ADD, 3),
    DiscreteLaplaceEvent(4.0, 3, 1, ADD),
    DiscreteLaplaceEvent(4.0, 3, 2, ADD),
    DiscreteGaussianEvent(3.0, 2.0, 1, ADD),
    discrete_vector,
    ApproximateEvent(0.5, 1e-3, ADD),
    PoissonSampled(0.3, GaussianEvent(2.0, ADD)),
    PoissonSampled(0.3, LaplaceEvent(2.0, ADD, 1)),
]


def curve(event: Event, epsilons: np.ndarray, interval: float = INTERVAL) -> np.ndarray:
    distribution, _ = loss_distribution(event, interval)
    return np.array([distribution.get_delta_for_epsilon(float(epsilon)) for epsilon in epsilons])


@pytest.mark.parametrize(("sigma", "sensitivity"), [(0.9, 1), (3.0, 2), (40.0, 25), (4096.0, 300)])
def test_one_integer_with_gaussian_noise_has_its_exact_curve(sigma: float, sensitivity: int) -> None:
    law = gaussian_law(exact(sigma, "sigma") ** 2)
    mean, spread = sensitivity**2 / (2 * sigma**2), sensitivity / sigma
    epsilons = np.rint(np.linspace(0, mean + 6 * spread, 9) / INTERVAL) * INTERVAL  # on the grid, nothing is lost
    true = [discrete_gaussian_delta(law, sensitivity, epsilon) for epsilon in epsilons]
    event = DiscreteGaussianEvent(sigma, sensitivity + 0.9, 1, ADD)  # integers move by whole steps
    found = curve(event, epsilons)
    assert np.all(found >= np.array(true) * (1 - 1e-9) - 1e-15)
    assert found == pytest.approx(true, rel=1e-9, abs=3e-13)
    # Nothing is taken for certain at either end: what lies beyond 9.5 deviations is less than this.
    assert curve(event, np.array([mean + 20 * spread + 1]))[0] < 1e-14


@pytest.mark.parametrize(("scale", "sensitivity"), [(0.8, 1), (4.0, 3), (20.0, 7)])
def test_one_integer_with_laplace_noise_has_its_exact_curve(scale: float, sensitivity: int) -> None:
    law = laplace_law(exact(scale, "scale"))
    epsilons = np.arange(0, math.floor(sensitivity / scale / INTERVAL) + 1, 4) * INTERVAL
    true = discrete_laplace_deltas(law, sensitivity, epsilons)
    event = DiscreteLaplaceEvent(scale, sensitivity, 1, ADD)
    assert curve(event, epsilons) == pytest.approx(true, rel=1e-9, abs=3e-15)
    assert curve(event, np.array([sensitivity / scale + INTERVAL]))[0] == 0


def test_integers_that_cannot_move_cost_nothing() -> None:
    event = DiscreteGaussianEvent(3.0, 0.9, 1, ADD)
    assert curve(event, np.array([0.0]))[0] == 0
    assert epsilon_of(Repeated(event, 9), 1e-6) == 0
    assert epsilon_of(Composed(()), 1e-6) == 0


@pytest.mark.parametrize(
    ("event", "epsilon", "delta"),
    [
        (LaplaceEvent(2.0, ADD, 3), 0.5, 0.0),
        (DiscreteLaplaceEvent(8.0, 4, 2, ADD), 0.5, 0.0),
        (ApproximateEvent(0.5, 0.0, ADD), 0.5, 0.0),
        (ApproximateEvent(0.5, 0.01, ADD), 0.5, 0.01),
    ],
)
def test_where_only_a_guarantee_is_known_its_worst_case_is_taken(event: Event, epsilon: float, delta: float) -> None:
    worst = delta + (1 - delta) * math.tanh(epsilon / 2)  # randomised response
    assert curve(event, np.array([0.0, epsilon])) == pytest.approx([worst, delta], rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_sampling_amplifies_as_it_should(rate: float) -> None:
    # Removing a record: (log(1 + q (e**epsilon - 1)), q delta) where the release alone is (epsilon, delta).
    for epsilon in (0.2, 0.4):
        amplified = math.log1p(rate * math.expm1(epsilon))
        laplace = PoissonSampled(rate, LaplaceEvent(2.0, ADD, 1))
        true = rate * -math.expm1((epsilon - 0.5) / 2)
        assert true <= curve(laplace, np.array([amplified]), 1e-4)[0] <= true * (1 + 1e-4)
        gaussian = PoissonSampled(rate, GaussianEvent(2.0, ADD))
        true = rate * gaussian_delta(2.0, epsilon)
        assert true * (1 - 1e-12) <= curve(gaussian, np.array([amplified]), 1e-4)[0] <= true * (1 + 1e-4)


def test_repetitions_of_gaussian_noise_are_one_release() -> None:
    found = curve(Repeated(GaussianEvent(4.0, ADD), 4), np.array([0.1, 1.0]), 1e-4)
    assert found == pytest.approx([gaussian_delta(2.0, 0.1), gaussian_delta(2.0, 1.0)], rel=1e-6)


@pytest.mark.parametrize("index", range(len(EVERY_KIND)))
def test_every_kind_composes_on_the_grid_that_was_asked_for(index: int) -> None:
    event = EVERY_KIND[index]
    base = GaussianEvent(1.0, ADD)
    alone, both = (epsilon_of(each, 1e-2, Method.PLD, 0.05) for each in (base, Composed((base, event))))
    assert alone < both < alone + epsilon_of(event, 1e-2, Method.PLD, 0.05) + 0.6


def test_convolutions_are_counted() -> None:
    for event, convolutions in (
        (discrete_vector, 0),
        (Repeated(discrete_vector, 10), 0),
        (Repeated(PoissonSampled(0.1, discrete_vector), 10), 1),
        (DiscreteGaussianEvent(4096.0, 1.0, 1, ADD), 0),
        (DiscreteGaussianEvent(4097.0, 1.0, 1, ADD), 0),
        (Repeated(GaussianEvent(1.0, ADD), 3), 0),
        (Repeated(LaplaceEvent(1.0, ADD, 1), 3), 1),
        (Repeated(LaplaceEvent(1.0, ADD, 2), 3), 1),
        (Composed((LaplaceEvent(1.0, ADD, 1), GaussianEvent(1.0, ADD))), 1),
        (Composed((*EVERY_KIND[3:8], Repeated(LaplaceEvent(1.0, ADD, 1), 3), discrete_vector)), 7),
    ):
        assert loss_distribution(event, 0.05)[1] == convolutions


@pytest.mark.parametrize(
    "event",
    [
        PoissonSampled(0.1, Composed((GaussianEvent(1.0, ADD), LaplaceEvent(1.0, ADD, 1)))),
        PoissonSampled(0.1, Repeated(LaplaceEvent(1.0, ADD, 1), 2)),
        PoissonSampled(0.1, LaplaceEvent(1.0, ADD, 2)),
        PoissonSampled(0.1, LaplaceEvent(1.0, REPLACE, 1)),
        PoissonSampled(0.1, ApproximateEvent(1.0, 0.0, ADD)),
        FixedSizeSampled(1, 10, GaussianEvent(1.0, REPLACE)),
        SkellamEvent(9.0, 1.0, 1.0, ADD),
        SummedDiscreteGaussianEvent(0.5, 2, 1.0, 1.0, 1000, ADD),
    ],
)
def test_what_has_no_distribution_is_refused(event: Event) -> None:
    with pytest.raises(NoDistributionError):
        loss_distribution(Composed((GaussianEvent(1.0, ADD), event)))
    with pytest.raises(PrivacyParameterError):
        delta_of(event, 1.0, Method.PLD)
