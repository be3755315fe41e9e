"""How loops are compiled. Imports numba: only modules that are imported from inside a function may import this one.

They import it before numba, which cannot be imported where NUMBA_NUM_THREADS is below 1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

LOOPS: list[Any] = []
"""Those of this process, as numba has them."""
_THREADS = "NUMBA_NUM_THREADS"

with suppress(ValueError):  # what is no number, numba tells by itself
    if int(os.environ.get(_THREADS, "1")) < 1:
        del os.environ[_THREADS]  # loops here run in the threads that call them: numba's own are never asked for

# isort: split
from numba import njit  # noqa: E402 - see above
from numba.core import caching  # noqa: E402


@cache
def _sources(folder: str) -> str:
    """Return a digest of the sources in a folder, empty if there are none."""
    texts = [path.read_bytes() for path in sorted(Path(folder).glob("*.py"))]
    return hashlib.sha256(b"".join(hashlib.sha256(text).digest() for text in texts)).hexdigest() if texts else ""


@cache
def _cache_in(place: Any, *, written: bool) -> Any:
    """Return numba's class of caches in one kind of place, either where that can be written or where it exists."""

    class Place(place):  # type: ignore[misc]
        def ensure_cache_path(self) -> None:
            if written:
                super().ensure_cache_path()
            elif not os.path.isdir(self.get_cache_path()):  # noqa: PTH112 - no path of ours
                raise FileNotFoundError

        def get_source_stamp(self) -> Any:
            """Tell sources by content: images change times of files, and loops have constants of their neighbours."""
            return _sources(os.path.dirname(self._py_file)) or super().get_source_stamp()  # noqa: PTH120

    class Overloads(caching.CompileResultCacheImpl):
        _locator_classes = [Place]  # noqa: RUF012 - as numba has it

    class Cache(caching.FunctionCache):
        _impl_class = Overloads

    return Cache


def _caches(function: Callable[..., Any]) -> list[Any]:
    """Return the caches of a loop: those in numba's order that can be read, up to the first that can be written."""
    found = []
    for place in caching.CompileResultCacheImpl._locator_classes:
        for written in (True, False):
            with suppress(RuntimeError):  # no such place
                found.append(_cache_in(place, written=written)(function))
                if written:
                    return found
    return found


class _Kept:
    """The caches of a loop: whatever cannot be read there is compiled anew, and kept in the last if it can be."""

    def __init__(self, caches: list[Any]) -> None:
        self._caches = caches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._caches[-1], name)

    def load_overload(self, *asked: Any) -> Any:
        """Return what was compiled before, or None; a cache that cannot be read is emptied."""
        for kept in self._caches:
            try:
                found = kept.load_overload(*asked)
            except Exception:  # a file cut short or overwritten: unpickling raises nearly anything
                with suppress(OSError):
                    kept.flush()
                continue
            if found is not None:
                return found
        return None

    def save_overload(self, *made: Any) -> None:
        """Keep what was compiled; a full disk costs time, and no session."""
        with suppress(OSError):
            self._caches[-1].save_overload(*made)


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a loop that lets go of the interpreter lock, and keep what was compiled where there is a place for it.

    That is where NUMBA_CACHE_DIR says, or beside the module, or in the user's cache: the first that can be written. Any
    before it are read as they are, such as a folder that was filled when an image was built. Whoever writes there runs
    code. Where nothing can be written and nothing was kept, or what was kept cannot be read, a process compiles for
    itself: seconds, when a loop is first used.
    """
    loop: Any = njit(nogil=True, **options)(function)
    if loop is not function:  # NUMBA_DISABLE_JIT leaves the loop as it is
        if caches := _caches(function):
            loop._cache = _Kept(caches)
        LOOPS.append(loop)
    return loop  # type: ignore[no-any-return]
