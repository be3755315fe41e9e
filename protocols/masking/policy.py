"""What a client demands of a round, whatever the server proposes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from msgspec.structs import replace

from dp.accounting import epsilon_of
from dp.distributed import Goal
from dp.errors import DpError
from dp.events import Event, PoissonSampled, Repeated
from dp.rational import number
from dp.sensitivity import Adjacency, Unit, named
from secagg.encoding import Rounding
from secagg.errors import ParameterError

from ..core.numbers import boolean, real, whole
from ..core.threat_model import MAX_BAD_FRACTION, MAX_CLIENTS, ROUNDING_SLACK, Adversary, ThreatModel
from ..inputs.vectors import FloatVector
from .config import RoundConfig
from .topology import GraphKind

_COUNTS = (
    "corrupt_clients",
    "min_clients",
    "max_clients",
    "min_neighbours",
    "max_neighbours",
    "min_survivors",
    "min_participants",
)


@dataclass(frozen=True)
class PrivacyDemand:
    """The noise that a client insists on: `rounds` rounds like this one must be (epsilon, delta)-private for it.

    The client computes epsilon itself, from the noise that it adds and from the fewest honest clients of a sum. It
    counts on no sampling, since the server knows whom it invites. It does count on the others: that all but the corrupt
    add their noise, and that no small group of them is summed apart. The latter takes a round that withstands a server
    which tells different clients different stories.

    Args:
        epsilon: > 0.
        delta: in (0, 1).
        rounds: how many rounds the client is ready to take part in. A `Client` is one session and remembers no others:
            whoever runs it counts, and accepts no more than these.
        adjacency: ADD_REMOVE: its contribution could as well be zero, or a record not be there; REPLACE_ONE: any other.
        unit: CLIENT: all that the client hands in is to be covered, by rounds with noise for clients. RECORD: each of
            its records. Noise for records does as it is. Noise for clients does where it covers a client that could be
            any other, since all that it hands in may hang on one record.
        corrupt_fraction: the fraction of the invited whose noise is not counted on, even if the round says fewer.
        sampling_rate: at which the client samples its own records for each round, by coins that it draws itself and
            tells nobody (`dp.sample_records`). Below 1 it counts on them, where the noise is for records.
        trusts_server: take the server's word on who survived. One lie, to a few clients, then voids the demand.

    Raises:
        ParameterError: a value is out of range.
    """

    epsilon: float
    delta: float
    rounds: int = 1
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    corrupt_fraction: float = 0.1
    trusts_server: bool = False
    unit: Unit = Unit.CLIENT
    sampling_rate: float = 1.0

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            Goal(self.adjacency, self.delta, epsilon=self.epsilon, rounds=self.rounds)
            object.__setattr__(self, "epsilon", float(self.epsilon))  # numpy's are written nowhere
            object.__setattr__(self, "delta", float(self.delta))
            object.__setattr__(self, "adjacency", named(Adjacency, self.adjacency))
            object.__setattr__(self, "unit", named(Unit, self.unit))
            object.__setattr__(self, "sampling_rate", number(self.sampling_rate, "sampling_rate"))
        except DpError as error:
            raise ParameterError(f"a demand on privacy: {error}") from None
        if self.sampling_rate > 1 or (self.sampling_rate < 1 and self.unit is Unit.CLIENT):
            raise ParameterError(
                f"sampling_rate is {self.sampling_rate}, but must be at most 1, and 1 where the unit is the client: a "
                "client that is left out takes its noise along"
            )
        object.__setattr__(self, "rounds", whole(self.rounds, "rounds", 1))
        object.__setattr__(
            self, "corrupt_fraction", real(self.corrupt_fraction, "corrupt_fraction", 0, MAX_BAD_FRACTION)
        )
        object.__setattr__(self, "trusts_server", boolean(self.trusts_server, "trusts_server"))

    def check(self, config: RoundConfig) -> None:
        """Return if the round is private enough; raise ParameterError if not."""
        if not config.private:
            raise ParameterError("the round has no noise, but this client demands it: propose a private round")
        adversary = config.threat_model.adversary
        if not self.trusts_server and not adversary.may_equivocate:
            raise ParameterError(
                f"the round withstands a {adversary}, whose one lie about who survived would leave this client without "
                f"the noise that it demands: propose {Adversary.SEMI_MALICIOUS_SERVER}, or demand with "
                "trusts_server=True"
            )
        try:
            spent = epsilon_of(Repeated(self.event(config), self.rounds), self.delta)
        except DpError as error:
            raise ParameterError(f"this client's demand on privacy cannot be checked: {error}") from None
        if not spent <= self.epsilon:  # True for NaN
            raise ParameterError(
                f"{self.rounds} rounds with this noise may cost epsilon {spent:.4g} at delta {self.delta:g} for each "
                f"{self.unit}, but this client demands at most {self.epsilon:g}: raise local_sigma or min_survivors"
            )

    def event(self, config: RoundConfig) -> Event:
        """Return what a round costs one unit at most, as this demand counts it: what a ledger of the client's takes.

        Raises:
            ParameterError: the round is not private, or all whose noise is in a sum may be corrupt.
        """
        doubted = max(0, self._believed(config) - config.threat_model.max_corrupt)
        event = config.event(config.min_survivors - doubted, self.adjacency, self.unit)
        sampled = config.unit is Unit.RECORD and self.sampling_rate < 1
        return PoissonSampled(self.sampling_rate, event) if sampled else event

    def _believed(self, config: RoundConfig) -> int:
        """Return how many corrupt clients there may be by this demand's own fraction."""
        return replace(config.threat_model, corrupt_fraction=self.corrupt_fraction, dropout_fraction=0.0).max_corrupt


@dataclass(frozen=True)
class EncodingDemand:
    """How floats may be encoded at all, whatever the server proposes.

    A server that chose the encoding freely would choose what a sum says: rounding to nearest in few bits makes it a
    count of chosen bits, and one large weight drowns all other inputs. Private vectors have noise instead, and are not
    held against this.

    Args:
        rounding: None takes any.
        min_value_bits: of an encoded coordinate.
        min_clip, max_clip: the range of clips.
        max_weight: the largest weight of any client; None takes any.
    """

    rounding: Rounding | None = Rounding.STOCHASTIC
    min_value_bits: int = 8
    min_clip: float = 0.0
    max_clip: float = math.inf
    max_weight: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            object.__setattr__(self, "rounding", self.rounding and Rounding(self.rounding))
        except ValueError:
            raise ParameterError(
                f"rounding is {self.rounding!r}, but must be one of {', '.join(Rounding)}, or None for any"
            ) from None
        object.__setattr__(self, "min_value_bits", whole(self.min_value_bits, "min_value_bits", 0))
        object.__setattr__(self, "min_clip", real(self.min_clip, "min_clip", 0))
        object.__setattr__(self, "max_clip", real(self.max_clip, "max_clip", 0))
        if self.max_weight is not None:
            object.__setattr__(self, "max_weight", whole(self.max_weight, "max_weight", 1))

    def check(self, config: RoundConfig) -> None:
        """Return if every vector of floats is encoded as demanded; raise ParameterError if not."""
        if self.max_weight is not None and config.max_weight > self.max_weight:
            raise ParameterError(
                f"the round has weights up to {config.max_weight}, but this client demands at most {self.max_weight}"
            )
        for spec in config.vectors:
            if not isinstance(spec, FloatVector):
                continue
            if self.rounding is not None and spec.rounding != self.rounding:
                raise ParameterError(
                    f"the round rounds {spec.name!r} to {spec.rounding}, but this client demands {self.rounding}: "
                    "propose that, or demand with EncodingDemand(rounding=None)"
                )
            if spec.value_bits < self.min_value_bits:
                raise ParameterError(
                    f"the round encodes {spec.name!r} in {spec.value_bits} bits, but this client demands at least "
                    f"{self.min_value_bits}"
                )
            if not self.min_clip <= spec.clip <= self.max_clip:
                raise ParameterError(
                    f"the round clips {spec.name!r} at {spec.clip:g}, but this client demands from {self.min_clip:g} "
                    f"to {self.max_clip:g}"
                )


@dataclass(frozen=True)
class ClientPolicy:
    """What a client demands of a round, whatever the server proposes. The defaults are for those who read nothing.

    Args:
        adversary: the weakest adversary that the round must withstand.
        corrupt_fraction: the least fraction of corrupt clients, of those invited, that the round must withstand.
        corrupt_clients: the least number of them. Whoever knows how many of a population may be corrupt says so here:
            a server may invite all of those, and one other.
        min_clients: refuse rounds to which fewer are invited.
        max_clients: refuse rounds to which more are invited.
        min_neighbours: refuse to go on with fewer neighbours (the threshold always holds as well).
        max_neighbours: refuse rounds with more: each costs two key agreements and a mask.
        min_survivors: refuse to unmask a sum of fewer inputs.
        min_survivor_fraction: refuse rounds that may sum fewer of those invited.
        takes_ring: take part on the graph `ring-for-random-dropouts` too, where a server that chooses who is late has
            a few clients summed apart.
        encoding: how floats may be encoded; None takes what is proposed.
        privacy: refuse rounds without at least this noise; None takes what is proposed.
        min_participants: refuse private rounds whose sums may have fewer inputs.

    Raises:
        ParameterError: a value is out of range.
    """

    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER
    corrupt_fraction: float = 0.1
    corrupt_clients: int = 0
    min_clients: int = 5
    max_clients: int = 100_000
    min_neighbours: int = 3
    max_neighbours: int = 1_000
    min_survivors: int = 4
    min_survivor_fraction: float = 0.5
    takes_ring: bool = False
    encoding: EncodingDemand | None = field(default_factory=EncodingDemand)
    privacy: PrivacyDemand | None = None
    min_participants: int = 10

    def __post_init__(self) -> None:
        """Check every field."""
        try:
            object.__setattr__(self, "adversary", Adversary(self.adversary))
        except ValueError:
            raise ParameterError(
                f"adversary is {self.adversary!r}, but must be one of {', '.join(Adversary)}"
            ) from None
        object.__setattr__(
            self, "corrupt_fraction", real(self.corrupt_fraction, "corrupt_fraction", 0, MAX_BAD_FRACTION)
        )
        least = real(self.min_survivor_fraction, "min_survivor_fraction", 0, 1)
        object.__setattr__(self, "min_survivor_fraction", least)
        object.__setattr__(self, "takes_ring", boolean(self.takes_ring, "takes_ring"))
        for name in _COUNTS:
            object.__setattr__(self, name, whole(getattr(self, name), name, 0, MAX_CLIENTS))

    @classmethod
    def permissive(cls, privacy: PrivacyDemand | None = None) -> ClientPolicy:
        """Return the policy of a client that takes what it is offered, for trials and tests: it protects nobody."""
        return cls(
            adversary=Adversary.CURIOUS_SERVER,
            corrupt_fraction=0.0,
            min_clients=2,
            max_clients=MAX_CLIENTS,
            min_neighbours=1,
            max_neighbours=MAX_CLIENTS,
            min_survivors=2,
            min_survivor_fraction=0.0,
            takes_ring=True,
            encoding=None,
            privacy=privacy,
            min_participants=2,
        )

    def check_model(self, model: ThreatModel) -> None:
        """Return if the threat model, all by itself, meets the policy: what costs nothing to look at comes first."""
        if model.adversary.strength < self.adversary.strength:
            raise ParameterError(f"the round withstands a {model.adversary}, but this client demands {self.adversary}")
        if model.corrupt_fraction < self.corrupt_fraction:
            raise ParameterError(
                f"the round withstands a fraction of {model.corrupt_fraction} corrupt clients, but this client demands "
                f"{self.corrupt_fraction}"
            )
        if model.max_corrupt < self.corrupt_clients:
            raise ParameterError(
                f"the round withstands {model.max_corrupt} corrupt clients, but this client demands "
                f"{self.corrupt_clients}: invite more, or raise corrupt_fraction"
            )
        if model.num_clients < self.min_clients:
            raise ParameterError(
                f"the round invites {model.num_clients} clients, but this client demands {self.min_clients}"
            )
        if model.num_clients > self.max_clients:
            raise ParameterError(
                f"the round invites {model.num_clients} clients, but this client takes part with at most "
                f"{self.max_clients}: raise max_clients"
            )

    def check(self, config: RoundConfig) -> None:
        """Return if the round meets the policy; raise ParameterError with the first demand that it does not meet."""
        self.check_model(config.threat_model)
        fewest = math.ceil((self.min_survivor_fraction - ROUNDING_SLACK) * config.num_clients)
        participants = self.min_participants if config.private else 0
        for what, proposed, noun, demanded in (
            ("gives each client", config.topology.degree, "neighbours", self.min_neighbours),
            ("may sum as few as", config.min_survivors, "inputs", max(self.min_survivors, fewest)),
            ("is private and may sum as few as", config.min_survivors, "inputs", participants),
        ):
            if proposed < demanded:
                raise ParameterError(f"the round {what} {proposed} {noun}, but this client demands {demanded}")
        if config.topology.degree > self.max_neighbours:
            raise ParameterError(
                f"the round gives each client {config.topology.degree} neighbours, but this client takes part with at "
                f"most {self.max_neighbours}: raise max_neighbours"
            )
        if config.topology.graph is GraphKind.RING_FOR_RANDOM_DROPOUTS and not self.takes_ring:
            raise ParameterError(
                f"the round's graph is {config.topology.graph}, where a server that chooses who is late has a few "
                f"clients summed apart: propose {GraphKind.RANDOM_CYCLES}, or take it with takes_ring=True"
            )
        if self.encoding is not None:
            self.encoding.check(config)
        if self.privacy is not None:
            self.privacy.check(config)
