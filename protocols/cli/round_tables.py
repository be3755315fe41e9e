"""What `secagg params` and `secagg round` show to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.numbers import spelled_up
from ..privacy.plans import PrivatePlan
from ..reporting.words import many, size_of
from .tables import table_of


def show_round(facts: Mapping[str, Any], title: str) -> None:
    """Print what a simulated round was and cost."""
    seconds, size = facts["seconds"], facts["bytes"]
    table = table_of(title)
    table.add_row("clients", f"{facts['clients']:,} invited, {facts['survivors']:,} in the sum")
    if "groups" in facts:
        out = f"{len(facts['left_out']):,} of them left out" if facts["left_out"] else "of one of them:"
        table.add_row("groups", f"{facts['groups']:,}, each a session; {out}")
    if "nodes" in facts:
        table.add_row(
            "cluster", f"{many(facts['nodes'], 'node')}; {many(facts['lost_steps'], 'step')} lost and taken again"
        )
    table.add_row(
        "graph", f"degree {facts['degree']}, threshold {facts['threshold']}, {facts['modulus_bits']}-bit modulus"
    )
    table.add_row("a client computes", f"{seconds['client_mean']:.3f} s (at most {seconds['client_max']:.3f} s)")
    table.add_row("the server computes", f"{seconds['server']:.2f} s")
    table.add_row("a client sends", size_of(size["client_sent_mean"]))
    table.add_row("a client receives", size_of(size["client_received_mean"]))
    table.add_row("the server receives", size_of(size["server_received"]))
    if "privacy" in facts:
        _add_outcome(table, facts)
    where = f", clients in {facts['workers']} workers" if facts["workers"] > 1 else ""
    table.add_row("everyone, here", f"{seconds['wall']:.1f} s, {size_of(facts['peak_memory_bytes'])} of memory{where}")
    Console().print(table)


def show_hierarchy(facts: Mapping[str, Any], title: str) -> None:
    """Print what the levels of a simulated hierarchy were and cost, and what their operators learn."""
    table = table_of(title)
    table.add_row("clients", f"{facts['clients']:,} invited, {facts['survivors']:,} in the sum")
    for level in facts["levels"]:
        seconds, size, learned = level["seconds"], level["bytes"], level["operator_learns"]
        table.add_row(
            level["level"],
            f"{level['groups']:,} of {level['members']:,}, {level['summed']:,} in the sum; each operator learns a sum "
            f"of {learned['inputs']:,} inputs or more",
        )
        table.add_row(
            "",
            f"a member computes {seconds['member_mean']:.3f} s and sends {size_of(size['member_sent_mean'])}, the "
            f"operator computes {seconds['operator_mean']:.3f} s; {level['modulus_bits']}-bit modulus",
        )
    table.add_row(
        "everyone, here", f"{facts['seconds']['wall']:.1f} s, {size_of(facts['peak_memory_bytes'])} of memory"
    )
    Console().print(table)


def add_plan(table: Table, private: PrivatePlan) -> None:
    """Add the plan to a table for people."""
    n = private.threat_model.num_clients
    rounds = "a round" if private.rounds == 1 else f"{private.rounds} rounds"
    table.add_row("privacy", f"epsilon {spelled_up(private.epsilon_total, 4)} at delta {private.delta:g} for {rounds}")
    table.add_row(
        "noise",
        f"calibrated to {private.honest} honest survivors; {spelled_up(private.codec.share.local_sigma, 4)} steps each",
    )
    table.add_row(
        "error of a sum", f"{private.sum_deviation(n):.4g} a number, {private.sum_deviation(n) / n:.4g} of the mean"
    )


def _add_outcome(table: Table, facts: Mapping[str, Any]) -> None:
    """Add to a table for people what a private round has cost and what its noise was."""
    privacy = facts["privacy"]
    planned, own = (f" for all {privacy['rounds']:,} rounds", " for this round") if privacy["rounds"] > 1 else ("", "")
    table.add_row(
        "privacy",
        f"epsilon {spelled_up(privacy['epsilon_achieved'], 4)} at delta {privacy['delta']:g}{own} "
        f"({privacy['honest_achieved']} honest clients' noise; {privacy['honest']} were promised, "
        f"epsilon {spelled_up(privacy['epsilon'], 4)}{planned})",
    )
    table.add_row(
        "noise",
        f"{privacy['noise_measured']:.4g} steps measured, {privacy['noise_expected']:.4g} expected "
        f"({privacy['sum_deviation']:.3g} a number)",
    )
