"""Which arrays hide some of their values."""

from __future__ import annotations

import sys
from typing import Any


def is_masked_array(value: Any) -> bool:
    """Tell whether a value is one of numpy.ma's, without loading that: where it is not loaded, there are none."""
    numpy_ma = sys.modules.get("numpy.ma")
    return numpy_ma is not None and isinstance(value, numpy_ma.MaskedArray)
