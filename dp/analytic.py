"""The exact privacy of Gaussian noise, without any library: delta of epsilon, and back (Balle, Wang 2018, theorem 8).

With s = sigma / sensitivity, a = 1/(2 s) - epsilon s and b = a - 1/s,

    delta = Phi(a) - exp(epsilon) Phi(b) = phi(a) (R(-a) - R(-b)),

for the normal distribution Phi, its density phi and the ratio R(x) = Phi(-x) / phi(x), since exp(epsilon) phi(b) =
phi(a). The right-hand form neither overflows nor loses small deltas. Results are rounded towards more privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from .rational import exact, number
from .sensitivity import check_delta, check_epsilon

_SQRT_2 = math.sqrt(2)
_SQRT_2_PI = math.sqrt(2 * math.pi)
_MACHINE = 2.0**-50
_TINY = 1e-323  # more than the roundings of what lies below all normal floats
_CONTINUED_FRACTION_FROM = 12.0
_ROOM = 1 + 2.0**-46
"""What calibrated noise exceeds the least by, so that all roundings of its accounts stay within its goal."""


def _ratio(x: float) -> float:
    """Return Phi(-x) / phi(x)."""
    if x < _CONTINUED_FRACTION_FROM:
        return 0.5 * math.erfc(x / _SQRT_2) * _SQRT_2_PI * math.exp(0.5 * x * x)
    value = x
    for k in range(40, 0, -1):  # Laplace's continued fraction; converged to the last place from x = 12 on
        value = x + k / value
    return 1 / value


def _multiplier(value: float) -> float:
    return number(value, "noise_multiplier", 0.0)


def gaussian_delta(noise_multiplier: float, epsilon: float) -> float:
    """Return the least delta for which Gaussian noise of sigma = noise_multiplier * sensitivity is (epsilon, delta)-DP.

    Valid for any epsilon >= 0. Rounded up by a bound on its own rounding error.

    Raises:
        PrivacyParameterError: noise_multiplier <= 0 or epsilon < 0, NaN or infinite.
    """
    return _delta(_multiplier(noise_multiplier), check_epsilon(epsilon, zero=True))


def _delta(s: float, epsilon: float) -> float:
    a = 0.5 / s - epsilon * s
    b = a - 1 / s
    height = math.exp(-0.5 * a * a) / _SQRT_2_PI
    doubt = _MACHINE * height * (0.5 / s + epsilon * s)  # what the rounding of a and b themselves may change
    if a > 0:
        first = 0.5 * math.erfc(-a / _SQRT_2)
        if epsilon < 1:  # close to a difference of two nearly equal values: take it before it is rounded
            below = 0.5 * math.erfc(-b / _SQRT_2)
            delta = 0.5 * (math.erf(a / _SQRT_2) - math.erf(b / _SQRT_2)) - math.expm1(epsilon) * below
            return min(1.0, max(0.0, delta) + _MACHINE * first + doubt)
        second = height * _ratio(-b)
        return min(1.0, max(0.0, first - second) + _MACHINE * first + doubt)
    if a < -38.5:
        return 5e-324  # below every positive float, and not zero
    near, far = _ratio(-a), _ratio(-b)
    return min(1.0, height * (near - far + _MACHINE * near * (1 + a * a)) + doubt + _TINY)


def gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    """Return the least epsilon >= 0 with gaussian_delta(noise_multiplier, epsilon) <= delta, on the private side.

    Raises:
        PrivacyParameterError: noise_multiplier <= 0; delta outside (0, 1).
    """
    s = _multiplier(noise_multiplier)
    return smallest_epsilon(lambda epsilon: _delta(s, epsilon), check_delta(delta))


def smallest_epsilon(delta_at: Callable[[float], float], delta: float) -> float:
    """Return the least epsilon >= 0 at which a falling curve is at most delta, on the private side."""
    if delta_at(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_at(high) > delta:
        low, high = high, 2 * high
        if high > 1e300:
            return math.inf
    return smallest(lambda epsilon: delta_at(epsilon) <= delta, low, high)


def gaussian_noise_multiplier(epsilon: float, delta: float) -> float:
    """Return the least sigma / sensitivity that gives (epsilon, delta), rounded up by a part in 10**13.

    The accountant and a budget of composition "gaussian" agree that it does: `gaussian_epsilon` says at most epsilon,
    and its inverse square is below `gaussian_limit`.

    Source: Balle and Wang (2018): the exact characterisation, valid for every epsilon > 0, unlike the classical
    sqrt(2 log(1.25 / delta)) / epsilon.

    Raises:
        PrivacyParameterError: epsilon <= 0, or delta outside (0, 1): Gaussian noise gives no pure DP, use Laplace.
    """
    epsilon, delta = check_epsilon(epsilon), check_delta(delta)
    result, step = _least_multiplier(epsilon, delta) * _ROOM, 2.0**-46
    while _delta(result, epsilon) > delta or gaussian_epsilon(result, delta) > epsilon:
        result, step = result * (1 + step), 2 * step
    return result


def gaussian_limit(epsilon: float, delta: float) -> Fraction:
    """Return the most that mu**2 = (sensitivity / sigma)**2 of Gaussian noise may add up to within (epsilon, delta).

    Raises:
        PrivacyParameterError: as `gaussian_noise_multiplier`.
    """
    return 1 / exact(_least_multiplier(check_epsilon(epsilon), check_delta(delta)), "noise_multiplier") ** 2


def _least_multiplier(epsilon: float, delta: float) -> float:
    """Return the least multiplier for the floats next below the goal, which may stand for decimals."""
    epsilon = math.nextafter(epsilon, 0.0) or epsilon
    delta = math.nextafter(delta, 0.0) or delta
    target = math.log(delta)

    def excess(log_s: float) -> float:
        return math.log(_delta(math.exp(log_s), epsilon)) - target

    low = high = 0.0
    while (above := excess(high)) > 0:
        low, high = high, high + 1
    while (below := excess(low)) <= 0:
        low, high, above = low - 1, low, below
    # Regula falsi with halving (Illinois) in logarithms, where the curve is nearly straight: about ten steps.
    side = 0
    for _ in range(60):
        if high - low < 1e-14 * max(1.0, abs(high)):
            break
        middle = high - above * (high - low) / (above - below)
        if not low < middle < high:
            break
        value = excess(middle)
        if value <= 0:
            high, above, below = middle, value, below / 2 if side < 0 else below
            side = -1
        else:
            low, below, above = middle, value, above / 2 if side > 0 else above
            side = 1
        if abs(value) < 1e-13:
            high = middle
            break
    result, step = math.exp(high), 2.0**-51  # and up until it is certain
    while _delta(result, epsilon) > delta:
        result, step = result * (1 + step), 2 * step
    return result


def smallest(good: Callable[[float], bool], low: float, high: float, tolerance: float = 4e-16) -> float:
    """Bisect between a bad `low` and a good `high` to a relative `tolerance`; return the good end."""
    for _ in range(60):
        middle = (low + high) / 2
        if not low < middle < high or high - low < tolerance * high:
            break
        if good(middle):
            high = middle
        else:
            low = middle
    return high
