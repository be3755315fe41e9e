"""A whole Paillier round among small machines, driven step by step so that tests can bend any step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from protocols.core.participants import Participants
from protocols.paillier.aggregator import Aggregator
from protocols.paillier.contributor import Contributor
from protocols.paillier.key_use import KeyUse
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import CommitmentList, Contribution, Message, OpenRequest, RevealRequest, encode
from protocols.paillier.parameters import RoundParameters
from protocols.paillier.result import PaillierResult
from protocols.paillier.state import AggregatorPhase
from secagg.encoding import FixedPoint, Floats, Levels, Rounding
from secagg.errors import PeerError, StateError
from secagg.paillier import Accumulator
from secagg.signatures import Identity
from tests.secagg.paillier.fixed_keys import dealt, noise

LENGTH = 13
MEMBERS, THRESHOLD = 5, 4


@cache
def identity(name: int) -> Identity:
    return Identity(name.to_bytes(32, "big"))


def people(role: str, count: int, first: int) -> Participants:
    """Participants by name, whose numbers are those of their identities."""
    names = Participants.numbered(count, role)
    return Participants({name: identity(first + names.number(name)).public_bytes for name in names})


class ByNumber:
    """An aggregator that is spoken to by typed messages and numbers, through its names and bytes."""

    def __init__(self, machine: Aggregator) -> None:
        self.machine = machine
        self.parameters = machine.parameters

    @classmethod
    def load(cls, dumped: bytes, parameters: RoundParameters) -> ByNumber:
        return cls(Aggregator.load(dumped, parameters))

    @property
    def phase(self) -> AggregatorPhase:
        return self.machine.phase

    @property
    def rejected(self) -> dict[str, set[int]]:
        """Role -> whose messages were bad."""
        parameters, out = self.parameters, self.machine.excluded
        roles = {"contributors": parameters.contributors, "members": parameters.members}
        return {role: {roster.number(name) for name in out if name in roster} for role, roster in roles.items()}

    def _roster(self) -> Participants:
        of_contributors = self.phase in (AggregatorPhase.COMMITMENTS, AggregatorPhase.CONTRIBUTIONS)
        return self.parameters.contributors if of_contributors else self.parameters.members

    def receive(self, sender: int, message: Message) -> None:
        rejected = self.receive_batch({sender: message})
        if rejected:
            raise rejected[sender]

    def receive_batch(self, messages: Mapping[int, Message]) -> dict[int, PeerError]:
        roster, ended = self._roster(), self.machine.ended
        names = {i: roster.name(i) if i <= len(roster) else f"stranger {i}" for i in messages}
        outcomes = self.machine.receive_many({names[i]: encode(message) for i, message in messages.items()})
        if ended:
            raise StateError("the round is over: everything is late")
        errors = {i: outcomes[names[i]] for i in messages}
        return {i: type(e)(e.reason, culprits={i}) for i, e in errors.items() if isinstance(e, PeerError)}

    def close_round(self) -> Any:
        """Close the phase; return the next typed request, or the result."""
        try:
            self.machine.close_phase()
        except PeerError as error:
            culprits = {self.parameters.members.number(str(name)) for name in error.culprits}
            raise type(error)(error.reason, culprits=culprits) from None
        return self.machine.request or self.machine.result

    def outgoing(self) -> Any:
        return self.machine.request

    def dump(self) -> bytes:
        return self.machine.dump()

    def close(self) -> None:
        self.machine.close()


def make_parameters(
    contributors: int = 5,
    *,
    max_weight: int = 1,
    min_contributors: int = 2,
    nonce: bytes = bytes(32),
    threshold: int = THRESHOLD,
    members: int = MEMBERS,
    corrupt_members: int | None = 0,
    corrupt_contributors: int | None = 0,
    length: int = LENGTH,
    one_session_without_proofs: bool = False,
) -> RoundParameters:
    return RoundParameters(
        replace(dealt(threshold, members)[0], one_session_without_proofs=one_session_without_proofs),
        FixedPoint(1.0, 16, 50, max_weight=max_weight, rounding=Rounding.NEAREST),
        length,
        contributors=people("contributor", contributors, 0),
        members=people("member", members, 1000),
        min_contributors=min_contributors,
        nonce=nonce,
        corrupt_members=corrupt_members,
        corrupt_contributors=corrupt_contributors,
    )


def update(client: int) -> Floats:
    values: Floats = np.random.default_rng(client).uniform(-1.1, 1.1, LENGTH)
    return values


def levels(parameters: RoundParameters, weights: dict[int, int]) -> Levels:
    total = np.zeros(parameters.length, dtype=np.int64)
    for client, weight in weights.items():
        total += weight * parameters.codec.quantise(update(client))[0]
    return total


class Session:
    """All parties of one round, and the steps between them."""

    def __init__(
        self, parameters: RoundParameters, *, weights: dict[int, int] | None = None, memory: Path | None = None
    ) -> None:
        self.parameters = parameters
        self.weights = weights or dict.fromkeys(parameters.contributor_keys, 1)
        self.aggregator = ByNumber(Aggregator(parameters))
        self.contributors = {
            i: Contributor(parameters, parameters.contributors.name(i), identity(i))
            for i in parameters.contributor_keys
        }
        shares = [
            replace(share, key=parameters.key)
            for share in dealt(parameters.key.threshold, parameters.key.num_members)[1]
        ]
        self.members = {
            share.member: CommitteeMember(
                parameters,
                share,
                identity(1000 + share.member),
                key_use=memory and KeyUse(memory / f"{share.member}.json"),
            )
            for share in shares
        }
        self.contributions: dict[int, Contribution] = {}

    def commit(self, clients: set[int] | None = None) -> CommitmentList:
        for i in sorted(clients if clients is not None else self.contributors):
            commitment = self.contributors[i].commit(update(i), noise(), weight=self.weights[i])
            self.aggregator.receive(i, commitment)
        listed = self.aggregator.close_round()
        assert isinstance(listed, CommitmentList)
        return listed

    def endorse(self, listed: CommitmentList, members: set[int] | None = None) -> RevealRequest:
        for i in sorted(members if members is not None else self.members):
            self.aggregator.receive(i, self.members[i].endorse(listed))
        request = self.aggregator.close_round()
        assert isinstance(request, RevealRequest)
        return request

    def reveal(self, request: RevealRequest, clients: set[int] | None = None) -> None:
        for i in sorted(clients if clients is not None else request.commitments):
            self.deliver(i, self.contributors[i].reveal(request))

    def deliver(self, client: int, contribution: Contribution) -> None:
        self.aggregator.receive(client, contribution)
        self.relay(client, contribution)

    def relay(self, client: int, contribution: Contribution) -> None:
        self.contributions[client] = contribution
        for member in self.members.values():
            if member.phase.value == "endorsed":
                member.receive(client, contribution)

    def ask(self) -> OpenRequest:
        request = self.aggregator.close_round()
        assert isinstance(request, OpenRequest)
        return request

    def forged(self, asked: list[int]) -> OpenRequest:
        """Ask in these names for the product of all contributions, which is the one that members have."""
        parameters, public = self.parameters, self.parameters.key.public_key
        accumulator = Accumulator(public, parameters.lanes, max_addends=50)
        for i, contribution in self.contributions.items():
            accumulator.add(contribution.vector(), sender=i)
        listed = next(iter(self.contributions.values())).commitments_digest
        digest = parameters.sum_digest(listed, asked, accumulator.product())
        return OpenRequest(parameters.session, asked, digest)

    def open(self, request: OpenRequest, members: set[int] | None = None) -> PaillierResult:
        for i in sorted(members if members is not None else self.members):
            self.aggregator.receive(i, self.members[i].open(request))
        result = self.aggregator.close_round()
        assert isinstance(result, PaillierResult)
        return result

    def check(self, result: PaillierResult, clients: set[int]) -> None:
        weights = {i: self.weights[i] for i in clients}
        assert {self.parameters.contributors.number(name) for name in result.survivors} == clients
        assert result.total_weight == sum(weights.values())
        assert (result.levels == levels(self.parameters, weights)).all()
        assert np.allclose(result.sums, result.levels / self.parameters.codec.scale)
