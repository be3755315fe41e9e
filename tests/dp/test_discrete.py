"""Discrete noise: exact deltas at every sign of epsilon, sums of clients' noise, and what may be counted of them."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp.discrete import (
    SLACK,
    UNSEEN,
    counted,
    discrete_gaussian_delta,
    discrete_gaussian_deltas,
    discrete_laplace_deltas,
    gaussian_equivalent,
    smoothing_variance,
    summed_gaussians_ratio,
    summed_gaussians_ratios,
)
from dp.laws import gaussian_law, laplace_law


def hockey_stick(weight: object, move: int, epsilon: float, reach: int) -> mpmath.mpf:
    """Sum the definition over all integers that count, to 40 digits."""
    total = mpmath.fsum(weight(x) for x in range(-reach, reach + 1))  # type: ignore[operator]
    terms = (weight(x) - mpmath.exp(epsilon) * weight(x - move) for x in range(-reach, reach + 1))  # type: ignore[operator]
    return mpmath.fsum(term for term in terms if term > 0) / total


@pytest.mark.parametrize(("sigma", "move"), [(0.6, 1), (2.5, 1), (2.5, 3), (7.0, 2)])
def test_gaussian_deltas_to_their_last_digits(sigma: float, move: int) -> None:
    law = gaussian_law(Fraction(sigma) ** 2)
    epsilons = np.array([-3.0, -0.5, 0.0, move * move / (2 * sigma**2), 0.7, 4.0])
    with mpmath.workdps(40):
        true = [
            hockey_stick(lambda x: mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * mpmath.mpf(sigma) ** 2)), move, e, 120)
            for e in epsilons.tolist()
        ]
    found = discrete_gaussian_deltas(law, move, epsilons)
    for exactly, many, epsilon in zip(true, found.tolist(), epsilons.tolist(), strict=True):
        assert exactly <= many <= exactly * (1 + mpmath.mpf("1e-12")) + mpmath.mpf("1.1e-15")
        if epsilon >= 0:
            one = discrete_gaussian_delta(law, move, epsilon)
            assert exactly <= one <= exactly * (1 + mpmath.mpf("1e-12")) + mpmath.mpf("1e-30")


@pytest.mark.parametrize(("scale", "move"), [(0.5, 1), (3.0, 1), (3.0, 4), (10.0, 3)])
def test_laplace_deltas_to_their_last_digits(scale: float, move: int) -> None:
    law = laplace_law(Fraction(scale))
    edge = move / scale
    epsilons = np.array(
        [-2 * edge, -edge / 3, 0.0, edge / 4, edge / 2, edge * 0.99, math.nextafter(edge, 99), edge * 1.5]
    )
    with mpmath.workdps(40):
        true = [
            hockey_stick(lambda x: mpmath.exp(-abs(mpmath.mpf(x)) / mpmath.mpf(scale)), move, e, 900)
            for e in epsilons.tolist()
        ]
    found = discrete_laplace_deltas(law, move, epsilons)
    for exactly, many in zip(true, found.tolist(), strict=True):
        assert exactly - mpmath.mpf("1e-30") <= many <= exactly * (1 + mpmath.mpf("1e-12")) + mpmath.mpf("1.1e-15")
    assert found[-2:].tolist() == [0.0, 0.0]


def test_far_losses_are_neither_nothing_nor_an_overflow() -> None:
    law = gaussian_law(Fraction(1))
    assert discrete_gaussian_delta(law, 1, 1e4) == UNSEEN
    assert discrete_gaussian_delta(law, 50, 0.0) == 1.0
    assert discrete_gaussian_deltas(law, 1, np.array([-1e4, 1e4])).tolist() == [1.0, pytest.approx(0, abs=2e-15)]
    laplace = laplace_law(Fraction(1, 2))
    assert discrete_laplace_deltas(laplace, 5000, np.array([-1e4, 800.0])).tolist() == [1.0, 1.0]


# From one integer to many, and from one client to many.


@pytest.mark.parametrize("dimension", [1, 1000, 10**6])
def test_gaussian_equivalents_keep_their_promise(dimension: int) -> None:
    s_squared = smoothing_variance(dimension)
    # 2 d kappa with kappa = 7 exp(-2 pi^2 s^2) is the slack: no more of it is spent, and all of it is.
    assert 2 * dimension * 7 * math.exp(-2 * math.pi**2 * s_squared) == pytest.approx(4 * SLACK / 4, rel=1e-9)
    for sigma_squared in (1.26 * s_squared, 10.0, 1e6):
        found = gaussian_equivalent(sigma_squared, dimension)
        assert found is not None
        assert found <= math.sqrt(sigma_squared - s_squared) <= found * (1 + 1e-14)
    assert gaussian_equivalent(1.24 * s_squared, dimension) is None


@pytest.mark.parametrize("local_sigma", [0.5, 0.8, 2.0])
def test_ratios_of_many_sums_are_those_of_each(local_sigma: float) -> None:
    clients = np.array([1, 2, 3, 10, 9_999, 10_000, 10_001, 10_002, 10_003, 50_000])
    for some in (clients, clients[:4], clients[:1], clients[6:7]):
        found = summed_gaussians_ratios(local_sigma, some)
        for number, ratio in zip(some.tolist(), found.tolist(), strict=True):
            one = summed_gaussians_ratio(local_sigma, number)
            assert one * (1 - 1e-14) <= ratio <= one * (1 + 2e-11)


@pytest.mark.parametrize(("local_sigma", "clients"), [(0.5, 1), (0.5, 2), (0.7, 5), (0.5, 12_000)])
def test_ratios_are_the_theorems(local_sigma: float, clients: int) -> None:
    with mpmath.workdps(25):
        rate = -2 * mpmath.pi**2 * mpmath.mpf(local_sigma) ** 2
        true = 10 * mpmath.fsum(mpmath.exp(rate * mpmath.mpf(k) / (k + 1)) for k in range(1, clients))
        # From 10,001 clients on every further term is taken for the last one: at most a part in 10**4 more.
        assert true <= summed_gaussians_ratio(local_sigma, clients) <= true * (1 + mpmath.mpf("1e-4"))
        if clients <= 10_000:
            assert summed_gaussians_ratio(local_sigma, clients) <= true * (1 + mpmath.mpf("1e-14"))


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_what_may_be_counted_of_few_may_be_counted_of_many(few: int, many: int) -> None:
    few, many = sorted((few, many))
    of_few, of_many = counted(few).tolist(), counted(many).tolist()
    assert of_many[: len(of_few)] == of_few
    assert np.all(np.diff(of_many) > 0)
    assert many * 500 // 501 - 1 <= of_many[-1] <= many
    assert of_many[: min(many, 500)] == list(range(1, min(many, 500) + 1))
