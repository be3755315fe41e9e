"""The commands `secagg params` and `secagg round`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dp.sensitivity import Unit
from secagg.errors import ParameterError

from ..core.threat_model import Adversary, ThreatModel
from ..groups.plan import GroupPlan
from ..masking.config import RoundConfig
from ..masking.topology import GraphKind, Topology
from ..masking.transitions import ServerPhase
from ..reporting.words import size_of
from ..simulation.masked import COLLECTED_PHASES, collected_phases
from ..simulation.workers import MANY_CLIENTS, useful_workers
from .costs import Planning, show_costs
from .errors import EXIT_WRONG, tell
from .options import Clients, Noise, Payment, Running, Schedule, Setting, option, spread
from .round_tables import add_plan, show_hierarchy, show_round
from .tables import AsJson, print_json, print_lines, table_of

Dim = Annotated[int, option("How many numbers each client sends.", "N", min=0)]


_GRAPHS = {
    GraphKind.COMPLETE: "complete (SecAgg)",
    GraphKind.RANDOM_CYCLES: "random cycles (sparse)",
    GraphKind.RING_FOR_RANDOM_DROPOUTS: "random ring (SecAgg+), for dropouts that nobody chooses",
}


@spread
def params(
    ctx: typer.Context,
    clients: Clients,
    setting: Setting,
    plan: Schedule,
    planning: Planning,
    dropout: Annotated[float, typer.Option(help="Fraction that may vanish, in all phases.", metavar="F")] = 0.1,
    dim: Dim = 100_000,
    as_json: AsJson = False,
) -> None:
    """Show what follows from a threat model, and from a privacy goal: graph, modulus, noise, bytes, and why.

    With --workers, --groups or --measure, also what the round will cost; graph
    and modulus are then of the largest group.
    """
    from ..masking import traffic
    from ..privacy import explanation

    plan.check_typed(ctx)
    groups = planning.groups_of(clients)
    if groups > 1:
        if plan.wanted:
            raise ParameterError("groups add up sums without noise: leave --groups and --workers, or --epsilon, out")
        grouped = setting.groups(clients, dropout, groups)
        private, config = None, setting.config_for(grouped.model(grouped.sizes[0]), dim)
    else:
        grouped, private = None, plan.plan(setting.model(clients, dropout), dim, setting.graph)
        config = private.config if private else setting.config(clients, dropout, dim)
    costs = planning.estimate(config, grouped, dropout, lambda model: setting.config_for(model, dim), quiet=as_json)
    topology, cost, adversary = config.topology, traffic.estimate(config), setting.adversary
    if as_json:
        facts = {
            "clients": clients,
            "degree": topology.degree,
            "threshold": topology.threshold,
            "adversary": str(adversary),
            "corrupt_fraction": setting.corrupt,
            "dropout_fraction": dropout,
            "graph": str(topology.graph),
            "resists_equivocation": topology.resists_equivocation,
            "modulus_bits": config.modulus_bits,
            "bytes": {"client_sent": cost.sent_bytes, "client_received": cost.received_bytes},
            "why": list(topology.why),
        }
        if costs:
            facts["costs"] = costs.facts()
        print_json(facts | ({"privacy": explanation.facts(private)} if private else {}))
        return
    table = table_of(f"{clients:,} clients against a {adversary}")
    if grouped:
        table.add_row("groups", f"{groups:,}, each a session of {grouped.sizes[0]:,} clients or one fewer")
    table.add_row("graph", _GRAPHS[topology.graph])
    table.add_row("degree", f"{_at_most(topology)}{topology.degree:,} neighbours each")
    table.add_row(
        "threshold",
        f"{topology.threshold:,} of {_at_most(topology)}{topology.num_holders:,} shares reconstruct a secret",
    )
    table.add_row(
        "two stories",
        "a server that tells clients different dropouts gains nothing"
        if topology.resists_equivocation
        else "not covered: against a server that may tell clients different dropouts, name --adversary",
    )
    values = "values with noise" if private else f"values of {setting.bits} bits"
    table.add_row("modulus", f"{config.modulus_bits} bits for sums of {config.num_clients:,} {values}")
    if not costs:  # which say so with their error
        table.add_row("a client sends", f"{size_of(cost.sent_bytes)} for {dim:,} numbers")
        table.add_row("a client receives", size_of(cost.received_bytes))
    if private:
        add_plan(table, private)
    console = Console()
    console.print(table)
    for reason in (*topology.why, *(explanation.explain(private) if private else ())):
        print_lines(reason, console, "  · ", "    ")
    if costs:
        show_costs(costs, console)
    if private and plan.unit is Unit.RECORD and plan.max_records == 1:
        tell("each client has room for 1 record: state --max-records for more", False)


@spread
def run_round(
    ctx: typer.Context,
    clients: Clients,
    dim: Dim,
    setting: Setting,
    plan: Noise,
    payment: Payment,
    running: Running,
    dropout: Annotated[float, option("Fraction that vanishes after ShareKeys.", "F")] = 0.0,
    drop_in: Annotated[
        list[str] | None, option(f"Fraction that vanishes in a phase: {', '.join(COLLECTED_PHASES)}.", "PHASE=F")
    ] = None,
    seed: Annotated[int, option("Seeds data and dropouts; never keys, masks or noise.", "N", min=0)] = 0,
    groups: Annotated[int, option("Sessions side by side, whose sums are added.", "N", min=1)] = 1,
    levels: Annotated[
        str | None,
        option("Members of a group at each level, from the lowest: sums of sums, all of them masked.", "N,N,..."),
    ] = None,
    workers: Annotated[
        int | None,
        option(
            "Processes that simulate clients; 1: this one.",
            "N",
            show_default=f"one a core; 1 below {MANY_CLIENTS} clients",
            min=1,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a whole round on this machine, every message through bytes, and compare the sum with the plain one.

    With --groups, a coin deals the clients to as many sessions, whose sums are
    added. With --levels, each group's operator hands its sum up as a client of
    the level above; dropouts are of each group.

    With --epsilon, each client adds its share of noise, and the error is held
    against the promise; --budget and --subject pay for the round from a ledger.
    """
    from ..simulation.checked import run_checked_round
    from ..simulation.checked_hierarchy import run_checked_hierarchy
    from ..simulation.checked_private import run_checked_private_round

    plan.check_typed(ctx)
    fractions = drop_fractions(dropout, drop_in or [])
    vanishing = sum(fractions.values())  # the threat model must allow for what will happen
    private = plan.plan(setting.model(clients, vanishing), dim, setting.graph)
    if private and groups > 1:
        raise ParameterError("--groups adds up sums without noise: leave it, or --epsilon, out")
    running.check(groups)
    if payment and not private:
        raise ParameterError("--budget and --subject pay for private rounds: give --epsilon and --delta as well")
    check_phases_exist(setting.adversary, fractions)
    hierarchy = None
    if levels is not None:
        if private or groups > 1 or workers is not None:
            raise ParameterError(
                "--levels sums without noise, in this process: leave --groups, --workers and --epsilon"
            )
        hierarchy = setting.hierarchy(clients, vanishing, dim, levels)
    asked, workers = workers, workers or useful_workers(clients // groups)
    with payment.account() as account, _round_progress(quiet=as_json) as on_progress:
        if private:
            paid = run_checked_private_round(
                private, fractions, seed=seed, workers=workers, budget=account, on_progress=on_progress
            )
            facts, well = paid.facts(), paid.as_promised
            title = "the noise is as promised" if well else "THE NOISE IS NOT AS PROMISED"
        elif hierarchy is not None:
            checked = run_checked_hierarchy(hierarchy, fractions, seed=seed, on_progress=on_progress)
            facts, well = checked.facts(), checked.exact
            title = "the sum of sums is exact" if well else "THE SUM IS WRONG"
        elif groups > 1:
            facts, well = _run_groups(
                setting.groups(clients, vanishing, groups),
                lambda model: setting.config_for(model, dim),
                fractions,
                running,
                seed=seed,
                workers=workers if running.engine is None else asked,
                on_progress=on_progress,
            )
            title = "the sum of the sums is exact" if well else "THE SUM IS WRONG"
        else:
            config = setting.config(clients, vanishing, dim)
            plain = run_checked_round(config, fractions, seed=seed, workers=workers, on_progress=on_progress)
            facts, well = plain.facts(), plain.exact
            title = "the sum is exact" if well else "THE SUM IS WRONG"
    if as_json:
        print_json(facts)
    elif hierarchy is not None:
        show_hierarchy(facts, title)
    else:
        show_round(facts, title)
    if not well:
        raise typer.Exit(EXIT_WRONG)


def _run_groups(
    plan: GroupPlan,
    configure: Callable[[ThreatModel], RoundConfig],
    fractions: Mapping[ServerPhase, float],
    running: Running,
    *,
    seed: int,
    workers: int | None,
    on_progress: Callable[[str, int, int], None],
) -> tuple[dict[str, Any], bool]:
    """Run a round in groups, here or on a cluster; return what is printed of it, and whether its sum is exact."""
    from ..ray import RayReport, run_on_ray
    from ..simulation.checked_groups import run_checked_groups
    from ..simulation.grouped import run_in_groups

    if running.engine is None:
        here = partial(run_in_groups, workers=workers or 1, on_progress=on_progress)
        checked = run_checked_groups(plan, configure, fractions, here, seed=seed)
        return checked.facts() | {"engine": "here"}, checked.exact
    there = partial(run_on_ray, workers=workers, address=running.address, folder=running.keep, on_progress=on_progress)
    checked = run_checked_groups(plan, configure, fractions, there, seed=seed)
    facts = checked.facts() | {"engine": str(running.engine)}
    if isinstance(report := checked.report, RayReport):
        facts |= {"nodes": report.nodes, "workers": report.workers, "lost_steps": report.lost_steps}
        facts |= {"peak_memory_bytes": report.peak_memory_bytes}
        facts["seconds"]["engine_start"] = report.start_seconds
    return facts, checked.exact


def _at_most(topology: Topology) -> str:
    """Two random cycles may share an edge: then its ends have fewer neighbours."""
    return "at most " if topology.graph is GraphKind.RANDOM_CYCLES else ""


def drop_fractions(dropout: float, drop_in: list[str]) -> dict[ServerPhase, float]:
    """Return phase -> the fraction that vanishes in it; raise ParameterError for what is no fraction of a phase."""
    fractions, named = {ServerPhase.MASKED_INPUT: dropout}, set[ServerPhase]()
    for item in drop_in:
        name, _, text = item.partition("=")
        try:
            phase, fraction = ServerPhase(name), float(text)
        except ValueError:
            phase, fraction = ServerPhase.ABORTED, math.nan
        if phase not in COLLECTED_PHASES or not 0 <= fraction < 1:
            phases = ", ".join(COLLECTED_PHASES)
            raise ParameterError(
                f"--drop-in is {item!r}, but must be PHASE=F with F from 0 to 1 and PHASE of: {phases}"
            )
        if phase in named:
            raise ParameterError(f"--drop-in names {phase} twice: give one fraction")
        named.add(phase)
        fractions[phase] = fractions.get(phase, 0.0) + fraction
    if not 0 <= dropout < 1:
        raise ParameterError(f"--dropout is {dropout}, but must be at least 0 and below 1")
    return fractions


def check_phases_exist(adversary: Adversary, fractions: Mapping[ServerPhase, float]) -> None:
    """Raise ParameterError for a phase that sessions against this adversary do not have."""
    for phase in fractions:
        if phase not in collected_phases(adversary):
            raise ParameterError(f"--drop-in names {phase}, but there is no such phase against a {adversary}")


@contextmanager
def _round_progress(*, quiet: bool) -> Iterator[Any]:
    """Show a bar for each phase; on standard error, so that output stays clean."""
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
