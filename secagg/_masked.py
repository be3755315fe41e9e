"""Which arrays hide some of their values."""

from __future__ import annotations

import sys
from typing import Any


def is_masked_array(value: Any) -> bool:
    """Tell whether a value is one of numpy.ma's, without loading that: where it is not loaded, there are none."""
    # Another thread may be loading it just now: before the class is there, nothing is of it.
    masked_array = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return masked_array is not None and isinstance(value, masked_array)
