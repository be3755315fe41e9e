"""Paying for private rounds from a ledger: what a round may cost is taken before it runs, what it did cost after it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dp.ledger import Ledger
from secagg.errors import ThresholdError

from .private_round import PrivateRound
from .simulation import Simulation, SimulationReport
from .transitions import ServerPhase


@dataclass(frozen=True)
class Purse:
    """A ledger, and the name of the budget in it that pays."""

    ledger: Ledger
    subject: str

    def pay(self, plan: PrivateRound, simulation: Simulation) -> SimulationReport:
        """Run a round between reservation and commitment; the clients are the ledger's participants.

        Raises:
            SecAggError: the round ended without a sum. It is given back to the budget if it ended before clients were
                asked for shares, since nothing was revealed; else its reservation stays, and counts as spent.
            LedgerError: the budget does not allow the round, which was not run; or it ran and could not be committed:
                its reservation stays, and its result is not returned.
        """
        reached: set[ServerPhase] = set()
        tell = simulation.on_progress

        def on_progress(phase: ServerPhase, done: int, total: int) -> None:
            reached.add(phase)
            tell(phase, done, total)

        simulation.on_progress = on_progress
        everyone = [f"client-{i}" for i in range(1, plan.threat_model.num_clients + 1)]
        round_id = os.urandom(16).hex()
        reservation = self.ledger.reserve(self.subject, plan.event(), round_id=round_id, participants=everyone)
        try:
            report = simulation.run()
        except ThresholdError:
            if ServerPhase.UNMASKING not in reached:
                self.ledger.release(reservation, "too few clients were left")
            raise
        survivors = [f"client-{i}" for i in sorted(report.result.survivors)]
        self.ledger.commit(reservation, report.result.event(plan.neighbours), participants=survivors)
        return report
