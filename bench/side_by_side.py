"""Contenders that take turns in one run, and what is said about them.

Machines are noisy and speed up and slow down together with everything on them, so contenders run A B A B, ratios are
taken within a turn, and medians of ratios are reported with their range.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

SMALL = os.environ.get("SECAGG_BENCH_SMALL", "") not in ("", "0")
"""Shrinks every benchmark to seconds: whether it runs and is right can be seen, how fast it is cannot."""

Contender = Callable[[], float]
"""Runs once, and returns how many seconds of it count."""


def size(full: int, small: int) -> int:
    """Return the size that the issue asks for, or a small one that only shows that the benchmark works."""
    return small if SMALL else full


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
class Ratio:
    median: float
    lowest: float
    highest: float


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
        ratios = [one / other for one, other in zip(self.seconds[numerator], sums, strict=True)]
        return Ratio(statistics.median(ratios), min(ratios), max(ratios))


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
        for name, contender in others.items():
            seconds[name].append(contender())
        prepare()

    benchmark.pedantic(lambda: seconds["ours"].append(ours()), setup=others_first, rounds=turns)
    return Timings(seconds)


@dataclass
class Line:
    """One figure: what it is, what the issue asks of it, and whether that is met."""

    what: str
    value: float | int | bool | str
    unit: str = ""
    asked: str = ""
    met: bool | None = None
    lowest: float | None = None
    highest: float | None = None

    @property
    def figure(self) -> str:
        if isinstance(self.value, bool):
            return "yes" if self.value else "NO"
        if isinstance(self.value, str):
            return self.value
        text = f"{_number(self.value)} {self.unit}".strip()
        if self.lowest is not None and self.highest is not None and self.lowest != self.highest:
            text += f"  ({_number(self.lowest)} to {_number(self.highest)})"
        return text

    @property
    def verdict(self) -> str:
        return "" if self.met is None or SMALL else "met" if self.met else "NOT met"


@dataclass
class Finding:
    """What a benchmark found: its letter in the issue, its sizes in the title, its figures and what to know of them."""

    letter: str
    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, value: float | int | bool | str, unit: str = "", **more: Any) -> None:
        self.lines.append(Line(what, value, unit, **more))

    def add_ratio(self, what: str, ratio: Ratio, **more: Any) -> None:
        self.lines.append(Line(what, ratio.median, "x", lowest=ratio.lowest, highest=ratio.highest, **more))

    def show(self) -> None:
        table = Table(title=f"{self.letter}. {self.title}", title_justify="left")
        table.add_column("")
        table.add_column("measured (range over turns)", justify="right")
        table.add_column("asked")
        table.add_column("")
        for line in self.lines:
            verdict = Text(line.verdict, style="green" if line.met else "bold red")
            table.add_row(line.what, line.figure, line.asked, verdict)
        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print()
        console.print(table)
        for note in self.notes:
            console.print(f"  · {note}", highlight=False)

    def markdown(self) -> str:
        rows = [
            f"## {self.letter}. {self.title}",
            "",
            "| | measured (range over turns) | asked | |",
            "|---|--:|---|---|",
        ]
        rows += [f"| {line.what} | {line.figure} | {line.asked} | {line.verdict} |" for line in self.lines]
        rows += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(rows).rstrip() + "\n"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
