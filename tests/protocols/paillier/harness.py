"""A whole Paillier round among small machines, driven step by step so that tests can bend any step."""

from __future__ import annotations

from functools import cache

import numpy as np

from protocols.paillier.aggregator import Aggregator, Result
from protocols.paillier.contributor import Contributor
from protocols.paillier.member import CommitteeMember
from protocols.paillier.messages import CommitmentList, Contribution, OpenRequest, RevealRequest
from protocols.paillier.parameters import RoundParameters
from secagg.encoding import FixedPoint, Floats, Levels, Rounding
from secagg.signatures import Identity
from tests.secagg.paillier.fixed_keys import dealt, noise

LENGTH = 13
MEMBERS, THRESHOLD = 5, 4


@cache
def identity(name: int) -> Identity:
    return Identity(name.to_bytes(32, "big"))


def make_parameters(
    contributors: int = 5,
    *,
    max_weight: int = 1,
    min_contributors: int = 2,
    nonce: bytes = bytes(32),
    threshold: int = THRESHOLD,
    members: int = MEMBERS,
    corrupt_members: int = 0,
    length: int = LENGTH,
) -> RoundParameters:
    return RoundParameters(
        dealt(threshold, members)[0],
        FixedPoint(1.0, 16, 50, max_weight=max_weight, rounding=Rounding.NEAREST),
        length,
        contributors={i: identity(i).public_bytes for i in range(1, contributors + 1)},
        members={i: identity(1000 + i).public_bytes for i in range(1, members + 1)},
        min_contributors=min_contributors,
        nonce=nonce,
        corrupt_members=corrupt_members,
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

    def __init__(self, parameters: RoundParameters, *, weights: dict[int, int] | None = None) -> None:
        self.parameters = parameters
        self.weights = weights or dict.fromkeys(parameters.contributors, 1)
        self.aggregator = Aggregator(parameters)
        self.contributors = {i: Contributor(parameters, i, identity(i)) for i in parameters.contributors}
        shares = dealt(parameters.key.threshold, parameters.key.num_members)[1]
        self.members = {
            share.member: CommitteeMember(parameters, share, identity(1000 + share.member)) for share in shares
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

    def open(self, request: OpenRequest, members: set[int] | None = None) -> Result:
        for i in sorted(members if members is not None else self.members):
            self.aggregator.receive(i, self.members[i].open(request))
        result = self.aggregator.close_round()
        assert isinstance(result, Result)
        return result

    def check(self, result: Result, clients: set[int]) -> None:
        weights = {i: self.weights[i] for i in clients}
        assert result.contributors == clients
        assert result.total_weight == sum(weights.values())
        assert (result.levels == levels(self.parameters, weights)).all()
        assert np.allclose(result.sums, result.levels / self.parameters.codec.scale)
