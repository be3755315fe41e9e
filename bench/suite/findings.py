"""What benchmarks find: figures, rows of the comparison table and curves, part by part. Data alone, JSON both ways."""

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

    def __str__(self) -> str:
        text = f"{number(self.median)}x"
        same = self.lowest == self.highest
        return text if same else f"{text} ({number(self.lowest)} to {number(self.highest)})"


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

    title: str
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def add(self, what: str, value: float | int | bool | str, unit: str = "", **more: Any) -> None:
        self.lines.append(Line(what, value, unit, **more))

    def add_ratio(self, what: str, ratio: Ratio, **more: Any) -> None:
        self.lines.append(Line(what, ratio.median, "x", lowest=ratio.lowest, highest=ratio.highest, **more))


@dataclass
class PartResult:
    """How one part ended.

    Attributes:
        name: of the part.
        started: when, in UTC, as ISO 8601.
        seconds: wall-clock time of it all.
        load: the machine's load averages before.
        findings: what was measured.
        failure: why it failed; empty if it did not.
    """

    name: str
    started: str
    seconds: float
    load: str
    findings: list[Finding] = field(default_factory=list)
    failure: str = ""


@dataclass
class Results:
    """All that is known of one code on one machine.

    Attributes:
        scale: "full", "quick" or "small".
        machine: what was measured, and on what; see `machine.facts`.
        parts: how each ended.
    """

    scale: str
    machine: dict[str, str]
    parts: list[PartResult] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        return [finding for part in self.parts for finding in part.findings]

    @property
    def rows(self) -> list[Row]:
        return [row for finding in self.findings for row in finding.rows]

    @property
    def rivals(self) -> list[Rival]:
        return [rival for row in self.rows for rival in (row.peer, row.limit) if rival]

    @property
    def curves(self) -> list[Curve]:
        return [curve for finding in self.findings for curve in finding.curves]

    @property
    def failed(self) -> list[PartResult]:
        return [part for part in self.parts if part.failure]


def number(value: float) -> str:
    """Return a number with three digits, or all of them before the point."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
