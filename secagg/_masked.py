"""Which arrays hide some of their values."""

from __future__ import annotations

import sys
from typing import Any


def is_masked_array(value: Any) -> bool:
    """Tell whether a value is one of numpy.ma's, without loading that: where it is not loaded, there are none."""
    # Another thread may be loading it: then its class is not there yet, and nothing is of it.
    kind = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return kind is not None and isinstance(value, kind)
