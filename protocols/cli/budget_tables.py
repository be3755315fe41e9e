"""What the `secagg budget` commands show: tables and bars for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dp.sensitivity import Unit

from ..core.numbers import spelled_down, spelled_up
from .tables import print_json

if TYPE_CHECKING:
    from dp.ledger import Lifetime, Record, Reservation, Status

_BAR = 24
_DIGITS = 6
_MINUTE = "%Y-%m-%d %H:%M"


def decimals(amounts: dict[str, Fraction]) -> dict[str, str]:
    """Return amounts as exact decimals."""
    from dp.ledger.amounts import spell, up

    return {name: spell(up(value)) for name, value in amounts.items()}


def _status_facts(found: Status, whole: Lifetime | None) -> dict[str, Any]:
    return {
        "budget": found.budget.name,
        **found.budget.plain(),
        "unit": str(found.budget.unit),
        "limit": decimals(found.limit),
        "spent": decimals(found.spent),
        "held": decimals(found.held),
        "left": decimals(found.left),
        "epsilon_taken": found.epsilon,
        "delta_taken": found.delta,
        "fraction_taken": found.fraction_taken,
        "open_reservations": found.open,
        "period": found.period,
        "created": found.created.isoformat(),
        "renewal": found.renewal.isoformat() if found.renewal else None,
        "expires": found.budget.expires.isoformat() if found.budget.expires else None,
        "expired": found.expired,
        "lifetime": None
        if whole is None
        else {
            "periods": whole.periods,
            "spent": decimals(whole.spent),
            "held": decimals(whole.held),
            "epsilon": whole.epsilon,
            "delta": whole.delta,
            "group": whole.group,
        },
    }


def show_statuses(found: list[Status], lifetimes: list[Lifetime | None], as_json: bool) -> None:
    """Show budgets, each with its bar and, where it has renewed, what all periods came to; or print them as JSON."""
    pairs = list(zip(found, lifetimes, strict=True))
    if as_json:
        print_json([_status_facts(one, whole) for one, whole in pairs])
        return
    console = Console()
    for one, whole in pairs:
        budget = one.budget
        share = f" {one.fraction_taken:.1%} taken: "
        total = _told_at({k: one.spent[k] + one.held[k] for k in one.spent}, one.epsilon, one.delta)
        console.print(Text.assemble((budget.name, "bold"), " ", _bar(one), share, total))
        rows = table("", "spent", "held", "left", "of")
        for name, limit in one.limit.items():
            taken = (spelled_up(amount, _DIGITS) for amount in (one.spent[name], one.held[name]))
            rows.add_row(f"  {name}", *taken, spelled_down(one.left[name], _DIGITS), spelled_down(limit, _DIGITS))
        console.print(rows)
        notes = [f"{budget.composition}, {budget.adjacency} of one {budget.unit}, {budget.kind}"]
        if budget.composition != "sum":
            notes.append(f"limit epsilon {spelled_down(budget.epsilon, _DIGITS)} at delta {float(budget.delta):g}")
        if one.renewal:
            notes.append(f"period {one.period + 1}, renews {one.renewal:%Y-%m-%d %H:%M} UTC")
        if whole:
            periods = f"all {whole.periods} periods with spends" if one.period else "all spends"
            together = f", of {whole.group:,} {budget.unit}s together" if whole.group > 1 else ""
            sums = {k: whole.spent[k] + whole.held[k] for k in whole.spent} if whole.group == 1 else {}
            notes.append(f"{periods}{together}: {_told_at(sums, whole.epsilon, whole.delta)}")
        if budget.expires:
            notes.append(f"{'EXPIRED' if one.expired else 'expires'} {budget.expires:%Y-%m-%d %H:%M} UTC")
        console.print(Text(f"  {'; '.join(notes)}", style="dim"))


def guarantee(taken: dict[str, Fraction], epsilon: float, delta: float) -> tuple[str, str]:
    """Spell what was lost at most: epsilon, at delta. Where these are what is counted, their sums are exact."""
    at = spelled_up(taken["delta"], _DIGITS) if "delta" in taken else f"{delta:g}"
    return spelled_up(taken.get("epsilon", epsilon), _DIGITS), at


def _told_at(taken: dict[str, Fraction], epsilon: float, delta: float) -> str:
    return "epsilon {} at delta {}".format(*guarantee(taken, epsilon, delta))


def _bar(found: Status) -> Text:
    """Draw spent, held and left; what is taken never looks like less than it is."""

    def cells(*parts: dict[str, Fraction]) -> int:
        shares = [sum((part[k] for part in parts), Fraction(0)) / found.limit[k] for k in found.limit if found.limit[k]]
        return min(_BAR, int(-(-max(shares) * _BAR // 1)))

    spent, taken = cells(found.spent), cells(found.spent, found.held)
    colour = "red" if taken >= _BAR else "yellow" if taken > 0.8 * _BAR else "green"
    return Text.assemble(
        ("█" * spent, colour), ("▒" * max(0, taken - spent), colour), ("·" * (_BAR - max(taken, spent)), "dim")
    )


def reservation_facts(found: Reservation) -> dict[str, Any]:
    """Return what scripts want to know of a reservation."""
    from dp.ledger.costs import to_plain

    return {
        "budget": found.budget,
        "round": found.round_id,
        "status": str(found.status),
        "charge": decimals(found.charge),
        "cost": to_plain(found.cost),
        "period": found.period,
        "opened": found.opened.isoformat(),
        "closed": found.closed.isoformat() if found.closed else None,
        "participants": found.participants,
        "reason": found.reason,
    }


def show_reservation(found: Reservation, as_json: bool) -> None:
    """Show one reservation, or print it as JSON."""
    if as_json:
        print_json(reservation_facts(found))
    else:
        show_reservations([found], Console())


def show_reservations(found: Any, console: Console) -> None:
    """Show reservations, in lines that break between words: in a table of their columns an id would fill many lines."""
    for one in found:
        console.print(Text.assemble((one.budget, "bold"), "  ", one.round_id))
        people = f"  {one.participants:,} people" if one.participants else ""
        until = f" to {one.closed:{_MINUTE}}" if one.closed else ""
        console.print(Text(f"  {one.status}  {_told(one.charge)}{people}  {one.opened:{_MINUTE}}{until}"))
        if one.reason:
            console.print(Text(f"  {one.reason}", style="dim"))


def show_history(found: list[Record], as_json: bool) -> None:
    """Show records of the trail, or print them as JSON."""
    from dp.ledger.budgets import from_microseconds

    if as_json:
        entries = [vars(record) | {"payload": record.facts()} for record in found]
        print_json(entries)
        return
    console = Console()
    for record in found:
        facts = record.facts()
        time = f"{from_microseconds(record.time):{_MINUTE}}"
        names = f"  {record.round_id}" if record.round_id else ""
        console.print(Text.assemble(f"{record.seq}  {time} UTC  {record.kind}  ", (record.budget, "bold"), names))
        if record.kind == "create":
            console.print(Text(f"  {', '.join(_terms(facts['terms']))}", style="dim"))
        amounts = facts["after"] | ({"charge": facts["charge"]} if "charge" in facts else {})
        told = (
            f"{key} {', '.join(map(_short, amounts[key]))}" for key in ("charge", "spent", "held") if key in amounts
        )
        console.print(Text(f"  {'; '.join(told)}", style="dim"))


def _told(amounts: dict[str, Fraction]) -> str:
    return ", ".join(f"{name} {spelled_up(value, _DIGITS)}" for name, value in amounts.items())


def _terms(terms: dict[str, Any]) -> Iterator[str]:
    yield f"epsilon {spelled_down(Fraction(terms['epsilon']), _DIGITS)} at delta {float(terms['delta']):g}"
    yield f"{terms['neighbours']} of one {terms.get('unit', Unit.CLIENT)}"
    yield terms["composition"]


def _short(amount: str) -> str:
    return spelled_up(Fraction(amount), _DIGITS)


def table(*columns: str) -> Table:
    """Return an empty table with these columns."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in {"UTC", "what", "status", "opened", "closed"})
    return made
