"""Pictures as SVG: one canvas, one set of colours, the same bytes for the same figures. Needs matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from secagg.errors import MissingDependencyError

INK, PALE, WARM = "#1f4e79", "#9dbfdf", "#c0504d"
COLOURS = (INK, WARM, "#5b8c5a", "#8a6d1a", "#7b5ea7")
"""For lines that must be told apart; ours is the first."""
_STYLE: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "path"}


def svg(draw: Callable[[Any], None], size: tuple[float, float] = (5.2, 3.2), *, salt: str = "secagg") -> bytes:
    """Return what `draw` draws on a matplotlib figure of this size in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError("plots need matplotlib: in a checkout of secagg, pip install '.[plots]'") from None
    with mpl.rc_context(_STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        out = io.BytesIO()
        # Without a date and with a salt, the same figures give the same bytes.
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
