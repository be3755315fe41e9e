"""The report's pictures: noise against theory, claims against what releases prove. Needs matplotlib."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from .outcome import Claims, Histogram, Plot, Unavailable

_INK, _PALE, _WARM = "#1f4e79", "#9dbfdf", "#c0504d"
_FEW_BINS = 20
_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "path"}


def svg(plot: Plot) -> bytes:
    """Draw one plot.

    Raises:
        Unavailable: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise Unavailable("plots need matplotlib: pip install 'secagg[plots]'") from None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        if isinstance(plot, Histogram):
            _draw_histogram(figure, plot)
        else:
            _draw_claims(figure, plot)
        out = io.BytesIO()
        # Without a date, the same figures give the same bytes.
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _draw_histogram(figure: Any, plot: Histogram) -> None:
    """Above, counts and what the law expects; below, how many standard deviations lie between them."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = float(plot.at[1] - plot.at[0]) if plot.at.size > 1 else 1.0
    above.bar(plot.at, plot.observed, width=0.92 * width, color=_PALE, label="drawn")
    line = "-" if plot.at.size > _FEW_BINS else ""  # between a few integers there is nothing to draw
    above.plot(plot.at, plot.expected, line, color=_INK, marker="o", markersize=2.5, linewidth=1, label="expected")
    above.set_title(plot.title, loc="left", fontsize=10)
    above.set_ylabel("counts")
    above.legend(frameon=False)
    deviations = (plot.observed - plot.expected) / np.sqrt(np.maximum(plot.expected, 1.0))
    below.axhspan(-3, 3, color=_PALE, alpha=0.3, linewidth=0)
    below.axhline(0, color=_INK, linewidth=0.8)
    below.plot(plot.at, deviations, linestyle="", marker="o", markersize=3, color=_INK)
    most = max(4.0, float(np.abs(deviations).max()) * 1.1)
    below.set_ylim(-most, most)
    below.set_ylabel("off by, in\nstd. dev.")
    below.set_xlabel(plot.unit)


def _draw_claims(figure: Any, plot: Claims) -> None:
    """A tick for each claim, a bar up to what is proven: a bar beyond its tick refutes."""
    axes = figure.subplots()
    rows = np.arange(len(plot.bounds))
    names, claimed, proven = zip(*plot.bounds, strict=True)
    colours = [_WARM if lower > claim else _PALE for _, claim, lower in plot.bounds]
    axes.barh(rows, proven, color=colours, height=0.6, label="proven: epsilon is at least")
    axes.plot(claimed, rows, linestyle="", marker="|", markersize=18, markeredgewidth=2, color=_INK, label="claimed")
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.set_xlabel("epsilon")
    axes.set_title(plot.title, loc="left", fontsize=10)
    axes.legend(frameon=False, loc="lower right")
