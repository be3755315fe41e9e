"""The vectors of Paillier summation: a threshold round under a key for tests, and what must be refused in it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np

from protocols.audit.replay.recorded_paillier import KINDS, Run
from protocols.audit.replay.recorded_sessions import outcome_of
from protocols.core import framing
from protocols.paillier.messages import (
    Commitment,
    CommitmentList,
    Contribution,
    Opening,
    OpenRequest,
    RevealRequest,
    decode,
    encode,
)
from secagg.encoding import Levels, to_residues
from secagg.paillier import NoisePool, ShortExponents, encrypt_and_prove, integers
from tests.secagg.paillier.fixed_keys import _PRIMES

from .sessions import drawn, numbers

Vector = dict[str, Any]
KEY_BITS, MEMBERS, THRESHOLD, CONTRIBUTORS, LENGTH = 512, 5, 3, 8, 30
NAME = "paillier"
SILENCED = 4
SILENT: dict[str, list[int]] = {"commitments": [7], "endorsements": [2], "contributions": [SILENCED], "openings": [5]}


def _given(*, once: bool = False) -> Vector:
    """All that is drawn in a round; under a key for one session, if it is once."""
    p, q = _PRIMES[KEY_BITS]
    n, order = p * q, (p // 2) * (q // 2)
    codec = {"clip": (1.5).hex(), "value_bits": 16, "num_summands": 20, "max_weight": 10, "rounding": "stochastic"}
    members = {
        str(i): {
            "name": f"member-{i}",
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
            "name": f"contributor-{i}",
            "identity_private_key": drawn(NAME, i, "contributor", 32).hex(),
            "values": [((number - 1600) / 1000).hex() for number in raw],
            "weight": numbers(NAME, i, "weight", 1, 11)[0],
            "rounding_seed": drawn(NAME, i, "rounding", 32).hex(),
            "noise_exponents": [drawn(NAME, i, f"noise {at}", KEY_BITS // 16).hex() for at in range(2)],
            "proof_nonces": [int.from_bytes(drawn(NAME, i, f"knowledge {at}", 80), "big") % n for at in range(2)],
        }
    root = int.from_bytes(drawn(NAME, 0, "generator", 80), "big") % n
    coefficients = [int.from_bytes(drawn(NAME, at, "dealer", 80), "big") % order for at in range(1, THRESHOLD)]
    return {
        "test_only": "anyone has the factors of this key, and it is too short: it is for vectors alone",
        "dealer": {"p": p, "q": q, "threshold": THRESHOLD, "generator_root": root, "coefficients": coefficients}
        | {"one_session_without_proofs": once},
        "parameters": codec
        | {"length": LENGTH, "min_contributors": 3, "corrupt_members": 0, "corrupt_contributors": 1},
        "nonce": drawn(NAME, 0, "nonce", 32).hex(),
        "members": members,
        "contributors": contributors,
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
        found = _defects(phase, bytes.fromhex(recorded["request"]), parties[party])
        signed = _other_update(vector, party, parties[party]) if phase == "contributions" else ()
        for name, to, data in (*found, *signed):
            run = _up_to(vector, phase)
            outcome = outcome_of(partial(run.answer if to == "party" else run.deliver, party, data), run.number)
            if "error" not in outcome:
                raise ValueError(f"{name} is not refused")
            yield {"name": name, "phase": phase, "to": to, "party": party, "bytes": data.hex()} | outcome


def _other_update(vector: Vector, party: int, up: bytes) -> Iterator[tuple[str, str, bytes]]:
    """What a contributor says that changes its mind after it has committed, proves that and signs it."""
    run, said = Run(vector), decode(up, Contribution, max_bytes=1 << 20)
    other = _own(run, said, np.zeros(run.parameters.lanes.length, dtype=np.int64))
    digest = run.parameters.contribution_digest(party, other.vector(), other.proof)
    text = run.parameters.contribution_text(party, said.commitments_digest, digest)
    signature = run.identities["contributors"][party].sign(text)
    yield (
        "not what was committed to, proven and signed",
        "aggregator",
        encode(msgspec.structs.replace(other, signature=signature)),
    )


def _own(run: Run, said: Contribution, levels: Levels) -> Contribution:
    """What was said, with levels of the contributor's own choice and the proof of them, not yet signed."""
    parameters, party = run.parameters, said.contributor
    update, proof = encrypt_and_prove(
        to_residues(levels, parameters.codec.modulus_bits),
        parameters.lanes,
        NoisePool(ShortExponents(parameters.key.public_key, random=partial(drawn, NAME, party, "other noise"))),
        context=parameters.knowledge_context(party),
        random=lambda size: drawn(NAME, party, "other proof", size - 1) + b"\0",
    )
    proof = b"" if parameters.key.one_session_without_proofs else proof
    return msgspec.structs.replace(said, ciphertexts=update.data, proof=proof)


def _defects(phase: str, down: bytes, up: bytes) -> Iterator[tuple[str, str, bytes]]:
    asked, said = KINDS[phase]

    def request(**fields: Any) -> bytes:
        return encode(msgspec.structs.replace(decode(down, asked, max_bytes=1 << 20), **fields))

    def answer(**fields: Any) -> bytes:
        return encode(msgspec.structs.replace(decode(up, said, max_bytes=1 << 20), **fields))

    mapped = msgspec.msgpack.decode(up[framing.HEADER_BYTES :])

    def framed(body: bytes) -> bytes:
        return up[:5] + framing.digest(body) + body

    yield "empty", "aggregator", b""
    yield "the last byte missing", "aggregator", up[:-1]
    yield "a bit flipped on the way", "aggregator", up[:-1] + bytes([up[-1] ^ 1])
    yield "a byte too many", "aggregator", up + b"\0"
    yield (
        "without its tag",
        "aggregator",
        framed(msgspec.msgpack.encode({k: v for k, v in mapped.items() if k != "type"})),
    )
    yield "a field too many", "aggregator", framed(msgspec.msgpack.encode(mapped | {"extra": 0}))
    yield "fields in another order", "aggregator", framed(msgspec.msgpack.encode(dict(reversed(mapped.items()))))
    yield "of another session", "aggregator", answer(session=bytes(32))
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
            yield "another proof than was committed to", "aggregator", answer(proof=_flipped(said_so.proof))
            yield "in another's name", "aggregator", answer(contributor=said_so.contributor + 1)
            yield "claims to be a sum", "aggregator", answer(num_addends=2)
            yield "signed by nobody", "aggregator", answer(signature=bytes(64))
            yield "for another list", "aggregator", answer(commitments_digest=bytes(32))
        case "openings":
            ids = decode(down, OpenRequest, max_bytes=1 << 20).contributors
            yield "a contributor more, who has committed", "party", request(contributors=sorted([*ids, SILENCED]))
            yield "a contributor missing", "party", request(contributors=ids[1:])
            yield "a contributor twice", "party", request(contributors=[*ids, ids[0]])
            yield "another sum", "party", request(sum_digest=bytes(32))
            yield "of another sum", "aggregator", answer(sum_digest=bytes(32))
            longer = mapped | {"response": b"\0" + mapped["response"]}
            yield "a response that begins with a zero", "aggregator", framed(msgspec.msgpack.encode(longer))


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
    cases += [(name, {}, replaced) for name, replaced in (*_unknown(vector), *_weighing(vector))]
    for name, silent, replaced in cases:
        run = Run(vector)
        yield {"name": name, "silent": silent, "replaced": replaced} | outcome_of(
            partial(run.finish, silent, replaced), run.number
        )


HOSTILE, VICTIM = 8, 1
"""The answer of the first, N added to it, still has as many bytes as N."""


def _unknown(vector: Vector) -> Iterator[tuple[str, Vector]]:
    """What a contributor commits to and signs that has no proof of its own: its two messages."""
    shown = _shown(vector)
    if vector["dealer"]["one_session_without_proofs"]:
        yield "a proof where none is due", _hostile(vector, msgspec.structs.replace(shown[HOSTILE], proof=bytes(160)))
        return
    earlier = _shown(vector | {"nonce": drawn(NAME, 0, "earlier nonce", 32).hex()})
    own, others, its_old, old = shown[HOSTILE], shown[VICTIM], earlier[HOSTILE], earlier[VICTIM]
    run = Run(vector)
    key, size = run.parameters.key.public_key, KEY_BITS // 8
    n, challenge = key.n, own.proof[:32]
    plaintext, root = integers.split(own.proof[32:], size)
    old_plaintext, old_root = integers.split(old.proof[32:], size)
    raised = [pow(each, 4, key.n_squared) for each in integers.split(old.ciphertexts, key.ciphertext_bytes)]

    def answers(*numbers: int) -> bytes:
        return challenge + integers.join(numbers, size)

    ones, bent = integers.join([1, 1], key.ciphertext_bytes), own.ciphertexts
    cases: list[tuple[str, bytes, bytes]] = [
        ("ciphertexts and proof of another in an earlier session", old.ciphertexts, old.proof),
        (
            "a power of them, and of the answers",
            integers.join(raised, key.ciphertext_bytes),
            old.proof[:32] + integers.join([old_plaintext * 4 % n, pow(old_root, 4, n)], size),
        ),
        ("ciphertexts and proof of its own in an earlier session", its_old.ciphertexts, its_old.proof),
        ("ciphertexts and proof of another in this session", others.ciphertexts, others.proof),
        ("somebody else's proof", bent, others.proof),
        ("a proof with another challenge", bent, _flipped(own.proof[:32]) + own.proof[32:]),
        ("a proof with another plaintext", bent, answers((plaintext + 1) % n, root)),
        ("a proof with another root", bent, answers(plaintext, n - root)),
        ("a proof with a plaintext of N and more", bent, answers(plaintext + n, root)),
        ("a proof with a root of zero", bent, answers(plaintext, 0)),
        ("a proof with a root that is a factor of N", bent, answers(plaintext, vector["dealer"]["p"])),
        ("a proof with a byte too few", bent, own.proof[:-1]),
        ("a proof with a byte too many", bent, own.proof + b"\0"),
        ("no proof", bent, b""),
        ("a proof of zeros for ciphertexts of one", ones, bytes(len(own.proof))),
    ]
    for name, ciphertexts, proof in cases:
        yield name, _hostile(vector, msgspec.structs.replace(own, ciphertexts=ciphertexts, proof=proof))


def _weighing(vector: Vector) -> Iterator[tuple[str, Vector]]:
    """What a contributor encrypts in place of a weight, so that no mean is one: its two messages."""
    others = sum(given["weight"] for party, given in vector["contributors"].items() if int(party) != HOSTILE)
    run, said = Run(vector), _shown(vector)[HOSTILE]
    most = CONTRIBUTORS * run.parameters.codec.max_weight
    for name, total in (("below zero", -1), ("of nothing", 0), ("beyond all", most + 1)):
        levels = np.zeros(run.parameters.lanes.length, dtype=np.int64)
        levels[-1] = total - others
        yield f"a total weight {name}", _hostile(vector, _own(run, said, levels))


def _shown(vector: Vector) -> dict[int, Contribution]:
    """The contributions of a round in which nobody vanishes."""
    run = Run(vector)
    answers: dict[int, bytes] = {}
    for _ in range(3):
        answers = run.collect([], {})
        run.close()
    return {party: decode(data, Contribution, max_bytes=1 << 20) for party, data in answers.items()}


def _hostile(vector: Vector, said: Contribution) -> Vector:
    """The two messages of a contributor that says this in the round, signed under the list that is then made."""
    run, party = Run(vector), str(HOSTILE)
    parameters = run.parameters
    digest = parameters.contribution_digest(HOSTILE, said.vector(), said.proof)
    commitment = encode(Commitment(parameters.session, digest)).hex()
    run.collect([], {party: commitment})
    run.close()
    request = decode(run.request, CommitmentList, max_bytes=1 << 20)
    listed = parameters.commitments_digest(request.commitments)
    signature = run.identities["contributors"][HOSTILE].sign(parameters.contribution_text(HOSTILE, listed, digest))
    signed = msgspec.structs.replace(said, commitments_digest=listed, signature=signature)
    return {"commitments": {party: commitment}, "contributions": {party: encode(signed).hex()}}


def _flipped(data: bytes) -> bytes:
    """Another byte string, of the same length if there is a byte to change."""
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b"\0"


def paillier_vector(*, once: bool) -> Vector:
    """Run a round and its forks, and write all of it down."""
    vector = _given(once=once)
    run = Run(vector)
    vector["derived"] = run.derived()
    rounds: list[Vector] = []
    while not run.aggregator.ended:
        phase, silent = run.phase, SILENT.get(run.phase, [])
        request = run.request
        answers = run.collect(silent, {})
        said = {str(i): data.hex() for i, data in answers.items()}
        rounds.append({"phase": phase, "silent": silent, "request": request.hex(), "answers": said})
        run.close()
    untouched = copy.deepcopy(vector)
    return vector | {
        "output": run.output(),
        "rounds": rounds,
        "refused": list(_refused(untouched, rounds)),
        "endings": list(_endings(untouched, rounds)),
    }


def render(*, once: bool) -> str:
    """Return the contents of a file: one party, round or case a line."""
    parts = []
    for key, value in paillier_vector(once=once).items():
        if key in ("members", "contributors"):
            lines = ",\n".join(f'    "{i}": {json.dumps(item)}' for i, item in value.items())
            parts.append(f'  "{key}": {{\n{lines}\n  }}')
        elif key in ("rounds", "refused", "endings"):
            lines = ",\n".join("    " + json.dumps(item) for item in value)
            parts.append(f'  "{key}": [\n{lines}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


FILES: dict[str, Callable[[], str]] = {
    "paillier-round": partial(render, once=False),
    "paillier-round-once": partial(render, once=True),
}
