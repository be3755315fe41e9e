"""Private rounds: planned from a goal, explained, and paid for from a ledger."""

from .explanation import explain
from .joint import JointPlan, PlannedCounts, PlannedVector, weighed
from .payment import PaidRound
from .plans import HistogramPlan, PrivatePlan
from .records import sampled_gradients

__all__ = [
    "HistogramPlan",
    "JointPlan",
    "PaidRound",
    "PlannedCounts",
    "PlannedVector",
    "PrivatePlan",
    "explain",
    "sampled_gradients",
    "weighed",
]
