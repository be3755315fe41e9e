"""Interrupts at a chosen line of a program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def interrupted(step: Callable[[], object], after: int, modules: tuple[str, ...]) -> bool:
    """Take a step, with KeyboardInterrupt once it has run so many lines in modules; tell whether it came to that.

    Args:
        step: what is taken.
        after: so many lines.
        modules: ends of the paths of the files whose lines count.
    """
    left = iter(range(after))

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.endswith(modules):
            return None
        if event == "line" and next(left, None) is None:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False
