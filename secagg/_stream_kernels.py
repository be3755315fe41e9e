"""Compiled loops of prg.py. Imports numba: import this module only from inside a function.

Both take the streams of four seeds at once, so that the lanes are read and written a quarter as often.
"""

from __future__ import annotations

from typing import Any

from ._compiling import compiled


@compiled
def add(lanes: Any, first: Any, second: Any, third: Any, fourth: Any) -> None:
    """Add four streams, each as long as the lanes and of their dtype."""
    for i in range(lanes.size):
        lanes[i] += first[i] + second[i] + third[i] + fourth[i]


@compiled
def subtract(lanes: Any, first: Any, second: Any, third: Any, fourth: Any) -> None:
    """Subtract four streams, each as long as the lanes and of their dtype."""
    for i in range(lanes.size):
        lanes[i] -= first[i] + second[i] + third[i] + fourth[i]
