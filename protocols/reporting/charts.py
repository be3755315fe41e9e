"""Figures as SVG within a page: no library, and no colour of their own, so that light and dark reach them.

Drawn for 360 units, a phone's width: a larger page scales them up, and letters stay legible on both. What a chart
shows is told in words, too, for who does not see it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH = 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 350, 18, 178
_HEIGHT = 214
_ROW = 36
_MANY_BINS = 60
_MANY_NAMES = 20
_SERIES = 5

STYLE = """
.chart { width: 100%; max-width: 34rem; height: auto; display: block; font: 11px system-ui, "DejaVu Sans", sans-serif; }
.chart text { fill: var(--ink); } .chart .dim { fill: var(--dim); }
.chart .axis { stroke: var(--dim); stroke-width: 1; fill: none; } .chart .grid { stroke: var(--line); }
.chart .bar { fill: var(--accent); } .chart .below { fill: var(--warm); }
.chart .gone { fill: var(--line); stroke: var(--dim); stroke-dasharray: 3 2; }
.chart .line { fill: none; stroke-width: 2; } .chart .band { opacity: .18; stroke: none; }
.chart .reach { stroke: var(--accent); stroke-width: 2; fill: none; } .chart .point { fill: var(--accent); }
.chart .zero { stroke: var(--dim); stroke-dasharray: 2 3; }
.s0 { stroke: var(--accent); fill: var(--accent); } .s1 { stroke: var(--warm); fill: var(--warm); }
.s2 { stroke: var(--good); fill: var(--good); } .s3 { stroke: var(--idle); fill: var(--idle); }
.s4 { stroke: var(--violet); fill: var(--violet); }
.s1.line { stroke-dasharray: 7 3; } .s2.line { stroke-dasharray: 2 3; } .s3.line { stroke-dasharray: 9 3 2 3; }
"""


@dataclass(frozen=True)
class Line:
    """A curve of steps: from each x to the next it stays at y.

    Attributes:
        name: in the legend; "" for none.
        x: ascending.
        y: one an x; None where it is hidden.
        low, high: of a band around it, one an x; None where there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Reach:
    """A row of a forest plot.

    Attributes:
        name: of what it is.
        value: a point; None for none.
        low, high: of the interval; None where it goes on beyond what is known, both None where there is none.
        told: the numbers in words.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    told: str


def histogram(title: str, told: str, edges: Sequence[float], counts: Sequence[int | None], unit: str) -> str:
    """Draw bars between edges; a hidden count is a dashed field. Bins of several widths are drawn by counts a unit."""
    widths = [high - low for low, high in pairwise(edges)]
    even = max(widths) - min(widths) <= 1e-6 * max(widths)
    shares = [1.0 if even else width for width in widths]
    heights = [None if count is None else count / share for count, share in zip(counts, shares, strict=True)]
    frame = _Frame(edges[0], edges[-1], 0.0, max([height for height in heights if height is not None] or [1]) or 1)
    parts = [frame.axes(unit, "rows" if even else "rows a unit")]
    gap = 1.0 if len(counts) <= _MANY_BINS else 0.0
    for (low, high), height in zip(pairwise(edges), heights, strict=True):
        left, right = frame.across(low), frame.across(high)
        top = frame.up(frame.y[1] if height is None else height)
        kind = "gone" if height is None else "bar"
        parts.append(_box(left, top, max(right - left - gap, 0.5), _BOTTOM - top, kind))
    return _chart(title, told, parts, _HEIGHT)


def curves(title: str, told: str, lines: Sequence[Line], unit: str, up: str) -> str:
    """Draw steps from 0 to 1, each with its band."""
    every = [x for line in lines for x in line.x]
    frame = _Frame(min(every), max(every), 0.0, 1.0)
    parts = [frame.axes(unit, up)]
    for at, line in enumerate(lines):
        series = f"s{at % _SERIES}"
        for part in _runs(line.x, *(line.low, line.high)) if line.low else ():
            upper = _steps(frame, [(x, high) for x, _, high in part])
            lower = _steps(frame, [(x, low) for x, low, _ in part])
            parts.append(f'<path class="{series} band" d="{_path(upper + lower[::-1])}Z"/>')
        for run in _runs(line.x, line.y):
            parts.append(f'<path class="{series} line" d="{_path(_steps(frame, run))}"/>')
    return _chart(title, told, parts, _legend(parts, [line.name for line in lines]))


def forest(title: str, told: str, rows: Sequence[Reach], unit: str) -> str:
    """Draw a point and an interval a row, on one axis; an end that is not known is an arrow."""
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = (high - low) * 0.04 or abs(low) * 0.01 or 1.0
    frame = _Frame(low - room, high + room, 0, 1, left=10, bottom=len(rows) * _ROW + 6)
    parts = [frame.ticks_across(unit)]
    if low < 0 < high:
        parts.append(_stroke(frame.across(0), 4, frame.across(0), frame.bottom, "zero"))
    for at, row in enumerate(rows):
        y = at * _ROW + 28
        parts += _named(row.name, row.told, y - 12)
        if row.low is not None or row.high is not None:
            left = frame.left if row.low is None else frame.across(row.low)
            right = _RIGHT if row.high is None else frame.across(row.high)
            parts.append(_stroke(left, y, right, y, "reach"))
            parts.append(_end(left, y, row.low is None, -1) + _end(right, y, row.high is None, 1))
        if row.value is not None:
            parts.append(f'<circle class="point" cx="{frame.across(row.value):.1f}" cy="{y}" r="4"/>')
    return _chart(title, told, parts, frame.bottom + 36)


def bars(title: str, told: str, rows: Sequence[tuple[str, int | None]]) -> str:
    """Draw a bar a name; a hidden count is a dashed field."""
    most = max([count for _, count in rows if count] or [1])
    parts: list[str] = []
    for at, (name, count) in enumerate(rows):
        y = at * _ROW + 20
        parts += _named(name, "hidden" if count is None else f"{count:,}", y - 4)
        length = (_RIGHT - 10) * (1 if count is None else count / most)
        parts.append(_box(10, y, length, 10, "gone" if count is None else "bar"))
    return _chart(title, told, parts, len(rows) * _ROW + 6)


def matrix(title: str, told: str, names: Sequence[str], values: Mapping[tuple[str, str], float | None]) -> str:
    """Draw numbers from -1 to 1 of pairs of names as shades: warm below 0. A hidden one is a dashed field.

    Args:
        title: of the figure.
        told: what it shows, in words.
        names: along both sides.
        values: of a pair in either order; a pair that is missing is left blank.
    """
    named = len(names) <= _MANY_NAMES
    left, top = (90, 14) if named else (10, 10)
    side = (_RIGHT - left) / len(names)
    parts: list[str] = []
    for i, first in enumerate(names):
        if named:
            parts.append(_text(left - 5, top + (i + 0.5) * side + 4, _cut(f"{i + 1} {first}", 15), "dim", "end"))
        for j, second in enumerate(names[:i]):
            pair = (first, second) if (first, second) in values else (second, first)
            if pair in values:
                value = values[pair]
                kind = "gone" if value is None else "bar" if value >= 0 else "below"
                shade = "" if value is None else f' opacity="{abs(value):.2f}"'
                parts.append(_box(left + j * side, top + i * side, side - 0.3, side - 0.3, kind, shade))
        if named:
            parts.append(_text(left + (i + 0.5) * side, top + (i + 0.6) * side, str(i + 1), "dim", "middle"))
    return _chart(title, told, parts, math.ceil(top + len(names) * side) + 4)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from low to high, about so many: 1, 2 or 5 times a power of ten apart."""
    if not low < high:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [at * step for at in range(first, last + 1)]


class _Frame:
    """Where numbers are in a picture."""

    def __init__(
        self, low: float, high: float, down: float, up: float, *, left: int = _LEFT, bottom: int = _BOTTOM
    ) -> None:
        self.x, self.y = (low, high if high > low else low + 1), (down, up)
        self.left, self.bottom = left, bottom

    def across(self, x: float) -> float:
        low, high = self.x
        return self.left + (x - low) / (high - low) * (_RIGHT - self.left)

    def up(self, y: float) -> float:
        low, high = self.y
        return self.bottom - (y - low) / (high - low) * (self.bottom - _TOP)

    def ticks_across(self, unit: str) -> str:
        parts = [_stroke(self.left, self.bottom, _RIGHT, self.bottom, "axis")]
        for tick in ticks(*self.x):
            x = self.across(tick)
            parts.append(_stroke(x, self.bottom, x, self.bottom + 4, "axis"))
            anchor = "end" if x > _RIGHT - 14 else "start" if x < 14 else "middle"
            parts.append(_text(x, self.bottom + 16, f"{tick:.6g}", "dim", anchor))
        parts.append(_text((self.left + _RIGHT) / 2, self.bottom + 30, _cut(unit, 50), "dim", "middle"))
        return "".join(parts)

    def axes(self, unit: str, up: str) -> str:
        parts = [self.ticks_across(unit)]
        for tick in ticks(*self.y, 4):
            y = self.up(tick)
            parts.append(_stroke(self.left, y, _RIGHT, y, "grid"))
            parts.append(_text(self.left - 5, y + 4, f"{tick:,.4g}", "dim", "end"))
        parts.append(_text(_RIGHT, 10, up, "dim", "end"))
        return "".join(parts)


def _runs(x: Sequence[float], *values: Sequence[float | None]) -> Iterable[list[tuple[float, ...]]]:
    """Yield the stretches in which nothing is hidden, each as tuples of x and values."""
    run: list[tuple[float, ...]] = []
    for at, *found in zip(x, *values, strict=True):
        if None in found:
            if run:
                yield run
            run = []
        else:
            run.append((at, *(each for each in found if each is not None)))
    if run:
        yield run


def _steps(frame: _Frame, points: Sequence[tuple[float, ...]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for x, y in points:
        if found:
            found.append((frame.across(x), found[-1][1]))
        found.append((frame.across(x), frame.up(y)))
    return found


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _legend(parts: list[str], names: Sequence[str]) -> int:
    """Add the names of lines below the axes; return how high the picture is then."""
    height = _HEIGHT
    for at, name in enumerate(names if len(names) > 1 else ()):
        height += 16
        series = f"s{at % _SERIES}"
        parts.append(f'<path class="{series} line" d="M{_LEFT} {height - 10}h26"/>')
        parts.append(_text(_LEFT + 34, height - 6, _cut(name, 44), "", "start"))
    return height


def _named(name: str, told: str, y: int) -> list[str]:
    return [_text(10, y, _cut(name, max(8, 52 - len(told))), "", "start"), _text(_RIGHT, y, told, "dim", "end")]


def _end(x: float, y: int, beyond: bool, side: int) -> str:
    if beyond:
        return f'<path class="reach" d="M{x - 6 * side:.1f} {y - 5}L{x:.1f} {y}L{x - 6 * side:.1f} {y + 5}"/>'
    return _stroke(x, y - 5, x, y + 5, "reach")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _text(x: float, y: float, text: str, kind: str, anchor: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _box(x: float, y: float, width: float, height: float, kind: str, more: str = "") -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{more}/>'


def _chart(title: str, told: str, parts: Sequence[str], height: int) -> str:
    return (
        f'<figure><svg class="chart" role="img" aria-label="{escape(title)}. {escape(told)}" '
        f'viewBox="0 0 {WIDTH} {height}">{"".join(parts)}</svg><figcaption>{escape(told)}</figcaption></figure>'
    )
