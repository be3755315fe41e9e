"""The privacy ledger: budgets that survive crashes and cannot be overspent, with an audit trail.

Names are loaded when first used, as in `dp` itself.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "budgets": ("Budget",),
    "costs": ("Cost", "Spend"),
    "kinds": ("Composition", "Kind"),
    "ledger": ("Ledger",),
    "records": ("Record", "RecordKind"),
    "verification": ("Verified",),
    "views": ("ParticipantView", "Reservation", "ReservationStatus", "Status"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - computed from the one table


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
