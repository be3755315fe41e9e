"""A simulated private round whose noise is held against the promise: what `secagg round --epsilon` runs.

The sum less the plain sum must look like the noise of the survivors: as much as planned, and not a part in a hundred
less (on long vectors). Where a ledger is given, the round is paid for before it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dp.rotation import rotate

from ..core.machine import Inputs
from ..inputs.noisy_floats import rotation_seed
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from ..privacy.explanation import facts as plan_facts
from ..privacy.plans import PrivatePlan
from .checked import round_facts
from .drawn import SimulatedInputs, plain_sum
from .masked import Simulation, SimulationReport, choose_drops
from .paid import pay

if TYPE_CHECKING:
    from dp.ledger import Ledger

_DOUBT = math.log(2e9)
"""True noise is called wrong less than once in 10**9 rounds."""


@dataclass(frozen=True)
class CheckedPrivateRound:
    """A private round's outcome, and how its noise compares with the promise.

    Attributes:
        plan: what was promised.
        report: what the round cost.
        drops: who vanished, and when.
        noise_measured: root mean square of what the sum is off by, in steps.
        as_promised: whether that is what the survivors' noise comes to, with the rounding of their vectors.
    """

    plan: PrivatePlan
    report: SimulationReport
    drops: Mapping[ServerPhase, frozenset[str]]
    noise_measured: float
    as_promised: bool

    def facts(self) -> dict[str, Any]:
        """Return what the command prints as JSON."""
        result, plan = self.report.result, self.plan
        survivors = len(result.survivors)
        privacy = plan_facts(plan) | {
            "epsilon_achieved": result.epsilon(plan.delta, plan.adjacency),
            "honest_achieved": plan.config.honest(survivors),
            "noise_expected": plan.codec.share.local_sigma * math.sqrt(survivors),
            "noise_measured": self.noise_measured,
            "sum_deviation": plan.sum_deviation(survivors),
        }
        return {
            "noise_as_promised": self.as_promised,
            **round_facts(plan.config, self.report, self.drops),
            "privacy": privacy,
        }


class _Updates(SimulatedInputs):
    """Float vectors of which some are too long, and the sum of what they are clipped to."""

    def __init__(self, plan: PrivatePlan, seed: int) -> None:
        self._name, self._length, self._l2_clip = plan.name, plan.length, plan.l2_clip
        super().__init__(plan.config.num_clients, seed, np.zeros(plan.length))

    def draw(self, rng: np.random.Generator) -> tuple[Inputs, npt.NDArray[np.floating[Any]]]:
        values = rng.random(self._length, dtype=np.float32) - np.float32(0.5)
        # From half of the clip to half beyond it, so that clipping is part of what is compared.
        norm = self._l2_clip * (0.5 + rng.random())
        values *= np.float32(norm / max(1e-30, float(np.linalg.norm(values))))
        return Inputs({self._name: values}), values * min(1.0, self._l2_clip / float(np.linalg.norm(values)))


def run_checked_private_round(
    plan: PrivatePlan,
    drop_fractions: Mapping[ServerPhase, float],
    *,
    seed: int,
    workers: int = 1,
    budget: tuple[Ledger, str] | None = None,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> CheckedPrivateRound:
    """Run a private round on simulated data, and hold the noise of its sum against the plan.

    `budget` is a ledger, and the name of the budget in it that pays. `workers` is how many processes the clients live
    in (`Simulation`).

    Raises:
        SecAggError: the round ended without a sum.
        LedgerError: the budget does not allow the round, which was not run; or it was, and is not paid for properly:
            its reservation stays, and counts as spent.
    """
    config, codec = plan.config, plan.codec
    drops = choose_drops(config.num_clients, drop_fractions, np.random.default_rng(seed))
    if workers == 1:  # else all processes do, at the same time
        warm_up(config)
    simulation = Simulation(config, _Updates(plan, seed), drops, workers=workers, on_progress=on_progress)
    report = simulation.run() if budget is None else pay(*budget, plan, simulation)
    plain, _ = plain_sum(report.sources)
    signs = rotation_seed(report.session_id, plan.name)
    off = report.result.levels[plan.name] - rotate(plain, signs) * codec.spec.scale
    measured, entries = float(np.dot(off, off)), off.size
    survivors = len(report.result.survivors)
    # Laurent, Massart (2000), lemma 1: the tails of chi-squared. Rounding adds up to a quarter of a step squared each.
    noise = survivors * codec.share.local_sigma**2
    least = noise * (entries - 2 * math.sqrt(entries * _DOUBT))
    most = (noise + survivors / 4) * (entries + 2 * math.sqrt(entries * _DOUBT) + 2 * _DOUBT)
    return CheckedPrivateRound(plan, report, drops, math.sqrt(measured / entries), least <= measured <= most)
