"""What this process and all that it has started take: processor seconds, and memory at a time. By /proc, on Linux."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 1.0
_CODES = ("ray::", "default_worker.py")
"""What the command lines of Ray's workers have, before a first task and from then on."""


@dataclass
class Watched:
    """What processes have taken while they were watched.

    Attributes:
        ours: processor seconds of this process and of those that run its code, such as Ray's workers.
        engine: of all others that this process started: Ray's own.
        peak_memory_bytes: the most that all of them held at a time; what several share counts once.
    """

    ours: float = 0.0
    engine: float = 0.0
    peak_memory_bytes: int = 0
    _seen: dict[int, float] = field(default_factory=dict, repr=False)

    def look(self, *, begin: bool = False) -> Self:
        """Add what was taken since the last look; to begin, nothing."""
        held, started = 0, time.thread_time()
        for process in _family(os.getpid()):
            with suppress(OSError):  # it has ended
                stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                now = (int(stat[11]) + int(stat[12])) / _TICK
                line = Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")
                held += _proportional_bytes(process)
                taken = 0.0 if begin else now - self._seen.get(process, 0.0)
                self._seen[process] = now
                if process == os.getpid() or any(code in line for code in _CODES) or "multiprocessing" in line:
                    self.ours += taken
                else:
                    self.engine += taken
        self.peak_memory_bytes = max(self.peak_memory_bytes, held)
        self.ours -= time.thread_time() - started  # looking is nobody's work: the system adds up memory page by page
        return self


@contextmanager
def watched() -> Iterator[Watched]:
    """Watch this process and its descendants, once a second; what one takes between a look and its end is lost."""
    found, over = Watched().look(begin=True), threading.Event()

    def keep_looking() -> None:
        while not over.wait(_LOOK_SECONDS):
            found.look()

    watcher = threading.Thread(target=keep_looking)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.look()


def _family(process: int) -> list[int]:
    family = [process]
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                family += _family(int(child))
    return family


def _proportional_bytes(process: int) -> int:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0
