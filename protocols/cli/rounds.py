"""The commands `secagg params` and `secagg round`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dp.sensitivity import Adjacency
from secagg.encoding import Rounding
from secagg.errors import ParameterError

from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector
from ..masking.config import RoundConfig
from ..masking.transitions import ServerPhase
from ..privacy.plans import MIN_PARTICIPANTS, PrivatePlan
from ..simulation.masked import COLLECTED_PHASES
from . import private_options
from .errors import EXIT_WRONG, exit_on_errors
from .tables import AsJson, print_json, show_round, size_of, table_of

Clients = Annotated[int, typer.Option(help="How many clients are invited.", min=2)]


Dim = Annotated[int, typer.Option(help="How many numbers each client sends.", min=0)]


Bits = Annotated[int, typer.Option(help="Bits of one encoded number, sign included.")]


Corrupt = Annotated[float, typer.Option(help="Fraction of clients that may collude with the server.")]


Adversaries = Annotated[Adversary, typer.Option(help="What the server may do.")]


CompleteGraph = Annotated[bool, typer.Option("--complete-graph", help="Everyone is everyone's neighbour (SecAgg).")]


def params(
    clients: Clients,
    corrupt: Corrupt = 0.1,
    dropout: Annotated[float, typer.Option(help="Fraction of clients that may vanish, in all rounds together.")] = 0.1,
    adversary: Adversaries = Adversary.CURIOUS_SERVER,
    dim: Dim = 100_000,
    bits: Bits = 16,
    complete_graph: CompleteGraph = False,
    epsilon: private_options.Epsilon = None,
    delta: private_options.Delta = None,
    noise_multiplier: private_options.NoiseMultiplier = None,
    clip: private_options.Clip = 1.0,
    rounds: private_options.Rounds = 1,
    sampling_rate: private_options.SamplingRate = 1.0,
    adjacency: private_options.Relation = Adjacency.ADD_REMOVE,
    max_modulus_bits: private_options.MaxBits = 63,
    min_participants: private_options.MinimumParticipants = MIN_PARTICIPANTS,
    as_json: AsJson = False,
) -> None:
    """Show what follows from a threat model, and from a privacy goal: graph, modulus, noise, bytes, and why."""
    from ..masking import traffic
    from ..privacy import explanation

    with exit_on_errors(as_json):
        private = private_options.plan(
            ThreatModel(clients, corrupt, dropout, adversary),
            dim,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=noise_multiplier,
            clip=clip,
            rounds=rounds,
            sampling_rate=sampling_rate,
            adjacency=adjacency,
            max_modulus_bits=max_modulus_bits,
            min_participants=min_participants,
        )
        config = private.config if private else _config(clients, corrupt, dropout, adversary, dim, bits, complete_graph)
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
        if private:
            facts["privacy"] = explanation.facts(private)
        if as_json:
            print_json(facts)
            return
        table = table_of(f"{clients} clients against a {adversary}")
        table.add_row("graph", "complete (SecAgg)" if topology.complete else "random, sparse (SecAgg+)")
        table.add_row("degree", f"{topology.degree} neighbours each")
        table.add_row("threshold", f"{topology.threshold} of {topology.num_holders} shares reconstruct a secret")
        table.add_row(
            "two stories",
            "a server that tells clients different dropouts gains nothing"
            if topology.resists_equivocation
            else "not covered: against a server that may tell clients different dropouts, name --adversary",
        )
        values = "values with noise" if private else f"values of {bits} bits"
        table.add_row("modulus", f"{config.modulus_bits} bits for sums of {clients} {values}")
        table.add_row("a client sends", f"{size_of(cost.sent_bytes)} for {dim:,} numbers")
        table.add_row("a client receives", size_of(cost.received_bytes))
        if private:
            private_options.add_plan(table, private)
        console = Console()
        console.print(table)
        for reason in (*topology.why, *(explanation.explain(private) if private else ())):
            console.print(f"  · {reason}", highlight=False, markup=False)


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
        int, typer.Option(help="Seeds the simulated data and dropouts; keys, masks and noise are never seeded.", min=0)
    ] = 0,
    epsilon: private_options.Epsilon = None,
    delta: private_options.Delta = None,
    noise_multiplier: private_options.NoiseMultiplier = None,
    clip: private_options.Clip = 1.0,
    adjacency: private_options.Relation = Adjacency.ADD_REMOVE,
    max_modulus_bits: private_options.MaxBits = 63,
    min_participants: private_options.MinimumParticipants = MIN_PARTICIPANTS,
    budget: private_options.BudgetUrl = None,
    subject: private_options.Subject = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole round in one process, every message through bytes, and compare the sum with the plain one.

    With --epsilon (or --noise-multiplier), each client adds its share of noise, and what the sum is off by is compared
    with what was promised; with --budget and --subject, the round is paid for from a privacy ledger.
    """
    from ..simulation.checked import run_checked_round

    with exit_on_errors(as_json):
        fractions = _drop_fractions(dropout, drop_in or [])
        private = private_options.plan(
            ThreatModel(clients, corrupt, sum(fractions.values()), adversary),
            dim,
            epsilon=epsilon,
            delta=delta,
            noise_multiplier=noise_multiplier,
            clip=clip,
            adjacency=adjacency,
            max_modulus_bits=max_modulus_bits,
            min_participants=min_participants,
        )
        if private or budget or subject:
            _check_rounds_exist(adversary, fractions)
            _run_private_round(private, fractions, seed, budget, subject, as_json)
            return
        # The threat model must allow for what will happen.
        config = _config(clients, corrupt, sum(fractions.values()), adversary, dim, bits, complete_graph)
        _check_rounds_exist(config.threat_model.adversary, fractions)
        with _round_progress(quiet=as_json) as on_progress:
            outcome = run_checked_round(config, fractions, seed=seed, on_progress=on_progress)
        if as_json:
            print_json(outcome.facts())
        else:
            show_round(outcome.facts(), "the sum is exact" if outcome.exact else "THE SUM IS WRONG")
        if not outcome.exact:
            raise typer.Exit(EXIT_WRONG)


def _run_private_round(
    private: PrivatePlan | None,
    fractions: Mapping[ServerPhase, float],
    seed: int,
    budget: str | None,
    subject: str | None,
    as_json: bool,
) -> None:
    from ..simulation.checked_private import run_checked_private_round

    with private_options.account(private, budget, subject) as account, _round_progress(quiet=as_json) as on_progress:
        outcome = run_checked_private_round(
            private_options.present(private), fractions, seed=seed, budget=account, on_progress=on_progress
        )
    facts = outcome.facts()
    if as_json:
        print_json(facts)
    else:
        show_round(facts, "the noise is as promised" if outcome.as_promised else "THE NOISE IS NOT AS PROMISED")
    if not outcome.as_promised:
        raise typer.Exit(EXIT_WRONG)


def _config(
    clients: int, corrupt: float, dropout: float, adversary: Adversary, dim: int, bits: int, complete_graph: bool
) -> RoundConfig:
    # Rounding to nearest, so that the plain sum can be computed apart.
    vector = FloatVector("update", dim, clip=1.0, value_bits=bits, rounding=Rounding.NEAREST)
    model = ThreatModel(clients, corrupt, dropout, adversary)
    return RoundConfig(model, (vector,), complete_graph=complete_graph)


def _drop_fractions(dropout: float, drop_in: list[str]) -> dict[ServerPhase, float]:
    fractions, named = {ServerPhase.MASKED_INPUT: dropout}, set[ServerPhase]()
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
        if phase in named:
            raise ParameterError(f"--drop-in names {phase} twice: give one fraction")
        named.add(phase)
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
        tasks: dict[str, Any] = {}

        def on_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done)

        yield on_progress
