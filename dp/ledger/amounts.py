"""Amounts of privacy as exact decimals: whole numbers of 10**-30, so that a thousand small spends add up exactly.

Limits are rounded down to that grid and charges up: what rounding changes is never in the spender's favour. A string
or a Decimal means the number that it spells (ten times "0.1" is 1); a float means its exact binary value, as everywhere
in dp (ten times 0.1 is more than 1).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from ..errors import PrivacyParameterError
from ..rational import Real, exact

GRID = 10**30
Amounts = tuple[int, ...]
"""One whole number of grid units for each thing that a budget counts."""
Number = Real | Decimal | str

_DIGITS = 30
_WIDEST = 300  # decimal exponents beyond are no privacy parameters, costly to make exact, and no floats
_SHOWN = 60


def rational(value: Number, name: str) -> Fraction:
    """Return the number that `value` means, exactly; raise PrivacyParameterError unless finite and not negative."""
    if isinstance(value, str | Decimal):
        shown = str(value).strip()[:_SHOWN]
        try:
            decimal = Decimal(value)
        except InvalidOperation:
            raise PrivacyParameterError(f"{name} = {shown!r} is no number; write for example 0.5 or 1e-6") from None
        if not decimal.is_finite() or abs(decimal.adjusted()) > _WIDEST:
            raise PrivacyParameterError(f"{name} = {shown} is out of range; give a finite number")
        result = Fraction(decimal)
    else:
        result = exact(value, name)
    if abs(result) > 10**_WIDEST:
        raise PrivacyParameterError(f"{name} is out of range; give at most 1e{_WIDEST}")
    if result < 0:
        raise PrivacyParameterError(f"{name} = {float(result):g} must not be negative")
    return result


def up(value: Fraction) -> int:
    """Return the least number of grid units that is at least `value`."""
    return -(-value.numerator * GRID // value.denominator)


def down(value: Fraction) -> int:
    """Return the greatest number of grid units that is at most `value`."""
    return value.numerator * GRID // value.denominator


def fraction(units: int) -> Fraction:
    """Return what so many grid units are worth."""
    return Fraction(units, GRID)


def spell(units: int) -> str:
    """Return the only decimal spelling of an amount: no exponent, no trailing zeros."""
    whole, rest = divmod(units, GRID)
    return f"{whole}.{rest:0{_DIGITS}d}".rstrip("0").rstrip(".")


def read(text: object) -> int:
    """Return the amount of a spelling; raise ValueError for anything that `spell` would not write."""
    whole, _, rest = text.partition(".") if isinstance(text, str) else ("", "", "")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= _WIDEST + 1 and len(rest) <= _DIGITS):
        raise ValueError("no amount")
    if rest and not (rest.isascii() and rest.isdigit()):
        raise ValueError("no amount")
    units = int(whole) * GRID + int(rest.ljust(_DIGITS, "0"))
    if spell(units) != text:
        raise ValueError("no canonical amount")
    return units


def plus(one: Amounts, other: Amounts) -> Amounts:
    """Add amounts of the same kinds."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def minus(one: Amounts, other: Amounts) -> Amounts:
    """Subtract amounts of the same kinds; results may be negative."""
    return tuple(a - b for a, b in zip(one, other, strict=True))


def within(one: Amounts, limit: Amounts) -> bool:
    """Tell whether no amount exceeds its limit."""
    return all(a <= b for a, b in zip(one, limit, strict=True))
