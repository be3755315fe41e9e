"""Paying for private rounds from a ledger: what a round may cost is taken before it runs, what it did cost after it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import ThresholdError

from ..masking.result import RoundResult

if TYPE_CHECKING:
    from dp.ledger import Ledger, Reservation
from .plans import PrivateRound


@dataclass
class Payment:
    """A round that has been reserved for, while it runs.

    `revealing` says that clients are asked for shares: from then on the round cannot be given back.
    """

    reservation: Reservation
    revealing: bool = False


@dataclass(frozen=True)
class Purse:
    """A ledger, and the name of the budget in it that pays."""

    ledger: Ledger
    subject: str

    @contextmanager
    def reserving(self, plan: PrivateRound, round_id: str, participants: Collection[str]) -> Iterator[Payment]:
        """Reserve what a round may cost at most, for the time that it runs.

        The caller sets `revealing` before clients are asked for shares, and calls `commit` before the sum is used. A
        round that ends with ThresholdError before that is given back, since nothing was revealed. Of any other end
        this is not certain: the reservation stays, and counts as spent.

        Raises:
            LedgerError: the budget does not allow the round, which must not run.
        """
        payment = Payment(self.ledger.reserve(self.subject, plan.event(), round_id=round_id, participants=participants))
        try:
            yield payment
        except ThresholdError:
            if not payment.revealing:
                self.ledger.release(payment.reservation, "too few clients were left")
            raise

    def commit(self, payment: Payment, plan: PrivateRound, result: RoundResult, survivors: Collection[str]) -> None:
        """Say that a sum will be used, and what it did cost; if this raises, it must not be."""
        self.ledger.commit(payment.reservation, result.event(plan.adjacency), participants=survivors)
