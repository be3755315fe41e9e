"""Simulated private rounds that are paid for from a ledger."""

from __future__ import annotations

import os

from ..core.participants import Participants
from ..masking.transitions import ServerPhase
from ..privacy.payment import Purse
from ..privacy.plans import PrivateRound
from .masked import Simulation, SimulationReport


def pay(purse: Purse, plan: PrivateRound, simulation: Simulation) -> SimulationReport:
    """Run a simulated round between reservation and commitment; the clients are the ledger's participants.

    Raises:
        SecAggError: the round ended without a sum.
        LedgerError: the budget does not allow the round, which was not run; or it ran and could not be committed: its
            reservation stays, and its result is not returned.
    """
    tell = simulation.on_progress
    everyone = Participants.numbered(plan.threat_model.num_clients).names
    with purse.reserving(plan, os.urandom(16).hex(), everyone) as payment:

        def on_progress(phase: str, done: int, total: int) -> None:
            payment.revealing |= phase == ServerPhase.UNMASKING
            tell(phase, done, total)

        simulation.on_progress = on_progress
        report = simulation.run()
    purse.commit(payment, plan, report.result, sorted(report.result.survivors))
    return report
