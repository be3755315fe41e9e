"""How loops are compiled. Imports numba: only modules that are imported from inside a function may import this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a loop that lets go of the interpreter lock, and keep what was compiled where there is a place for it.

    That is beside the module, or in the user's cache, or where NUMBA_CACHE_DIR says; whoever writes there runs code.
    Where nothing can be written, each process compiles for itself: seconds, when a loop is first used.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no place
        return njit(nogil=True)(function)
