"""Numbers without rounding: what a parameter means exactly, and exponentials enclosed between integers."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Integral
from numbers import Real as AnyReal

from .errors import PrivacyParameterError

Real = int | float | Fraction

_GUARD_BITS = 24


def exact(value: object, name: str) -> Fraction:
    """Return the rational number that `value` means: a float means its binary value, to the last bit.

    Raises PrivacyParameterError for NaN, infinities, booleans and anything that is not a real number.
    """
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool) or not isinstance(value, AnyReal):
        raise PrivacyParameterError(f"{name} must be a real number, not {type(value).__name__}")
    if isinstance(value, Integral):
        return Fraction(int(value))
    if not math.isfinite(value):
        raise PrivacyParameterError(f"{name} = {value} is not finite; give a finite number")
    return Fraction(float(value))


def positive(value: object, name: str) -> Fraction:
    """Return `value` exactly; raise PrivacyParameterError unless it is finite and > 0."""
    result = exact(value, name)
    if result <= 0:
        raise PrivacyParameterError(f"{name} = {value} must be greater than 0")
    return result


def number(value: object, name: str, towards: float = math.nan) -> float:
    """Return `value` as a float: the nearest, or the next one `towards` 0 or infinity where it is none.

    Bounds are rounded up, such as sensitivities and what was spent; noise and goals are rounded down. Raises
    PrivacyParameterError unless the float is > 0, and finite.
    """
    result = positive(value, name)
    try:
        found = float(result)
    except OverflowError:
        found = math.inf
    if found not in (0.0, math.inf) and ((towards == 0 and found > result) or (towards == math.inf and found < result)):
        found = math.nextafter(found, towards)
    if found in (0.0, math.inf):
        raise PrivacyParameterError(f"{name} is beyond floats; give a number from 5e-324 to 1.8e308")
    return found


def floor_log2(value: Fraction) -> int:
    """Return the largest e with 2**e <= value, for value > 0, exactly."""
    e = value.numerator.bit_length() - value.denominator.bit_length()
    return e if value >= power_of_two(e) else e - 1


def power_of_two(exponent: int) -> Fraction:
    """Return 2**exponent as a Fraction, for any integer exponent."""
    return Fraction(1 << exponent) if exponent >= 0 else Fraction(1, 1 << -exponent)


def exp_neg(x: Fraction, bits: int) -> int:
    """Return an integer v with v <= exp(-x) * 2**bits < v + 3, for x >= 0.

    Halves x until it is below 2**-8, sums the alternating series at a finer precision, squares back. A
    series of n terms errs by less than 2n + 4 working units and each squaring at most doubles the error and
    adds one, so that the total is within (2n + 5) * 2**-24 of the truth in units of 2**-bits.
    """
    halvings = max(0, floor_log2(x) + 9) if x > 0 else 0
    if halvings > bits.bit_length() + 9:  # x > bits, hence exp(-x) * 2**bits < 1
        return 0
    work = bits + halvings + _GUARD_BITS
    y = (x.numerator << work) // (x.denominator << halvings)
    term = total = 1 << work
    n = 0
    while term:
        n += 1
        term = (term * y >> work) // n
        total += -term if n % 2 else term
    for _ in range(halvings):
        total = total * total >> work
    return max(0, (total >> (work - bits)) - 1) if x > 0 else 1 << bits
