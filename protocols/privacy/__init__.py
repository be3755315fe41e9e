"""Private rounds: planned from a goal, explained, and paid for from a ledger."""

from .explanation import explain
from .payment import Payment, Purse
from .plans import PrivateHistogram, PrivateRound

__all__ = ["Payment", "PrivateHistogram", "PrivateRound", "Purse", "explain"]
