"""The vectors of Paillier summation: a threshold round under a key for tests, and what must be refused in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

from protocols.paillier_messages import (
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
from protocols.paillier_parameters import RoundParameters
from protocols.paillier_roles import CommitteeMember, Contributor
from protocols.paillier_sum import Aggregator, Result
from secagg import encoding
from secagg.encoding import FixedPoint, Rounding
from secagg.errors import SecAggError
from secagg.paillier import NoisePool, ShortExponents, proofs, threshold
from secagg.signatures import Identity
from tests.secagg.paillier.fixed_keys import _PRIMES

from .sessions import drawn, numbers

Vector = dict[str, Any]
KEY_BITS, MEMBERS, THRESHOLD, CONTRIBUTORS, LENGTH = 512, 5, 3, 8, 30
NAME = "paillier"
SILENT: dict[str, list[int]] = {"commitments": [7], "endorsements": [2], "contributions": [4], "openings": [5]}
KINDS: dict[str, tuple[type[Message], type[Message]]] = {
    "commitments": (Message, Commitment),
    "endorsements": (CommitmentList, Endorsement),
    "contributions": (RevealRequest, Contribution),
    "openings": (OpenRequest, Opening),
}
"""What each round sends to its parties, and what they answer."""


def _given() -> Vector:
    """All that is drawn in a round."""
    p, q = _PRIMES[KEY_BITS]
    n, order = p * q, (p // 2) * (q // 2)
    codec = {"clip": (1.5).hex(), "value_bits": 16, "num_summands": 20, "max_weight": 10, "rounding": "stochastic"}
    members = {
        str(i): {
            "identity_private_key": drawn(NAME, i, "member", 32).hex(),
            "proof_nonce": numbers(NAME, i, "proof", 8, 2**112).copy(),
        }
        for i in range(1, MEMBERS + 1)
    }
    for member in members.values():  # as many bits as the proof draws
        member["proof_nonce"] = sum(part << 112 * at for at, part in enumerate(member["proof_nonce"]))
    contributors = {}
    for i in range(1, CONTRIBUTORS + 1):
        raw = numbers(NAME, i, "values", LENGTH, 3201)
        contributors[str(i)] = {
            "identity_private_key": drawn(NAME, i, "contributor", 32).hex(),
            "values": [((number - 1600) / 1000).hex() for number in raw],
            "weight": numbers(NAME, i, "weight", 1, 11)[0],
            "rounding_seed": drawn(NAME, i, "rounding", 32).hex(),
            "noise_exponents": [drawn(NAME, i, f"noise {at}", KEY_BITS // 16).hex() for at in range(2)],
        }
    root = int.from_bytes(drawn(NAME, 0, "generator", 80), "big") % n
    coefficients = [int.from_bytes(drawn(NAME, at, "dealer", 80), "big") % order for at in range(1, THRESHOLD)]
    return {
        "test_only": "anyone has the factors of this key, and it is too short: it is for vectors alone",
        "dealer": {"p": p, "q": q, "threshold": THRESHOLD, "generator_root": root, "coefficients": coefficients},
        "parameters": codec | {"length": LENGTH, "min_contributors": 3, "corrupt_members": 0},
        "nonce": drawn(NAME, 0, "nonce", 32).hex(),
        "members": members,
        "contributors": contributors,
    }


class Run:
    """One round among the library's own roles."""

    def __init__(self, vector: Vector) -> None:
        self.vector = vector
        dealer, own = vector["dealer"], vector["parameters"]
        draws = iter([dealer["generator_root"], *dealer["coefficients"]])
        with patch.object(threshold, "secrets", SimpleNamespace(randbelow=lambda below: next(draws))):
            key, shares = threshold._deal(THRESHOLD, MEMBERS, dealer["p"], dealer["q"], min_bits=KEY_BITS)
        identities = {
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
        self.noise = ShortExponents(key.public_key)
        self.aggregator = Aggregator(self.parameters)
        self.contributors = {i: Contributor(self.parameters, i, one) for i, one in identities["contributors"].items()}
        self.members = {
            share.member: CommitteeMember(self.parameters, share, identities["members"][share.member])
            for share in shares
        }
        self.request: Any = None

    @property
    def phase(self) -> str:
        return self.aggregator.phase.value

    def parties(self) -> list[int]:
        return sorted(self.members if self.phase in ("endorsements", "openings") else self.contributors)

    def answer(self, party: int, data: bytes) -> bytes:
        """What a party says to the request of this round (to nothing, in the first)."""
        if self.phase == "commitments":
            return encode(self._commit(party))
        request: Any = decode(data, KINDS[self.phase][0], max_bytes=1 << 20)
        if self.phase == "contributions":
            return encode(self.contributors[party].reveal(request))
        if self.phase == "endorsements":
            return encode(self.members[party].endorse(request))
        nonce = self.vector["members"][str(party)]["proof_nonce"]
        fixed = SimpleNamespace(randbits=lambda bits: nonce % (1 << bits))
        with patch.object(proofs, "secrets", fixed):
            return encode(self.members[party].open(request))

    def _commit(self, party: int) -> Commitment:
        given = self.vector["contributors"][str(party)]
        pool = NoisePool(self.noise)
        pool._ready.extend(self.noise._power(bytes.fromhex(one)) for one in given["noise_exponents"])
        seed = bytes.fromhex(given["rounding_seed"])
        values = np.array([float.fromhex(value) for value in given["values"]])
        with patch.object(encoding, "os", SimpleNamespace(urandom=lambda size: seed[:size])):
            return self.contributors[party].commit(values, pool, weight=given["weight"])

    def deliver(self, party: int, data: bytes) -> None:
        """To the aggregator, and a contribution on to every member that endorsed."""
        message: Any = decode(data, KINDS[self.phase][1], max_bytes=1 << 20)
        self.aggregator.receive(party, message)
        if self.phase == "contributions":
            for member in self.members.values():
                if member.phase.value == "endorsed":
                    member.receive(party, message)

    def collect(self, silent: list[int], replaced: Vector, until: int | None = None) -> dict[int, bytes]:
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

    def close(self) -> Result | None:
        self.request = self.aggregator.close_round()
        return self.request if isinstance(self.request, Result) else None


def _result(result: Result) -> Vector:
    return {
        "levels": result.levels.tolist(),
        "total_weight": result.total_weight,
        "contributors": sorted(result.contributors),
        "liars": sorted(result.liars),
    }


def _up_to(vector: Vector, phase: str) -> Run:
    run = Run(vector)
    while run.phase != phase:
        run.collect(SILENT.get(run.phase, []), {})
        run.close()
    return run


def _refused(vector: Vector, rounds: list[Vector]) -> Iterator[Vector]:
    for recorded in rounds:
        phase = recorded["phase"]
        parties = {int(i): bytes.fromhex(data) for i, data in recorded["answers"].items()}
        party = min(parties)
        for name, to, data in _defects(phase, bytes.fromhex(recorded["request"]), parties[party]):
            run = _up_to(vector, phase)
            try:
                if to == "party":
                    run.answer(party, data)
                else:
                    run.deliver(party, data)
            except SecAggError as error:
                culprits = sorted(getattr(error, "culprits", ()))
                outcome = {"error": type(error).__name__, "culprits": culprits}
            else:
                raise ValueError(f"{name} is not refused")
            yield {"name": name, "phase": phase, "to": to, "party": party, "bytes": data.hex()} | outcome


def _defects(phase: str, down: bytes, up: bytes) -> Iterator[tuple[str, str, bytes]]:
    asked, said = KINDS[phase]

    def request(**fields: Any) -> bytes:
        return encode(msgspec.structs.replace(decode(down, asked, max_bytes=1 << 20), **fields))

    def answer(**fields: Any) -> bytes:
        return encode(msgspec.structs.replace(decode(up, said, max_bytes=1 << 20), **fields))

    mapped = msgspec.msgpack.decode(up)
    yield "empty", "aggregator", b""
    yield "the last byte missing", "aggregator", up[:-1]
    yield "a byte too many", "aggregator", up + b"\0"
    yield "without its tag", "aggregator", msgspec.msgpack.encode({k: v for k, v in mapped.items() if k != "type"})
    yield "a field too many", "aggregator", msgspec.msgpack.encode(mapped | {"extra": 0})
    yield "fields in another order", "aggregator", msgspec.msgpack.encode(dict(reversed(mapped.items())))
    yield "of another session", "aggregator", answer(session=bytes(32))
    if phase != "commitments":
        yield "of another session", "party", request(session=bytes(32))
    match phase:
        case "endorsements":
            listed = decode(down, CommitmentList, max_bytes=1 << 20).commitments
            yield "a stranger on the list", "party", request(commitments=listed | {99: bytes(32)})
            yield "a list of too few", "party", request(commitments=dict(list(listed.items())[:2]))
            yield "of another list", "aggregator", answer(commitments_digest=bytes(32))
            yield "signed by nobody", "aggregator", answer(signature=bytes(64))
        case "contributions":
            asked_for = decode(down, RevealRequest, max_bytes=1 << 20)
            first = min(asked_for.endorsements)
            few = dict(list(asked_for.endorsements.items())[:2])
            forged = asked_for.endorsements | {first: bytes(64)}
            yield "too few endorsements", "party", request(endorsements=few)
            yield "a forged endorsement", "party", request(endorsements=forged)
            own = min(asked_for.commitments)
            yield "its own commitment changed", "party", request(commitments=asked_for.commitments | {own: bytes(32)})
            said_so = decode(up, Contribution, max_bytes=1 << 20)
            other = said_so.ciphertexts[:-1] + bytes([said_so.ciphertexts[-1] ^ 1])
            yield "not what was committed to", "aggregator", answer(ciphertexts=other)
            yield "claims to be a sum", "aggregator", answer(num_addends=2)
            yield "signed by nobody", "aggregator", answer(signature=bytes(64))
            yield "for another list", "aggregator", answer(commitments_digest=bytes(32))
        case "openings":
            ids = decode(down, OpenRequest, max_bytes=1 << 20).contributors
            yield "a contributor missing", "party", request(contributors=ids[1:])
            yield "a contributor twice", "party", request(contributors=[*ids, ids[0]])
            yield "another sum", "party", request(sum_digest=bytes(32))
            yield "of another sum", "aggregator", answer(sum_digest=bytes(32))


def _endings(vector: Vector, rounds: list[Vector]) -> Iterator[Vector]:
    openings = {i: decode(bytes.fromhex(data), Opening, max_bytes=1 << 20) for i, data in rounds[3]["answers"].items()}

    def wrong(members: list[str]) -> Vector:
        out = {}
        for member in members:
            roots = openings[member].roots
            changed = roots[:-1] + bytes([roots[-1] ^ 1])
            out[member] = encode(msgspec.structs.replace(openings[member], roots=changed)).hex()
        return {"openings": out}

    first = list(openings)
    cases: list[tuple[str, Vector, Vector]] = [
        ("nobody vanishes", {}, {}),
        ("too few commit", {"commitments": [1, 2, 3, 4, 5, 6]}, {}),
        ("too few endorse", {"endorsements": [1, 2, 3]}, {}),
        ("too few contribute", {"contributions": [1, 2, 3, 4, 5, 6]}, {}),
        ("too few open", SILENT | {"openings": [1, 3, 4]}, {}),
        ("a wrong opening is named", SILENT | {"openings": []}, wrong(first[:1])),
        ("too many wrong openings", SILENT, wrong(first[:1])),
    ]
    for name, silent, replaced in cases:
        run = Run(vector)
        result = None
        outcome: Vector
        try:
            while result is None:
                phase = run.phase
                run.collect(silent.get(phase, []), replaced.get(phase, {}))
                result = run.close()
            outcome = {"output": _result(result)}
        except SecAggError as error:
            outcome = {"error": type(error).__name__, "culprits": sorted(getattr(error, "culprits", ()))}
        yield {"name": name, "silent": silent, "replaced": replaced} | outcome


def paillier_vector() -> Vector:
    """Run a round and its forks, and write all of it down."""
    vector = _given()
    run = Run(vector)
    key = run.parameters.key
    vector["derived"] = {
        "n": key.public_key.n,
        "fingerprint": key.public_key.fingerprint.hex(),
        "noise_base": int(key.public_key.noise_base),
        "generator": key.generator,
        "shares": [share.secret for share in run.shares],
        "member_keys": list(key.member_keys),
        "key_digest": key.digest().hex(),
        "session": run.parameters.session.hex(),
        "lane_bits": run.parameters.lanes.lane_bits,
        "lanes_in_a_plaintext": run.parameters.lanes.per_plaintext,
    }
    rounds: list[Vector] = []
    result = None
    while result is None:
        phase, silent = run.phase, SILENT.get(run.phase, [])
        request = b"" if run.request is None else encode(run.request)
        answers = run.collect(silent, {})
        said = {str(i): data.hex() for i, data in answers.items()}
        rounds.append({"phase": phase, "silent": silent, "request": request.hex(), "answers": said})
        result = run.close()
    untouched = copy.deepcopy(vector)
    return vector | {
        "output": _result(result),
        "rounds": rounds,
        "refused": list(_refused(untouched, rounds)),
        "endings": list(_endings(untouched, rounds)),
    }


def render() -> str:
    """Return the contents of paillier-round.json: one party, round or case a line."""
    parts = []
    for key, value in paillier_vector().items():
        if key in ("members", "contributors"):
            lines = ",\n".join(f'    "{i}": {json.dumps(item)}' for i, item in value.items())
            parts.append(f'  "{key}": {{\n{lines}\n  }}')
        elif key in ("rounds", "refused", "endings"):
            lines = ",\n".join("    " + json.dumps(item) for item in value)
            parts.append(f'  "{key}": [\n{lines}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


FILES: dict[str, Callable[[], str]] = {"paillier-round": render}
