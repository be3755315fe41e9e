"""Curves as pictures: logarithmic axes, units, and the lines' names beside them. Needs matplotlib."""

from __future__ import annotations

from functools import partial
from typing import Any

from protocols.reporting import drawing

from .findings import Curve

_SIZE = (5.6, 3.4)
_GREY = "#6b7785"


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
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)


def _tick(value: float, _: int) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
