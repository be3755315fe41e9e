"""Curves as pictures: logarithmic axes, units, and each line's name at its end. Needs matplotlib."""

from __future__ import annotations

from functools import partial
from math import log
from typing import Any

from protocols.reporting import drawing

from .findings import Curve

_SIZE = (5.6, 3.4)
_GREY = "#6b7785"
_ROOM = 0.08
"""The least distance between two names, as a share of the height."""


def svg(curve: Curve) -> bytes:
    """Draw one set of lines.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    return drawing.svg(partial(_draw, curve=curve), _SIZE)


def _draw(figure: Any, curve: Curve) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes = figure.subplots()
    lines = {name: points for name, points in curve.lines.items() if points}
    for (name, points), colour in zip(lines.items(), drawing.COLOURS * len(lines), strict=False):
        across, up = zip(*points, strict=True)
        dash = name in curve.references
        axes.plot(
            across,
            up,
            color=_GREY if dash else colour,
            linestyle="--" if dash else "-",
            marker="o",
            markersize=2.5 if dash else 3.5,
            linewidth=1.2 if dash else 1.6,
            label=name,
        )
    axes.set_yscale("log")
    if curve.log_across:
        axes.set_xscale("log")
    measured = sorted({x for points in lines.values() for x, _ in points})
    axes.xaxis.set_major_locator(FixedLocator(measured))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.grid(axis="y", color="#e6eaef", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_xlabel(curve.across)
    axes.set_ylabel(curve.up)
    axes.set_title(curve.title, loc="left", fontsize=10)
    _name_the_lines(axes, lines)


def _tick(value: float, _: int) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _name_the_lines(axes: Any, lines: dict[str, Any]) -> None:
    """Write names at the right end of the lines, far enough apart to be read."""
    bottom, top = axes.get_ylim()

    def height(value: float) -> float:
        return log(value / bottom) / log(top / bottom)

    ends = sorted((height(points[-1][1]), name) for name, points in lines.items())
    places: list[float] = []
    for end, _ in ends:
        places.append(max(end, places[-1] + _ROOM) if places else end)
    overflow = max(0.0, places[-1] - 1.0) if places else 0.0
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    for place, (_, name) in zip(places, ends, strict=True):
        axes.annotate(
            name,
            xy=(1.0, place - overflow),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            color=colours[name],
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
