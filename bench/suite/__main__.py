"""The comparison, `python -m bench.suite`: ours against peers and physical limits, on the machine that it runs on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from protocols.cli.errors import EXIT_IMPOSSIBLE, EXIT_INTERRUPTED, EXIT_WRONG, check_writable, tell
from secagg.errors import ParameterError

if TYPE_CHECKING:
    from . import Part, PartResult, Results

_WIDE = 150
"""Columns of a terminal in which the whole table can be read."""


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller sizes: under 3 minutes, once the peers are installed.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One comparison, such as round or shamir; repeat it.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write REPORT.md and report/ with pictures into this folder.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what is kept from an earlier run.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines, no tables for people.")] = False,
) -> None:
    """Compare with Flower, phe, PyCryptodome, galois, OpenDP, dp-accounting, TenSEAL, and with what the machine allows.

    Runs from a source checkout. Peers get environments of their own, built when first needed. What is finished is kept:
    after an interruption, the same command goes on. Exit code 4: a benchmark failed; 2: it cannot run here.
    """
    from .. import suite

    try:
        parts = suite.chosen(only or [], quick=quick)
        folder = suite.find_suite()
        check_writable(report)
        with _progress(parts, quick=quick, quiet=as_json) as callbacks:
            results = suite.run(parts, folder, quick=quick, again=again, **callbacks)
    except ParameterError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    except KeyboardInterrupt:
        tell("interrupted; what is finished is kept: the same command goes on from there", as_json)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(results.facts(), indent=2))
    else:
        _show(results)
    _write(results, report, as_json)
    if results.failed:
        raise typer.Exit(EXIT_WRONG)


def _show(results: Results) -> None:
    from . import tables

    console = Console()
    if results.rows and console.width < _WIDE:
        heading, *lines = tables.brief(results, console.width)
        console.print(Text(heading, style="bold"), soft_wrap=True)
        for line in lines:
            console.print(Text(line), soft_wrap=True)
        console.print(Text(tables.BRIEF, style="dim"))
    elif results.rows:
        table = Table(*tables.HEADINGS)
        notes = tables.noted(results)
        for row in results.rows:
            table.add_row(*map(Text, tables.cells(row, notes)))
        console.print(table)
    for remark in tables.remarks(results):
        console.print(Text(f"  · {remark}"), style="dim")


def _write(results: Results, folder: Path | None, as_json: bool) -> None:
    if folder is None:
        return
    from . import report

    try:
        page, html, *_ = report.write(results, folder)
    except OSError as error:
        tell(f"cannot write the report into {folder}: {error.strerror}", as_json=False)
        raise typer.Exit(EXIT_WRONG if results.failed else EXIT_IMPOSSIBLE) from None
    Console(stderr=as_json).print(Text(f"report: {page} and {html}"), soft_wrap=True)


@contextmanager
def _progress(parts: Sequence[Part], *, quick: bool, quiet: bool) -> Iterator[dict[str, Any]]:
    """Show a bar over all parts on standard error, and on standard output a line for each that is done."""
    if quiet:
        yield {}
        return
    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[step]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=sum(part.seconds[quick] or 1 for part in parts), step="")
        fresh = dict.fromkeys((part.name for part in parts), False)

        def on_start(part: Part, kept: bool) -> None:
            fresh[part.name] = not kept
            progress.update(task, description=f"{part.name:<12}", step="")

        def on_step(part: Part, step: str) -> None:
            progress.update(task, step=step)

        def on_result(part: Part, result: PartResult) -> None:
            progress.advance(task, part.seconds[quick] or 1)
            mark, colour = ("✗", "bold red") if result.failure else ("✓", "green")
            took = f"{result.seconds:.0f} s" if fresh[part.name] else "kept from an earlier run"
            line = Text.assemble(
                (f"{mark} ", colour), (f"{part.name:<12}", "bold"), f"{part.about} ", (f"({took})", "dim")
            )
            console.print(line, soft_wrap=True)
            if result.failure:
                console.print(Text(f"  {result.failure}", style=colour), soft_wrap=True)

        yield {"on_start": on_start, "on_step": on_step, "on_result": on_result}


app = typer.Typer(name="bench", add_completion=False, pretty_exceptions_enable=False)
app.command()(bench)

if __name__ == "__main__":
    app()
