"""Roles that must not exist twice: two copies of one session would answer twice under one mask, or sum twice."""

from __future__ import annotations

import os
from typing import NoReturn

from secagg.errors import StateError


class OneCopy:
    """Refuses to be copied, pickled, and used in a process that was forked from its own. `dump` is the way to move."""

    _process = 0

    def _stay_in_process(self) -> None:
        """Remember the process at the first call; raise StateError in any other."""
        self._process = self._process or os.getpid()
        if self._process != os.getpid():
            raise StateError(
                f"this {type(self).__name__} belongs to process {self._process}, but {os.getpid()} uses a copy of it: "
                "make it after the fork, or dump it where it was made and load it here"
            )

    def __copy__(self) -> NoReturn:
        raise StateError(f"a {type(self).__name__} must not be copied: a copy could answer a second time; use dump")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise StateError(f"a {type(self).__name__} must not be pickled: it holds secrets; use dump")
