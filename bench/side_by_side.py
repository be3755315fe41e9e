"""Contenders that take turns in one run, and what is said about them.

Machines are noisy and speed up and slow down together with everything on them, so contenders run A B A B, ratios are
taken within a turn, and medians of ratios are reported with their range.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.suite.findings import Ratio, Rival
from bench.suite.runner import SCALE_VARIABLE, STEP

SCALE = os.environ.get(SCALE_VARIABLE, "full")
SMALL = SCALE == "small"
"""Shrinks every benchmark to seconds: whether it runs and is right can be seen, how fast it is cannot."""
QUICK = SCALE == "quick"
"""Sizes of `python -m bench.suite --quick`: smaller, and large enough that ratios mean something."""

T = TypeVar("T")

Contender = Callable[[], float]
"""Runs once, and returns how many seconds of it count."""


def size(full: T, small: T, *, quick: T | None = None) -> T:
    """Return the full size, the one of a quick comparison, or a small one that only shows that the benchmark works."""
    return small if SMALL else quick if QUICK and quick is not None else full


def say(step: str) -> None:
    """Tell whoever watches what is going on."""
    print(f"{STEP}{step}", flush=True)


def clocked(function: Callable[[], Any]) -> Contender:
    """Make a contender of which all the time counts."""

    def run() -> float:
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    return run


def measured_once(contender: Contender) -> Contender:
    """Make a contender that is too slow for more than its first turn; later turns repeat that figure."""
    figures: list[float] = []

    def run() -> float:
        if not figures:
            figures.append(contender())
        return figures[0]

    return run


@dataclass(frozen=True)
class Timings:
    """Seconds of each contender, turn by turn; ours is called "ours"."""

    seconds: Mapping[str, list[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, numerator: str, denominator: str) -> Ratio:
        return self.ratio_to_sum(numerator, denominator)

    def ratio_to_sum(self, numerator: str, *denominators: str) -> Ratio:
        """Return the seconds of one over those of others together, within a turn."""
        sums = [sum(turn) for turn in zip(*(self.seconds[name] for name in denominators), strict=True)]
        return Ratio.of([one / other for one, other in zip(self.seconds[numerator], sums, strict=True)])

    def peer(self, name: str, shown: str, *, ours: str = "ours", note: str = "", scale: float = 1.0) -> Rival:
        """Return a peer for a row of seconds times `scale`, and how much faster ours is."""
        return Rival(shown, self.median(name) * scale, self.ratio(name, ours), note)

    def limit(self, shown: str, *names: str, ours: str = "ours", note: str = "", scale: float = 1.0) -> Rival:
        """Return a limit for a row of seconds times `scale`: what these take together."""
        seconds = statistics.median(map(sum, zip(*(self.seconds[name] for name in names), strict=True)))
        return Rival(shown, seconds * scale, self.ratio_to_sum(ours, *names), note)


def peer(name: str, figure: float | str, ours: float, note: str = "") -> Rival:
    """Return a peer for a row, from its one figure or from the reason why there is none."""
    return Rival(name, note=figure) if isinstance(figure, str) else Rival(name, figure, Ratio.of([figure / ours]), note)


def limit(name: str, figure: float, ours: float, note: str = "") -> Rival:
    """Return a limit for a row, from its one figure."""
    return Rival(name, figure, Ratio.of([ours / figure]), note)


def take_turns(
    benchmark: Any,
    ours: Contender,
    others: Mapping[str, Contender],
    *,
    turns: int,
    prepare: Callable[[], None] = lambda: None,
) -> Timings:
    """Run the others and ours in turns; pytest-benchmark keeps the wall-clock time of ours.

    Args:
        benchmark: pytest-benchmark's fixture.
        ours: warmed up by the caller, where that is fair.
        others: peers and physical limits.
        turns: how many of them.
        prepare: called before each turn of ours, off the clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}

    def others_first() -> None:
        say(f"turn {len(seconds['ours']) + 1} of {turns}")
        for name, contender in others.items():
            seconds[name].append(contender())
        prepare()

    benchmark.pedantic(lambda: seconds["ours"].append(ours()), setup=others_first, rounds=turns)
    return Timings(seconds)
