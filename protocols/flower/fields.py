"""Fields that a user states, taken as the kinds that they are meant to be: numpy's numbers are numbers, too."""

from __future__ import annotations

import math
import operator
from numbers import Integral, Real
from typing import Any

from secagg.errors import ParameterError


def whole(value: Any, name: str) -> int:
    """Return an integer of Python's own; raise ParameterError, which names the field, for what is none."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ParameterError(f"{name} is {value!r}, but must be a whole number")
    return operator.index(value)


def real(value: Any, name: str) -> float:
    """Return a finite float of Python's own; raise ParameterError, which names the field, for what is none."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ParameterError(f"{name} is {value!r}, but must be a number")
    return float(value)
