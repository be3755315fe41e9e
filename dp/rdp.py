"""Renyi DP curves of our events: dp_accounting's where it has them, ours for sums, Skellam and fractional orders.

Source of ours: Bun, Steinke (2016) and Canonne, Kamath, Steinke (2020), theorem 4 (discrete Gaussian: alpha
D**2 / (2 sigma**2), for any vector of integers); Kairouz, Liu, Steinke (2021), proposition 14 (sums of discrete
Gaussians); Agarwal, Kairouz, Liu (2021), theorem 3.5 (Skellam); Mironov, Talwar, Zhang (2019) (sampled Gaussian).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import readable
from .discrete import counted, summed_gaussians_ratios
from .errors import PrivacyParameterError
from .events import (
    ApproximateEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    FixedSizeSampled,
    GaussianEvent,
    LaplaceEvent,
    Leaf,
    PoissonSampled,
    SkellamEvent,
    SummedDiscreteGaussianEvent,
    ZCDPEvent,
    flatten,
    holds_sums,
)
from .nearness import ideal
from .optional import accounting_library
from .sensitivity import Adjacency

Floats = npt.NDArray[np.float64]

# Dense where optima lie for usual budgets; a bound at any order is valid, so more orders can only tighten.
ORDERS: Floats = np.concatenate((1 + np.arange(1, 100) / 10.0, np.arange(11.0, 65.0), [96.0, 128, 256, 512, 1024]))
_CHEAP_ORDERS: Floats = np.concatenate((ORDERS, 2.0 ** np.arange(6, 24, 0.25)))
_HIGHEST_FRACTION = 32.0  # what `fractional_rdp` says of its error holds up to here
_HIGHEST_SUM = 2048  # sums have as many terms as their order
_LARGEST_EXPONENT = 600.0
LEAST_DELTA = 5e-324
"""The least float above 0: what is below it is not nothing."""


def orders_for(event: Event, orders: Sequence[float] | Floats | None = None) -> Floats:
    """Return the caller's orders, or those to try: many where a curve has a closed form, fewer where each is costly.

    Raises:
        PrivacyParameterError: no orders at all, or one that is not a finite number above 1.
    """
    if orders is not None:
        chosen = readable(orders).astype(np.float64).ravel()
        if not (chosen.size and np.all(np.isfinite(chosen) & (chosen > 1))):
            raise PrivacyParameterError(
                "orders must be finite numbers above 1, at least one of them, for example [1.5, 2, 8, 32]"
            )
        return chosen
    sampled = any(isinstance(part, PoissonSampled | FixedSizeSampled) for part, _ in flatten(event))
    return ORDERS if sampled else _CHEAP_ORDERS


def rdp_curve(event: Event, orders: Floats) -> Floats:
    """Return the RDP of `event` at each order, float64 of the same shape.

    Raises:
        PrivacyParameterError: a part that has no RDP bound here, named with the method that can take it.
        MissingDependencyError: dp-accounting is not installed and a part needs it.
    """
    total = np.zeros_like(orders)
    for part, count in flatten(event):
        if isinstance(part, PoissonSampled | FixedSizeSampled):
            total += count * _sampled(part, orders)
        else:
            total += count * _leaf(part, orders)
    return total


def _leaf(event: Leaf, orders: Floats) -> Floats:  # noqa: PLR0911 - one a kind
    match event:
        case GaussianEvent():
            return orders * (0.5 / event.noise_multiplier**2)
        case ZCDPEvent():
            return orders * event.rho
        case DiscreteGaussianEvent():
            return np.asarray(orders * (0.5 * (event.sensitivity / event.sigma) ** 2))
        case SummedDiscreteGaussianEvent():
            return summed_gaussian_rdp(event, orders)
        case SkellamEvent():
            return skellam_rdp(event, orders)
        case LaplaceEvent():
            return _pure(1 / event.noise_multiplier, orders)
        case DiscreteLaplaceEvent():
            return _pure(event.sensitivity / event.scale, orders)
        case ApproximateEvent(delta=0.0):
            return _pure(event.epsilon, orders)
    raise PrivacyParameterError(f"{type(event).__name__} with delta > 0 has no RDP bound; use method='pld'")


def _pure(epsilon: float, orders: Floats) -> Floats:
    """Return the RDP of randomised response, which dominates everything that is epsilon-DP.

    It is log(1 + x) / (alpha - 1) for x = (exp((alpha - 1) epsilon) - 1) (1 - exp(-alpha epsilon)) / (1 +
    exp(-epsilon)), where nothing cancels: the rounding of log(x) is less than 1e-12, and so is the result's share.
    """
    less, more = (orders - 1) * epsilon, orders * epsilon
    with np.errstate(all="ignore"):  # an epsilon of next to nothing has an x of 0, a huge one none
        log_x = less + np.log(-np.expm1(-less)) + np.log(-np.expm1(-more)) - math.log1p(math.exp(-epsilon))
        curve = np.maximum(np.logaddexp(0.0, log_x) / (orders - 1) * (1 + 1e-12), sys.float_info.min)
    return np.asarray(np.minimum(epsilon, curve))


def summed_gaussian_rdp(event: SummedDiscreteGaussianEvent, orders: Floats) -> Floats:
    """Return the RDP of the sum of clients' discrete Gaussians (Kairouz, Liu, Steinke 2021, proposition 14).

    Of all of them, or of as many as give the best bound.
    """
    clients = counted(event.clients)
    tau = summed_gaussians_ratios(event.local_sigma, clients)[:, None]
    sigma = np.sqrt(clients)[:, None] * event.local_sigma
    l2, l1, d = event.l2_sensitivity / sigma, event.l1_sensitivity / sigma, event.dimension
    bounds = (
        orders / 2 * l2**2 + tau * d,
        orders / 2 * (l2**2 + 2 * l1 * tau + tau**2 * d),
        orders / 2 * (l2 + math.sqrt(d) * tau) ** 2,
    )
    return np.asarray(np.minimum.reduce(bounds).min(axis=0) * (1 + 1e-12))


def skellam_rdp(event: SkellamEvent, orders: Floats) -> Floats:
    """Return the RDP of Skellam noise (Agarwal, Kairouz, Liu 2021), in integer units.

    The theorem is for whole orders; an order in between takes the next whole one, as RDP grows with the order.
    """
    mu, l2, l1 = event.variance, event.l2_sensitivity, event.l1_sensitivity
    whole = np.ceil(orders)
    extra = np.minimum(((2 * whole - 1) * l2**2 + 6 * l1) / (4 * mu**2), 3 * l1 / (2 * mu))
    return np.asarray(whole * l2**2 / (2 * mu) + extra)


def _sampled(part: PoissonSampled | FixedSizeSampled, orders: Floats) -> Floats:
    """Return the curve on a sample; that of sums of clients' noise is never above what it is on all records."""
    if not holds_sums(part):
        return _amplified(part, orders)
    whole = rdp_curve(part.event, orders)
    try:
        return np.minimum(whole, _amplified(part, orders))
    except PrivacyParameterError:  # too coarse to be near Gaussian noise, or of a relation that is not analysed
        return whole


def _amplified(part: PoissonSampled | FixedSizeSampled, orders: Floats) -> Floats:
    """Return the curve of sampled Gaussian noise from dp_accounting."""
    multiplier, relation = _multiplier(ideal(part.event))
    if isinstance(part, PoissonSampled):
        if relation is not Adjacency.ADD_REMOVE:
            raise PrivacyParameterError(
                "RDP of Poisson sampling is known for add-remove adjacency only; use method='pld'"
            )
        return _poisson_curve(part.rate, multiplier, orders)
    sizes = (part.population, part.batch)
    return _library_curve("SampledWithoutReplacementDpEvent", sizes, multiplier, "REPLACE_ONE", orders)


def _poisson_curve(rate: float, multiplier: float, orders: Floats) -> Floats:
    """Return the curve of a Poisson-sampled Gaussian: by the sum, the integral, or where both fail dp_accounting's."""
    whole = (orders == np.rint(orders)) & (orders <= _HIGHEST_SUM)
    curve = np.full_like(orders, math.inf)
    for i, order in enumerate(orders.tolist()):
        if whole[i]:
            curve[i] = whole_rdp(rate, multiplier, int(order))
        elif order < _HIGHEST_FRACTION:
            curve[i] = fractional_rdp(rate, multiplier, order)
    left = np.isinf(curve)
    if left.any():
        curve[left] = _library_curve("PoissonSampledDpEvent", (rate,), multiplier, "ADD_OR_REMOVE_ONE", orders[left])
    return curve


def whole_rdp(rate: float, multiplier: float, order: int) -> float:
    """Return the RDP of one Poisson-sampled Gaussian release at a whole order from 2 on, rounded up.

    log(1 + sum over k >= 2 of binomial(order, k) (1 - q)**(order - k) q**k (exp(k (k - 1) / (2 s**2)) - 1)) / (order -
    1): what Mironov, Talwar and Zhang (2019) state in section 3.3, less the binomial law's own sum of 1.
    """
    log_binomials, k = _log_binomials(order)
    growth = k * (k - 1) / (2 * multiplier**2)
    with_record, without = k * math.log(rate), (order - k) * math.log1p(-rate)
    terms = log_binomials + with_record + without + growth + np.log(-np.expm1(-growth))
    doubt = 2.0**-50 * (1 + float((log_binomials - with_record - without + growth).max()))
    most = float(terms.max())
    excess = most + math.log(float(np.exp(terms - most).sum())) + doubt
    return float(np.logaddexp(0.0, excess)) / (order - 1)


@lru_cache(maxsize=256)
def _log_binomials(order: int) -> tuple[Floats, Floats]:
    """Return log(binomial(order, k)) for k from 2 to order, and these k."""
    k = range(2, order + 1)
    return np.array([math.log(math.comb(order, j)) for j in k]), np.array(k, dtype=np.float64)


def fractional_rdp(rate: float, multiplier: float, order: float) -> float:
    """Return the RDP of one Poisson-sampled Gaussian release at an order below 32, rounded up; inf if it is huge.

    At fractional orders the library adds up a series of changing signs by its magnitudes, an upper bound; this is the
    integral itself. With s the multiplier, r(z) = 1 - q + q exp((2 z - 1) / (2 s**2)) and Z from N(0, s**2), it is
    log(1 + E[r**order - 1 - order (r - 1)]) / (order - 1), as E[r] = 1; no value is negative, so nothing cancels.

    The trapezoidal rule errs by a share of 2 exp(b**2 / (2 s**2)) / (exp(2 pi b / h) - 1): within b < pi s**2 of the
    real line r**order is analytic and the integrand grows by exp(b**2 / (2 s**2)) at most. Width h makes that e**-45.
    """
    if order * (order - 1) > 2 * _LARGEST_EXPONENT * multiplier**2:
        return math.inf
    strip = min(3.0 * multiplier**2, 8.0 * multiplier)
    width = 2 * math.pi * strip / (strip**2 / (2 * multiplier**2) + 46)
    z = np.arange(-12 * multiplier, order + 12 * multiplier + width, width)
    weights = np.exp(-0.5 * (z / multiplier) ** 2) * (width / (multiplier * math.sqrt(2 * math.pi)))
    with np.errstate(over="ignore", invalid="ignore"):
        line = rate * np.expm1((2 * z - 1) / (2 * multiplier**2))
        power = np.expm1(order * np.log1p(line))
        excess = float((weights * (power - order * line)).sum())
        doubt = 2.0**-42 * excess + 2.0**-50 * float((weights * (np.abs(power) + order * np.abs(line))).sum())
    value = math.log1p(excess + doubt) / (order - 1)
    return value if math.isfinite(value) else math.inf


def _multiplier(event: Event) -> tuple[float, Adjacency]:
    """Return the multiplier that Gaussian noise, or Gaussian noises on the same sample, amount to."""
    inverse_square = 0.0
    relation = Adjacency.ADD_REMOVE
    for part, count in flatten(event):
        if not isinstance(part, GaussianEvent):
            raise PrivacyParameterError(
                f"RDP of sampled {type(part).__name__} is not known here; sample Gaussian noise or use method='pld'"
            )
        inverse_square += count / part.noise_multiplier**2
        relation = part.adjacency
    return 1 / math.sqrt(inverse_square), relation


def _library_curve(name: str, sizes: tuple[Any, ...], multiplier: float, relation: str, orders: Floats) -> Floats:
    library = accounting_library()
    accountant = library.rdp.RdpAccountant(orders.tolist(), library.NeighboringRelation[relation])
    event = getattr(library, name)(*sizes, library.GaussianDpEvent(multiplier))
    accountant.compose(event)
    curve = np.asarray(accountant._rdp, dtype=np.float64)
    return np.where(np.isnan(curve), np.inf, np.maximum(curve, 0.0))


def epsilon_from_rdp(curve: Floats, delta: float, orders: Floats) -> float:
    """Return the epsilon that the curve grants at delta (Canonne, Kamath, Steinke 2020, proposition 12).

    epsilon = rdp + log(1 - 1/alpha) - log(delta alpha) / (alpha - 1), at the best order; never below 0.
    """
    values = curve + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return max(0.0, float(np.min(values)))


def delta_from_rdp(curve: Floats, epsilon: float, orders: Floats) -> float:
    """Return the delta that the curve grants at epsilon, at the best order; at most 1, and never 0."""
    exponents = (orders - 1) * (curve - epsilon + np.log1p(-1 / orders)) - np.log(orders)
    return min(1.0, max(math.exp(min(0.0, float(np.min(exponents)))), LEAST_DELTA))
