"""Replays a recorded Paillier round and compares every message and refusal.

The round's key is short and its factors are known. Public constructors refuse such a key; the audit uses
`threshold._deal`.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from secagg.encoding import FixedPoint, Rounding
from secagg.paillier import NoisePool, ShortExponents, threshold
from secagg.randomness import RandomBytes
from secagg.signatures import Identity

from ...core.machine import Inputs
from ...core.participants import Participants
from ...paillier.aggregator import Aggregator
from ...paillier.contributor import UPDATE, Contributor
from ...paillier.member import CommitteeMember
from ...paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Endorsement,
    Invitation,
    Message,
    Opening,
    OpenRequest,
    RevealRequest,
)
from ...paillier.parameters import RoundParameters
from ..outcome import demand
from .recorded_randomness import OtherRandomness, Recorded
from .recorded_sessions import Vector, array, demand_same, outcome_of

KINDS: dict[str, tuple[type[Message], type[Message]]] = {
    "commitments": (Invitation, Commitment),
    "endorsements": (CommitmentList, Endorsement),
    "contributions": (RevealRequest, Contribution),
    "openings": (OpenRequest, Opening),
}
"""What each phase sends to its parties, and what they answer."""


class _Forgetful:
    """Lets a key serve again, since a record is replayed any number of times."""

    def claim(self, key_digest: bytes, member: int, session: bytes) -> None:
        """Remember nothing."""


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
        once = dealer["one_session_without_proofs"]
        key = replace(key, one_session_without_proofs=once)
        shares = [replace(share, key=key) for share in shares]
        self.identities = identities = {
            role: {int(i): Identity(bytes.fromhex(one["identity_private_key"])) for i, one in vector[role].items()}
            for role in ("contributors", "members")
        }
        public = {
            role: Participants({vector[role][str(i)]["name"]: one.public_bytes for i, one in ones.items()})
            for role, ones in identities.items()
        }
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
            own["corrupt_contributors"],
        )
        self.shares = shares
        self._memory = _Forgetful() if once else None
        self.exponents: deque[bytes] = deque()
        self.noise = ShortExponents(key.public_key, random=lambda size: self.exponents.popleft())
        self.aggregator = Aggregator(self.parameters)
        self.contributors = {
            i: Contributor(self.parameters, self.name("contributors", i), one, **self._sources(i))
            for i, one in identities["contributors"].items()
        }
        self.members = {
            share.member: CommitteeMember(
                self.parameters, share, identities["members"][share.member], **self._kept(share.member)
            )
            for share in shares
        }

    def name(self, role: str, party: int) -> str:
        """Return the name of a contributor or member."""
        parameters = self.parameters
        return (parameters.contributors if role == "contributors" else parameters.members).name(party)

    def _sources(self, party: int) -> dict[str, Any]:
        """What a contributor draws: its noise, which has been queued, its rounding, and the nonces of its proof."""
        given, n = self.vector["contributors"][str(party)], self.parameters.key.public_key.n
        size = (n.bit_length() + 7) // 8
        nonces = ((number % (1 << 8 * size)).to_bytes(size, "little").hex() for number in given["proof_nonces"])
        return {"noise": NoisePool(self.noise), "random": Recorded(given["rounding_seed"], *nonces)}

    def _kept(self, member: int) -> dict[str, Any]:
        """What a member draws, and what remembers the session of a key that is for one."""
        return {"random": self._proof_nonce(member), "key_use": self._memory}

    def _proof_nonce(self, member: int) -> RandomBytes:
        nonce = iter([self.vector["members"][str(member)]["proof_nonce"]])
        return lambda size: (_next_number(nonce) % (1 << 8 * size)).to_bytes(size, "little")

    def fork(self) -> Run:
        """Return a copy of the round, which goes its own way."""
        other = copy.copy(self)
        other.aggregator = Aggregator.load(self.aggregator.dump(), self.parameters)
        other.contributors = {
            i: Contributor.load(one.dump(), self.parameters, self.identities["contributors"][i], **self._sources(i))
            for i, one in self.contributors.items()
        }
        shares = {share.member: share for share in self.shares}
        other.members = {
            i: CommitteeMember.load(
                one.dump(), self.parameters, shares[i], self.identities["members"][i], **self._kept(i)
            )
            for i, one in self.members.items()
        }
        return other

    @property
    def phase(self) -> str:
        """What the aggregator collects."""
        return str(self.aggregator.phase)

    @property
    def request(self) -> bytes:
        """What the aggregator sends in this phase, the same to all."""
        return next(iter(self.aggregator.outgoing().values()))

    @property
    def _role(self) -> str:
        return "members" if self.phase in ("endorsements", "openings") else "contributors"

    def answer(self, party: int, data: bytes) -> bytes:
        """Return what a party says to the request of this phase."""
        if self._role == "members":
            return self.members[party].respond(data)
        given = self.vector["contributors"][str(party)]
        if self.phase == "commitments":
            self.exponents.clear()  # what a refused message left
            self.exponents.extend(map(bytes.fromhex, given["noise_exponents"]))
        return self.contributors[party].respond(data, Inputs({UPDATE: array(given["values"])}, given["weight"]))

    def deliver(self, party: int, data: bytes) -> None:
        """Hand an answer to the aggregator, and a contribution on to every member that endorsed."""
        self.aggregator.receive(self.name(self._role, party), data)
        for name in sorted(self.aggregator.relay_to):
            self.members[self.parameters.members.number(name)].respond(data)

    def number(self, name: str) -> int:
        """Return the number of a contributor or member."""
        parameters = self.parameters
        return (parameters.contributors if name in parameters.contributors else parameters.members).number(name)

    def collect(self, silent: list[int], replaced: Vector, until: int | None = None) -> dict[int, bytes]:
        """Let everyone answer who is not silent, in order, up to a party if one is given; return the answers.

        Those whose answers are replaced are not asked.
        """
        answers: dict[int, bytes] = {}
        for name, data in self.aggregator.outgoing().items():
            party = self.number(name)
            if party == until:
                break
            if party in silent:
                continue
            other = replaced.get(str(party))
            answers[party] = self.answer(party, data) if other is None else bytes.fromhex(other)
            self.deliver(party, answers[party])
        return answers

    def close(self) -> None:
        """Close the aggregator's phase."""
        self.aggregator.close_phase()

    def finish(self, silent: Vector, replaced: Vector) -> Vector:
        """Run to the end with these silent, and these messages replaced, by phase; return the output."""
        while not self.aggregator.ended:
            phase = self.phase
            self.collect(silent.get(phase, []), replaced.get(phase, {}))
            self.close()
        return self.output()

    def output(self) -> Vector:
        """Return the result as vectors have it."""
        result = self.aggregator.result
        return {
            "levels": result.levels.tolist(),
            "total_weight": result.total_weight,
            "contributors": sorted(map(self.number, result.survivors)),
            "liars": sorted(map(self.number, result.liars)),
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
        demand(run.request.hex() == recorded["request"], f"{phase}: the request has other bytes than was recorded")
        for case in (case for case in vector["refused"] if case["phase"] == phase):
            fork = run.fork()
            act = fork.answer if case["to"] == "party" else fork.deliver
            said = outcome_of(partial(act, case["party"], bytes.fromhex(case["bytes"])), run.number)
            demand_same(f"{phase}: {case['name']}, to {case['to']}", said, case)
            compared += 1
        answers = {str(i): data.hex() for i, data in run.collect(recorded["silent"], {}).items()}
        demand(answers == recorded["answers"], f"{phase}: the answers have other bytes than was recorded")
        compared += 1 + len(answers)
        on_progress(compared / total)
        run.close()
    demand(run.output() == vector["output"], "the output is another one than was recorded")
    for ending in vector["endings"]:
        said = outcome_of(partial(Run(vector).finish, ending["silent"], ending["replaced"]), run.number)
        demand_same(f"ending: {ending['name']}", said, ending)
        compared += 1
        on_progress(compared / total)
    return compared
