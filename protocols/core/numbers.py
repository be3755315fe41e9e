"""Numbers at doors: Python's and numpy's are taken, whatever else looks like one is refused by name."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from dp.errors import DpError
from secagg.errors import ParameterError


def whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    """Return an integer of Python's; raise ParameterError for anything else, booleans and 2.0 included."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"from {least}" if most is None else f"from {least} to {most}"
        raise ParameterError(f"{name} is {value!r}, but must be an integer {bounds}")
    return number


def real(value: Any, name: str, least: float, most: float = math.inf) -> float:
    """Return a float of Python's, or an int where one was given; raise ParameterError for anything else, NaN too."""
    number = value.item() if isinstance(value, np.integer | np.floating) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        bounds = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ParameterError(f"{name} is {value!r}, but must be a number {bounds}")
    return number


def boolean(value: Any, name: str) -> bool:
    """Return a bool of Python's; raise ParameterError for anything else, 1 and "no" included."""
    if not isinstance(value, bool | np.bool_):
        raise ParameterError(f"{name} is {value!r}, but must be True or False")
    return bool(value)


@contextmanager
def in_our_words(what: str = "") -> Iterator[None]:
    """Raise what `dp` refuses as a ParameterError, with what it is about in front."""
    try:
        yield
    except DpError as error:
        raise ParameterError(f"{what}: {error}" if what else str(error)) from None


def spelled_up(value: float | Fraction, digits: int) -> str:
    """Return a number in so many digits, rounded up: who copies noise or a cost has no less than was computed."""
    return _spelled(value, Context(prec=digits, rounding=ROUND_CEILING))


def spelled_down(value: float | Fraction, digits: int) -> str:
    """Return a number in so many digits, rounded down: as what is left, and a limit."""
    return _spelled(value, Context(prec=digits, rounding=ROUND_FLOOR))


def _spelled(value: float | Fraction, context: Context) -> str:
    """Round a float as it is spelled, a fraction exactly."""
    if isinstance(value, Fraction):
        rounded = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    else:
        rounded = context.create_decimal(repr(value))
    return f"{float(rounded):.{context.prec}g}"
