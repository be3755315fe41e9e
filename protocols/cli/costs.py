"""What `secagg params` says of costs: seconds, bytes and memory of a round that nobody has run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..core.threat_model import ROUNDING_SLACK, ThreatModel
from ..groups.plan import GroupPlan
from ..masking.config import RoundConfig
from ..reporting.words import size_of
from .options import option
from .tables import print_lines, table_of

if TYPE_CHECKING:
    from ..costs import Estimate, Table

_PANEL = "Costs"


@dataclass(frozen=True, kw_only=True)
class Planning:
    """What is asked of a round's costs."""

    groups: Annotated[
        int | None, option("Sessions whose sums are added; else 1, more above 10,000 clients.", "N", _PANEL, min=1)
    ] = None
    workers: Annotated[
        int | None, option("Processors that share them: estimate what the round costs.", "N", _PANEL, min=1)
    ] = None
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure this machine first, a minute at most.", rich_help_panel=_PANEL),
    ] = False

    @property
    def wanted(self) -> bool:
        """Whether costs are asked for."""
        return self.groups is not None or self.workers is not None or self.measure

    def groups_of(self, clients: int) -> int:
        """Return how many groups there are."""
        from ..costs import planned_groups

        if self.groups is not None or not self.wanted:
            return self.groups or 1
        return planned_groups(clients, self.workers or 1)

    def estimate(
        self,
        config: RoundConfig,
        grouped: GroupPlan | None,
        dropout: float,
        configure: Callable[[ThreatModel], RoundConfig],
        *,
        quiet: bool,
    ) -> Estimate | None:
        """Return what the round costs, if that is asked for; all that may vanish do, before their input.

        Raises:
            MissingDependencyError: measuring needs scipy.
        """
        from ..costs import of_groups, of_session

        if not self.wanted:
            return None
        table, workers = self._measured(quiet) if self.measure else None, self.workers or 1
        if grouped is not None:
            return of_groups(grouped, configure, dropout, workers=workers, table=table)
        dropped = math.floor((dropout + ROUNDING_SLACK) * config.num_clients)
        return of_session(config, dropped, workers=workers, table=table)

    def _measured(self, quiet: bool) -> Table:
        from rich.progress import Progress

        from ..costs import shipped
        from ..costs.measuring import measure_here

        with Progress(console=Console(stderr=True), disable=quiet) as progress:
            task = progress.add_task("measuring", total=None)
            return measure_here(
                shipped().memory, lambda done, total: progress.update(task, completed=done, total=total)
            )


def show_costs(costs: Estimate, console: Console) -> None:
    """Print what a round costs, each figure with how far such estimates were off."""
    from ..costs import Quantity

    def give(text: str, quantity: Quantity) -> str:
        error = costs.errors.get(quantity)
        return text if error is None else f"{text} (± {max(1, math.ceil(100 * error))}%)"

    workers = f"{costs.workers:,} worker{'s' * (costs.workers > 1)}"
    table = table_of("what it costs")
    table.add_row("a client computes", give(time_of(costs.client_seconds), Quantity.CLIENT_SECONDS))
    one = "the server computes" if costs.groups == 1 else "the server of a group computes"
    table.add_row(one, give(time_of(costs.server_seconds), Quantity.SERVER_SECONDS))
    if costs.groups > 1:
        table.add_row(
            "all servers",
            f"{time_of(costs.servers_seconds)} of one processor; {time_of(costs.servers_wall_seconds)} on {workers}",
        )
    table.add_row("simulated, clients too", f"{time_of(costs.simulated_wall_seconds)} on {workers}")
    table.add_row("a client sends", give(size_of(costs.client_sent_bytes), Quantity.SENT_BYTES))
    table.add_row("a client receives", give(size_of(costs.client_received_bytes), Quantity.RECEIVED_BYTES))
    whose = "the server" if costs.groups == 1 else "all servers"
    table.add_row(f"{whose} receive{'s' * (costs.groups == 1)}", size_of(costs.servers_received_bytes))
    table.add_row(f"{whose} send{'s' * (costs.groups == 1)}", size_of(costs.servers_sent_bytes))
    table.add_row("a client's memory", give(size_of(costs.client_memory_bytes), Quantity.CLIENT_MEMORY))
    table.add_row("a server's memory", give(size_of(costs.server_memory_bytes), Quantity.SERVER_MEMORY))
    console.print(table)
    reasons = [
        f"if {costs.dropped:,} of {costs.group:,} clients vanish before their input; seconds are of a processor as "
        f"measured, {costs.processor}; errors are the largest on sessions that nothing was fitted on",
        *costs.beyond,
    ]
    if costs.workers > costs.groups:
        reasons.append(
            f"a session is on one processor: {costs.workers - costs.groups:,} of {workers} have nothing to do"
        )
    for reason in reasons:
        print_lines(reason, console, "  · ", "    ")


def time_of(seconds: float) -> str:
    """Return a time in a fitting unit."""
    units = (("days", 86400.0), ("hours", 3600.0), ("min", 60.0))
    unit, length = next(((unit, length) for unit, length in units if seconds >= 2 * length), ("s", 1.0))
    return f"{seconds / length:.3g} {unit}"
