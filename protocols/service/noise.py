"""Noise in a session, as its operator asks for it: how private sums are, of whose change, and which budget pays."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from dp.sensitivity import Adjacency, Unit
from secagg.errors import ParameterError

from ..core.numbers import whole
from ..core.threat_model import ThreatModel
from ..inputs.vectors import FloatVector, IntegerVector
from ..privacy.joint import JointPlan, Part, PlannedCounts, PlannedVector
from ..privacy.plans import MIN_PARTICIPANTS, HistogramPlan, PrivatePlan, Rounds

Vector = FloatVector | IntegerVector | PlannedVector | PlannedCounts
VECTOR_KEYS = ("length", "l2_clip", "max_records", "share")
COUNTS_KEYS = ("bins", "max_total", "max_per_record", "least_count", "share")
"""What is said of vectors with noise. Clips that follow a quantile are not: they move from round to round. Nor is a
rate at which members sample records: terms do not state it, and a budget would count on coins that nobody throws."""
_MOST = 1 << 53
"""Of a bound on counts, and of rounds: beyond it not every whole number is a float."""
_UNSHARED = 1.0


@dataclass(frozen=True, kw_only=True)
class Private:
    """What makes a session's sums private.

    Args:
        epsilon: the goal for all rounds together.
        delta: in (0, 1); well below one over the number of units.
        budget: the name, in the service's ledger, of the one that pays.
        rounds: how many such sessions epsilon is for.
        unit: whose change the noise covers: all that a CLIENT hands in, or one RECORD of it.
        adjacency: what may differ of a unit; that of the budget.
        min_participants: fewer inputs are never summed.
    """

    epsilon: float
    delta: float
    budget: str
    rounds: int = 1
    unit: Unit = Unit.CLIENT
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    min_participants: int = MIN_PARTICIPANTS

    def plan(self, model: ThreatModel, parts: tuple[Vector, ...]) -> Rounds:
        """Return the plan of a session.

        Args:
            model: who takes part, and what may go wrong.
            parts: the vectors, each with a bound on what one unit gives in all.

        Raises:
            ParameterError: a vector has another bound, or no noise serves the goal; the text says what would.
        """
        goal: dict[str, Any] = {name: value for name, value in _said(self).items() if name != "budget"}
        goal |= {"rounds": whole(self.rounds, "rounds", 1, _MOST), "threat_model": model}
        planned = tuple(_bounded(part, self.unit) for part in parts)
        if len(planned) > 1:
            return JointPlan(parts=planned, **goal)
        keys = ("name", *VECTOR_KEYS, *COUNTS_KEYS)
        own = {name: value for name, value in _said(planned[0]).items() if name in keys}
        if own.pop("share") != _UNSHARED:
            raise ParameterError(f"vector {planned[0].name!r:.60} is alone: leave share out")
        return (PrivatePlan if isinstance(planned[0], PlannedVector) else HistogramPlan)(**own, **goal)


def _said(what: Any) -> dict[str, Any]:
    return {field.name: getattr(what, field.name) for field in fields(what)}


def _bounded(part: Vector, unit: Unit) -> Part:
    if not isinstance(part, PlannedVector | PlannedCounts):
        raise ParameterError(
            f"vector {part.name!r:.60} is in a private session: give length and l2_clip, for floats, or bins and "
            "max_total, for counts"
        )
    counts = ("max_total", "max_per_record", "least_count") if isinstance(part, PlannedCounts) else ("max_records",)
    settled: dict[str, Any] = {
        name: whole(getattr(part, name), f"{name} of vector {part.name!r:.60}", 0, _MOST) for name in counts
    }
    if unit is Unit.RECORD and isinstance(part, PlannedVector) and part.max_records == 1:
        raise ParameterError(
            f"vector {part.name!r:.60} has room for 1 record of each member: give max_records, in a file of sessions"
        )
    return replace(part, **settled)
