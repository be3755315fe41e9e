"""How loops are compiled. Imports numba: only modules that are imported from inside a function may import this one.

They import it before numba, which cannot be imported where NUMBA_NUM_THREADS is below 1.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_THREADS = "NUMBA_NUM_THREADS"

with suppress(ValueError):  # what is no number, numba tells by itself
    if int(os.environ.get(_THREADS, "1")) < 1:
        del os.environ[_THREADS]  # loops here run in the threads that call them: numba's own are never asked for

# isort: split
from numba import njit  # noqa: E402 - see above


class _Kept:
    """numba's cache of a loop, as far as it can be read and written: whatever else is in its files is compiled anew."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *asked: Any) -> Any:
        """Return what was compiled before; None, and an empty cache, where it cannot be read."""
        try:
            return self._cache.load_overload(*asked)
        except Exception:  # a file cut short or overwritten: unpickling raises nearly anything
            with suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, *made: Any) -> None:
        """Keep what was compiled; a full disk costs time, and no session."""
        with suppress(OSError):
            self._cache.save_overload(*made)


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a loop that lets go of the interpreter lock, and keep what was compiled where there is a place for it.

    That is beside the module, or in the user's cache, or where NUMBA_CACHE_DIR says; whoever writes there runs code.
    Where nothing can be written, or what was kept cannot be read, a process compiles for itself: seconds, when a loop
    is first used.
    """
    loop: Any = njit(nogil=True, **options)(function)
    with suppress(RuntimeError, AttributeError):  # numba found no place, or NUMBA_DISABLE_JIT left the loop as it is
        loop.enable_caching()
        loop._cache = _Kept(loop._cache)
    return loop  # type: ignore[no-any-return]
