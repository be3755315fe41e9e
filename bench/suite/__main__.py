"""The comparison, `python -m bench.suite`: ours against peers and physical limits, on the machine that it runs on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from protocols.cli.errors import EXIT_IMPOSSIBLE, EXIT_INTERRUPTED, EXIT_WRONG, check_writable, tell
from secagg.errors import ParameterError

from . import machine, report, runner
from .findings import PartResult, Results
from .parts import PARTS, Part, chosen


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller sizes: under 3 minutes, once the peers are installed.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="One comparison, such as round or shamir; repeat it.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write REPORT.md and report/, or add to them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines, no tables for people.")] = False,
) -> None:
    """Compare with Flower, phe, PyCryptodome, galois, OpenDP, dp-accounting, TenSEAL, and with what the machine allows.

    Peers get environments of their own, built when first needed. The report is written after each part; with --only, a
    part is added to the report of the same commit, or measured anew. Exit code 4: a benchmark failed; 2: it cannot run.
    """
    results = Results("quick" if quick else "full", machine.facts())
    try:
        parts = chosen(only or [], quick=quick)
        runner.check_libraries()
        check_writable(folder)
        if folder and only:
            results = report.earlier(folder, results)
        for part in parts:
            _measure(part, results, quiet=as_json)
            if folder:
                report.write(results, folder)
    except (ParameterError, OSError) as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    except KeyboardInterrupt:
        tell("interrupted; what is finished is in the report, and --only NAME adds the rest to it", as_json)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(asdict(results), indent=2))
    else:
        lines = [*(report.brief(results) if results.rows else ()), report.BRIEF, *report.remarks(results)]
        Console().print(Text("\n".join(lines)))
    if results.failed:
        raise typer.Exit(EXIT_WRONG)


def _measure(part: Part, results: Results, *, quiet: bool) -> None:
    """Measure a part, put what it found in its place, and say what goes on and how it went."""
    errors = Console(stderr=True, quiet=quiet)
    with errors.status(part.name) as status:
        result = runner.measure(part, results.scale, lambda step: status.update(f"{part.name}: {step}"))
    by_name: dict[str, PartResult] = {each.name: each for each in results.parts} | {part.name: result}
    results.parts = [by_name[each.name] for each in PARTS if each.name in by_name]
    mark = Text("✗ ", "bold red") if result.failure else Text("✓ ", "green")
    errors.print(mark.append(f"{part.name:<12}{part.about} ({result.seconds:.0f} s)", "not bold"), soft_wrap=True)
    if result.failure:
        errors.print(Text(f"  {result.failure}", "red"), soft_wrap=True)


app = typer.Typer(name="bench", add_completion=False, pretty_exceptions_enable=False)
app.command()(bench)

if __name__ == "__main__":
    app()
