"""Paying for private sessions from a ledger: the most before anything is asked for, what it was before the result.

The order is that of `privacy.payment`. Here the store says what was revealed: letters leave only after the dump that
knows of them is durable, and whoever lost its lease sends none. So a session that ended before it was revealed is
released, whichever process began it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dp.errors import UnknownBudgetError
from dp.events import Event, PoissonSampled

from ..masking.config import RoundConfig
from ..privacy.payment import round_id_of
from .sessions import Payment
from .views import BudgetView

if TYPE_CHECKING:
    from dp.ledger import Ledger, Reservation


class Purse:
    """A ledger, as sessions use it. Everything blocks. Every call may be repeated after a crash."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def reserve(self, session: str, payment: Payment, config: RoundConfig, names: Iterable[str]) -> None:
        """Reserve the most that a session may cost.

        Raises:
            LedgerError: the budget does not allow it, or the ledger fails; or the session was committed, as where an
                older copy of the store has forgotten that it was run.
        """
        event, round_id = _cost(payment, config, config.min_survivors), _round_id(session)
        self._ledger.reserve(
            payment.budget, event, round_id=round_id, participants=tuple(names), unit=config.unit, again=True
        )

    def commit(self, session: str, payment: Payment, config: RoundConfig, survivors: Iterable[str]) -> None:
        """Commit what a session has cost, before its result is kept; LedgerError: there is nothing to publish."""
        names = frozenset(survivors)
        self._ledger.commit(self._reservation(session, payment), _cost(payment, config, len(names)), participants=names)

    def release(self, session: str, payment: Payment) -> bool:
        """Release what a session that ended before anything was revealed had reserved, if it had.

        Returns:
            Whether the ledger knows of the session. If not, nothing was reserved, or not yet: whoever was about to may
            still be, in a thread that nobody can stop.
        """
        try:
            reservation = self._reservation(session, payment)
        except UnknownBudgetError:
            return False
        if reservation.status == "reserved":
            self._ledger.release(reservation, "ended before anything was asked for that opens the sum")
        return True

    def budgets(self) -> tuple[BudgetView, ...]:
        """Return all budgets and what is spent of them."""
        found = []
        for name in self._ledger.budgets():
            status = self._ledger.status(name)
            limit = status.budget
            found.append(BudgetView(name, float(limit.epsilon), float(limit.delta), float(status.epsilon)))
        return tuple(found)

    def _reservation(self, session: str, payment: Payment) -> Reservation:
        return self._ledger.reservation(payment.budget, _round_id(session))


def _round_id(session: str) -> str:
    return round_id_of(bytes.fromhex(session))


def _cost(payment: Payment, config: RoundConfig, inputs: int) -> Event:
    event = config.event(inputs, payment.adjacency)
    return event if payment.sampling_rate == 1 else PoissonSampled(payment.sampling_rate, event)
