"""The `secagg` command: parameters, whole rounds on one machine, and a demonstration on real data."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from secagg import __version__

from .audit import audit
from .budget import budget_app
from .dealing import paillier_app
from .demo.command import demo
from .dp import dp_app
from .errors import Commands
from .join import join
from .keygen import keygen
from .members import members_app
from .paillier import paillier_sum
from .rounds import params, run_round
from .serve import serve
from .stats import stats
from .warming import warm_up_loops

app = typer.Typer(
    name="secagg",
    cls=Commands,
    help="The sum of many private vectors, and nothing else.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


app.command()(params)
app.command("round")(run_round)
app.command()(stats)
app.command()(demo)
app.command("paillier-sum")(paillier_sum)
app.command()(keygen)
app.command()(serve)
app.command()(join)
app.command("warm-up")(warm_up_loops)
app.command()(audit)
app.add_typer(members_app, name="members")
app.add_typer(paillier_app, name="paillier")
app.add_typer(dp_app, name="dp")
app.add_typer(budget_app, name="budget")
