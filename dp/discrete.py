"""The exact privacy of discrete noise on a single integer, and how near discrete vectors are to Gaussian ones.

One integer moved by D (its sensitivity). Discrete Gaussian: Canonne, Kamath, Steinke (2020), theorem 7. Discrete
Laplace: the same sum in closed form.

Many integers. Let sigma**2 = tau**2 + s**2. Drawing Y from N(v, tau**2 I) and then each coordinate from the discrete
Gaussian of parameter s around Y is a post-processing of Gaussian noise, and by Poisson summation its probabilities
are within a factor exp(+-kappa) per coordinate of discrete Gaussian noise of parameter sigma around v, with kappa <=
7 exp(-2 pi**2 s**2) once that is below 1/100. So discrete Gaussian noise on a vector of d integers is as private as
Gaussian noise of deviation sqrt(sigma**2 - s**2), but for a factor exp(+-d kappa) on probabilities, a slack of 2 d
kappa; `dp.nearness` says what that is worth. s**2 grows like log(d) / 20: about 3 for a million coordinates.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .errors import PrivacyParameterError
from .laws import Law
from .mass import distribution, mass, reach
from .rational import number
from .sensitivity import check_count, round_up

Floats = npt.NDArray[np.float64]

SLACK = 2.0**-58  # what the nearness of one release costs in epsilon, at most
UNSEEN = 1e-30  # more than the mass beyond the reach of sums
_ROUNDING = 2e-14
TERMS = 10_001
"""How many clients' terms are added up each by itself; all later ones count as the last of these, which is larger."""


def discrete_gaussian_delta(law: Law, sensitivity: int, epsilon: float) -> float:
    """Return the least delta of discrete Gaussian noise on one integer of that sensitivity, rounded up."""
    variance = float(law.parameter)
    first = math.floor(epsilon * variance / sensitivity - sensitivity / 2) + 1  # the first with a loss above epsilon
    last = reach(law)
    if first > last:
        return UNSEEN
    x = np.arange(max(first, -last), last + 1, dtype=np.int64)
    loss = sensitivity * (2 * x.astype(np.float64) + sensitivity) / (2 * variance)
    delta = float((mass(law, x) * -np.expm1(np.minimum(0.0, epsilon - loss))).sum())
    return min(1.0, delta * (1 + _ROUNDING) + UNSEEN)


def discrete_gaussian_deltas(law: Law, sensitivity: int, epsilons: Floats) -> Floats:
    """Return `discrete_gaussian_delta` at many epsilons of any sign, to an absolute 1e-15, rounded up."""
    variance = float(law.parameter)
    last = reach(law)
    tails = np.append(np.cumsum(mass(law, np.arange(last, -last - 1, -1)))[::-1], 0.0)  # P(X >= x) at x + last
    first = np.floor(np.clip(epsilons * variance / sensitivity - sensitivity / 2, -2.0 * last, 2.0 * last)) + 1
    start = first.astype(np.int64) + last
    mine = tails[np.clip(start, 0, 2 * last + 1)]
    other = tails[np.clip(start + sensitivity, 0, 2 * last + 1)]
    return np.asarray(np.clip(mine - np.exp(np.minimum(epsilons, 700.0)) * other + 1e-15, 0.0, 1.0))


def discrete_laplace_deltas(law: Law, sensitivity: int, epsilons: Floats) -> Floats:
    """Return the least deltas of discrete Laplace noise on one integer, at epsilons of any sign, rounded up."""
    scale = float(law.parameter)
    # The loss at output x is (D - 2 x) / scale on 0..D, largest at x <= 0; `last` is the last x above epsilon.
    # From D on it stays at -D / scale: below that, all outputs are above epsilon.
    last = np.ceil((sensitivity - epsilons * scale) / 2) - 1
    last = np.where(epsilons < -sensitivity / scale, reach(law) + sensitivity, last).astype(np.int64)
    mine, other = distribution(law, last), distribution(law, last - sensitivity)
    deltas = np.clip((mine - np.exp(np.minimum(epsilons, 700.0)) * other) * (1 + _ROUNDING) + 1e-15, 0.0, 1.0)
    return np.asarray(np.where(epsilons >= sensitivity / scale, 0.0, deltas))


def smoothing_variance(dimension: int) -> float:
    """Return s**2: the variance of Gaussian noise that discreteness costs on a vector of `dimension` integers."""
    return (math.log(7.0 * dimension) - math.log(SLACK / 2)) / (2 * math.pi**2)


def gaussian_equivalent(sigma_squared: float, dimension: int) -> float | None:
    """Return the deviation of Gaussian noise that discrete Gaussian noise on `dimension` integers is as good as.

    The price is SLACK in epsilon for each release. None when sigma is too small for that (below about 2).
    """
    s_squared = smoothing_variance(dimension)
    if sigma_squared <= 1.25 * s_squared:
        return None
    return math.sqrt(sigma_squared - s_squared) * (1 - 1e-15)


def counted(clients: int) -> npt.NDArray[np.int64]:
    """Return how many of so many clients an account may count, ascending.

    A sum with more noise is as private as one with less, since adding noise is post-processing; but the known bounds
    on sums of discrete Gaussians grow with their number. The best of these keeps the promise that more clients never
    cost more: all numbers up to 500, then steps of a 500th, the same for everyone.
    """
    numbers = list(range(1, min(clients, 500) + 1))
    while numbers[-1] >= 500 and numbers[-1] * 501 // 500 <= clients:
        numbers.append(numbers[-1] * 501 // 500)
    return np.array(numbers, dtype=np.int64)


def summed_gaussians_ratios(local_sigma: float, clients: npt.NDArray[np.int64]) -> Floats:
    """Return `summed_gaussians_ratio` for several numbers of clients, not below the exact values."""
    k = np.arange(1, min(int(clients.max()), TERMS), dtype=np.float64)
    terms = np.concatenate(([0.0], np.exp(-2 * (math.pi * local_sigma) ** 2 * k / (k + 1))))
    sums = np.cumsum(terms)[np.minimum(clients, TERMS) - 1]
    return np.asarray(10 * (sums + np.maximum(0, clients - TERMS) * terms[-1]) * (1 + 1e-11))


def last_ratio(local_sigma: float) -> float:
    """Return what each client from the number `TERMS` on adds to tau."""
    return 10 * math.exp(-2 * (math.pi * local_sigma) ** 2 * (TERMS - 1) / TERMS)


def summed_gaussians_ratio(local_sigma: float, clients: int) -> float:
    """Return tau: how far the sum of discrete Gaussians is from one, in the logarithm of the probability.

    Source: Kairouz, Liu, Steinke (2021), theorem 1: tau = 10 * sum over k < n of exp(-2 pi**2 sigma**2 k / (k + 1)).

    Args:
        local_sigma: each client's parameter, at least 1/2 (the theorem's condition).
        clients: how many honest clients' noise is in the sum.

    Raises:
        PrivacyParameterError: local_sigma out of 1/2 to 1e100, or clients no whole number from 1 to 2**53.
    """
    local_sigma, clients = number(local_sigma, "local_sigma", 0.0), check_count(clients, "clients")
    if not 0.5 <= local_sigma <= 1e100:
        raise PrivacyParameterError(
            f"local_sigma = {local_sigma:g} must lie between 1/2, below which no bound is known, and 1e100"
        )
    total = math.fsum(math.exp(-2 * (math.pi * local_sigma) ** 2 * k / (k + 1)) for k in range(1, min(clients, TERMS)))
    return round_up(10 * total + max(0, clients - TERMS) * last_ratio(local_sigma))
