"""Loss distributions of sampled Gaussian noise against the integrals themselves, and against dp_accounting's."""

from __future__ import annotations

import math

import dp_accounting
import mpmath
import numpy as np
import pytest
from scipy import fft as scipy_fft

from dp.accounting import Method, delta_of, epsilon_of
from dp.calibration import noise_multiplier
from dp.events import Event, GaussianEvent, PoissonSampled, Repeated
from dp.optional import accounting_library
from dp.pld import SINGLE_ERROR, NoDistributionError, _bounds, _power, least_epsilon, loss_distribution
from dp.sampled import gaussian_distribution, replaced_gaussian_distribution
from dp.sensitivity import Adjacency

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
INTERVAL = 1e-2
CASES = [(0.2, 0.01), (0.7, 0.3), (2.0, 0.999), (30.0, 0.1), (1.0, 1e-6)]


def mixture(x: mpmath.mpf, s: mpmath.mpf, q: mpmath.mpf, centre: int) -> mpmath.mpf:
    """Return how likely more than x is, of noise around `centre` with probability q, else around 0."""
    return q * mpmath.ncdf((centre - x) / s) + (1 - q) * mpmath.ncdf(-x / s)


def true_delta(epsilon: float, s: float, q: float, kind: str) -> mpmath.mpf:
    """Return the delta of one release: where the loss is above epsilon is a half line, found by bisection."""
    s, q = mpmath.mpf(s), mpmath.mpf(q)
    here, there = {"remove": (1, 0), "replace": (1, -1)}.get(kind, (0, 1))
    sign = -1 if kind == "add" else 1  # towards which the loss grows

    def log_likelihood(x: mpmath.mpf, centre: int) -> mpmath.mpf:
        return mpmath.log(q * mpmath.exp((2 * centre * x - centre**2) / (2 * s * s)) + 1 - q)

    low, high = -40 * s - 2, 40 * s + 2
    for _ in range(150):
        middle = (low + high) / 2
        above = log_likelihood(sign * middle, here) - log_likelihood(sign * middle, there) > epsilon
        low, high = (low, middle) if above else (middle, high)
    tails = [mixture(high, s, q, sign * centre) for centre in (here, there)]
    return tails[0] - mpmath.exp(epsilon) * tails[1]


@pytest.mark.parametrize(("s", "q"), CASES)
@pytest.mark.parametrize("kind", ["remove", "add", "replace"])
def test_on_the_grid_deltas_are_those_of_the_integral_and_never_below(s: float, q: float, kind: str) -> None:
    build = replaced_gaussian_distribution if kind == "replace" else gaussian_distribution
    distribution = build(s, q, INTERVAL)
    pmf = distribution._pmf_add if kind == "add" else distribution._pmf_remove
    dense = pmf.to_dense_pmf()
    assert float(np.sum(dense._probs)) + dense._infinity_mass == pytest.approx(1.0, abs=1e-15)
    assert dense._probs.min() >= 0
    top = dense._lower_loss + dense.size - 1
    for step in sorted({*(top * k // 9 for k in range(10)), 1, max(dense._lower_loss, -2)}):
        epsilon = step * INTERVAL
        with mpmath.workdps(60):
            true = true_delta(epsilon, s, q, kind)
        found = float(pmf.get_delta_for_epsilon(epsilon))
        # What is not exact is the mass beyond e**-50, 2**-50 q for rounding, and that of sums, which accounts add.
        assert true <= mpmath.mpf(found) + SINGLE_ERROR
        assert found <= float(true) * (1 + 1e-12) + 2.0**-49 * q + 3e-16 + 1e-21


@pytest.mark.parametrize(("s", "q"), CASES)
@pytest.mark.parametrize("relation", [ADD, REPLACE])
def test_the_curves_are_the_librarys(s: float, q: float, relation: Adjacency) -> None:
    own = (gaussian_distribution if relation is ADD else replaced_gaussian_distribution)(s, q, INTERVAL)
    theirs = accounting_library().pld.privacy_loss_distribution.from_gaussian_mechanism(
        s,
        sampling_prob=q,
        value_discretization_interval=INTERVAL,
        neighboring_relation=dp_accounting.NeighboringRelation[
            "ADD_OR_REMOVE_ONE" if relation is ADD else "REPLACE_ONE"
        ],
    )
    for delta in (1e-3, 1e-6, 1e-9):
        found, expected = least_epsilon(own, delta), theirs.get_epsilon_for_delta(delta)
        assert found == pytest.approx(expected, rel=2e-6, abs=1e-12)
        assert least_epsilon(theirs, delta) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("count", "rate", "s"), [(100, 1e-3, 1.0), (10**4, 0.01, 4.0), (10**6, 1e-3, 1.0)])
def test_composed_deltas_cover_the_rounding_of_their_fourier_transform(count: int, rate: float, s: float) -> None:
    """Against squaring and multiplying in numbers of 64 bits where the machine has them: error grows with `count`."""
    one = gaussian_distribution(s, rate, 1e-4)
    for pmf in (one._pmf_remove, one._pmf_add):
        low, high = _bounds(pmf._probs, count)
        composed = _power(pmf, count, low, high)
        length = 2 ** math.ceil(math.log2(max(high - low + 1, pmf.size)))
        spectrum = scipy_fft.rfft(pmf._probs.astype(np.longdouble), length)
        power, left = np.ones_like(spectrum), count
        while left:
            power = power * spectrum if left & 1 else power
            spectrum, left = spectrum * spectrum, left >> 1
        exact = np.roll(scipy_fft.irfft(power, length), -(low % length))[: high - low + 1]
        losses = (np.arange(exact.size) + composed._lower_loss) * composed._discretization
        for epsilon in (0.1, 0.5, 1.0, 2.0, 4.0):
            weights = -np.expm1(np.minimum(0.0, epsilon - losses))
            true, found = float(weights @ exact), float(composed.get_delta_for_epsilon(epsilon))
            assert true <= found <= true + 2 * (1e-12 + count * 2.0**-52)


def test_what_a_power_takes_for_infinite_counts_its_rounding() -> None:
    event = PoissonSampled(1e-3, GaussianEvent(4.0, ADD))
    distribution, _ = loss_distribution(Repeated(event, 10**6))
    assert distribution._pmf_remove._infinity_mass >= 10**6 * 2.0**-52
    assert delta_of(Repeated(event, 10**6), 60.0, Method.PLD) >= 10**6 * 2.0**-52


@pytest.mark.parametrize("relation", [ADD, REPLACE])
@pytest.mark.parametrize(
    ("s", "q"), [(1.0, 1e-3), (1.0, 1e-100), (1e6, 1e-9), (0.05, 0.5), (1e100, 0.5), (1.0, 1 - 2**-53)]
)
def test_no_series_is_too_long_and_no_noise_too_narrow_for_a_bound(s: float, q: float, relation: Adjacency) -> None:
    for count in (1, 100, 10**9, 2**53):
        series = Repeated(PoissonSampled(q, GaussianEvent(s, relation)), count)
        assert 0 <= delta_of(series, 1.0) <= 1
        assert 0 <= epsilon_of(series, 1e-6) < math.inf
    with pytest.raises(NoDistributionError, match="beyond every grid"):
        loss_distribution(Repeated(PoissonSampled(0.5, GaussianEvent(1.0, relation)), 2**53))


@pytest.mark.parametrize("delta", [0.3, 1e-2, 1e-6, 1e-10])
def test_the_least_epsilon_is_where_delta_is_met(delta: float) -> None:
    for event in (
        PoissonSampled(0.2, GaussianEvent(0.8, ADD)),
        Repeated(PoissonSampled(0.2, GaussianEvent(0.8, REPLACE)), 20),
        GaussianEvent(0.05, ADD),
    ):
        distribution, _ = loss_distribution(event, 1e-2)
        epsilon = least_epsilon(distribution, delta)
        assert float(distribution.get_delta_for_epsilon(epsilon)) <= delta * (1 + 1e-9)
        if epsilon > 0:
            assert float(distribution.get_delta_for_epsilon(epsilon * (1 - 1e-6))) > delta
    assert least_epsilon(loss_distribution(GaussianEvent(1.0, ADD))[0], 1e-30) == math.inf


# Long series: what used to take minutes.


@pytest.mark.parametrize(
    ("epsilon", "delta", "rounds", "rate"),
    [(1.0, 1e-6, 10**6, 1e-3), (8.0, 1e-5, 10**6, 1e-3), (0.5, 1e-8, 10**4, 0.004), (50.0, 1e-6, 10**6, 0.01)],
)
def test_series_of_any_length_get_no_more_noise_than_the_tolerance_says(
    epsilon: float, delta: float, rounds: int, rate: float
) -> None:
    found = noise_multiplier(epsilon, delta, rounds=rounds, sampling_rate=rate)

    def event(multiplier: float) -> Event:
        return Repeated(PoissonSampled(rate, GaussianEvent(multiplier, ADD)), rounds)

    assert epsilon_of(event(found), delta) <= epsilon < epsilon_of(event(found * (1 - 1e-5)), delta)
    # The central limit: Gaussian noise of mu = q sqrt(T (exp(1 / s**2) - 1)), from which a finite series is not far.
    mu = rate * math.sqrt(rounds * math.expm1(found**-2))
    assert 0.85 < mu / (1 / noise_multiplier(epsilon, delta, rounds=1)) < 1.15
