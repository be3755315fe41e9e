"""A Paillier round that was recorded: the library's own roles say it all again, and refuse what they must.

The round's key is short and its factors are known: no public door of the library takes it, and the audit enters by
another.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from secagg.encoding import FixedPoint, Rounding
from secagg.paillier import NoisePool, ShortExponents, open_partially, threshold
from secagg.randomness import RandomBytes
from secagg.signatures import Identity

from ...paillier.aggregator import Aggregator, Result
from ...paillier.contributor import Contributor
from ...paillier.member import CommitteeMember
from ...paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Message,
    Opening,
    OpenRequest,
    RevealRequest,
    decode,
    encode,
)
from ...paillier.parameters import RoundParameters
from ..outcome import Refuted, demand
from .recorded_randomness import OtherRandomness, Recorded
from .recorded_sessions import Vector, array, demand_same, outcome_of

KINDS: dict[str, tuple[type[Message], type[Message]]] = {
    "commitments": (Message, Commitment),
    "endorsements": (CommitmentList, Endorsement),
    "contributions": (RevealRequest, Contribution),
    "openings": (OpenRequest, Opening),
}
"""What each round sends to its parties, and what they answer."""


class Run:
    """One round among the library's own roles, in which everyone draws what was recorded."""

    def __init__(self, vector: Vector) -> None:
        self.vector = vector
        dealer, own = vector["dealer"], vector["parameters"]
        draws = iter((dealer["generator_root"], *dealer["coefficients"]))
        p, q = dealer["p"], dealer["q"]
        key, shares = threshold._deal(
            dealer["threshold"],
            len(vector["members"]),
            p,
            q,
            min_bits=(p * q).bit_length(),
            random=lambda size: _next_number(draws).to_bytes(size, "little"),
        )
        self.identities = identities = {
            role: {int(i): Identity(bytes.fromhex(one["identity_private_key"])) for i, one in vector[role].items()}
            for role in ("contributors", "members")
        }
        public = {role: {i: one.public_bytes for i, one in ones.items()} for role, ones in identities.items()}
        self.parameters = RoundParameters(
            key,
            FixedPoint(
                float.fromhex(own["clip"]),
                own["value_bits"],
                own["num_summands"],
                own["max_weight"],
                Rounding(own["rounding"]),
            ),
            own["length"],
            public["contributors"],
            public["members"],
            own["min_contributors"],
            bytes.fromhex(vector["nonce"]),
            own["corrupt_members"],
        )
        self.shares = shares
        self.exponents: deque[bytes] = deque()
        self.noise = ShortExponents(key.public_key, random=lambda size: self.exponents.popleft())
        self.aggregator = Aggregator(self.parameters)
        self.contributors = {i: Contributor(self.parameters, i, one) for i, one in identities["contributors"].items()}
        self.members = {
            share.member: CommitteeMember(self.parameters, share, identities["members"][share.member])
            for share in shares
        }
        self.request: Any = None
        self.result: Result | None = None

    def fork(self) -> Run:
        """Return a copy of the round, which goes its own way."""
        other = copy.copy(self)
        other.aggregator = Aggregator.load(self.aggregator.dump(), self.parameters)
        other.contributors = {
            i: Contributor.load(one.dump(), self.parameters, self.identities["contributors"][i])
            for i, one in self.contributors.items()
        }
        shares = {share.member: share for share in self.shares}
        other.members = {
            i: CommitteeMember.load(one.dump(), self.parameters, shares[i], self.identities["members"][i])
            for i, one in self.members.items()
        }
        return other

    @property
    def phase(self) -> str:
        """What the aggregator collects."""
        return self.aggregator.phase.value

    def parties(self) -> list[int]:
        """Return who is to answer in this round."""
        return sorted(self.members if self.phase in ("endorsements", "openings") else self.contributors)

    def answer(self, party: int, data: bytes) -> bytes:
        """Return what a party says to the request of this round (to nothing, in the first)."""
        if self.phase == "commitments":
            return encode(self._commit(party))
        request: Any = decode(data, KINDS[self.phase][0], max_bytes=1 << 20)
        if self.phase == "contributions":
            return encode(self.contributors[party].reveal(request))
        if self.phase == "endorsements":
            return encode(self.members[party].endorse(request))
        nonce = iter([self.vector["members"][str(party)]["proof_nonce"]])
        with _drawing(open_partially, lambda size: (_next_number(nonce) % (1 << 8 * size)).to_bytes(size, "little")):
            return encode(self.members[party].open(request))

    def _commit(self, party: int) -> Commitment:
        given = self.vector["contributors"][str(party)]
        self.exponents.extend(map(bytes.fromhex, given["noise_exponents"]))
        with _drawing(FixedPoint.encode, Recorded(given["rounding_seed"])):
            return self.contributors[party].commit(
                array(given["values"]), NoisePool(self.noise), weight=given["weight"]
            )

    def deliver(self, party: int, data: bytes) -> None:
        """Hand an answer to the aggregator, and a contribution on to every member that endorsed."""
        message: Any = decode(data, KINDS[self.phase][1], max_bytes=1 << 20)
        self.aggregator.receive(party, message)
        if self.phase == "contributions":
            for member in self.members.values():
                if member.phase.value == "endorsed":
                    member.receive(party, message)

    def collect(self, silent: list[int], replaced: Vector, until: int | None = None) -> dict[int, bytes]:
        """Let everyone answer who is not silent, in order, up to a party if one is given; return the answers."""
        data = b"" if self.request is None else encode(self.request)
        answers = {}
        for party in self.parties():
            if party == until:
                break
            able = self.phase != "openings" or self.members[party].phase.value == "endorsed"
            able = able and (self.phase != "contributions" or self.contributors[party].phase.value == "committed")
            if party in silent or not able:
                continue
            answers[party] = self.answer(party, data)
            self.deliver(party, bytes.fromhex(replaced.get(str(party), answers[party].hex())))
        return answers

    def close(self) -> None:
        """Close the aggregator's round: what it says is the next request, or the result."""
        following = self.aggregator.close_round()
        if isinstance(following, Result):
            self.result = following
        else:
            self.request = following

    def finish(self, silent: Vector, replaced: Vector) -> Vector:
        """Run to the end with these silent, and these messages replaced, by phase; return the output."""
        while self.result is None:
            phase = self.phase
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.close()
        return self.output()

    def output(self) -> Vector:
        """Return the result as vectors have it."""
        if self.result is None:
            raise Refuted("a round that is over has no result")
        return {
            "levels": self.result.levels.tolist(),
            "total_weight": self.result.total_weight,
            "contributors": sorted(self.result.contributors),
            "liars": sorted(self.result.liars),
        }

    def derived(self) -> Vector:
        """Return what follows from what the dealer drew and the parameters, as vectors have it."""
        key = self.parameters.key
        return {
            "n": key.public_key.n,
            "fingerprint": key.public_key.fingerprint.hex(),
            "noise_base": int(key.public_key.noise_base),
            "generator": key.generator,
            "shares": [share.secret for share in self.shares],
            "member_keys": list(key.member_keys),
            "key_digest": key.digest().hex(),
            "session": self.parameters.session.hex(),
            "lane_bits": self.parameters.lanes.lane_bits,
            "lanes_in_a_plaintext": self.parameters.lanes.per_plaintext,
        }


@contextmanager
def _drawing(function: Any, source: RandomBytes) -> Iterator[None]:
    """Let a function draw from this source where it is handed none."""
    defaults = function.__kwdefaults__
    function.__kwdefaults__ = defaults | {"random": source}
    try:
        yield
    finally:
        function.__kwdefaults__ = defaults


def _next_number(draws: Iterator[int]) -> int:
    try:
        return next(draws)
    except StopIteration:  # one was not below the bound
        raise OtherRandomness("the library draws more often than when this was recorded") from None


# Holding the library against a record


def size(vector: Vector) -> int:
    """Return how many messages and outcomes are compared in `check`."""
    return sum(1 + len(each["answers"]) for each in vector["rounds"]) + len(vector["refused"]) + len(vector["endings"])


def check(vector: Vector, on_progress: Callable[[float], None]) -> int:
    """Replay a round, what is refused in it and its other endings; return how much was compared.

    Raises:
        Refuted: the library says or does something else than was recorded.
    """
    run = Run(vector)
    for name, value in run.derived().items():
        demand(value == vector["derived"][name], f"{name}: another one than was recorded")
    compared, total = 0, size(vector)
    for recorded in vector["rounds"]:
        phase = recorded["phase"]
        demand(run.phase == phase, f"the aggregator collects {run.phase}, where {phase} was recorded")
        request = b"" if run.request is None else encode(run.request)
        demand(request.hex() == recorded["request"], f"{phase}: the request has other bytes than was recorded")
        for case in (case for case in vector["refused"] if case["phase"] == phase):
            fork = run.fork()
            act = fork.answer if case["to"] == "party" else fork.deliver
            said = outcome_of(partial(act, case["party"], bytes.fromhex(case["bytes"])))
            demand_same(f"{phase}: {case['name']}, to {case['to']}", said, case)
            compared += 1
        answers = {str(i): data.hex() for i, data in run.collect(recorded["silent"], {}).items()}
        demand(answers == recorded["answers"], f"{phase}: the answers have other bytes than was recorded")
        compared += 1 + len(answers)
        on_progress(compared / total)
        run.close()
    demand(run.output() == vector["output"], "the output is another one than was recorded")
    for ending in vector["endings"]:
        said = outcome_of(partial(Run(vector).finish, ending["silent"], ending["replaced"]))
        demand_same(f"ending: {ending['name']}", said, ending)
        compared += 1
        on_progress(compared / total)
    return compared
