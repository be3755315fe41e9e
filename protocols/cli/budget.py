"""The `secagg budget` commands: make privacy budgets, spend from them, look into their ledger and audit it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from dp.errors import PrivacyParameterError
from dp.sensitivity import Adjacency, Unit

from .budget_tables import (
    decimals,
    guarantee,
    reservation_facts,
    show_history,
    show_reservation,
    show_reservations,
    show_statuses,
    table,
)
from .budget_terms import Terms, gaussian
from .errors import Commands
from .modes import names_of, refuse_typed
from .options import spread
from .tables import AsJson, print_json

if TYPE_CHECKING:
    from dp.ledger import Ledger, Lifetime, Spend, Status

budget_app = typer.Typer(
    name="budget",
    cls=Commands,
    help="Privacy budgets that survive crashes and cannot be overspent, with an audit trail.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(help="The budget's name.", metavar="NAME")]
RoundId = Annotated[str, typer.Option("--round", help="Unique for each run of a round.", metavar="ID")]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Which ledger, and what it must hold at least."""

    ledger: Annotated[
        str,
        typer.Option(
            "--ledger",
            envvar="SECAGG_LEDGER",
            metavar="URL",
            help="A path, or postgresql://user@host/database.",
        ),
    ]
    expected_head: Annotated[
        str | None, typer.Option(help="A head that you kept: refuse a trail without it.", metavar="HEAD")
    ] = None

    @contextmanager
    def open(self, *, create: bool = False) -> Iterator[Ledger]:
        """Open the ledger that is there."""
        from dp.ledger import Ledger

        options = {field.name: getattr(self, field.name) for field in fields(self)}
        with Ledger.open(options.pop("ledger"), create=create, **options) as ledger:
            yield ledger


@dataclass(frozen=True, kw_only=True)
class Writing(Reading):
    """The same, for commands that write."""

    synchronous_standby: Annotated[
        bool, typer.Option("--standby", help="Refuse a PostgreSQL that waits for no standby.")
    ] = False
    trust_clock: Annotated[
        bool, typer.Option("--trust-clock", help="Write, even if the last record is older than 31 days.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a round costs, stated or by its noise."""

    epsilon: Annotated[str | None, typer.Option(help="An exact decimal, such as 0.1.", metavar="F")] = None
    delta: Annotated[str | None, typer.Option(help="An exact decimal, such as 1e-6.", metavar="F")] = None
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Instead: Gaussian noise, sigma / sensitivity.", metavar="F")
    ] = None
    sampling_rate: Annotated[
        float, typer.Option(help="With it: chance of a record to take part (Poisson).", metavar="F")
    ] = 1.0
    adjacency: Annotated[
        Adjacency, typer.Option(help="How data differ: add-remove or replace-one.", metavar="NAME")
    ] = Adjacency.ADD_REMOVE

    def cost(self, ctx: typer.Context) -> Spend:
        """Return it; raise PrivacyParameterError where the options name none, or two, or more than is read."""
        from dp.ledger import Cost

        noise = self.noise_multiplier
        if (noise is None) == (self.epsilon is None) or (noise is not None and self.delta is not None):
            msg = "give --epsilon (and --delta), or --noise-multiplier (and --sampling-rate)"
            raise PrivacyParameterError(msg)
        if noise is not None:
            return gaussian(noise, self.sampling_rate, self.adjacency)
        refuse_typed(ctx, ("sampling_rate",), "without --noise-multiplier")
        return Cost(self.epsilon or "0", self.delta or "0", adjacency=self.adjacency)


@budget_app.command()
@spread
def create(
    name: Name,
    opening: Writing,
    terms: Terms,
    as_json: AsJson = False,
) -> None:
    """Create a budget, and the ledger if there is none. Its terms are fixed; repeating them changes nothing."""
    budget = terms.budget(name)
    # Only now, so that impossible terms leave no empty ledger behind.
    with opening.open(create=True) as opened:
        made = opened.create(budget)
        show_statuses([made], [_lifetime(opened, made)], as_json)


@budget_app.command()
@spread
def status(
    opening: Reading,
    name: Annotated[str | None, typer.Argument(help="The budget's name; all budgets if left out.")] = None,
    group: Annotated[
        int, typer.Option(help="Also: what so many clients, or records, have lost together.", metavar="K", min=1)
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Show what is spent, held by open reservations, and left; of all periods, and of a group, where there are any."""
    with opening.open() as opened:
        names = opened.budgets() if name is None else [name]
        found = [opened.status(one) for one in names]
        show_statuses(found, [_lifetime(opened, one, group) for one in found], as_json)
        waiting = [entry for one in names for entry in opened.open_reservations(one)]
        if waiting and not as_json:
            console = Console()
            console.print("open reservations, which count as spent until commit, release or resolve:")
            show_reservations(waiting, console)


@budget_app.command()
@spread
def reserve(
    ctx: typer.Context,
    name: Name,
    opening: Writing,
    round_id: RoundId,
    spending: Spending,
    participant: Annotated[list[str] | None, typer.Option(help="Who may take part; repeat it.", metavar="NAME")] = None,
    participants_file: Annotated[
        Path | None, typer.Option(help="A file with one participant a line.", metavar="FILE")
    ] = None,
    unit: Annotated[
        Unit | None, typer.Option(help="Refuse a budget that counts another's loss: client, record.", metavar="NAME")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="This repeats a call for the same run of the round.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take what a round may cost at most, before anything is revealed."""
    cost = spending.cost(ctx)
    with opening.open() as opened:
        names = [*(participant or []), *_lines(participants_file)]
        taken = opened.reserve(name, cost, round_id=round_id, participants=names, unit=unit, again=again)
        show_reservation(taken, as_json)


@budget_app.command()
@spread
def commit(
    ctx: typer.Context,
    name: Name,
    opening: Writing,
    round_id: RoundId,
    spending: Spending,
    as_json: AsJson = False,
) -> None:
    """Say that a round's result will be published; at its actual cost if that is given, at most what was reserved."""
    given = (spending.epsilon, spending.delta, spending.noise_multiplier) != (None, None, None)
    if not given:
        refuse_typed(ctx, names_of(Spending), "without --epsilon or --noise-multiplier")
    actual = spending.cost(ctx) if given else None
    with opening.open() as opened:
        show_reservation(opened.commit(opened.reservation(name, round_id), actual), as_json)


@budget_app.command()
@spread
def release(
    name: Name,
    opening: Writing,
    round_id: RoundId,
    reason: Annotated[str, typer.Option(help="Kept in the trail.")] = "",
    as_json: AsJson = False,
) -> None:
    """Give a reservation back: only for a round of which surely nothing was revealed to anybody."""
    with opening.open() as opened:
        show_reservation(opened.release(opened.reservation(name, round_id), reason), as_json)


@budget_app.command()
@spread
def resolve(
    name: Name,
    opening: Writing,
    round_id: RoundId,
    spent: Annotated[bool, typer.Option("--spent/--unspent", help="Whether anything may have been revealed.")],
    reason: Annotated[str, typer.Option(help="How this is known; kept in the trail.")],
    as_json: AsJson = False,
) -> None:
    """Decide about a reservation that a crash left open."""
    with opening.open() as opened:
        show_reservation(opened.resolve(opened.reservation(name, round_id), spent=spent, reason=reason), as_json)


@budget_app.command()
@spread
def history(
    opening: Reading,
    name: Annotated[str | None, typer.Argument(help="The budget's name; the whole trail if left out.")] = None,
    last: Annotated[int, typer.Option(help="Only so many records, the latest.", min=1, metavar="N")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the audit trail."""
    with opening.open() as opened:
        show_history(opened.history(name, last=last), as_json)


@budget_app.command()
@spread
def participants(
    name: Name,
    opening: Reading,
    participant: Annotated[str | None, typer.Option(help="Only this one, with the rounds.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show who took part in a budget's rounds, and what each has spent."""
    with opening.open() as opened:
        found = opened.participants(name) if participant is None else [opened.participant(name, participant)]
        if as_json:
            facts = [
                {
                    "participant": view.participant,
                    "epsilon": view.epsilon,
                    "delta": view.delta,
                    "total": decimals(view.total),
                    "rounds": [reservation_facts(entry) for entry in view.rounds],
                }
                for view in found
            ]
            print_json(facts)
            return
        people = table("participant", "rounds", "epsilon", "delta")
        for view in found:
            epsilon, delta = guarantee(view.total, view.epsilon, view.delta)
            people.add_row(Text(view.participant), str(len(view.rounds)), epsilon, delta)
        console = Console()
        console.print(people)
        if participant is not None:
            show_reservations(found[0].rounds, console)


@budget_app.command()
@spread
def verify(
    opening: Reading,
    head: Annotated[str | None, typer.Option(help="A head that you kept: NUMBER:HASH.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the whole trail; print its head, which is worth keeping where the ledger's owner cannot reach it."""
    with opening.open() as opened:
        found = opened.verify(head)
        if as_json:
            print_json(vars(found))
            return
        console = Console()
        console.print(
            f"[green]the trail holds[/green]: {found.records:,} records, {found.budgets:,} budgets, "
            f"{found.open_reservations:,} open reservations"
        )
        console.print(Text.assemble("head ", (found.head, "bold")), soft_wrap=True)


@budget_app.command()
@spread
def backup(
    to: Annotated[str, typer.Argument(help="Where: a path, or postgresql://user@host/database.", metavar="TO")],
    opening: Reading,
    as_json: AsJson = False,
) -> None:
    """Copy the whole ledger, even while it is used, to a place that holds none, and verify the copy."""
    with opening.open() as opened:
        found = opened.backup(to)
        if as_json:
            print_json(vars(found))
            return
        console = Console()
        console.print(f"[green]copied and verified[/green]: {found.records:,} records, {found.budgets:,} budgets")
        console.print(Text.assemble("head ", (found.head, "bold")), soft_wrap=True)


def _lifetime(opened: Ledger, found: Status, group: int = 1) -> Lifetime | None:
    """Return what all periods came to, where there is more than one, or a group to be told of."""
    return opened.lifetime(found.budget.name, group=group) if found.period or group > 1 else None


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read participants from {path}: {type(error).__name__}"
        raise PrivacyParameterError(msg) from None
