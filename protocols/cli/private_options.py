"""What the `secagg` command says and shows of private rounds: their options, the plan, its derivation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.table import Table

from dp.ledger import Ledger
from dp.sensitivity import Adjacency
from secagg.errors import ParameterError

from ..core.threat_model import ThreatModel
from ..privacy.plans import MIN_PARTICIPANTS, PrivatePlan

_PANEL = "Private rounds"

Epsilon = Annotated[float | None, typer.Option(help="Make it private: epsilon.", rich_help_panel=_PANEL)]
Delta = Annotated[float | None, typer.Option(help="delta, below one over the clients.", rich_help_panel=_PANEL)]
NoiseMultiplier = Annotated[
    float | None,
    typer.Option(help="Sigma over sensitivity, instead of --epsilon.", rich_help_panel=_PANEL),
]
Clip = Annotated[float, typer.Option(help="L2 norm to which clients clip.", rich_help_panel=_PANEL)]
Rounds = Annotated[int, typer.Option(help="Rounds that epsilon is for.", min=1, rich_help_panel=_PANEL)]
SamplingRate = Annotated[
    float,
    typer.Option(help="Probability of being in a round, unknown to who sees the sums.", rich_help_panel=_PANEL),
]
Relation = Annotated[
    Adjacency, typer.Option("--adjacency", help="What may differ of one client.", rich_help_panel=_PANEL)
]
MaxBits = Annotated[int, typer.Option(help="Most bits of a residue.", rich_help_panel=_PANEL)]
BudgetUrl = Annotated[
    str | None, typer.Option("--budget", help="Ledger to pay from: a path or URL.", rich_help_panel=_PANEL)
]
Subject = Annotated[str | None, typer.Option(help="Budget in the ledger to pay from.", rich_help_panel=_PANEL)]
MinimumParticipants = Annotated[int, typer.Option(help="Fewer are never summed.", min=1, rich_help_panel=_PANEL)]


def plan(
    model: ThreatModel,
    dim: int,
    *,
    epsilon: float | None,
    delta: float | None,
    noise_multiplier: float | None = None,
    clip: float = 1.0,
    rounds: int = 1,
    sampling_rate: float = 1.0,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    max_modulus_bits: int = 63,
    min_participants: int = MIN_PARTICIPANTS,
) -> PrivatePlan | None:
    """Return what the options ask for; None where they ask for no privacy.

    Raises:
        ParameterError: half of what is needed, or an impossible plan.
    """
    if epsilon is None and noise_multiplier is None:
        if delta is not None:
            raise ParameterError(f"--delta is {delta}, but there is no --epsilon or --noise-multiplier: give one")
        return None
    if delta is None:
        raise ParameterError("a private round needs --delta, such as 1e-5: well below one over the number of clients")
    return PrivatePlan(
        threat_model=model,
        length=dim,
        l2_clip=clip,
        epsilon=epsilon,
        delta=delta,
        noise_multiplier=noise_multiplier,
        rounds=rounds,
        sampling_rate=sampling_rate,
        adjacency=adjacency,
        max_modulus_bits=max_modulus_bits,
        min_participants=min_participants,
    )


def present(private: PrivatePlan | None) -> PrivatePlan:
    """Return the plan; raise ParameterError where options that need one have none."""
    if private is None:
        raise ParameterError("--budget and --subject pay for private rounds: give --epsilon and --delta as well")
    return private


@contextmanager
def account(
    private: PrivatePlan | None, budget: str | None, subject: str | None
) -> Iterator[tuple[Ledger, str] | None]:
    """Open the ledger that pays, if one is named; return it with the subject.

    Raises:
        ParameterError: a ledger without a subject or the other way round, or no private round to pay for.
        LedgerError: no such ledger.
    """
    present(private)
    if budget is None and subject is None:
        yield None
        return
    if budget is None or subject is None:
        raise ParameterError("--budget names the ledger and --subject the budget in it: give both or neither")
    with Ledger.open(budget) as ledger:
        yield ledger, subject


def add_plan(table: Table, private: PrivatePlan) -> None:
    """Add the plan to a table for people."""
    n = private.threat_model.num_clients
    rounds = "a round" if private.rounds == 1 else f"{private.rounds} rounds"
    table.add_row("privacy", f"epsilon {private.epsilon_total:.4g} at delta {private.delta:g} for {rounds}")
    table.add_row(
        "noise", f"calibrated to {private.honest} honest survivors; {private.codec.share.local_sigma:.4g} steps each"
    )
    table.add_row(
        "error of a sum", f"{private.sum_deviation(n):.4g} a number, {private.sum_deviation(n) / n:.4g} of the mean"
    )


def add_outcome(table: Table, facts: Mapping[str, Any]) -> None:
    """Add to a table for people what a private round has cost and what its noise was."""
    privacy = facts["privacy"]
    table.add_row(
        "privacy",
        f"epsilon {privacy['epsilon_achieved']:.4g} at delta {privacy['delta']:g} "
        f"({privacy['honest_achieved']} honest clients' noise; {privacy['honest']} were promised, "
        f"epsilon {privacy['epsilon']:.4g})",
    )
    table.add_row(
        "noise",
        f"{privacy['noise_measured']:.4g} steps measured, {privacy['noise_expected']:.4g} expected "
        f"({privacy['sum_deviation']:.3g} a number)",
    )
