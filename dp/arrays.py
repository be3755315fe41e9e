"""Arrays at doors: what can be read faithfully as numbers is taken, whatever else is refused before any noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import PrivacyParameterError

_KINDS = "fiub"
_MOST_BYTES = 8


def readable(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return an array of floats, integers or booleans of at most 64 bits, not copied where it is one.

    Raises:
        PrivacyParameterError: what would lose something if it were read as numbers: masked arrays and lists that hold
            one, texts, complex numbers, records, objects such as None, ragged lists, floats of more than 64 bits.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever a framework raises for a device or a dtype that numpy lacks
        raise PrivacyParameterError(f"a {type(values).__name__} cannot be read as an array: {error}") from error
    if array.dtype.kind not in _KINDS or array.dtype.itemsize > _MOST_BYTES:
        raise PrivacyParameterError(
            f"floats or integers of at most 64 bits expected, got {array.dtype}; convert, and fill what is missing"
        )
    if _masks(values):
        raise PrivacyParameterError(
            "a masked array hides values that would be read all the same; fill it, or leave them out"
        )
    return array


def _masks(values: Any) -> bool:
    """Tell whether a masked array is, or is in, what numpy has read: that is no text, and not nested deeper."""
    if isinstance(values, np.ma.MaskedArray):
        return True
    if isinstance(values, memoryview):
        return False
    return isinstance(values, Sequence) and any(_masks(part) for part in values if not isinstance(part, int | float))


def finite(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return float64 of the same shape, as `readable`; raise PrivacyParameterError where NaN or infinity, or empty."""
    floats = readable(values).astype(np.float64, copy=False)
    if floats.size == 0:
        raise PrivacyParameterError("an empty array has nothing to clip, round or release; skip it")
    if not np.isfinite(floats).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(floats))[0])
        raise PrivacyParameterError(
            f"the value at index {index} is not finite; replace NaN and infinities by numbers first"
        )
    return floats
