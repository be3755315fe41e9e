"""What a round costs before it is run: counted work times measured unit costs, with the error of the estimate."""

from .counts import Session, Stored, Work
from .estimate import Estimate, of_groups, of_session, planned_groups
from .table import Quantity, Span, Table, shipped

__all__ = [
    "Estimate",
    "Quantity",
    "Session",
    "Span",
    "Stored",
    "Table",
    "Work",
    "of_groups",
    "of_session",
    "planned_groups",
    "shipped",
]
