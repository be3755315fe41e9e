"""Private rounds in a Flower app: what the server states about noise, and which budget pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dp.errors import LedgerStorageError, UnknownBudgetError
from dp.ledger import Ledger
from dp.sensitivity import Adjacency
from secagg.errors import ParameterError

from ..core.threat_model import ThreatModel
from ..masking.topology import GraphKind
from ..privacy.plans import MIN_PARTICIPANTS, PrivatePlan


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """What makes the rounds of a run private: `SecAgg(FedAvg(), privacy=Privacy(epsilon=8.0, ...))`.

    Updates are clipped to an L2 norm as a whole, all nodes weigh the same, and nothing but the update leaves a node:
    metrics stay there.

    Args:
        l2_clip: nodes scale longer updates (the trained model minus the model sent) down to this L2 norm.
        delta: in (0, 1); well below one over the number of nodes.
        epsilon: the goal for all rounds together, or None where noise_multiplier is given.
        noise_multiplier: sigma over sensitivity of the noise in a sum, or None where epsilon is given.
        rounds: how many rounds the goal is for.
        adjacency: ADD_REMOVE or REPLACE_ONE.
        min_participants: fewer updates are never summed.
        budget: URL of the ledger that pays (a path, sqlite:/// or postgresql://), with `subject`; None for none.
        subject: the budget in the ledger.

    Raises:
        ParameterError: half of budget and subject. Goals and numbers are checked against each round's nodes.
    """

    l2_clip: float
    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    rounds: int = 1
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    min_participants: int = MIN_PARTICIPANTS
    budget: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        """Check what does not depend on the nodes."""
        if (self.budget is None) != (self.subject is None):
            raise ParameterError("budget names the ledger and subject the budget in it: give both or neither")

    def plan(
        self, model: ThreatModel, length: int, name: str, min_survivors: int, graph: GraphKind | None
    ) -> PrivatePlan:
        """Return the plan of one round; raise ParameterError where none serves the goal and these nodes."""
        participants = max(self.min_participants, min_survivors)
        if model.num_clients < participants:
            raise ParameterError(
                f"the strategy trains on {model.num_clients} nodes, but a private sum needs {participants}: raise "
                "min_train_nodes and min_available_nodes, or lower min_participants in Privacy"
            )
        return PrivatePlan(
            threat_model=model,
            length=length,
            l2_clip=self.l2_clip,
            delta=self.delta,
            epsilon=self.epsilon,
            noise_multiplier=self.noise_multiplier,
            rounds=self.rounds,
            adjacency=self.adjacency,
            min_participants=participants,
            graph=graph,
            name=name,
        )

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
