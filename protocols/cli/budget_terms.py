"""What `secagg budget create` makes a budget of: its options, or a plan that `secagg params --json` has printed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp.errors import PrivacyParameterError
from dp.sensitivity import Adjacency, Unit, check_count, check_delta, check_epsilon

from ..core.threat_model import MAX_CLIENTS
from .options import option

if TYPE_CHECKING:
    from dp.events import Event
    from dp.ledger import Budget

_PERIODS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LARGEST_PLAN = 1 << 20
"""More bytes are no plan."""
_ANYWAY = {"kind", "renews", "expires", "for_plan"}
"""What a plan does not say."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms of a budget; None where the default is to be taken, so that it shows what was said beside a plan."""

    epsilon: Annotated[str | None, typer.Option(help="The limit; an exact decimal.", metavar="F")] = None
    delta: Annotated[
        str | None, option("The limit; an exact decimal. Above 0 unless composition is sum.", "F", show_default="0")
    ] = None
    composition: Annotated[
        str | None,
        option(
            "sum: epsilons add up. gaussian: for Gaussian noise. renyi: divergences do. releases: equal ones count.",
            "NAME",
            show_default="sum",
        ),
    ] = None
    kind: Annotated[str, typer.Option(help="data-subject, data-set or project.", metavar="NAME")] = "project"
    adjacency: Annotated[
        Adjacency | None,
        option(f"How data differ: {' or '.join(Adjacency)}.", "NAME", show_default=Adjacency.ADD_REMOVE.value),
    ] = None
    unit: Annotated[
        Unit | None, option("Whose loss counts: one client's, or one record's.", "NAME", show_default=Unit.CLIENT.value)
    ] = None
    order: Annotated[
        float | None, typer.Option(help="For renyi: its order; by default the best for Gaussian.", metavar="F")
    ] = None
    noise_multiplier: Annotated[
        float | None, typer.Option(help="For releases: the Gaussian noise of one.", metavar="F")
    ] = None
    sampling_rate: Annotated[
        float | None, option("With it: chance of a record to take part (Poisson).", "F", show_default="1.0")
    ] = None
    renews: Annotated[str | None, typer.Option(help="A fresh allowance every 30d (m, h, d, w).", metavar="TIME")] = None
    expires: Annotated[
        str | None, typer.Option(help="No spends from then on; ISO, UTC unless it says.", metavar="TIME")
    ] = None
    for_plan: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a limit: a file of what `secagg params ... --json` printed; affords its rounds.",
            metavar="FILE",
        ),
    ] = None

    def budget(self, name: str) -> Budget:
        """Return the budget of that name; raise PrivacyParameterError where the terms are impossible."""
        from dp.ledger import Budget, Composition, Kind, budget_for

        kind, renews, expires = choice(Kind, self.kind, "--kind"), _period(self.renews), _moment(self.expires)
        if self.for_plan is not None:
            said = [field.name for field in fields(self) if getattr(self, field.name) is not None]
            if more := [f"--{field.replace('_', '-')}" for field in said if field not in _ANYWAY]:
                raise PrivacyParameterError(f"--for-plan says it all: leave out {', '.join(more)}")
            return budget_for(name, *read_plan(self.for_plan), kind=kind, renews=renews, expires=expires)
        if (self.noise_multiplier is not None) is not (self.composition == "releases"):
            raise PrivacyParameterError(
                "--noise-multiplier and --composition releases go together: give both or neither"
            )
        if self.sampling_rate is not None and self.noise_multiplier is None:
            raise PrivacyParameterError("--sampling-rate is not read without --noise-multiplier: leave it out")
        if self.epsilon is None:
            raise PrivacyParameterError("give --epsilon, the limit, or --for-plan, whose rounds it is to afford")
        adjacency = self.adjacency or Adjacency.ADD_REMOVE
        multiplier, rate = self.noise_multiplier, 1.0 if self.sampling_rate is None else self.sampling_rate
        return Budget(
            name,
            self.epsilon,
            self.delta or "0",
            adjacency=adjacency,
            unit=self.unit or Unit.CLIENT,
            composition=choice(Composition, self.composition or "sum", "--composition"),
            kind=kind,
            order=self.order,
            event=None if multiplier is None else gaussian(multiplier, rate, adjacency),
            renews=renews,
            expires=expires,
        )


def read_plan(path: Path) -> tuple[Event, int, float, float | None]:
    """Return what `budget_for` makes a budget of: a round's event, rounds, delta and epsilon.

    Raises:
        PrivacyParameterError: the file holds no plan of private rounds, or one that contradicts itself.
    """
    from dp.ledger.records import UNREADABLE

    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_PLAN + 1)
    except OSError as error:
        raise PrivacyParameterError(f"cannot read a plan from {path}: {error.strerror}") from None
    try:
        if len(data) > _LARGEST_PLAN:
            raise ValueError("no plan is so long")
        return plan_in(json.loads(data))
    except UNREADABLE as error:
        why = f"{error}" if isinstance(error, PrivacyParameterError) else "it lacks what a plan says, or holds more"
        raise PrivacyParameterError(
            f"{path} holds no plan of private rounds ({why}): write it by `secagg params ... --epsilon 4 --delta 1e-6 "
            f"--json > plan.json`"
        ) from None


def plan_in(facts: Any) -> tuple[Event, int, float, float | None]:
    """Return what JSON says of a plan; raise one of UNREADABLE for what `secagg params` does not print."""
    from dp.events import PoissonSampled, SummedDiscreteGaussianEvent
    from dp.ledger.costs import from_plain, relation_of, to_plain, unit_of

    plan = facts["privacy"]
    event: Any = from_plain(plan["event"])
    noise = event.event if isinstance(event, PoissonSampled) else event
    if not isinstance(noise, SummedDiscreteGaussianEvent) or noise.clients > MAX_CLIENTS:
        raise ValueError("no sum of clients' noise")
    said = (plan["event"], plan["adjacency"], plan["unit"])
    meant = (to_plain(event), relation_of(event), unit_of(event))
    if json.dumps(said, sort_keys=True) != json.dumps(meant, sort_keys=True):
        raise ValueError("it contradicts itself")
    rounds, delta, epsilon = plan["rounds"], plan["delta"], plan["epsilon_goal"]
    return event, check_count(rounds, "rounds"), check_delta(delta), None if epsilon is None else check_epsilon(epsilon)


def gaussian(multiplier: float, rate: float, adjacency: Adjacency) -> Event:
    """Return the event of Gaussian noise, on a sample where the rate is below 1."""
    from dp.events import GaussianEvent, PoissonSampled

    event = GaussianEvent(multiplier, adjacency)
    return event if rate == 1 else PoissonSampled(rate, event)


def choice(kind: Any, text: str, option: str) -> Any:
    """Return the member that an option names; raise PrivacyParameterError where there is none."""
    if text not in list(kind):
        msg = f"{option} is {text!r}, but must be one of {', '.join(kind)}"
        raise PrivacyParameterError(msg)
    return kind(text)


def _period(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if found is None or not int(found[1]):
        msg = f"--renews is {text!r}, but must be a number and m, h, d or w, such as 30d"
        raise PrivacyParameterError(msg)
    return timedelta(seconds=int(found[1]) * _PERIODS[found[2]])


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"--expires is {text!r}, but must be a date such as 2030-12-31 or 2030-12-31T18:00+01:00"
        raise PrivacyParameterError(msg) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
