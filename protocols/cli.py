"""The `secagg` command: parameters, whole rounds in one process, and a demonstration on real data.

Exit codes: 0 all is well; 2 the command or its parameters are impossible; 3 the round ended without a sum, as it must
when too few are left; 4 a round ended with another sum than the plain one. 1 is Python's own, for what nobody foresaw.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from secagg import __version__
from secagg.encoding import Rounding
from secagg.errors import ParameterError, SecAggError

from .cli_dp import dp_app
from .cli_exit import EXIT_IMPOSSIBLE, EXIT_NO_SUM, EXIT_WRONG, tell
from .cli_keygen import keygen
from .cli_paillier import paillier_sum
from .configuration import FloatVector, RoundConfig
from .parameters import Adversary, ThreatModel
from .simulation import COLLECTED_PHASES
from .transitions import ServerPhase

app = typer.Typer(
    name="secagg",
    help="The sum of many private vectors, and nothing else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(dp_app, name="dp")
app.command("paillier-sum")(paillier_sum)
app.command()(keygen)

Clients = Annotated[int, typer.Option(help="How many clients are invited.", min=2)]
Dim = Annotated[int, typer.Option(help="How many numbers each client sends.", min=0)]
Bits = Annotated[int, typer.Option(help="Bits of one encoded number, sign included.")]
Corrupt = Annotated[float, typer.Option(help="Fraction of clients that may collude with the server.")]
Adversaries = Annotated[Adversary, typer.Option(help="What the server may do.")]
CompleteGraph = Annotated[bool, typer.Option("--complete-graph", help="Everyone is everyone's neighbour (SecAgg).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables for people.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"secagg {__version__}\n")
        raise typer.Exit


@app.callback()
def secagg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """The sum of many private vectors, and nothing else."""


@app.command()
def params(
    clients: Clients,
    corrupt: Corrupt = 0.1,
    dropout: Annotated[float, typer.Option(help="Fraction of clients that may vanish, in all rounds together.")] = 0.1,
    adversary: Adversaries = Adversary.CURIOUS_SERVER,
    dim: Dim = 100_000,
    bits: Bits = 16,
    complete_graph: CompleteGraph = False,
    as_json: AsJson = False,
) -> None:
    """Show what follows from a threat model: degree, threshold, modulus, bytes for each client, and why."""
    from . import traffic

    with _errors(as_json):
        config = _config(clients, corrupt, dropout, adversary, dim, bits, complete_graph)
        topology, cost = config.topology, traffic.estimate(config)
        facts = {
            "clients": clients,
            "degree": topology.degree,
            "threshold": topology.threshold,
            "adversary": str(adversary),
            "corrupt_fraction": corrupt,
            "dropout_fraction": dropout,
            "complete_graph": topology.complete,
            "resists_equivocation": topology.resists_equivocation,
            "modulus_bits": config.modulus_bits,
            "bytes": {"client_sent": cost.sent_bytes, "client_received": cost.received_bytes},
            "why": list(topology.why),
        }
        if as_json:
            _print_json(facts)
            return
        table = _table(f"{clients} clients against a {adversary}")
        table.add_row("graph", "complete (SecAgg)" if topology.complete else "random, sparse (SecAgg+)")
        table.add_row("degree", f"{topology.degree} neighbours each")
        table.add_row("threshold", f"{topology.threshold} of {topology.num_holders} shares reconstruct a secret")
        table.add_row(
            "two stories",
            "a server that tells clients different dropouts gains nothing"
            if topology.resists_equivocation
            else "not covered: against a server that may tell clients different dropouts, name --adversary",
        )
        table.add_row("modulus", f"{config.modulus_bits} bits for sums of {clients} values of {bits} bits")
        table.add_row("a client sends", f"{_bytes(cost.sent_bytes)} for {dim:,} numbers")
        table.add_row("a client receives", _bytes(cost.received_bytes))
        console = Console()
        console.print(table)
        for reason in topology.why:
            console.print(f"  · {reason}", highlight=False, markup=False)


@app.command("round")
def run_round(
    clients: Clients,
    dim: Dim,
    dropout: Annotated[float, typer.Option(help="Fraction that vanishes after ShareKeys, where it costs most.")] = 0.0,
    drop_in: Annotated[
        list[str] | None,
        typer.Option(metavar="ROUND=F", help=f"Fraction that vanishes in a round: {', '.join(COLLECTED_PHASES)}."),
    ] = None,
    bits: Bits = 16,
    corrupt: Corrupt = 0.1,
    adversary: Adversaries = Adversary.CURIOUS_SERVER,
    complete_graph: CompleteGraph = False,
    seed: Annotated[
        int, typer.Option(help="Seeds the simulated data and dropouts; keys and masks are never seeded.", min=0)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run a whole round in one process, every message through bytes, and compare the sum with the plain one."""
    from .check_round import run_checked_round

    with _errors(as_json):
        fractions = _drop_fractions(dropout, drop_in or [])
        # The threat model must allow for what will happen.
        config = _config(clients, corrupt, sum(fractions.values()), adversary, dim, bits, complete_graph)
        _check_rounds_exist(config.threat_model.adversary, fractions)
        with _round_progress(quiet=as_json) as on_progress:
            outcome = run_checked_round(config, fractions, seed=seed, on_progress=on_progress)
        if as_json:
            _print_json(outcome.facts())
        else:
            _show_round(outcome.facts())
        if not outcome.exact:
            raise typer.Exit(EXIT_WRONG)


@app.command()
def demo(
    clients: Annotated[int, typer.Option(help="How many clients share the data, unequally.", min=10)] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds of federated averaging.", min=1)] = 20,
    dropout: Annotated[float, typer.Option(help="Fraction that vanishes in each round.")] = 0.05,
    plot: Annotated[Path, typer.Option(help="Where the picture of both curves goes.")] = Path("secagg-demo.png"),
    seed: Annotated[int, typer.Option(help="Seeds the split of the data, training and dropouts.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Train on handwritten digits with federated averaging, in the clear and through secure aggregation."""
    try:
        from .demo import run_demo
    except ImportError as error:
        tell(f"the demo needs scikit-learn and matplotlib: pip install 'secagg[demo]' ({error})", as_json)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    with _errors(as_json):
        facts = run_demo(clients, rounds, dropout, plot, seed, console=None if as_json else Console())
        if as_json:
            _print_json(facts)


def main() -> None:
    """Run the command."""
    app()


def _config(
    clients: int, corrupt: float, dropout: float, adversary: Adversary, dim: int, bits: int, complete_graph: bool
) -> RoundConfig:
    # Rounding to nearest, so that the plain sum can be computed apart.
    vector = FloatVector("update", dim, clip=1.0, value_bits=bits, rounding=Rounding.NEAREST)
    model = ThreatModel(clients, corrupt, dropout, adversary)
    return RoundConfig(model, (vector,), complete_graph=complete_graph)


def _drop_fractions(dropout: float, drop_in: list[str]) -> dict[ServerPhase, float]:
    fractions = {ServerPhase.MASKED_INPUT: dropout}
    for item in drop_in:
        name, _, text = item.partition("=")
        try:
            phase, fraction = ServerPhase(name), float(text)
        except ValueError:
            phase, fraction = ServerPhase.ABORTED, math.nan
        if phase not in COLLECTED_PHASES or not 0 <= fraction < 1:
            rounds = ", ".join(COLLECTED_PHASES)
            raise ParameterError(
                f"--drop-in is {item!r}, but must be ROUND=F with F from 0 to 1 and ROUND of: {rounds}"
            )
        fractions[phase] = fractions.get(phase, 0.0) + fraction
    if not 0 <= dropout < 1:
        raise ParameterError(f"--dropout is {dropout}, but must be at least 0 and below 1")
    return fractions


def _check_rounds_exist(adversary: Adversary, fractions: Mapping[ServerPhase, float]) -> None:
    if ServerPhase.CONSISTENCY_CHECK in fractions and not adversary.may_equivocate:
        raise ParameterError(
            f"--drop-in names {ServerPhase.CONSISTENCY_CHECK}, but there is no such round against a {adversary}"
        )


@contextmanager
def _errors(as_json: bool) -> Iterator[None]:
    """Turn what the library raises on purpose into a sentence and an exit code."""
    try:
        yield
    except ParameterError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_IMPOSSIBLE) from None
    except SecAggError as error:
        tell(str(error), as_json, error)
        raise typer.Exit(EXIT_NO_SUM) from None


@contextmanager
def _round_progress(*, quiet: bool) -> Iterator[Any]:
    """Show a bar for each round of the protocol; on standard error, so that output stays clean."""
    if quiet:
        yield lambda phase, done, total: None
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[ServerPhase, Any] = {}

        def on_progress(phase: ServerPhase, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done)

        yield on_progress


def _show_round(facts: Mapping[str, Any]) -> None:
    seconds, size = facts["seconds"], facts["bytes"]
    table = _table("the sum is exact" if facts["exact"] else "THE SUM IS WRONG")
    table.add_row("clients", f"{facts['clients']:,} invited, {facts['survivors']:,} in the sum")
    table.add_row(
        "graph", f"degree {facts['degree']}, threshold {facts['threshold']}, {facts['modulus_bits']}-bit modulus"
    )
    table.add_row("a client computes", f"{seconds['client_mean']:.3f} s (at most {seconds['client_max']:.3f} s)")
    table.add_row("the server computes", f"{seconds['server']:.2f} s")
    table.add_row("a client sends", _bytes(size["client_sent_mean"]))
    table.add_row("a client receives", _bytes(size["client_received_mean"]))
    table.add_row("the server receives", _bytes(size["server_received"]))
    table.add_row("everyone, here", f"{seconds['wall']:.1f} s, {_bytes(facts['peak_memory_bytes'])} of memory")
    Console().print(table)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    return table


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def _print_json(facts: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")
