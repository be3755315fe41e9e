"""Private rounds: planned from a goal, explained, and paid for from a ledger."""

from .explanation import explain
from .joint import JointPlan, PlannedCounts, PlannedVector, weighed
from .payment import PaidRound
from .plans import HistogramPlan, PrivatePlan

__all__ = [
    "HistogramPlan",
    "JointPlan",
    "PaidRound",
    "PlannedCounts",
    "PlannedVector",
    "PrivatePlan",
    "explain",
    "weighed",
]
