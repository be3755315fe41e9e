"""Options that several commands have, as dataclasses: each stands here once, with its help and its default."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from dp.ledger import Ledger
from dp.sensitivity import Adjacency, Unit
from secagg.encoding import Rounding
from secagg.errors import ParameterError

from ..core.threat_model import Adversary, ThreatModel
from ..groups.plan import GroupPlan
from ..groups.rules import Rule
from ..hierarchy.levels import Hierarchy, Level
from ..inputs.vectors import FloatVector
from ..masking.config import RoundConfig
from ..masking.topology import GraphKind
from ..privacy.plans import MIN_PARTICIPANTS, PrivatePlan
from .modes import names_of, refuse_typed

_PANEL = "Private rounds"
_GROUPS = "Groups on a cluster"
_LEVEL_NAMES = ("team", "project", "organisation", "ecosystem")


def option(
    text: str, metavar: str | None = None, panel: str | None = None, *, show_default: bool | str = False, **more: Any
) -> Any:
    """Return an option's annotation; help has no room for a default, unless it is told to show one."""
    return typer.Option(help=text, metavar=metavar, rich_help_panel=panel, show_default=show_default, **more)


SERVER_MAY = f"What the server may do: {', '.join(Adversary)}."
"""The help of --adversary."""
Clients = Annotated[int, option("How many clients are invited.", "N", min=2)]
Address = Annotated[str | None, option("Ray cluster, HOST:PORT or auto.", show_default="one here")]


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with one option for each field of its parameters that are dataclasses."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    options: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind: Any = hints[parameter.name]
        if not is_dataclass(kind):
            options.append(parameter.replace(annotation=kind, kind=parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = kind
        own = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            default = parameter.empty if field.default is MISSING else field.default
            options.append(
                inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=default, annotation=own[field.name])
            )

    def run(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field: given.pop(field) for field in inspect.signature(kind).parameters})
        command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Whom a round withstands, and how its numbers are encoded."""

    corrupt: Annotated[float, typer.Option(help="Fraction that may collude with the server.", metavar="F")] = 0.1
    adversary: Annotated[Adversary, typer.Option(help=SERVER_MAY, metavar="NAME")] = Adversary.SEMI_MALICIOUS_SERVER
    bits: Annotated[int, typer.Option(help="Bits of one encoded number, sign included.", metavar="N")] = 16
    graph: Annotated[GraphKind | None, option(f"How neighbours are drawn: {', '.join(GraphKind)}.", "NAME")] = None

    def model(self, clients: int, dropout: float) -> ThreatModel:
        """Return the threat model; raise ParameterError if it is impossible."""
        return ThreatModel(clients, self.corrupt, dropout, self.adversary)

    def config(self, clients: int, dropout: float, dim: int) -> RoundConfig:
        """Return a plain round's configuration; raise ParameterError if it is impossible."""
        return self.config_for(self.model(clients, dropout), dim)

    def config_for(self, model: ThreatModel, dim: int) -> RoundConfig:
        """Return the same from a threat model."""
        # Rounding to nearest, so that the plain sum can be computed apart.
        vector = FloatVector("update", dim, clip=1.0, value_bits=self.bits, rounding=Rounding.NEAREST)
        return RoundConfig(model, (vector,), graph=self.graph)

    def groups(self, clients: int, dropout: float, groups: int) -> GroupPlan:
        """Return the plan of groups whose sums are added up; raise ParameterError if it is impossible."""
        return GroupPlan(
            *(clients, 0.0, self.corrupt),
            rule=Rule.SUM,
            groups=groups,
            dropout_fraction=dropout,
            adversary=self.adversary,
        )

    def hierarchy(self, clients: int, dropout: float, dim: int, sizes: str) -> Hierarchy:
        """Return the terms of groups of groups, all with the same threat model but for its members.

        Args:
            clients: in all.
            dropout: of each group, at each level.
            dim: numbers of each client.
            sizes: members of a group at each level, from the lowest, with commas between.

        Raises:
            ParameterError: that is no list of sizes, is of another number of clients, or is impossible.
        """
        try:
            members = [int(size) for size in sizes.split(",")]
        except ValueError:
            raise ParameterError(f"--levels is {sizes!r}, but must be numbers with commas between") from None
        if math.prod(members) != clients:
            raise ParameterError(
                f"--levels {sizes} makes {math.prod(members)} clients, but --clients is {clients}: give the same"
            )
        if self.graph is not None:
            raise ParameterError("--levels leaves the graph to each level: leave --graph out")
        names = [*_LEVEL_NAMES, *(f"level {place}" for place in range(len(_LEVEL_NAMES) + 1, len(members) + 1))]
        levels = tuple(
            Level(name, size, 0, self.corrupt, dropout, self.adversary)
            for name, size in zip(names, members, strict=False)
        )
        vector = FloatVector("update", dim, clip=1.0, value_bits=self.bits, rounding=Rounding.NEAREST)
        return Hierarchy(levels, (vector,))


class Engine(StrEnum):
    """What runs groups, if not this process."""

    RAY = "ray"


@dataclass(frozen=True, kw_only=True)
class Running:
    """What runs the groups of a round."""

    engine: Annotated[
        Engine | None, option(f"What runs groups: {', '.join(Engine)}. Else this process.", "NAME", _GROUPS)
    ] = None
    address: Annotated[
        str | None, option("Ray cluster, HOST:PORT or auto.", panel=_GROUPS, show_default="one here")
    ] = None
    keep: Annotated[Path | None, option("Folder to go on from when started again.", "DIR", _GROUPS)] = None

    def check(self, groups: int) -> None:
        """Raise ParameterError for a cluster without groups, or options of one that is not asked for."""
        if self.engine is None and (self.address is not None or self.keep is not None):
            raise ParameterError("--address and --keep are for groups on a cluster: give --engine ray as well")
        if self.engine is not None and groups == 1:
            raise ParameterError("--engine runs groups side by side: give --groups as well, from 2")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What private rounds may tell of a client."""

    epsilon: Annotated[float | None, option("The goal of private rounds: epsilon.", "F", _PANEL)] = None
    delta: Annotated[float | None, option("delta, below one over the clients.", "F", _PANEL)] = None


@dataclass(frozen=True, kw_only=True)
class Noise(Goal):
    """What private rounds are planned from, or one of them."""

    noise_multiplier: Annotated[float | None, option("Sigma over sensitivity, instead of --epsilon.", "F", _PANEL)] = (
        None
    )
    l2_clip: Annotated[
        float, typer.Option("--clip", help="L2 norm to which clients clip.", metavar="F", rich_help_panel=_PANEL)
    ] = 1.0
    adjacency: Annotated[
        Adjacency,
        typer.Option(help=f"What may differ: {', '.join(Adjacency)}.", metavar="NAME", rich_help_panel=_PANEL),
    ] = Adjacency.ADD_REMOVE
    max_modulus_bits: Annotated[
        int, typer.Option(help="Most bits of a residue.", metavar="N", rich_help_panel=_PANEL)
    ] = 63
    min_participants: Annotated[
        int, typer.Option(help="Fewer are never summed.", metavar="N", min=1, rich_help_panel=_PANEL)
    ] = MIN_PARTICIPANTS
    rounds: Annotated[
        int, typer.Option(help="Rounds that epsilon is for.", metavar="N", min=1, rich_help_panel=_PANEL)
    ] = 1

    @property
    def wanted(self) -> bool:
        """Whether the options ask for privacy; raises ParameterError where they do by half."""
        if self.epsilon is None and self.noise_multiplier is None:
            if self.delta is not None:
                raise ParameterError(
                    f"--delta is {self.delta}, but there is no --epsilon or --noise-multiplier: give one"
                )
            return False
        if self.delta is None:
            raise ParameterError(
                "a private round needs --delta, such as 1e-5: well below one over the number of clients"
            )
        return True

    def plan(self, model: ThreatModel, dim: int, graph: GraphKind | None) -> PrivatePlan | None:
        """Return what the options ask for, None for no privacy; raise ParameterError if it is impossible."""
        return PrivatePlan(threat_model=model, length=dim, graph=graph, **vars(self)) if self.wanted else None

    def check_typed(self, ctx: typer.Context) -> None:
        """Raise ParameterError for an option that was typed, but is not read with noise, or without it."""
        if self.wanted:
            refuse_typed(ctx, ("bits",), "where noise is planned, which decides about them")
        else:
            refuse_typed(ctx, names_of(type(self)), "without --epsilon or --noise-multiplier")


@dataclass(frozen=True, kw_only=True)
class Schedule(Noise):
    """The same, for records as well."""

    unit: Annotated[
        Unit,
        typer.Option(help=f"Whose change noise covers: {', '.join(Unit)}.", metavar="NAME", rich_help_panel=_PANEL),
    ] = Unit.CLIENT
    max_records: Annotated[
        int, typer.Option(help="Room for so many records a client.", metavar="N", min=1, rich_help_panel=_PANEL)
    ] = 1
    sampling_rate: Annotated[
        float, typer.Option(help="Of records, by clients' own coins.", metavar="F", rich_help_panel=_PANEL)
    ] = 1.0

    def plan(self, model: ThreatModel, dim: int, graph: GraphKind | None) -> PrivatePlan | None:
        """Return what the options ask for, as `Noise` does; what is wrong with samples is told by options' names."""
        if not 0 < self.sampling_rate <= 1:
            raise ParameterError(f"--sampling-rate is {self.sampling_rate:g}, but must be above 0 and at most 1")
        if self.sampling_rate < 1 and self.unit is Unit.CLIENT:
            raise ParameterError(
                f"--sampling-rate is {self.sampling_rate:g}, but clients are not sampled: their noise would go with "
                "them. Sample their records, with --unit record"
            )
        return super().plan(model, dim, graph)


@dataclass(frozen=True, kw_only=True)
class Payment:
    """Who pays for private rounds."""

    budget: Annotated[str | None, option("Ledger to pay from: a path or URL.", "URL", _PANEL)] = None
    subject: Annotated[str | None, option("Budget in the ledger to pay from.", "NAME", _PANEL)] = None

    def __bool__(self) -> bool:
        return self.budget is not None or self.subject is not None

    @contextmanager
    def account(self) -> Iterator[tuple[Ledger, str] | None]:
        """Open the ledger that pays, if one is named; return it with the subject.

        Raises:
            ParameterError: a ledger without a subject or the other way round.
            LedgerError: no such ledger.
        """
        if not self:
            yield None
            return
        if self.budget is None or self.subject is None:
            raise ParameterError("--budget names the ledger and --subject the budget in it: give both or neither")
        with Ledger.open(self.budget) as ledger:
            yield ledger, self.subject
