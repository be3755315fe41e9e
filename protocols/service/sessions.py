"""What an operator asks for, a session at a time, and the terms in which members read it."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import msgspec

from dp.sensitivity import Adjacency
from secagg.errors import ParameterError

from ..core.framing import printable
from ..core.participants import Participants
from ..masking.config import MAX_CONFIG_BYTES, RoundConfig, written_down
from ..masking.transitions import ServerPhase
from ..paillier.parameters import RoundParameters
from ..paillier.state import AggregatorPhase
from ..paillier.written import read_parameters, write_parameters
from ..privacy.payment import Payable
from ..statistics.plan import Plan
from ..statistics.query import MAX_QUERY_BYTES, Query, read_query
from ..statistics.release import ReleasePolicy
from .deadlines import Deadlines

TERMS_VERSION = 1
MAX_TITLE = 200
MAX_PAYLOAD_BYTES = 64 << 20
MAX_PARAMETERS_BYTES = 4 << 20
MAX_TERMS_BYTES = (MAX_PAYLOAD_BYTES + MAX_QUERY_BYTES + MAX_PARAMETERS_BYTES) * 4 // 3 + (64 << 20)


class Kind(StrEnum):
    """What a session is for, and so what members are asked for."""

    SUM = "sum"
    """Values of the named vectors."""
    STATISTICS = "statistics"
    """A site's totals for a query."""
    TRAINING = "training"
    """What training on the payload changes."""


class Audience(StrEnum):
    """Who may read a session's result."""

    MEMBERS = "members"
    OPERATOR = "operator"


class Which(StrEnum):
    """Which protocol a session runs."""

    MASKING = "masking"
    PAILLIER = "paillier"


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=False, dict=True):
    """What is asked of members: canonical JSON, bytes in base64.

    Attributes:
        version: 1.
        kind: what for.
        protocol: which one sums.
        title: what the operator calls it.
        participants: who is invited, in the order of their numbers; Paillier's contributors, then its committee.
        config: MessagePack of the `RoundConfig`, or what `protocols.paillier.written` makes of `RoundParameters`.
        query: MessagePack of the `Query`; empty where there is none.
        payload: what training starts from; empty where there is none.
        results_to: who may read the result.
    """

    version: int
    kind: Kind
    protocol: Which
    title: str
    participants: tuple[str, ...]
    config: bytes
    query: bytes
    payload: bytes
    results_to: Audience

    def __repr__(self) -> str:  # a payload is long
        return f"Terms(kind={self.kind}, title={self.title!r})"

    @cached_property
    def encoded(self) -> bytes:
        """The terms as they are sent."""
        return msgspec.json.encode(self)

    @cached_property
    def proposed(self) -> RoundConfig | RoundParameters:
        """What the session is configured by; raises ParameterError where the bytes are none."""
        if self.protocol is Which.PAILLIER:
            return read_parameters(self.config)
        return _read_config(self.config)

    @cached_property
    def asked(self) -> Query | None:
        """The query, where there is one; raises ParameterError where the bytes are none."""
        return read_query(self.query) if self.query else None

    def check(self) -> None:
        """Return if the parts fit together; raise ParameterError otherwise."""
        if self.version != TERMS_VERSION:
            raise ParameterError(f"the terms have version {self.version}, but this is version {TERMS_VERSION}")
        if not self.title.isprintable() or not 1 <= len(self.title) <= MAX_TITLE:
            raise ParameterError(f"a session's title must be printable text of 1 to {MAX_TITLE} characters")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ParameterError(
                f"the payload takes {len(self.payload):,} bytes, but may take {MAX_PAYLOAD_BYTES:,}: send less"
            )
        proposed, names = self.proposed, Participants(self.participants)
        if isinstance(proposed, RoundConfig):
            if len(names) != proposed.num_clients:
                raise ParameterError(
                    f"the round is of {proposed.num_clients} clients, but {len(names)} take part in the session"
                )
        elif set(self.participants) != {*proposed.contributors, *proposed.members}:
            raise ParameterError("the session's participants are not those of its Paillier parameters")
        if (self.kind is Kind.STATISTICS) != bool(self.query):
            raise ParameterError("a statistics session has a query, and no other session has one")
        vectors = proposed.vectors if isinstance(proposed, RoundConfig) else ()
        if self.asked is not None and vectors != Plan(self.asked).vectors:
            raise ParameterError("the session does not sum what its query asks for")
        if self.payload and self.kind is not Kind.TRAINING:
            raise ParameterError("only a training session has a payload")


def read_terms(data: bytes) -> Terms:
    """Return the terms that were written as these bytes.

    Raises:
        ParameterError: too long, no terms, terms that contradict themselves, or not written as they would be here.
    """
    if len(data) > MAX_TERMS_BYTES:
        raise ParameterError(f"the terms take {len(data):,} bytes, but may take {MAX_TERMS_BYTES:,}")
    try:
        terms = msgspec.json.decode(data, type=Terms)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError, binascii.Error) as error:
        raise ParameterError(f"these bytes are no terms of a session: {printable(error)}") from None
    terms.check()
    if msgspec.json.encode(terms) != data:  # not `encoded`, which would be kept beside them
        raise ParameterError("these bytes are terms that are written in another way")
    return terms


@dataclass(frozen=True)
class Payment:
    """From which budget a private session is paid, and how its cost is counted.

    Args:
        budget: the ledger's name of it.
        adjacency: of the budget.
        sampling_rate: with which clients let each of their records take part; 1 where they do not sample.
    """

    budget: str
    adjacency: Adjacency = Adjacency.ADD_REMOVE
    sampling_rate: float = 1.0

    @classmethod
    def of(cls, plan: Payable, budget: str) -> Payment:
        """Return how a round of a plan is paid for."""
        return cls(budget, plan.adjacency, plan.goal.sampling_rate)


@dataclass(frozen=True)
class SessionSpec:
    """One session that the service is to run.

    Args:
        title: what its operator calls it, 1 to 200 printable characters.
        config: of a masking session, private or not; or the parameters of a Paillier session.
        participants: who is invited to a masking session: members of the service by name, with their public keys where
            the adversary asks for identities. None for Paillier, whose parameters name them.
        kind: what for.
        query: of statistics; its plan's vectors are the config's.
        payload: what training starts from.
        release: what of a statistics session's totals is shown: `ReleasePolicy()` when None. Nothing else is kept.
        payment: how a private session is paid for. A private session without one is refused.
        deadlines: of its phases.
        results_to: who may read the result.

    Raises:
        ParameterError: the parts do not fit together; the text names the remedy.
    """

    title: str
    config: RoundConfig | RoundParameters
    participants: Participants | None = None
    kind: Kind = Kind.SUM
    query: Query | None = None
    payload: bytes = field(default=b"", repr=False)
    release: ReleasePolicy | None = None
    payment: Payment | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    results_to: Audience = Audience.OPERATOR

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if isinstance(self.config, RoundConfig):
            object.__setattr__(self, "config", written_down(self.config))
            if self.participants is None:
                raise ParameterError("a masking session needs participants: name the members that are invited")
            if self.config.private != (self.payment is not None):
                raise ParameterError(
                    "a private session is paid from a budget: give it a Payment"
                    if self.config.private
                    else "only a private session is paid for: leave the payment out"
                )
            if self.config.threat_model.adversary.needs_identities and not self.participants.keys:
                raise ParameterError(
                    "a malicious-server session needs everyone's public key: name them with their keys"
                )
        elif isinstance(self.config, RoundParameters):
            if self.participants is not None or self.payment is not None:
                raise ParameterError("a Paillier session's parameters name who takes part, and nothing is paid for it")
        else:
            raise ParameterError(
                f"config is a {type(self.config).__name__}, but must be a RoundConfig or RoundParameters"
            )
        phases = ServerPhase if isinstance(self.config, RoundConfig) else AggregatorPhase
        unknown = sorted(self.deadlines.phases.keys() - {str(phase) for phase in phases})
        if unknown:
            raise ParameterError(f"there is no phase {unknown[0]!r:.60} to have deadlines: {', '.join(phases)}")
        if self.release is not None and self.query is None:
            raise ParameterError("only statistics are released by a policy: leave it out")
        self.terms.check()

    @cached_property
    def terms(self) -> Terms:
        """What members read."""
        masking = isinstance(self.config, RoundConfig)
        return Terms(
            TERMS_VERSION,
            Kind(self.kind),
            Which.MASKING if masking else Which.PAILLIER,
            self.title,
            tuple(self.names),
            msgspec.msgpack.encode(self.config) if masking else write_parameters(self.config),  # type: ignore[arg-type]
            self.query.encoded if self.query else b"",
            bytes(self.payload),
            Audience(self.results_to),
        )

    @property
    def names(self) -> Iterable[str]:
        """Everyone who is invited."""
        if isinstance(self.config, RoundParameters):
            return (*self.config.contributors, *self.config.members)
        return self.participants or ()


def _read_config(data: bytes) -> RoundConfig:
    if len(data) > MAX_CONFIG_BYTES:
        raise ParameterError(f"the configuration takes {len(data)} bytes, but may take {MAX_CONFIG_BYTES}")
    try:
        config = msgspec.msgpack.decode(data, type=RoundConfig)
    except ParameterError:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        raise ParameterError("these bytes are no configuration of a round") from None
    if msgspec.msgpack.encode(config) != data:
        raise ParameterError("these bytes are a configuration that is written in another way")
    return config


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a session is between its operator and the service: canonical JSON in the store."""

    deadlines: Deadlines
    release: ReleasePolicy | None = None
    payment: Payment | None = None

    @classmethod
    def of(cls, spec: SessionSpec) -> Orders:
        """Return what a session was ordered with."""
        return cls(spec.deadlines, spec.release, spec.payment)

    @property
    def encoded(self) -> bytes:
        """The orders as they are kept."""
        return msgspec.json.encode(self)
