"""What both demonstrations show: a table that grows by the round, curves, and a closing sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ...core.files import write_whole
from ..tables import print_lines

Line = TypeVar("Line")
Columns = Mapping[str, Callable[[Line], str]]


def watch(
    lines: Iterator[Line], columns: Columns[Line], title: Callable[[int], str], console: Console | None
) -> list[Line]:
    """Return all lines, at least one; show them on the console as they come.

    Args:
        lines: one a round.
        columns: heading -> a line's text.
        title: of the table, given how many lines there are.
        console: where the table goes, if anywhere.
    """
    history = [next(lines)]  # what is impossible is told before there is a table
    if console is None:
        return [*history, *lines]

    def table() -> Table:
        made = Table(title=title(len(history)))
        for heading in columns:
            made.add_column(heading, justify="right", no_wrap=heading == "budget")
        for line in history:
            made.add_row(*(text(line) for text in columns.values()))
        return made

    with Live(table(), console=console, auto_refresh=False) as live:
        live.refresh()
        for line in lines:
            history.append(line)
            live.update(table(), refresh=True)
    if not console.is_terminal:
        console.print()  # a live table that nobody watches ends without a line break
    return history


def conclude(text: str, console: Console | None) -> None:
    """Say how it ended."""
    if console is not None:
        print_lines(text, console)


def draw(
    plot: Path, x: Sequence[float], curves: Mapping[str, Sequence[float]], limit: float | None, **axis: Any
) -> None:
    """Draw accuracies as a PNG.

    Args:
        plot: the file.
        x: of each round, one number.
        curves: label -> accuracy after each round; the clear one first, then the one that is shown.
        limit: where a budget ends; None where x counts rounds.
        axis: title and labels, as matplotlib's `Axes.set` takes them.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    styles: list[dict[str, Any]] = [{"color": "0.6", "linewidth": 5}, {"color": "C0", "marker": "o"}]
    for number, (label, accuracies) in enumerate(curves.items()):
        style = styles[number] if number < len(styles) else {"color": f"C{number - 1}", "linestyle": "--"}
        axes.plot(x, accuracies, label=label, **style)
    axes.set(ylabel="test accuracy", ylim=(0, 1), **axis)
    if limit is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.axvline(limit, color="C3", linestyle="--", label="the budget")
        axes.set_xlim(0, None)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right" if limit is None else "best")
    drawn = BytesIO()
    figure.savefig(drawn, dpi=120, format="png")
    write_whole(plot, drawn.getvalue())
