"""Tables for people: what the `secagg` commands show where no machine asked for JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from . import private_options


def show_round(facts: Mapping[str, Any], title: str) -> None:
    """Print what a simulated round was and cost."""
    seconds, size = facts["seconds"], facts["bytes"]
    table = table_of(title)
    table.add_row("clients", f"{facts['clients']:,} invited, {facts['survivors']:,} in the sum")
    table.add_row(
        "graph", f"degree {facts['degree']}, threshold {facts['threshold']}, {facts['modulus_bits']}-bit modulus"
    )
    table.add_row("a client computes", f"{seconds['client_mean']:.3f} s (at most {seconds['client_max']:.3f} s)")
    table.add_row("the server computes", f"{seconds['server']:.2f} s")
    table.add_row("a client sends", size_of(size["client_sent_mean"]))
    table.add_row("a client receives", size_of(size["client_received_mean"]))
    table.add_row("the server receives", size_of(size["server_received"]))
    if "privacy" in facts:
        private_options.add_outcome(table, facts)
    table.add_row("everyone, here", f"{seconds['wall']:.1f} s, {size_of(facts['peak_memory_bytes'])} of memory")
    Console().print(table)


def table_of(title: str) -> Table:
    """Return an empty table of facts: what, and how much."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    return table


def size_of(count: float) -> str:
    """Return a number of bytes in a fitting unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables for people.")]


def print_json(facts: Mapping[str, Any]) -> None:
    """Print facts for machines."""
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")
