"""`secagg paillier-sum`: a whole round of Paillier summation on this machine, timed and checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from secagg.errors import ParameterError

from ..simulation.paillier import Report, simulate
from .dealing import CorruptMembers
from .errors import EXIT_WRONG
from .options import Address, Engine, option
from .tables import AsJson, print_json

if TYPE_CHECKING:
    from ..ray.paillier import PaillierOnRay


def paillier_sum(
    clients: Annotated[int, typer.Option(help="Clients that want to contribute.", min=2)] = 20,
    dim: Annotated[int, typer.Option(help="Numbers in an update.", min=1)] = 1000,
    key_bits: Annotated[int, typer.Option(help="Bits of the Paillier modulus: 2048 or 3072.")] = 3072,
    committee: Annotated[int, typer.Option(help="Members who hold a share of the key.", min=2)] = 5,
    threshold: Annotated[int, typer.Option(help="Members who open sums; above half of all plus corrupt.", min=2)] = 4,
    corrupt_members: CorruptMembers = None,
    dropout: Annotated[float, typer.Option(help="Fraction of clients and members that vanish.", min=0, max=0.99)] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes to use; 0 for one a core.", min=0)] = 0,
    engine: Annotated[
        Engine | None, option(f"What encrypts, checks and adds: {', '.join(Engine)}. Else this machine.", "NAME")
    ] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Sum encrypted updates that the server cannot read; a committee that holds the key in shares opens the sum."""
    if key_bits not in (2048, 3072):
        raise ParameterError(f"--key-bits is {key_bits}, but must be 2048 or 3072")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    if address is not None and engine is None:
        raise ParameterError("--address is of a cluster: give --engine ray as well")
    with (
        Progress(*columns, console=Console(stderr=True), disable=as_json) as progress,
        _running(engine, address, workers or None) as elsewhere,
    ):

        def announce(stage: str, steps: int) -> Callable[[int], None]:
            task = progress.add_task(stage, total=steps or None)
            return lambda done: progress.advance(task, done)

        report = simulate(
            clients,
            dim,
            key_bits=key_bits,
            committee=committee,
            threshold=threshold,
            corrupt_members=corrupt_members,
            dropout=dropout,
            workers=workers or os.cpu_count() or 1,
            engine=elsewhere,
            announce=announce,
        )
    if as_json:
        print_json(report.as_json(), indent=None)
    else:
        Console().print(_table(report))
    if not report.exact:
        raise typer.Exit(EXIT_WRONG)


@contextmanager
def _running(engine: Engine | None, address: str | None, workers: int | None) -> Iterator[PaillierOnRay | None]:
    """Yield what computes, if not this machine."""
    if engine is None:
        yield None
        return
    from ..ray.cluster import connected, num_processors
    from ..ray.paillier import PaillierOnRay

    with connected(address, workers) as ray:
        yield PaillierOnRay(ray, workers or num_processors(ray))


def _table(report: Report) -> Table:
    table = Table(title="Paillier summation", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_row("sum", "exact" if report.exact else "[red]wrong[/red]")
    table.add_row("clients, of whom in the sum", f"{report.clients:,}, {report.survivors:,}")
    table.add_row("ciphertexts an update, lanes each", f"{report.ciphertexts:,}, {report.lanes}")
    table.add_row("client, mean", f"{report.client_seconds_mean:.3f} s")
    table.add_row("server", f"{report.server_seconds:.3f} s")
    table.add_row("opening: slowest member and combination", f"{report.decrypt_seconds:.3f} s")
    table.add_row("wall", f"{report.wall_seconds:.3f} s")
    table.add_row("client sends, mean", f"{report.client_bytes_sent_mean:,.0f} bytes")
    table.add_row("peak memory", f"{report.peak_memory_bytes / 2**20:,.0f} MiB")
    return table
