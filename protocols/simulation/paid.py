"""Simulated private rounds that are paid for from a ledger."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.participants import Participants
from ..masking.config import RoundConfig
from ..masking.server import Server
from ..privacy.payment import PaidRound, Payable
from .masked import Simulation, SimulationReport

if TYPE_CHECKING:
    from dp.ledger import Ledger


def pay(ledger: Ledger, subject: str, plan: Payable, simulation: Simulation) -> SimulationReport:
    """Run a simulated round of a plan between reservation and commitment.

    Raises:
        SecAggError: the round ended without a sum.
        LedgerError: the budget does not allow the round, which was not run; or it ran and could not be committed: its
            reservation stays, and its result is not returned.
    """
    with ExitStack() as stack:
        rounds: list[PaidRound] = []

        def make_server(config: RoundConfig, participants: Participants) -> Server:
            rounds.append(stack.enter_context(plan.reserving(ledger, subject, participants)))
            return rounds[0].server()

        report = replace(simulation, make_server=make_server).run()
        rounds[0].commit()
        return report
