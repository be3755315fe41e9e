"""What a client demands of a round, whatever the server proposes."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from dp.accounting import epsilon_of
from dp.distributed import Goal
from dp.errors import DpError
from dp.events import Repeated
from dp.sensitivity import Adjacency
from secagg.errors import ParameterError

from ..core.threat_model import MAX_BAD_FRACTION, Adversary
from .config import RoundConfig


@dataclass(frozen=True)
class PrivacyDemand:
    """The noise that a client insists on: `rounds` rounds like this one must be (epsilon, delta)-private for it.

    The client computes it from the noise that it adds itself and from the fewest honest clients of a sum; no epsilon
    is taken from the server, and no sampling counted on, since the server knows whom it invites. It holds against the
    adversary of the round, and if no more of the invited are corrupt than `corrupt_fraction` or the round says.

    Args:
        epsilon: > 0.
        delta: in (0, 1).
        rounds: how many rounds the client is ready to take part in. A `Client` is one session and remembers no others:
            whoever runs it counts, and accepts no more than these.
        adjacency: ADD_REMOVE: its contribution could as well be zero; REPLACE_ONE: any other.
        corrupt_fraction: the fraction of the invited whose noise is not counted on, even if the round says fewer.

    Raises:
        ParameterError: a value is out of range.
    """

    epsilon: float
    delta: float
    rounds: int = 1
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    corrupt_fraction: float = 0.1

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            Goal(self.adjacency, self.delta, epsilon=self.epsilon, rounds=self.rounds)
        except DpError as error:
            raise ParameterError(f"a demand on privacy: {error}") from None
        if not 0 <= self.corrupt_fraction <= MAX_BAD_FRACTION:
            raise ParameterError(
                f"corrupt_fraction is {self.corrupt_fraction!r}, but must be from 0 to {MAX_BAD_FRACTION}"
            )

    def check(self, config: RoundConfig) -> None:
        """Return if the round is private enough; raise ParameterError if not."""
        if not config.private:
            raise ParameterError("the round has no noise, but this client demands it: propose a private round")
        try:
            event = config.event(config.min_survivors - self._doubted(config), Adjacency(self.adjacency))
            spent = epsilon_of(Repeated(event, self.rounds), self.delta)
        except DpError as error:
            raise ParameterError(f"this client's demand on privacy cannot be checked: {error}") from None
        if not spent <= self.epsilon:  # True for NaN
            raise ParameterError(
                f"{self.rounds} rounds with this noise may cost epsilon {spent:.4g} at delta {self.delta:g}, but this "
                f"client demands at most {self.epsilon:g}: raise local_sigma or min_survivors"
            )

    def _doubted(self, config: RoundConfig) -> int:
        """Return how many more corrupt clients there may be than the round allows for."""
        model = config.threat_model
        believed = replace(model, corrupt_fraction=self.corrupt_fraction, dropout_fraction=0.0).max_corrupt
        return max(0, believed - model.max_corrupt)


@dataclass(frozen=True)
class ClientPolicy:
    """What a client demands of a round, whatever the server proposes.

    Args:
        adversary: the weakest adversary that the round must withstand.
        corrupt_fraction: the least fraction of corrupt clients that the round must withstand.
        min_clients: refuse rounds to which fewer are invited.
        min_neighbours: refuse to go on with fewer neighbours (the threshold always holds as well).
        min_survivors: refuse to unmask a sum of fewer inputs.
        privacy: refuse rounds without at least this noise; None takes what is proposed.
        min_participants: refuse private rounds whose sums may have fewer inputs.
    """

    adversary: Adversary = Adversary.CURIOUS_SERVER
    corrupt_fraction: float = 0.0
    min_clients: int = 2
    min_neighbours: int = 1
    min_survivors: int = 2
    privacy: PrivacyDemand | None = None
    min_participants: int = 10

    def check(self, config: RoundConfig) -> None:
        """Return if the round meets the policy; raise ParameterError with the first demand that it does not meet."""
        model = config.threat_model
        if model.adversary.strength < self.adversary.strength:
            raise ParameterError(f"the round withstands a {model.adversary}, but this client demands {self.adversary}")
        if model.corrupt_fraction < self.corrupt_fraction:
            raise ParameterError(
                f"the round withstands a fraction of {model.corrupt_fraction} corrupt clients, but this client demands "
                f"{self.corrupt_fraction}"
            )
        participants = self.min_participants if config.private else 0
        for what, proposed, noun, demanded in (
            ("invites", model.num_clients, "clients", self.min_clients),
            ("gives each client", config.topology.degree, "neighbours", self.min_neighbours),
            ("may sum as few as", config.min_survivors, "inputs", self.min_survivors),
            ("is private and may sum as few as", config.min_survivors, "inputs", participants),
        ):
            if proposed < demanded:
                raise ParameterError(f"the round {what} {proposed} {noun}, but this client demands {demanded}")
        if self.privacy is not None:
            self.privacy.check(config)
