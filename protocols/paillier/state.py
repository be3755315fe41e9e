"""What the parties of a Paillier round remember between messages, as bytes: what their `dump` gives and `load` takes.

A dump names its round by the session alone: parameters, identities and key shares are given again on loading, from
where their owner keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import msgspec

from secagg.errors import MalformedMessage, StateError
from secagg.paillier import Accumulator, EncryptedVector

from ..core import dumps
from .contributions import Elsewhere
from .messages import Digest, Opening, PartyId, Signature, taken
from .parameters import RoundParameters


class Phase(StrEnum):
    """Where a contributor or a member stands. Completed and Aborted are for good."""

    NEW = "new"
    COMMITTED = "committed"
    ENDORSED = "endorsed"
    COMPLETED = "completed"
    ABORTED = "aborted"


class AggregatorPhase(StrEnum):
    """What the aggregator collects. Completed and Aborted are for good."""

    COMMITMENTS = "commitments"
    ENDORSEMENTS = "endorsements"
    CONTRIBUTIONS = "contributions"
    OPENINGS = "openings"
    COMPLETED = "completed"
    ABORTED = "aborted"


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session: bytes

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


@dataclass(frozen=True)
class EncryptedUpdate:
    """An encrypted update, and the proof that its author knows it: empty under a key that was dealt for one session.

    Args:
        vector: the update.
        proof: as `secagg.paillier.encrypt_and_prove` gives it.
        num_clipped: how many of its numbers the encoding's clip has changed; its author's own business.
    """

    vector: EncryptedVector
    proof: bytes = field(repr=False)
    num_clipped: int = 0


class ContributorState(_State, frozen=True, tag="contributor"):
    """The encrypted update is held until it was shown, and the last answer for good."""

    contributor: int
    phase: Phase
    update: EncryptedUpdate | None = None
    request: bytes = b""
    answer: bytes = b""
    num_clipped: int = 0


class MemberState(_State, frozen=True, tag="member"):
    """The list that was endorsed, whose contributions are in the sum, the sum, and the last answer."""

    member: int
    phase: Phase
    request: bytes = b""
    answer: bytes = b""
    commitments: dict[PartyId, Digest] = {}
    accepted: frozenset[PartyId] = frozenset()
    product: EncryptedVector | None = None


class AggregatorState(_State, frozen=True, tag="aggregator"):
    """Everything that was received, contributions in their sum only."""

    phase: AggregatorPhase
    excluded: dict[str, str]
    fingerprints: dict[str, bytes] = {}
    revealed: bool = False
    commitments: dict[PartyId, Digest] = {}
    endorsements: dict[PartyId, Signature] = {}
    accepted: frozenset[PartyId] = frozenset()
    product: EncryptedVector | None = None
    openings: dict[PartyId, Opening] = {}
    outcome: tuple[bytes, int, tuple[str, ...]] | None = None


S = TypeVar("S", ContributorState, MemberState, AggregatorState)


def load(dumped: bytes, kind: type[S], parameters: RoundParameters) -> S:
    """Return the state that was dumped in this round.

    Raises:
        StateError: the bytes are no dump of this kind and version, damaged, or of another round.
    """
    try:
        state = dumps.decode_state(taken(dumped), kind)
    except MalformedMessage:
        raise StateError(f"a dump is a {type(dumped).__name__}, but must be bytes") from None
    if state.session != parameters.session:
        raise StateError("the dump is of another round: load it with the parameters that it was made with")
    contributors, members = _parties(state)
    if not (contributors <= parameters.contributor_keys.keys() and members <= parameters.member_keys.keys()):
        raise StateError("the dump names parties that have no part in the round")
    if isinstance(state, AggregatorState) and state.outcome is not None:
        data, _, liars = state.outcome
        if len(data) != 8 * parameters.length or not parameters.members.keys.keys() >= set(liars):
            raise StateError("the dump's result does not fit the round")
    return state


def _parties(state: ContributorState | MemberState | AggregatorState) -> tuple[set[int], set[int]]:
    """Return the numbers of the contributors and of the members that a state names."""
    match state:
        case ContributorState():
            return {state.contributor}, set()
        case MemberState():
            return {*state.commitments, *state.accepted}, {state.member}
        case AggregatorState():
            return {*state.commitments, *state.accepted}, {*state.endorsements, *state.openings}


def product_of(accumulator: Accumulator | None) -> EncryptedVector | None:
    """Return the sum so far; None if nothing was added yet."""
    return accumulator.product() if accumulator is not None and accumulator.num_addends else None


def accumulator_of(
    parameters: RoundParameters,
    workers: int,
    product: EncryptedVector | None = None,
    accepted: frozenset[int] = frozenset(),
    elsewhere: Elsewhere | None = None,
) -> Accumulator:
    """Start a sum, or take one up again.

    Raises:
        StateError: the sum is not one of the contributions that were accepted.
    """
    if (product.num_addends if product else 0) != len(accepted):
        raise StateError("the dump's sum is not of the contributions that it names")
    key, room = parameters.key.public_key, parameters.codec.num_summands
    if elsewhere is None:
        accumulator = Accumulator(key, parameters.lanes, max_addends=room, workers=workers)
    else:
        parts = elsewhere.parts(parameters)
        accumulator = Accumulator(key, parameters.lanes, max_addends=room, workers=parts, parts=elsewhere.part)
    if product is not None:
        try:
            accumulator.add(product, sender=0)
        except MalformedMessage as error:
            accumulator.close()
            raise StateError(f"the dump's sum does not fit the round: {error.reason}") from None
    return accumulator
