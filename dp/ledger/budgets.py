"""What a budget is: whose, how much, how spends add up, for how long. Plain values; nothing here is stored."""

from __future__ import annotations

import json
import unicodedata
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any

from ..errors import PrivacyParameterError
from ..events import Event
from ..rational import exact
from ..sensitivity import Adjacency, Unit
from .amounts import GRID, Number, read, spell, up
from .costs import ADJACENCY, Cost, check_adjacency, check_unit, floor_fraction, from_plain, relation_of, to_plain
from .kinds import Composition, Kind, best_order
from .records import LATEST

LONGEST_NAME = 200
MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def check_name(value: object, what: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that is safe to print and has one spelling; raise PrivacyParameterError otherwise."""
    good = isinstance(value, str) and 0 < len(value) <= longest and value == value.strip()
    if not (
        isinstance(value, str)
        and good
        and unicodedata.is_normalized("NFC", value)
        and not any(unicodedata.category(character) in _HIDDEN for character in value)
    ):
        raise PrivacyParameterError(
            f"{what} = {value!r} must be text of 1 to {longest} visible characters (NFC), without spaces at its ends"
        )
    return str(value)  # of a kind that databases take


def to_microseconds(moment: datetime, what: str = "the time") -> int:
    """Return whole microseconds since 1970 UTC; raise PrivacyParameterError for a moment without a time zone."""
    if not isinstance(moment, datetime) or moment.tzinfo is None or moment.utcoffset() is None:
        raise PrivacyParameterError(f"{what} = {moment} needs a time zone; for example datetime.now(timezone.utc)")
    if not _EPOCH <= moment < LATEST:
        raise PrivacyParameterError(f"{what} = {moment} must lie between 1970 and 9000")
    return (moment - _EPOCH) // MICROSECOND


def from_microseconds(count: int) -> datetime:
    """Return the moment in UTC."""
    return _EPOCH + count * MICROSECOND


@dataclass(frozen=True)
class Budget:
    """The terms of a budget, fixed at creation.

    Attributes:
        name: of the data subject, data set or project; 1 to 200 visible characters.
        epsilon, delta: the limit for each period. Strings and Decimals are exact decimals, floats their binary values;
            kept as Fractions on the ledger's grid of 10**-30, rounded down (floats up, as costs are, but for a delta
            that is converted at). delta > 0 there unless the composition is SUM.
        adjacency: what every spend must be stated for.
        unit: whose loss is counted: all that one client hands in, or one record of it. What states another unit is not
            paid; but a record budget for REPLACE_ONE takes what is stated for clients.
        composition: how spends add up; see `Composition`.
        kind: whose budget this is.
        order: RENYI only: the order above 1 at which divergence is added up; by default the best for Gaussian noise.
        event: RELEASES only: the one release that is counted.
        renews: a fresh allowance after each period of this length from the creation on, None for never. What all
            periods reveal together adds up all the same: with renewal the limit is one of each period.
        expires: no reservations from this moment on (with a time zone), None for never.

    Raises:
        PrivacyParameterError: terms that are impossible or contradict one another.
    """

    name: str
    epsilon: Fraction
    delta: Fraction
    adjacency: Adjacency
    unit: Unit
    composition: Composition
    kind: Kind
    order: float | None
    event: Event | None
    renews: timedelta | None
    expires: datetime | None

    def __init__(
        self,
        name: str,
        epsilon: Number,
        delta: Number = 0,
        *,
        adjacency: Adjacency | str,
        unit: Unit | str = Unit.CLIENT,
        composition: Composition | str = Composition.SUM,
        kind: Kind | str = Kind.PROJECT,
        order: float | None = None,
        event: Event | None = None,
        renews: timedelta | None = None,
        expires: datetime | None = None,
    ) -> None:
        def keep(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        keep("name", check_name(name, "name"))
        keep("epsilon", floor_fraction(epsilon, "epsilon"))
        keep("composition", _member(Composition, composition, "composition"))
        keep("delta", floor_fraction(delta, "delta", is_spent=self.composition is Composition.SUM))
        keep("adjacency", check_adjacency(adjacency))
        keep("unit", _member(Unit, unit, "unit"))
        keep("kind", _member(Kind, kind, "kind"))
        keep("order", order)
        keep("event", event)
        keep("renews", renews)
        if expires is not None:
            to_microseconds(expires, "expires")
        keep("expires", None if expires is None else expires.astimezone(UTC))
        self._check_limit()
        self._check_composition()
        if renews is not None and not (isinstance(renews, timedelta) and timedelta(seconds=1) <= renews):
            raise PrivacyParameterError(f"renews = {renews!r} must be a period of at least a second")

    def _check_limit(self) -> None:
        if not 0 <= self.delta < 1 or self.epsilon <= 0:
            raise PrivacyParameterError(
                f"a limit of epsilon = {float(self.epsilon):g}, delta = {float(self.delta):g} allows nothing or "
                "everything; give epsilon > 0 and 0 <= delta < 1, well below one over the number of records"
            )
        if self.delta == 0 and self.composition is not Composition.SUM:
            raise PrivacyParameterError(
                f"composition {self.composition} converts at a delta, and this is below 1e-30; give more, such as 1e-6"
            )

    def _check_composition(self) -> None:
        if (self.order is not None and self.composition is not Composition.RENYI) or (
            (self.event is not None) is not (self.composition is Composition.RELEASES)
        ):
            raise PrivacyParameterError(
                "order goes with composition 'renyi'; event goes with composition 'releases', which needs it"
            )
        if self.composition is Composition.RENYI:
            order: Any = best_order(float(self.epsilon), float(self.delta)) if self.order is None else self.order
            if not 1 < exact(order, "order") <= 2**20:
                raise PrivacyParameterError(f"order = {order!r} must be a number above 1 and at most {2**20}")
            object.__setattr__(self, "order", float(order))
        if self.event is not None:
            if isinstance(self.event, Cost) or relation_of(self.event) is not self.adjacency:
                raise PrivacyParameterError(
                    f"the event of one release must be an event for {self.adjacency} adjacency, as the budget is"
                )
            check_unit(self.event, self.unit, f"budget {self.name!r}")
            to_plain(self.event)

    def plain(self) -> dict[str, Any]:
        """Return the terms as values that JSON can hold; a unit only if it is no client, as trails had none before."""
        unit = {} if self.unit is Unit.CLIENT else {"unit": str(self.unit)}
        return unit | {
            "epsilon": spell(up(self.epsilon)),
            "delta": spell(up(self.delta)),
            ADJACENCY: str(self.adjacency),
            "composition": str(self.composition),
            "kind": str(self.kind),
            "order": self.order,
            "event": None if self.event is None else to_plain(self.event),
            "renews": None if self.renews is None else self.renews // MICROSECOND,
            "expires": None if self.expires is None else to_microseconds(self.expires),
        }

    @classmethod
    def from_plain(cls, name: str, plain: dict[str, Any]) -> Budget:
        """Return the budget whose terms these are; raise ValueError or PrivacyParameterError for anything else."""
        renews, expires, event = plain["renews"], plain["expires"], plain["event"]
        budget = cls(
            name,
            Fraction(read(plain["epsilon"]), 10**30),
            Fraction(read(plain["delta"]), 10**30),
            adjacency=plain[ADJACENCY],
            unit=plain.get("unit", Unit.CLIENT),
            composition=plain["composition"],
            kind=plain["kind"],
            order=plain["order"],
            event=None if event is None else from_plain(event),  # type: ignore[arg-type]
            renews=None if renews is None else renews * MICROSECOND,
            expires=None if expires is None else from_microseconds(expires),
        )
        if json.dumps(budget.plain(), sort_keys=True) != json.dumps(plain, sort_keys=True):
            raise ValueError("terms that this version does not write")
        return budget

    def period_at(self, created: int, now: int) -> int:
        """Return the number of the period at a time, both in microseconds; 0 is the one in which it was created."""
        return 0 if self.renews is None else max(0, now - created) // (self.renews // MICROSECOND)

    def is_over(self, now: int) -> bool:
        """Tell whether nothing can be reserved any more at a time in microseconds."""
        return self.expires is not None and now >= to_microseconds(self.expires)

    def renewal_after(self, created: int, period: int) -> datetime | None:
        """Return when the period ends, None if it never does, or not before the year 9000."""
        if self.renews is None:
            return None
        end = created + (period + 1) * (self.renews // MICROSECOND)
        return from_microseconds(end) if end < to_microseconds(LATEST - MICROSECOND) else None


def _member(kind: type[StrEnum], value: object, what: str) -> StrEnum:
    try:
        return kind(value)  # type: ignore[arg-type]
    except ValueError:
        raise PrivacyParameterError(f"{what} = {value!r} must be one of {', '.join(kind)}") from None


def as_before(budget: Budget) -> Budget:
    """Return the terms as trails of before have them: a float delta that is converted at was rounded up, not down."""
    before = copy(budget)
    if budget.composition is not Composition.SUM:
        object.__setattr__(before, "delta", budget.delta + Fraction(1, GRID))
    return before
