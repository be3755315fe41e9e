"""Private rounds: planned from a goal, explained, and paid for from a ledger."""

from .explanation import explain
from .payment import PaidRound
from .plans import HistogramPlan, PrivatePlan

__all__ = ["HistogramPlan", "PaidRound", "PrivatePlan", "explain"]
