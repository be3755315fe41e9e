"""The command `secagg demo`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..errors import check_place
from ..modes import names_of, refuse_typed
from ..options import Goal, Payment, spread
from ..tables import AsJson, print_json


@spread
def demo(
    ctx: typer.Context,
    goal: Goal,
    payment: Payment,
    clients: Annotated[
        int | None, typer.Option(help="Who share the data: 100; 200 if private; 12 for records.", metavar="N", min=10)
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Rounds: 20; 15 planned if private (60 for records), where the budget decides.", metavar="N", min=1
        ),
    ] = None,
    dropout: Annotated[float, typer.Option(help="Fraction that vanishes in each round.", metavar="F")] = 0.05,
    plot: Annotated[Path, typer.Option(help="Where the picture of both curves goes.", metavar="FILE")] = Path(
        "secagg-demo.png"
    ),
    seed: Annotated[
        int, typer.Option(help="Seeds the split of the data, training and dropouts.", metavar="N", min=0)
    ] = 0,
    private: Annotated[
        bool, typer.Option("--private", help="Train under a privacy budget, and stop when it is gone.")
    ] = False,
    unit: Annotated[
        Unit, typer.Option(help="Whose change the noise covers, if private: client, or record.", metavar="NAME")
    ] = Unit.CLIENT,
    as_json: AsJson = False,
) -> None:
    """Train on handwritten digits with federated averaging, in the clear and through secure aggregation."""
    from .plain import run_demo
    from .private import Asked, run_private_demo
    from .records import ROUNDS, run_record_demo

    console = None if as_json else Console()
    if any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib")):
        raise ParameterError(
            "the demo needs scikit-learn and matplotlib: in a checkout of secagg, pip install '.[demo]'"
        )
    if not private:
        refuse_typed(ctx, (*names_of(Goal), *names_of(Payment), "unit"), "without --private")
    check_place(plot, "--plot")
    if private:
        record = unit is Unit.RECORD
        asked = Asked(
            clients=clients or (12 if record else 200),
            rounds=rounds or (ROUNDS if record else 15),
            dropout=dropout,
            epsilon=8.0 if goal.epsilon is None else goal.epsilon,
            delta=1e-5 if goal.delta is None else goal.delta,
            plot=plot,
            seed=seed,
            budget=payment.budget,
            subject=payment.subject or "digits",
            console=console,
        )
        facts = run_record_demo(asked) if record else run_private_demo(asked)
    else:
        facts = run_demo(clients or 100, rounds or 20, dropout, plot, seed, console=console)
    if as_json:
        print_json(facts)
