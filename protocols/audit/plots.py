"""The report's pictures: noise against theory, claims against what releases prove. Needs matplotlib."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..reporting import drawing
from ..reporting.drawing import INK, PALE, WARM
from .outcome import Claims, Histogram, Plot

_FEW_BINS = 20


def svg(plot: Plot) -> bytes:
    """Draw one plot.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if isinstance(plot, Histogram):
        return drawing.svg(partial(_draw_histogram, plot=plot))
    return drawing.svg(partial(_draw_claims, plot=plot))


def _draw_histogram(figure: Any, plot: Histogram) -> None:
    """Above, counts and what the law expects; below, how many standard deviations lie between them."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = float(plot.at[1] - plot.at[0]) if plot.at.size > 1 else 1.0
    above.bar(plot.at, plot.observed, width=0.92 * width, color=PALE, label="drawn")
    line = "-" if plot.at.size > _FEW_BINS else ""  # between a few integers there is nothing to draw
    above.plot(plot.at, plot.expected, line, color=INK, marker="o", markersize=2.5, linewidth=1, label="expected")
    above.set_title(plot.title, loc="left", fontsize=10)
    above.set_ylabel("counts")
    above.legend(frameon=False)
    deviations = (plot.observed - plot.expected) / np.sqrt(np.maximum(plot.expected, 1.0))
    below.axhspan(-3, 3, color=PALE, alpha=0.3, linewidth=0)
    below.axhline(0, color=INK, linewidth=0.8)
    below.plot(plot.at, deviations, linestyle="", marker="o", markersize=3, color=INK)
    most = max(4.0, float(np.abs(deviations).max()) * 1.1)
    below.set_ylim(-most, most)
    below.set_ylabel("off by, in\nstd. dev.")
    below.set_xlabel(plot.unit)


def _draw_claims(figure: Any, plot: Claims) -> None:
    """A tick for each claim, a bar up to what is proven: a bar beyond its tick refutes."""
    axes = figure.subplots()
    rows = np.arange(len(plot.bounds))
    names, claimed, proven = zip(*plot.bounds, strict=True)
    colours = [WARM if lower > claim else PALE for _, claim, lower in plot.bounds]
    axes.barh(rows, proven, color=colours, height=0.6, label="proven: epsilon is at least")
    axes.plot(claimed, rows, linestyle="", marker="|", markersize=18, markeredgewidth=2, color=INK, label="claimed")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlabel("epsilon")
    axes.set_title(plot.title, loc="left", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
