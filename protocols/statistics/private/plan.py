"""How a question becomes one private vector of a session, with noise for its price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dp.errors import DpError
from dp.sensitivity import Unit, round_up
from secagg.errors import ParameterError

from ...core.threat_model import ThreatModel
from ...masking.config import RoundConfig
from ...masking.result import RoundResult
from ...masking.topology import GraphKind
from ...privacy.plans import MIN_PARTICIPANTS, PrivatePlan
from ..kinds import Key
from .features import Features
from .question import PrivateQuestion

ROUNDING_SHARE = 0.02
"""The most that random rounding of rows adds to the variance of the noise."""
LEAST_STEPS = 1000.0
"""Of one unit's bound: so many integer steps at least, so that the room below costs half a hundredth at most."""
ROOM = 4.0
"""Steps between what a row adds and the bound it is clipped to. So none is clipped; and none is rounded anew, which
would draw it towards zero, but with a probability below 2^-45."""


@dataclass(frozen=True, kw_only=True)
class NoisyPlan:
    """One session that answers a question: `plan.config` goes to the `Server`; `plan.rounds` is paid for.

    Args:
        question: what is asked, and what it may cost.
        threat_model: who takes part and what may go wrong.
        min_participants: fewer inputs are never summed.
        graph: as in `RoundConfig`.

    Raises:
        ParameterError: no noise or encoding serves it; the text says what would.
    """

    question: PrivateQuestion
    threat_model: ThreatModel
    min_participants: int = MIN_PARTICIPANTS
    graph: GraphKind | None = None

    def __post_init__(self) -> None:
        """Derive everything once, so that what is impossible is refused here."""
        _ = self.rounds

    @cached_property
    def features(self) -> Features:
        """The totals, and what one row adds to them."""
        return Features(self.question.query)

    @cached_property
    def rounds(self) -> PrivatePlan:
        """The plan of the one vector: it has the configuration, the cost and the ways to pay."""
        question, features = self.question, self.features
        of_records = question.unit is Unit.RECORD
        bound = features.sensitivity * (1 if of_records else question.query.max_rows)
        common = {
            "threat_model": self.threat_model,
            "length": features.length,
            "epsilon": question.epsilon,
            "delta": question.delta,
            "adjacency": question.adjacency,
            "unit": question.unit,
            "min_participants": self.min_participants,
            "graph": self.graph,
            "name": question.name,
        }
        multiplier = PrivatePlan(**common, l2_clip=bound).goal.gaussian_multiplier()  # type: ignore[arg-type]
        rows = question.query.max_rows if of_records else 1
        steps = max(LEAST_STEPS, math.sqrt(self.threat_model.num_clients * rows / (4 * ROUNDING_SHARE)) / multiplier)
        clip = round_up(bound * steps / (steps - ROOM))
        try:
            plan = PrivatePlan(**common, l2_clip=clip, least_steps=steps, max_records=rows)  # type: ignore[arg-type]
            fits = plan.codec.preparation.norm >= steps * (1 - 1e-9)
        except (DpError, ParameterError):  # what is not about room was refused above
            fits = False
        if not fits:
            raise ParameterError(
                f"max_rows is {question.query.max_rows}, for which sums have no room: state how many rows a client has "
                "at most"
            )
        return plan

    @property
    def config(self) -> RoundConfig:
        """The configuration that the server proposes."""
        return self.rounds.config

    def deviations(self, survivors: int) -> npt.NDArray[np.float64]:
        """Return the standard deviation of noise and rounding on each total, for so many inputs: float64 (length,).

        Rounding is counted as if each of them had `max_rows` rows at its worst, so that it tells of no rows.
        """
        question = self.question
        rows = survivors * (question.query.max_rows if question.unit is Unit.RECORD else 1)
        scale = self.rounds.codec.spec.scale
        one = math.hypot(self.rounds.sum_deviation(survivors), math.sqrt(rows) / 2 / scale)
        return np.asarray(one / self.features.weights)

    def decode(self, result: RoundResult) -> NoisyTotals:
        """Return the noisy totals of a session.

        Raises:
            ParameterError: the session was about another question.
        """
        values = result.sum(self.question.name) / self.features.weights
        return NoisyTotals(self.features, values, self.deviations(len(result.survivors)))


@dataclass(frozen=True)
class NoisyTotals:
    """Totals with noise, and how much of it there is.

    Attributes:
        features: what they are of.
        values: as released, nothing mended: counts may be fractions, or below 0.
        deviations: of the noise on each, which is near to Gaussian and independent, with rounding.
    """

    features: Features
    values: npt.NDArray[np.float64]
    deviations: npt.NDArray[np.float64]

    def at(self, block: Key, group: int = 0) -> slice:
        """Return where the cells of a block are in a group."""
        cells = self.features.cells(block)
        start = self.features.places[block].start + group * cells
        return slice(start, start + cells)

    def cells(self, block: Key, group: int = 0) -> tuple[npt.NDArray[np.float64], float]:
        """Return the totals of a block in a group, and the deviation of each."""
        at = self.at(block, group)
        return self.values[at], float(self.deviations[at.start])
