"""The command `secagg demo`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from secagg.errors import ParameterError

from .. import private_options
from ..errors import exit_on_errors
from ..tables import AsJson, print_json


def demo(
    clients: Annotated[
        int | None, typer.Option(help="How many clients share the data: 100; 200 if private.", min=10)
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds: 20; 15 planned if private, where the budget decides.", min=1)
    ] = None,
    dropout: Annotated[float, typer.Option(help="Fraction that vanishes in each round.")] = 0.05,
    plot: Annotated[Path, typer.Option(help="Where the picture of both curves goes.")] = Path("secagg-demo.png"),
    seed: Annotated[int, typer.Option(help="Seeds the split of the data, training and dropouts.", min=0)] = 0,
    private: Annotated[
        bool, typer.Option("--private", help="Train under a privacy budget, and stop when it is gone.")
    ] = False,
    epsilon: private_options.Epsilon = None,
    delta: private_options.Delta = None,
    budget: private_options.BudgetUrl = None,
    subject: private_options.Subject = None,
    as_json: AsJson = False,
) -> None:
    """Train on handwritten digits with federated averaging, in the clear and through secure aggregation."""
    from .plain import run_demo
    from .private import run_private_demo

    console = None if as_json else Console()
    with exit_on_errors(as_json):
        if any(importlib.util.find_spec(name) is None for name in ("sklearn", "matplotlib")):
            raise ParameterError("the demo needs scikit-learn and matplotlib: pip install 'secagg[demo]'")
        if private:
            facts = run_private_demo(
                clients or 200,
                rounds or 15,
                dropout,
                8.0 if epsilon is None else epsilon,
                1e-5 if delta is None else delta,
                plot,
                seed,
                budget=budget,
                subject=subject or "digits",
                console=console,
            )
        elif (epsilon, delta, budget, subject) != (None, None, None, None):
            raise ParameterError("--epsilon, --delta, --budget and --subject belong to --private: give it as well")
        else:
            facts = run_demo(clients or 100, rounds or 20, dropout, plot, seed, console=console)
        if as_json:
            print_json(facts)
