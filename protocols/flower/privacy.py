"""Private rounds in a Flower app: what the server states about noise, and which budget pays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dp.accounting import epsilon_of
from dp.errors import LedgerStorageError, UnknownBudgetError
from dp.events import PoissonSampled
from dp.ledger import Ledger
from dp.sensitivity import Adjacency, Unit
from secagg.errors import ParameterError

from ..core.numbers import real, whole
from ..core.threat_model import ThreatModel
from ..masking.result import RoundResult
from ..masking.topology import GraphKind
from ..privacy.plans import MIN_PARTICIPANTS, PrivatePlan

_PLANNED = (
    *("l2_clip", "delta", "epsilon", "noise_multiplier", "rounds"),
    *("adjacency", "unit", "max_records", "sampling_rate"),
)
"""What a plan has under the same names."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What makes the rounds of a run private: `SecAgg(FedAvg(), privacy=Privacy(epsilon=8.0, ...))`.

    Updates are clipped to an L2 norm as a whole, all nodes weigh the same, and nothing but the update leaves a node:
    metrics stay there.

    With unit RECORD, training returns a change of the model for each record, instead of a model: arrays with one more
    axis in front, along which the records stand, such as minus the learning rate times their gradients. The node clips
    each, adds them up, and adds its noise; the server adds the sum over `expected_records` to the model.

    Args:
        l2_clip: nodes scale longer updates (the trained model minus the model sent) down to this L2 norm; with unit
            RECORD, longer changes of a record.
        delta: in (0, 1); well below one over the number of nodes.
        epsilon: the goal for all rounds together, or None where noise_multiplier is given.
        noise_multiplier: sigma over sensitivity of the noise in a sum, or None where epsilon is given.
        rounds: how many rounds the goal is for.
        adjacency: ADD_REMOVE or REPLACE_ONE.
        unit: whose change the noise covers: all that a CLIENT (a node) hands in, or one RECORD of it.
        max_records: with unit RECORD, the modulus has room for so many of each node.
        sampling_rate: with unit RECORD, the probability with which training takes each record into a round, by
            `dp.sample_records` on the node. The noise counts on it; a node does where its own demand says the same.
        expected_records: with unit RECORD, how many records of all nodes are in a round on average. It is fixed
            beforehand, since nobody is told how many there are.
        min_participants: fewer updates are never summed.
        budget: URL of the ledger that pays (a path, sqlite:/// or postgresql://), with `subject`; None for none.
        subject: the budget in the ledger.

    Raises:
        ParameterError: half of budget and subject, or a field of another kind. Goals and numbers are checked against
            each round's nodes.
    """

    l2_clip: float
    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    rounds: int = 1
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    unit: Unit = Unit.CLIENT
    max_records: int = 1
    sampling_rate: float = 1.0
    expected_records: float | None = None
    min_participants: int = MIN_PARTICIPANTS
    budget: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        """Take every field as what it is meant to be; check what does not depend on the nodes."""
        always = ("l2_clip", "delta", "sampling_rate")
        for name in (*always, "epsilon", "noise_multiplier", "expected_records"):
            if (value := getattr(self, name)) is not None or name in always:
                object.__setattr__(self, name, float(real(value, name, 0, sys.float_info.max)))
        for name in ("rounds", "max_records", "min_participants"):
            object.__setattr__(self, name, whole(getattr(self, name), name, 1))
        if self.adjacency not in tuple(Adjacency):
            raise ParameterError(f"adjacency is {self.adjacency!r}, but must be one of {', '.join(Adjacency)}")
        object.__setattr__(self, "adjacency", Adjacency(self.adjacency))  # a text would miss comparisons by identity
        if self.unit not in tuple(Unit):
            raise ParameterError(f"unit is {self.unit!r}, but must be one of {', '.join(Unit)}")
        object.__setattr__(self, "unit", Unit(self.unit))
        if (self.unit is Unit.RECORD) != bool(self.expected_records):
            raise ParameterError(
                "expected_records, above 0, goes with unit='record': without it a sum of records becomes no mean"
            )
        for name in ("budget", "subject"):
            if not isinstance(getattr(self, name), str | None):
                raise ParameterError(f"{name} is {getattr(self, name)!r}, but must be a text")
        if (self.budget is None) != (self.subject is None):
            raise ParameterError("budget names the ledger and subject the budget in it: give both or neither")

    def plan(
        self, model: ThreatModel, length: int, name: str, min_survivors: int, graph: GraphKind | None
    ) -> PrivatePlan:
        """Return the plan of one round; raise ParameterError where none serves the goal and these nodes."""
        participants = max(self.min_participants, min_survivors)
        if model.num_clients < participants:
            raise ParameterError(
                f"{model.num_clients} nodes can take part, but a private sum needs {participants}: raise "
                "min_train_nodes and min_available_nodes, or lower min_participants in Privacy"
            )
        return PrivatePlan(
            threat_model=model,
            length=length,
            min_participants=participants,
            graph=graph,
            name=name,
            **{field: getattr(self, field) for field in _PLANNED},
        )

    def epsilon_spent(self, result: RoundResult) -> float:
        """Return the epsilon at delta that a round, by itself, has cost each unit."""
        event = result.event(self.adjacency)
        return epsilon_of(event if self.sampling_rate == 1 else PoissonSampled(self.sampling_rate, event), self.delta)

    def mean_change(self, result: RoundResult) -> npt.NDArray[np.float64]:
        """Return by what a round moves the arrays of floats: by the mean over the survivors, or over records."""
        name = next(iter(result.levels))
        if self.expected_records is None:
            return result.mean(name)
        return np.asarray(result.sum(name) / self.expected_records)

    def check_budget(self) -> None:
        """Return if there is no budget to pay from, or it is there.

        Raises:
            ParameterError: there is no such ledger, or no such budget in it: no round of the run could be paid for.
        """
        try:
            with self.account() as account:
                if account is not None:
                    ledger, subject = account
                    ledger.status(subject)
        except (LedgerStorageError, UnknownBudgetError) as error:
            raise ParameterError(f"no round of this run could be paid for: {error}") from None

    @contextmanager
    def account(self) -> Iterator[tuple[Ledger, str] | None]:
        """Open the ledger that pays, if there is one; return it and the subject. Raise LedgerError if it cannot be."""
        if self.budget is None or self.subject is None:
            yield None
            return
        with Ledger.open(self.budget) as ledger:
            yield ledger, self.subject
