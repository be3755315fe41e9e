"""The `secagg audit` command: what a relying party checks for itself, on the copy that it has installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ..core.numbers import spelled_up
from .errors import (
    EXIT_IMPOSSIBLE,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_WRONG,
    Endings,
    check_writable,
    exit_on_errors,
    tell,
)
from .tables import AsJson, print_json

if TYPE_CHECKING:
    from ..audit.outcome import Check, Outcome
    from ..audit.runner import Audit

_MARKS = {
    "passed": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "not run": ("·", "yellow"),
    "could not run": ("!", "yellow"),
}
_COLOURS = {"passed": "bold green", "failed": "bold red", "incomplete": "bold yellow"}

_ENDINGS: Endings = {
    # Before any check, such as a compiler that finds no place for its cache.
    RuntimeError: (EXIT_INCOMPLETE, "the audit could not run here, and there is no verdict: {}"),
    KeyboardInterrupt: (
        EXIT_INTERRUPTED,
        "interrupted: no verdict, and no report; --quick does less of everything, --only a part",
    ),
}


def audit(
    examples: Annotated[
        int | None, typer.Option(help="Examples for each property: 200; 25 with --quick; up to 100,000.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(help="Draws of each statistical check: 1,000,000; 200,000 with --quick; 100,000 to 10,000,000."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less of everything: a minute or three.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CHECK", help="A group, such as noise, or a check, such as noise/shares; repeat it."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audit.html and audit.json into this folder.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seeds all that is simulated, to have a failure again; drawn if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this copy: known answers, properties, sessions, attacks, noise, privacy claims, ledger.

    Exit code 0: nothing was refuted. 4: a check failed. 5: a check could not
    run, or none did, so there is no verdict. 2: the options are impossible or
    the report cannot be written.
    """
    from ..audit import runner

    with exit_on_errors(as_json, _ENDINGS):
        checks = runner.chosen(only or [])
        check_writable(report)
        with _progress(len(checks), quiet=as_json) as (on_progress, on_outcome):
            done = runner.run(
                checks,
                seed=seed,
                examples=examples if examples is not None else (runner.QUICK_EXAMPLES if quick else runner.EXAMPLES),
                samples=samples if samples is not None else (runner.QUICK_SAMPLES if quick else runner.SAMPLES),
                on_progress=on_progress,
                on_outcome=on_outcome,
            )
    if as_json:
        print_json(done.facts())
    _conclude(done, report, as_json)
    if not done.passed:
        raise typer.Exit(_code(done))


def _code(done: Audit) -> int:
    return {"passed": 0, "failed": EXIT_WRONG, "incomplete": EXIT_INCOMPLETE}[done.verdict]


def _conclude(done: Audit, folder: Path | None, as_json: bool) -> None:
    from ..audit import report

    console = Console(stderr=as_json)
    word, rest = done.verdict.upper(), report.headline(done).removeprefix(done.verdict)
    if done.verdict == "incomplete":
        word, rest = "NO VERDICT", ""
    told = f"{rest}: {report.summary(done)}, in {done.seconds:.0f} s, seed {done.seed}"
    console.print(Text.assemble((word, _COLOURS[done.verdict]), told))
    chance = spelled_up(done.false_alarm, 2)
    console.print(f"a library without fault fails with a probability of at most {chance}", style="dim")
    if folder is None:
        return
    try:
        html_path, json_path = report.write(done, folder)
    except OSError as error:
        tell(f"cannot write the report into {folder}: {error.strerror}", as_json=False)
        raise typer.Exit(EXIT_IMPOSSIBLE if done.passed else _code(done)) from None
    console.print(Text(f"report: {html_path} and {json_path}"), soft_wrap=True)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[tuple[Callable[[Check, float], None], Callable[[Outcome], None]]]:
    """Show a bar over all checks on standard error, and on standard output a line for each check that is done."""
    if quiet:
        yield (lambda check, done: None), (lambda outcome: None)
        return
    console = Console()
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        finished = 0

        def on_progress(check: Check, done: float) -> None:
            progress.update(task, description=check.key, completed=finished + done)

        def on_outcome(outcome: Outcome) -> None:
            nonlocal finished
            finished += 1
            mark, colour = _MARKS[outcome.status]
            line = Text.assemble((f"{mark} ", colour), (f"{outcome.check.key:<32}", "bold"), outcome.check.claim)
            console.print(line, soft_wrap=True)
            if outcome.reason:
                console.print(Text(f"  {outcome.reason}", style=colour), soft_wrap=True)
            if outcome.again:
                console.print(Text(f"  again: {outcome.again}{outcome.check.caveat}"), soft_wrap=True)
            progress.update(task, completed=finished)

        yield on_progress, on_outcome
