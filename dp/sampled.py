"""Loss distributions of Gaussian noise on a Poisson sample, for whole grids at once.

A loss is positive for one of two reasons: what was released looks more like the data with the record, or like the data
without it. For losses above 0 the curve of delta for either is a multiple of the Gaussian's own, with probability
q of being sampled and no sampling in it:

    with the record:     delta(epsilon) = q g(log(1 + (exp(epsilon) - 1) / q)),
    without the record:  delta(epsilon) = q w g(epsilon - log w),  w = 1 - (exp(epsilon) - 1) (1 - q) / q.

The losses below 0 of the one are those above 0 of the other: mass m at a loss l of one direction is mass m exp(-l) at
-l of the other. So no mass is the difference of numbers that are much larger, and deltas far out keep all their digits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .optional import accounting_library, special_functions

Floats = npt.NDArray[np.float64]

_FAR = 9.75  # deviations, beyond which noise has less than exp(-50) of its mass
_BEYOND = math.exp(-50)
_LARGEST = 700.0  # exponentials beyond are no floats
_DOUBT = 2.0**-50  # more than the rounding of deltas, as a share of q


def gaussian_distribution(multiplier: float, rate: float, interval: float) -> Any:
    """Return the loss distribution of one release when a record is added or removed, as dp_accounting's type."""
    far = (0.5 + _FAR * multiplier) / multiplier**2
    most = _log_mixture(rate, far)
    up = _masses(_with_record(_grid(most, interval), multiplier, rate), rate, interval)
    if rate == 1:
        return _distribution(interval, up)
    least = min(-math.log1p(-rate), -_log_mixture(rate, -far))
    down = _masses(_without_record(_grid(least, interval), multiplier, rate), rate, interval)
    return _distribution(interval, up, down)


def moved_gaussian_distribution(multiplier: float, rate: float, interval: float) -> Any:
    """Return the loss distribution when a record is replaced whose contribution is within 1 of any other and of 0.

    With a and b in place of each other, for losses above 0 delta(epsilon) is q times the excess of N(a) over weights of
    exp(epsilon) on N(b) and (exp(epsilon) - 1) (1 - q) / q on N(0). That is the most where b and 0 lie on one side of
    a, as far as they may (SPEC, section 14): both at 1. So b = 0, and the curve is that of a record that is there.
    """
    most = _log_mixture(rate, (0.5 + _FAR * multiplier) / multiplier**2)
    return _distribution(interval, _masses(_with_record(_grid(most, interval), multiplier, rate), rate, interval))


def replaced_gaussian_distribution(multiplier: float, rate: float, interval: float) -> Any:
    """Return the loss distribution of one release when a record is replaced, for contributions of norm 1."""
    s = multiplier
    x = 1 + _FAR * s
    most = _log_mixture(rate, (2 * x - 1) / (2 * s**2)) - _log_mixture(rate, -(2 * x + 1) / (2 * s**2))
    return _distribution(interval, _masses(_replaced(_grid(most, interval), s, rate), rate, interval))


def _log_mixture(rate: float, loss: float) -> float:
    """Return log(1 - rate + rate exp(loss))."""
    return loss if rate == 1 else float(np.logaddexp(math.log1p(-rate), math.log(rate) + loss))


def _grid(most: float, interval: float) -> Floats:
    losses = np.arange(max(1, math.ceil(most / interval)) + 1).astype(np.float64) * interval
    return np.minimum(losses, _LARGEST)  # a delta at less is no less


def _gaussian_delta(epsilons: Floats, multiplier: float) -> Floats:
    """Return the delta of Gaussian noise at epsilons of any sign, in the forms of `dp.analytic`, not rounded."""
    special = special_functions()
    erfcx, ndtr = special.erfcx, special.ndtr
    a = 0.5 / multiplier - epsilons * multiplier
    b = a - 1 / multiplier
    height = 0.5 * np.exp(-0.5 * a * a)
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number here is not chosen
        far = erfcx(-b / math.sqrt(2))
        tail = height * (erfcx(-a / math.sqrt(2)) - far)
        middle = ndtr(a) - height * far
        head = ndtr(a) - np.exp(epsilons) * ndtr(b)
    return np.asarray(np.where(a < 0, tail, np.where(b < 0, middle, head)))


def _with_record(epsilons: Floats, multiplier: float, rate: float) -> Floats:
    with np.errstate(over="ignore"):
        return rate * _gaussian_delta(np.log1p(np.expm1(epsilons) / rate), multiplier)


def _without_record(epsilons: Floats, multiplier: float, rate: float) -> Floats:
    with np.errstate(over="ignore"):
        weight = 1 - np.expm1(epsilons) * ((1 - rate) / rate)
    possible = weight > 0
    deltas = np.zeros_like(epsilons)
    weight = weight[possible]
    deltas[possible] = rate * weight * _gaussian_delta(epsilons[possible] - np.log(weight), multiplier)
    return deltas


def _replaced(epsilons: Floats, multiplier: float, rate: float) -> Floats:
    """Return the deltas of noise around 1 against noise around -1; where nothing is sampled, both are around 0.

    The loss is epsilon at x = s**2 (epsilon / 2 + asinh((1 - q) / q sinh(epsilon / 2) exp(1 / (2 s**2)))).
    """
    special = special_functions()
    s = multiplier
    slope = np.sinh(epsilons / 2) * ((1 - rate) / rate) * math.exp(0.5 / s**2)
    x = s**2 * (epsilons / 2 + np.arcsinh(slope))
    here, there = special.ndtr((1 - x) / s), np.exp(epsilons + special.log_ndtr((-1 - x) / s))
    nowhere = np.expm1(epsilons) * special.ndtr(-x / s)
    return np.asarray(rate * (here - there) - (1 - rate) * nowhere)


def _masses(deltas: Floats, rate: float, interval: float) -> tuple[Floats, float]:
    """Connect the dots (Doroshenko et al. 2022): return the masses at the losses above 0, and that at infinity."""
    deltas = np.minimum.accumulate(np.clip(deltas, 0.0, 1.0))
    falls = -np.diff(deltas)
    masses = falls - np.append(falls[1:], 0.0) * math.exp(-interval)
    return np.maximum(masses / -math.expm1(-interval), 0.0), float(deltas[-1]) + _DOUBT * rate + _BEYOND


def _distribution(interval: float, up: tuple[Floats, float], down: tuple[Floats, float] | None = None) -> Any:
    """Return the distribution with these masses above 0 in the two directions, which are one where there is one."""
    library = accounting_library().pld

    def one(above: tuple[Floats, float], below: tuple[Floats, float]) -> Any:
        (up, infinite), (down, _) = above, below
        down = down * np.exp(-interval * np.arange(1, down.size + 1))
        middle = max(0.0, 1.0 - float(up.sum()) - infinite - float(down.sum()))
        masses = np.concatenate((down[::-1], [middle], up))
        return library.pld_pmf.DensePLDPmf(interval, -down.size, masses, infinite, pessimistic_estimate=True)

    both = (one(up, up),) if down is None else (one(up, down), one(down, up))
    return library.privacy_loss_distribution.PrivacyLossDistribution(*both)
