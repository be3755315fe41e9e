"""Renyi curves against values worked out by hand from the papers, and against the divergence itself."""

from __future__ import annotations

import math
import sys

import dp_accounting
import mpmath
import numpy as np
import pytest
from scipy import stats

from dp.accounting import delta_of, epsilon_of
from dp.analytic import gaussian_epsilon
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
    ZCDPEvent,
)
from dp.laws import gaussian_law
from dp.mass import mass
from dp.nearness import ideal
from dp.rational import exact
from dp.rdp import delta_from_rdp, epsilon_from_rdp, fractional_rdp, orders_for, rdp_curve, whole_rdp
from dp.sensitivity import Adjacency

ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE


def at(event: Event, order: float) -> float:
    curve = rdp_curve(event, np.array([order]))
    return float(curve[0])


def divergence(p: np.ndarray, q: np.ndarray, order: float) -> float:
    """Renyi's divergence of two tabled distributions, over where both have any mass."""
    both = (p > 0) & (q > 0)
    terms = order * np.log(p[both]) + (1 - order) * np.log(q[both])
    return float(np.logaddexp.reduce(terms) / (order - 1))


@pytest.mark.parametrize(
    ("event", "order", "value"),
    [
        (GaussianEvent(2.0, ADD), 3.0, 3 / 8),
        (ZCDPEvent(0.25, ADD), 3.0, 0.75),
        (DiscreteGaussianEvent(3.0, 2.0, 5, ADD), 3.0, 3 / 2 * 4 / 9),
        # Theorem 3.5: alpha l2^2 / (2 mu) and the smaller of the two additions.
        (SkellamEvent(100.0, 1.0, 1.0, ADD), 8.0, 0.04 + 21 / 40_000),
        (SkellamEvent(50.0, 2.0, 3.0, ADD), 4.0, 0.16 + 46 / 10_000),
        (SkellamEvent(50.0, 2.0, 3.0, ADD), 3.2, 0.16 + 46 / 10_000),  # the next whole order
        (SkellamEvent(0.25, 1.0, 3.0, ADD), 8.0, 16 + 18),
        # Proposition 14, worked out to 30 digits: its first, second and third bound, and fewer than all clients.
        (SummedDiscreteGaussianEvent(0.5, 3, 1.0, 1.0, 1, ADD), 64.0, 43.8873040138532),
        (SummedDiscreteGaussianEvent(0.7, 4, 5.0, 20.0, 1000, ADD), 2.0, 26.1399660451519),
        (SummedDiscreteGaussianEvent(0.8, 6, 4.0, 400.0, 100, ADD), 2.0, 5.09987697841851),
        (SummedDiscreteGaussianEvent(0.5, 2, 3.0, 20.0, 4000, ADD), 1.5, 27.0),
    ],
)
def test_curves_take_the_papers_values(event: Event, order: float, value: float) -> None:
    assert at(event, order) == pytest.approx(value, rel=2.5e-11)
    assert at(Repeated(event, 7), order) == pytest.approx(7 * value, rel=2.5e-11)
    assert at(Composed((event, event)), order) == pytest.approx(2 * value, rel=2.5e-11)


@pytest.mark.parametrize(
    ("event", "epsilon"),
    [
        (LaplaceEvent(4.0, ADD, 1), 0.25),
        (DiscreteLaplaceEvent(6.0, 3, 2, ADD), 0.5),
        (ApproximateEvent(2.0, 0.0, ADD), 2.0),
        (ApproximateEvent(40.0, 0.0, ADD), 40.0),
    ],
)
@pytest.mark.parametrize("order", [1.1, 2.0, 50.0, 1e6])
def test_pure_guarantees_cost_what_randomised_response_costs(event: Event, epsilon: float, order: float) -> None:
    with mpmath.workdps(40):
        keep = 1 / (1 + mpmath.exp(-epsilon))
        a = mpmath.mpf(order)
        moment = keep**a * (1 - keep) ** (1 - a) + (1 - keep) ** a * keep ** (1 - a)
        true = mpmath.log(moment) / (a - 1)
        assert true * (1 - mpmath.mpf("1e-15")) <= at(event, order) <= min(epsilon, true * (1 + mpmath.mpf("1e-9")))


@pytest.mark.parametrize("epsilon", [5e-324, 1e-150, 2.0**-31, 2.0**-30, 1e-3, 30.0, 1e300])
@pytest.mark.parametrize("order", [1 + 2.0**-40, 1.1, 96.0, 512.0, 1e7])
def test_pure_guarantees_of_any_size_lose_no_digits(epsilon: float, order: float) -> None:
    with mpmath.workdps(700), mpmath.workprec(2400):
        less, more = (mpmath.mpf(order) - 1) * epsilon, mpmath.mpf(order) * epsilon
        rest = -mpmath.expm1(-more) / (1 + mpmath.exp(-epsilon))
        grown = less if less > 1e4 else mpmath.log1p(mpmath.expm1(less) * rest)
        true = min(mpmath.mpf(epsilon), grown / (mpmath.mpf(order) - 1))
    found = at(ApproximateEvent(epsilon, 0.0, ADD), order)
    assert true <= found <= float(true * (1 + mpmath.mpf("1e-11"))) + sys.float_info.min


def test_many_small_pure_guarantees_are_near_to_gaussian_noise() -> None:
    # n randomised responses have mu = sqrt(n) epsilon, here 0.044; so has Gaussian noise of that multiplier.
    spent = epsilon_of(Repeated(ApproximateEvent(2.0**-31, 0.0, ADD), 2**53), 1e-6)
    assert gaussian_epsilon(2**31 / math.sqrt(2**53), 1e-6) <= spent <= 0.2


@pytest.mark.parametrize("order", [2.0, 3.5, 16.0])
def test_the_curve_of_sums_is_above_the_sums_own(order: float) -> None:
    for sigma, clients in ((0.8, 2), (1.0, 3), (1.1, 8)):
        x = np.arange(-40, 41)
        one = mass(gaussian_law(exact(sigma, "sigma") ** 2), x)
        total = one
        for _ in range(clients - 1):
            total = np.convolve(total, one)
        true = divergence(total[1:], total[:-1], order)
        bound = at(SummedDiscreteGaussianEvent(sigma, clients, 1.0, 1.0, 1, ADD), order)
        assert true <= bound <= order / 2 / (clients * sigma**2) + 10.01 * clients * math.exp(-((math.pi * sigma) ** 2))


@pytest.mark.parametrize("order", [2.0, 5.0, 20.0])
def test_the_curve_of_skellam_noise_is_above_its_own(order: float) -> None:
    for variance, move in ((20.0, 1), (400.0, 6)):
        x = np.arange(-300, 301)
        here = stats.skellam.pmf(x, variance / 2, variance / 2)
        there = stats.skellam.pmf(x - move, variance / 2, variance / 2)
        sure = (here > 1e-250) & (there > 1e-250)
        true = divergence(here[sure], there[sure], order)
        bound = at(SkellamEvent(variance, float(move), float(move), ADD), order)
        assert true <= bound <= true * (1 + 2 * order * move / variance)


def test_noises_on_one_sample_are_one_noise() -> None:
    orders = np.array([1.5, 2.0, 7.0])
    several = Composed((GaussianEvent(2.0, ADD), Repeated(GaussianEvent(3.0, ADD), 4)))
    one = GaussianEvent(1 / math.sqrt(1 / 4 + 4 / 9), ADD)
    found = rdp_curve(PoissonSampled(0.1, several), orders)
    assert found == pytest.approx(rdp_curve(PoissonSampled(0.1, one), orders), rel=1e-12)


def test_a_sampled_discrete_release_costs_what_its_gaussian_does() -> None:
    orders = np.array([1.5, 2.0, 7.0])
    discrete = DiscreteGaussianEvent(300.0, 20.0, 1000, ADD)
    curve = rdp_curve(Repeated(PoissonSampled(0.1, discrete), 10), orders)
    assert np.array_equal(curve, 10 * rdp_curve(PoissonSampled(0.1, ideal(discrete)), orders))


def test_fixed_size_samples_are_the_librarys() -> None:
    orders = [2.0, 3.0, 8.0, 32.0]
    accountant = dp_accounting.rdp.RdpAccountant(orders, dp_accounting.NeighboringRelation.REPLACE_ONE)
    sampled = dp_accounting.SampledWithoutReplacementDpEvent(1000, 10, dp_accounting.GaussianDpEvent(1.5))
    accountant.compose(sampled, 30)
    event = Repeated(FixedSizeSampled(10, 1000, GaussianEvent(1.5, REPLACE)), 30)
    assert epsilon_of(event, 1e-6, orders=orders) == pytest.approx(accountant.get_epsilon(1e-6), rel=1e-9)


def test_samples_are_analysed_for_their_own_relation_only() -> None:
    orders = np.array([2.0])
    for event, words in (
        (PoissonSampled(0.1, GaussianEvent(1.0, REPLACE)), "add-remove"),
        (PoissonSampled(0.1, LaplaceEvent(1.0, ADD, 1)), "LaplaceEvent"),
        (ApproximateEvent(1.0, 1e-9, ADD), "pld"),
    ):
        with pytest.raises(PrivacyParameterError, match=words):
            rdp_curve(event, orders)


def test_a_huge_moment_is_infinite_and_not_an_error() -> None:
    assert fractional_rdp(0.5, 0.05, 10.9) == math.inf
    assert fractional_rdp(1e-300, 0.05, 10.9) == math.inf
    # With next to no noise only the sampled outcome counts: alpha / (2 s**2) + alpha log(q) / (alpha - 1).
    assert fractional_rdp(0.5, 0.3, 5.0) == pytest.approx(5 / 0.18 + 1.25 * math.log(0.5), rel=1e-6)


def test_orders_take_the_sum_the_integral_or_the_librarys_bound() -> None:
    orders = np.array([1.5, 2.5, 31.5, 40.5, 7.0, 2048.0, 2049.0])
    accountant = dp_accounting.rdp.RdpAccountant(orders.tolist())
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(2.0)))
    curve = rdp_curve(PoissonSampled(0.01, GaussianEvent(2.0, ADD)), orders)
    own = [fractional_rdp(0.01, 2.0, order) for order in orders[:3]]
    assert curve.tolist() == [
        *own,
        accountant._rdp[3],
        whole_rdp(0.01, 2.0, 7),
        whole_rdp(0.01, 2.0, 2048),
        accountant._rdp[6],
    ]
    # Where the integral would leave the floats, the library has a bound.
    huge = rdp_curve(PoissonSampled(0.01, GaussianEvent(0.3, ADD)), np.array([10.9]))
    assert fractional_rdp(0.01, 0.3, 10.9) == math.inf
    assert math.isfinite(huge[0])


@pytest.mark.parametrize("rate", [1e-6, 0.01, 0.999])
@pytest.mark.parametrize("multiplier", [0.05, 1.0, 1000.0])
def test_whole_orders_are_the_sum(rate: float, multiplier: float) -> None:
    for order in (2, 3, 64, 1024):
        with mpmath.workdps(60):
            q, s = mpmath.mpf(rate), mpmath.mpf(multiplier)
            moment = mpmath.fsum(
                mpmath.binomial(order, k) * (1 - q) ** (order - k) * q**k * mpmath.exp((k * k - k) / (2 * s * s))
                for k in range(order + 1)
            )
            true = mpmath.log(moment) / (order - 1)
            # A difference from 1 in the library's form: with much noise its value is wrong in the fourth place.
            assert true <= whole_rdp(rate, multiplier, order) <= true * (1 + mpmath.mpf(10) ** -10)


# From a curve to epsilon and delta, and back.


def test_conversions_are_those_of_the_paper() -> None:
    order = np.array([4.0])
    curve = np.array([0.5])
    # 1/2 + log(3/4) - (log(1e-5) + log 4) / 3, and the delta that this formula grants at epsilon = 2.
    assert epsilon_from_rdp(curve, 1e-5, order) == pytest.approx(3.5878616288, rel=1e-9)
    assert delta_from_rdp(curve, 2.0, order) == pytest.approx(math.exp(-4.5) * 27 / 64 / 4, rel=1e-12)
    assert epsilon_from_rdp(np.array([0.01]), 0.9, order) == 0.0
    assert delta_from_rdp(np.array([90.0]), 2.0, order) == 1.0
    best = epsilon_from_rdp(np.array([0.5, 9.0]), 1e-5, np.array([4.0, 5.0]))
    assert best == epsilon_from_rdp(curve, 1e-5, order)
    assert delta_from_rdp(np.array([0.5, 9.0]), 2.0, np.array([4.0, 5.0])) == delta_from_rdp(curve, 2.0, order)


def test_conversions_meet() -> None:
    event = Composed((SkellamEvent(400.0, 3.0, 9.0, ADD), ZCDPEvent(0.01, ADD)))
    for delta in (1e-2, 1e-6, 1e-12):
        assert delta_of(event, epsilon_of(event, delta)) == pytest.approx(delta, rel=1e-6)


def test_orders_lie_close_where_optima_lie() -> None:
    # A Gaussian's own optimum is known; the orders that are tried come within a few parts in 1000 of it.
    for rho in (1e-9, 1e-6, 1e-3, 0.1, 1.0, 10.0):
        event = ZCDPEvent(rho, ADD)
        fine = 1 + np.geomspace(1e-3, 1e8, 20_001)
        best = epsilon_from_rdp(rho * fine, 1e-6, fine)
        assert best <= epsilon_of(event, 1e-6) * (1 + 1e-12) <= best * 1.005


def test_costly_curves_are_asked_at_fewer_orders() -> None:
    dear = orders_for(Composed((ZCDPEvent(1.0, ADD), PoissonSampled(0.1, GaussianEvent(1.0, ADD)))))
    cheap = orders_for(ZCDPEvent(1.0, ADD))
    assert set(dear) < set(cheap)
    assert orders_for(FixedSizeSampled(1, 2, GaussianEvent(1.0, REPLACE))).tolist() == dear.tolist()
    assert dear.size == np.unique(dear).size
    assert orders_for(ZCDPEvent(1.0, ADD), [[2, 3], [4, 5]]).tolist() == [2.0, 3.0, 4.0, 5.0]  # type: ignore[list-item]


def test_the_orders_are_those_that_others_must_try_to_come_to_the_same() -> None:
    """SPEC section 15."""
    common = [tenths / 10 for tenths in range(11, 110)] + [float(order) for order in range(11, 65)]
    common += [96.0, 128.0, 256.0, 512.0, 1024.0]
    plain, sampled = GaussianEvent(1.0, ADD), PoissonSampled(0.1, GaussianEvent(1.0, ADD))
    assert orders_for(sampled).tolist() == pytest.approx(common, rel=1e-15)
    assert orders_for(plain).tolist() == pytest.approx(common + [2 ** (j / 4) for j in range(24, 96)], rel=1e-15)
