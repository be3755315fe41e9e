"""Whether numpy or a compiled loop does a piece of work; both give the same bits.

Loading numba takes half a second, in which numpy gets through some fifty million numbers. So numpy works until a
process has asked it for as many, and compiled loops do from then on. A process that lives for one message loads no
compiler, and none takes much more than twice the time that the better choice would have taken.
"""

from __future__ import annotations

PATIENCE = 50_000_000
"""Numbers that numpy goes through before numba is loaded."""


class _Asked:
    """How many numbers this process was asked for. Threads may lose some of them, which changes no result."""

    numbers = 0


def compiled_pays(numbers: int) -> bool:
    """Count a piece of work in, of so many numbers, and tell whether a compiled loop is to do it."""
    _Asked.numbers += numbers
    return _Asked.numbers > PATIENCE


def prefer_compiled() -> None:
    """Have compiled loops do all work from now on: for processes that stay."""
    _Asked.numbers = PATIENCE + 1
