"""The privacy ledger: budgets that survive crashes and cannot be overspent, with an audit trail.

Names are loaded when first used, as in `dp` itself.
"""

from __future__ import annotations

from .._lazy import names_of

_HOMES = {
    "budgets": ("Budget",),
    "costs": ("Cost", "Spend"),
    "kinds": ("Composition", "Kind"),
    "ledger": ("Ledger",),
    "records": ("Record", "RecordKind"),
    "verification": ("Verified",),
    "views": ("ParticipantView", "Reservation", "ReservationStatus", "Status"),
}

__all__, __getattr__, __dir__ = names_of(__name__, _HOMES)
