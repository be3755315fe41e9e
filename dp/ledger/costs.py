"""What a release costs, in words that can be kept: events of `dp.events`, or a plain (epsilon, delta)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, cast, get_args

from .. import events
from ..errors import PrivacyParameterError
from ..events import Composed, Event, SummedDiscreteGaussianEvent, adjacency_of, leaves
from ..sensitivity import Adjacency, Unit
from .amounts import Number, down, fraction, rational, read, spell, up

_KINDS = {
    kind.__name__: kind
    for kind in (
        *get_args(events.Leaf),
        *get_args(events.Sampled),
        events.Repeated,
        events.Composed,
    )
}
ADJACENCY = "neighbours"
"""The key of an adjacency in what a ledger keeps."""
_DEEPEST = 100
"""Far from where Python's own stack ends, in all that walks through events."""


@dataclass(frozen=True)
class Cost:
    """A stated (epsilon, delta) guarantee. Exact: "0.1" and Decimal mean decimals, floats their binary values.

    Both are kept as Fractions on the ledger's grid of 10**-30, rounded up. Raises PrivacyParameterError unless
    epsilon >= 0, 0 <= delta < 1, and one of them is positive.
    """

    epsilon: Fraction
    delta: Fraction
    adjacency: Adjacency

    def __init__(self, epsilon: Number, delta: Number = 0, *, adjacency: Adjacency | str) -> None:
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            object.__setattr__(self, name, fraction(up(rational(value, name))))
        if self.delta >= 1 or self.epsilon == self.delta == 0:
            raise PrivacyParameterError(
                f"a cost of epsilon = {epsilon}, delta = {delta} means nothing; give epsilon > 0 and delta below 1"
            )
        object.__setattr__(self, "adjacency", check_adjacency(adjacency))


Spend = Event | Cost
"""What can be reserved."""


def check_adjacency(value: object) -> Adjacency:
    """Return the relation; raise PrivacyParameterError if there is none of that name."""
    try:
        return Adjacency(str(value))
    except ValueError:
        raise PrivacyParameterError(f"adjacency = {value!r} must be one of {', '.join(Adjacency)}") from None


def relation_of(spend: Spend) -> Adjacency:
    """Return the adjacency that a spend is stated for; raise PrivacyParameterError if it has none."""
    if isinstance(spend, Cost):
        return spend.adjacency
    if not isinstance(spend, tuple(_KINDS.values())):
        raise PrivacyParameterError(f"{type(spend).__name__} is neither a Cost nor an event of dp.events")
    relation = adjacency_of(spend)
    if relation is None:
        raise PrivacyParameterError("an empty composition costs nothing and cannot be reserved")
    return relation


def unit_of(event: Event) -> Unit:
    """Return whose loss an event bounds: a record's, if some part of it is stated for records, else a client's."""
    return Unit.RECORD if any(getattr(part, "unit", None) is Unit.RECORD for part, _ in leaves(event)) else Unit.CLIENT


def check_unit(spend: Spend, unit: Unit, what: str) -> None:
    """Raise PrivacyParameterError unless a spend bounds what one `unit` loses, as far as it states a unit.

    Where a client's data may be replaced by any other, so may one record of them. But where clients are only added or
    removed, nothing is said of a record: it moves what its client hands in to something else, up to twice as far.
    """
    parts = () if isinstance(spend, Cost) else (part for part, _ in leaves(spend))
    for part in parts:
        if not isinstance(part, SummedDiscreteGaussianEvent) or part.unit is unit:
            continue
        if unit is Unit.CLIENT:
            raise PrivacyParameterError(
                f"the spend bounds what one {part.unit} loses, and {what} counts what one {unit} does, whose records "
                f"may be many: pay from a budget of unit '{part.unit}'"
            )
        if part.adjacency is not Adjacency.REPLACE_ONE:
            raise PrivacyParameterError(
                f"the spend bounds what a {part.unit} loses that is there or not, and {what} counts what one {unit} "
                f"does, which may move a {part.unit}'s contribution twice as far: state both for replace-one "
                f"adjacency, or pay from a budget of unit '{part.unit}'"
            )


def to_plain(spend: Spend, depth: int = 0) -> dict[str, Any]:
    """Return the spend as values that JSON can hold and `from_plain` reads back to an equal one.

    Raises:
        PrivacyParameterError: a parameter that is neither a whole number nor a float, or events within events too deep
            to be read back.
    """
    if depth > _DEEPEST:
        raise PrivacyParameterError(
            f"events stand within events more than {_DEEPEST} deep; compose them side by side, in one Composed"
        )
    if isinstance(spend, Cost):
        parts = {"epsilon": spell(up(spend.epsilon)), "delta": spell(up(spend.delta))}
        return {"type": "Cost", **parts, ADJACENCY: str(spend.adjacency)}
    plain: dict[str, Any] = {"type": type(spend).__name__}
    for field in fields(spend):
        value = getattr(spend, field.name)
        if isinstance(value, Adjacency):
            plain[ADJACENCY] = str(value)
        elif isinstance(value, Unit):
            if value is not Unit.CLIENT:  # as a trail has it that is older than units
                plain[field.name] = str(value)
        elif isinstance(value, float):
            plain[field.name] = float(value)
        elif hasattr(value, "__index__") and not isinstance(value, bool):
            plain[field.name] = int(value)
        elif isinstance(value, tuple(_KINDS.values())):
            plain[field.name] = to_plain(cast(Event, value), depth + 1)
        elif isinstance(spend, Composed):
            plain[field.name] = [to_plain(part, depth + 1) for part in value]
        else:
            raise PrivacyParameterError(
                f"{field.name} = {value!r} of {type(spend).__name__} must be an int or a float to be kept"
            )
    return plain


def from_plain(plain: Any, depth: int = 0) -> Spend:
    """Return the spend that `to_plain` has written; raise ValueError for anything else."""
    if not isinstance(plain, Mapping) or depth > _DEEPEST:
        raise ValueError("no event")
    values = dict(plain)
    kind = values.pop("type", None)
    if kind == "Cost":
        epsilon, delta = fraction(read(values.get("epsilon"))), fraction(read(values.get("delta")))
        return Cost(epsilon, delta, adjacency=values.get(ADJACENCY))  # type: ignore[arg-type]
    if kind not in _KINDS:
        raise ValueError("no event of ours")
    parts = {kept_as(field.name) for field in fields(_KINDS[kind])}
    if set(values) not in (parts, parts - {"unit"}) or values.get("unit", Unit.RECORD) != Unit.RECORD:
        raise ValueError("no event of ours")
    if ADJACENCY in values:
        values["adjacency"] = Adjacency(values.pop(ADJACENCY))
    for name, value in values.items():
        if isinstance(value, Mapping):
            values[name] = from_plain(value, depth + 1)
        elif isinstance(value, list):
            values[name] = tuple(from_plain(part, depth + 1) for part in value)
    event: Event = _KINDS[kind](**values)
    return event


def kept_as(name: str) -> str:
    """Return the key of an event's parameter in what a ledger keeps."""
    return ADJACENCY if name == "adjacency" else name


def floor_fraction(value: Number, name: str, *, is_spent: bool = True) -> Fraction:
    """Return a limit on the ledger's grid, rounded down; a float that is spent from is rounded up.

    So it affords a cost of the same float. Nothing is spent from a delta that is converted at.
    """
    exactly = rational(value, name)
    return fraction(up(exactly) if is_spent and isinstance(value, float) else down(exactly))
