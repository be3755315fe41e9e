"""What a benchmark found: figures one by one, rows of the comparison table, and curves. Data alone, JSON both ways."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """A ratio, taken within each turn: the median of the turns, and their range."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Ratio:
        """Return median and range of one ratio a turn."""
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def plain(cls, value: float) -> Ratio:
        """Return a ratio of which there is but one."""
        return cls(value, value, value)


@dataclass
class Line:
    """One figure: what it is, what was asked of it, and whether that is met."""

    what: str
    value: float | int | bool | str
    unit: str = ""
    asked: str = ""
    met: bool | None = None
    lowest: float | None = None
    highest: float | None = None

    @property
    def figure(self) -> str:
        """The figure as people read it, with its range if it has one."""
        if isinstance(self.value, bool):
            return "yes" if self.value else "NO"
        if isinstance(self.value, str):
            return self.value
        text = f"{number(self.value)} {self.unit}".strip()
        if self.lowest is not None and self.highest is not None and self.lowest != self.highest:
            text += f"  ({number(self.lowest)} to {number(self.highest)})"
        return text

    @property
    def verdict(self) -> str:
        """Whether what was asked is met; empty if nothing was."""
        return "" if self.met is None else "met" if self.met else "NOT met"


@dataclass
class Rival:
    """What ours is compared with in a row: a peer, or a physical limit.

    Attributes:
        name: who or what.
        value: its figure in the row's unit; None if it could not be had.
        ratio: for a peer, how many times better ours is; for a limit, how many times further ours could go.
        note: what to know of the figure (that it is scaled, measured once), or why there is none.
    """

    name: str
    value: float | None = None
    ratio: Ratio | None = None
    note: str = ""


@dataclass
class Row:
    """A row of the comparison table: a capability at a size, ours, a peer's, and what the machine would allow.

    Ours is None where it can only be measured together with a peer that is not to be had.
    """

    capability: str
    unit: str
    ours: float | None
    peer: Rival | None = None
    limit: Rival | None = None


@dataclass
class Curve:
    """Lines over one axis, for a plot.

    Attributes:
        name: of the picture's file.
        title: what is drawn, and at which sizes.
        across: label of the horizontal axis, with its unit.
        up: label of the vertical axis, with its unit.
        lines: name -> points (x, y).
        log_across: whether the horizontal axis is logarithmic; the vertical one is.
        references: lines that nobody has measured as a contender: limits, and what is in clear.
    """

    name: str
    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    log_across: bool = True
    references: Sequence[str] = field(default_factory=list)


@dataclass
class Finding:
    """What a benchmark found: its sizes in the title, its figures, what to know of them, rows and curves."""

    letter: str
    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def add(self, what: str, value: float | int | bool | str, unit: str = "", **more: Any) -> None:
        """Add a figure."""
        self.lines.append(Line(what, value, unit, **more))

    def add_ratio(self, what: str, ratio: Ratio, **more: Any) -> None:
        """Add a ratio with its range."""
        self.lines.append(Line(what, ratio.median, "x", lowest=ratio.lowest, highest=ratio.highest, **more))

    def markdown(self) -> str:
        """Return it as a section."""
        asked = any(line.asked for line in self.lines)
        head = ("| | measured (range over turns) | asked | |", "|---|--:|---|---|")
        rows = [f"## {self.letter}. {self.title}", ""]
        rows += head if asked else ("| | measured (range over turns) |", "|---|--:|")
        for line in self.lines:
            rows.append(f"| {line.what} | {line.figure} |" + (f" {line.asked} | {line.verdict} |" if asked else ""))
        rows += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(rows).rstrip() + "\n"


def number(value: float) -> str:
    """Return a number with three digits, or all of them before the point."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
