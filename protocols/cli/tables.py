"""Tables for people: what the `secagg` commands show where no machine asked for JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines, not tables.")]


def table_of(title: str) -> Table:
    """Return an empty table of facts: what, and how much."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    return table


def print_lines(text: str, console: Console, start: str = "", further: str = "") -> None:
    """Print a text in lines of the console's width; words longer than that stay whole.

    Args:
        text: to print.
        console: on which.
        start: before the first line.
        further: before all others.
    """
    lines = textwrap.fill(
        text,
        console.width,
        initial_indent=start,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(lines, highlight=False, markup=False, soft_wrap=True)


def print_json(facts: Any, indent: int | None = 2) -> None:
    """Print facts for machines."""
    sys.stdout.write(json.dumps(facts, indent=indent) + "\n")
