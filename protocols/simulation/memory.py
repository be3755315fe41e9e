"""How much memory processes have held at a time."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def own_peak_memory_bytes() -> int:
    """Return the most memory that this process has held at a time."""
    try:
        # What getrusage says of a spawned process begins with what its parent held.
        held = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:  # not every system has it
        held = None
    return 1024 * int(held[1]) if held else _largest("RUSAGE_SELF")


def peak_memory_bytes() -> int:
    """Return the most memory that this process, or the largest of those that it has ended, has held at a time."""
    return max(own_peak_memory_bytes(), _largest("RUSAGE_CHILDREN"))


def _largest(whose: str) -> int:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(getattr(resource, whose)).ru_maxrss
