"""The privacy ledger: budgets that survive crashes and cannot be overspent, with an audit trail."""

from .budgets import Budget
from .costs import Cost, Spend
from .kinds import Composition, Kind
from .ledger import Ledger
from .planned import budget_for
from .records import Record, RecordKind
from .verification import Verified
from .views import Lifetime, ParticipantView, Reservation, ReservationStatus, Status

__all__ = [
    "Budget",
    "Composition",
    "Cost",
    "Kind",
    "Ledger",
    "Lifetime",
    "ParticipantView",
    "Record",
    "RecordKind",
    "Reservation",
    "ReservationStatus",
    "Spend",
    "Status",
    "Verified",
    "budget_for",
]
