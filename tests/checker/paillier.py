"""SPEC sections 18 to 22: a Paillier round with threshold opening, in Python's integers."""

import copy
import hashlib
import math
import struct
from typing import Any

from xxhash import xxh3_128_digest

from . import messagepack
from .edwards import sign, verification_key, verifies
from .findings import agree
from .lanes import Floats
from .primitives import digest, frame, ids, u32
from .refusal import Refused, require

Vector = dict[str, Any]
PHASES = ("commitments", "endorsements", "contributions", "openings")
REQUESTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "commitments": ("invitation", ()),
    "endorsements": ("commitment-list", ("commitments",)),
    "contributions": ("reveal-request", ("commitments", "endorsements")),
    "openings": ("open-request", ("contributors", "sum_digest")),
}
ANSWERS = {
    "commitments": ("commitment", ("contribution_digest",)),
    "endorsements": ("endorsement", ("commitments_digest", "signature")),
    "contributions": (
        "contribution",
        (
            "contributor",
            "commitments_digest",
            "fingerprint",
            "lane_bits",
            "length",
            "num_addends",
            "ciphertexts",
            "proof",
            "signature",
        ),
    ),
    "openings": ("opening", ("sum_digest", "roots", "challenge", "response")),
}

_HEAD = b"SAGG\x01"


def _write(kind: tuple[str, tuple[str, ...]], session: bytes, **fields: Any) -> bytes:
    tag, names = kind
    body = messagepack.encode(
        {"type": f"paillier/v1/{tag}", "session": session} | {name: fields[name] for name in names}
    )
    return _HEAD + xxh3_128_digest(body) + body


def _read(kind: tuple[str, tuple[str, ...]], data: bytes) -> dict[str, Any]:
    tag, names = kind
    body = data[21:]
    require(data[:5] == _HEAD and data[5:21] == xxh3_128_digest(body), "MalformedMessage")
    message = messagepack.decode(body)
    require(type(message) is dict, "MalformedMessage")
    require(list(message) == ["type", "session", *names], "MalformedMessage")
    require(message["type"] == f"paillier/v1/{tag}", "MalformedMessage")
    require(messagepack.encode(message) == body, "MalformedMessage")
    return message


def _pairs(table: dict[int, bytes]) -> bytes:
    return b"".join(u32(i) + table[i] for i in sorted(table))


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _shake(label: str, *parts: bytes, length: int) -> bytes:
    return hashlib.shake_256(frame(label, *parts)).digest(length)


class Key:
    """SPEC section 21: what the dealer publishes and hands out."""

    def __init__(self, dealer: Vector, num_members: int) -> None:
        p, q, self.threshold = dealer["p"], dealer["q"], dealer["threshold"]
        self.unproven = dealer["one_session_without_proofs"]
        self.n, order = p * q, (p // 2) * (q // 2)
        self.width = (self.n.bit_length() + 7) // 8
        self.square = self.n**2
        self.size = (self.square.bit_length() + 7) // 8
        self.generator = pow(dealer["generator_root"], 2, self.n)
        coefficients = [pow(self.n, -1, order), *dealer["coefficients"]]
        self.shares = [
            sum(c * member**power for power, c in enumerate(coefficients)) % order
            for member in range(1, num_members + 1)
        ]
        self.member_keys = [pow(self.generator, share, self.n) for share in self.shares]
        self.factorial = math.factorial(num_members)
        self.fingerprint = digest("PAILLIER_KEY", self.residue(self.n))
        numbers = [self.residue(number) for number in (self.n, self.generator, *self.member_keys)]
        self.digest = digest("PAILLIER_THRESHOLD_KEY", u32(self.threshold), bytes([self.unproven]), *numbers)
        x = int.from_bytes(_shake("PAILLIER_BASE", self.residue(self.n), length=self.width + 32), "big") % self.n
        self.noise_root = -x * x % self.n
        self.noise_base = pow(self.noise_root, self.n, self.square)

    def residue(self, value: int) -> bytes:
        return value.to_bytes(self.width, "big")

    def join(self, values: list[int], size: int) -> bytes:
        return b"".join(value.to_bytes(size, "big") for value in values)


def split(data: bytes, size: int) -> list[int]:
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


class Parameters:
    """What everyone agrees on beforehand."""

    def __init__(self, vector: Vector) -> None:
        own = vector["parameters"]
        self.key = Key(vector["dealer"], len(vector["members"]))
        self.clip, self.length = float.fromhex(own["clip"]), own["length"]
        self.codec = Floats(self.clip, own["value_bits"], own["num_summands"], own["max_weight"], own["rounding"])
        self.weighted = own["max_weight"] > 1
        self.count = self.length + self.weighted
        self.lane_bits = self.codec.bits
        self.per_plaintext = (self.key.n.bit_length() - 1) // self.lane_bits
        self.minimum, self.unproven = own["min_contributors"], self.key.unproven
        self.identities = {
            role: {
                int(i): verification_key(bytes.fromhex(one["identity_private_key"])) for i, one in vector[role].items()
            }
            for role in ("contributors", "members")
        }
        parties = self.identities.items()
        numbers = [own[name] for name in ("value_bits", "num_summands", "max_weight", "length")]
        numbers += [own["min_contributors"], own["corrupt_members"], own["corrupt_contributors"]]
        self.session = digest(
            "PAILLIER_SESSION",
            bytes.fromhex(vector["nonce"]),
            self.key.digest,
            struct.pack(">d", self.clip),
            own["rounding"].encode(),
            *map(_u64, numbers),
            _pairs(self.identities["contributors"]),
            _pairs(self.identities["members"]),
            *("\n".join(vector[role][str(i)]["name"] for i in sorted(own)).encode() for role, own in parties),
        )

    def encrypt(self, author: int, given: Vector) -> tuple[bytes, bytes]:
        """Ciphertexts, and the proof of knowledge (SPEC section 20.1)."""
        values, weight = [float.fromhex(value) for value in given["values"]], given["weight"]
        residues = self.codec.encode(values, weight, bytes.fromhex(given["rounding_seed"]))[0]
        if self.weighted:
            residues = [*residues, weight]
        half = 2 ** (self.lane_bits - 1)
        signed = [r - 2 * half if r >= half else r for r in residues]
        out, plaintexts, key = [], [], self.key
        exponents = [int.from_bytes(bytes.fromhex(exponent), "little") for exponent in given["noise_exponents"]]
        for at, exponent in zip(range(0, self.count, self.per_plaintext), exponents, strict=True):
            lanes = signed[at : at + self.per_plaintext]
            plaintexts.append(sum(lane << self.lane_bits * i for i, lane in enumerate(lanes)))
            out.append((1 + plaintexts[-1] * key.n) * pow(key.noise_base, exponent, key.square) % key.square)
        data = key.join(out, key.size)
        if self.unproven:
            return data, b""
        a, u = given["proof_nonces"]
        challenge = self.challenge(author, data, (1 + a * key.n) * pow(u, key.n, key.square) % key.square)
        weights = self.weights(challenge, len(out))
        a = (a + sum(w * plaintext for w, plaintext in zip(weights, plaintexts, strict=True))) % key.n
        for weight, exponent in zip(weights, exponents, strict=True):
            u = u * pow(key.noise_root, weight * exponent, key.n) % key.n
        return data, challenge + key.residue(a) + key.residue(u)

    def challenge(self, author: int, data: bytes, announcement: int) -> bytes:
        count, body = _u64(len(data) // self.key.size), hashlib.sha256(data).digest()
        statement = digest("PAILLIER_KNOWLEDGE", self.session + u32(author), self.key.fingerprint, count, body)
        return digest("PAILLIER_KNOWLEDGE_CHALLENGE", statement, announcement.to_bytes(self.key.size, "big"))

    def weights(self, challenge: bytes, count: int) -> list[int]:
        return split(_shake("PAILLIER_KNOWLEDGE_WEIGHTS", challenge, length=16 * count), 16)

    def known(self, author: int, data: bytes, proof: bytes) -> bool:
        """Tell whether the proof of knowledge verifies."""
        key = self.key
        if len(proof) != 32 + 2 * key.width:
            return False
        challenge, (a, u) = proof[:32], split(proof[32:], key.width)
        if a >= key.n or u >= key.n or math.gcd(u, key.n) != 1:
            return False
        ciphertexts = split(data, key.size)
        answered = (1 + a * key.n) * pow(u, key.n, key.square)
        for ciphertext, weight in zip(ciphertexts, self.weights(challenge, len(ciphertexts)), strict=True):
            answered = answered * pow(ciphertext, -weight, key.square) % key.square
        return self.challenge(author, data, answered) == challenge

    def decode(self, plaintexts: list[int], present: int) -> tuple[list[int], int]:
        """Sums and total weight; the plaintexts are mod n."""
        half, residues = 2 ** (self.lane_bits - 1), []
        for at, plaintext in zip(range(0, self.count, self.per_plaintext), plaintexts, strict=True):
            count = min(self.per_plaintext, self.count - at)
            raised = (plaintext + sum(half << self.lane_bits * i for i in range(count))) % self.key.n
            require(raised < 1 << self.lane_bits * count, "EncodingError")
            residues += [((raised >> self.lane_bits * i) % (2 * half)) ^ half for i in range(count)]
        levels = self.codec.decode(residues, present)
        sums, weight = levels[: self.length], levels[-1] if self.weighted else present
        require(0 <= weight <= present * self.codec.max_weight, "EncodingError")
        require(max(map(abs, sums)) <= weight * self.codec.max_level, "EncodingError")
        return sums, weight

    def listed(self, commitments: dict[int, bytes]) -> bytes:
        return digest("PAILLIER_COMMITMENTS", self.session, _pairs(commitments))

    def contribution(self, author: int, data: bytes, proof: bytes) -> bytes:
        header = struct.pack(">IQQQ", author, self.lane_bits, self.count, 1)
        hashes = [hashlib.sha256(part).digest() for part in (data, proof)]
        return digest("PAILLIER_CONTRIBUTION", self.session, header, self.key.fingerprint, *hashes)

    def sum(self, listed: bytes, authors: list[int], product: bytes) -> bytes:
        body = hashlib.sha256(product).digest()
        return digest("PAILLIER_SUM", self.session, listed, ids(sorted(authors)), _u64(len(authors)), body)

    def endorsement(self, member: int, listed: bytes) -> bytes:
        return frame("SIGN_PAILLIER_ENDORSEMENT", self.session, u32(member), listed)

    def statement(self, author: int, listed: bytes, contribution: bytes) -> bytes:
        return frame("SIGN_PAILLIER_CONTRIBUTION", self.session, u32(author), listed, contribution)


class Opening:
    """SPEC section 21: one member's statement about all ciphertexts."""

    def __init__(self, p: Parameters, member: int, context: bytes, bases: list[int], images: list[int]) -> None:
        self.key, self.member_key, key = p.key, p.key.member_keys[member - 1], p.key
        bound = digest("PAILLIER_OPENING_CONTEXT", context, key.digest)
        hashes = [hashlib.sha256(key.join(values, key.width)).digest() for values in (bases, images)]
        factorial = key.factorial.to_bytes((key.factorial.bit_length() + 7) // 8, "big")
        numbers = [key.residue(number) for number in (key.n, key.generator, self.member_key)]
        self.digest = digest("PAILLIER_OPENING", bound, u32(member), _u64(len(bases)), *numbers, factorial, *hashes)
        stream = _shake("PAILLIER_PROOF_WEIGHTS", self.digest, length=16 * len(bases))
        weights = split(stream, 16)
        self.base = pow(_product(bases, weights, key.n), 4 * key.factorial, key.n)
        self.image = pow(_product(images, weights, key.n), 2, key.n)

    def challenge(self, first: int, second: int) -> bytes:
        values = (self.base, self.image, first, second)
        return digest("PAILLIER_PROOF", self.digest, *map(self.key.residue, values))

    def prove(self, secret: int, nonce: int) -> tuple[bytes, int]:
        n = self.key.n
        challenge = self.challenge(pow(self.key.generator, nonce, n), pow(self.base, nonce, n))
        return challenge, nonce + int.from_bytes(challenge, "big") * secret

    def verifies(self, challenge: bytes, response: int) -> bool:
        n, c = self.key.n, int.from_bytes(challenge, "big")
        if response.bit_length() > n.bit_length() + 385:
            return False
        first = pow(self.key.generator, response, n) * pow(self.member_key, -c, n) % n
        return self.challenge(first, pow(self.base, response, n) * pow(self.image, -c, n) % n) == challenge


def _product(values: list[int], exponents: list[int], n: int) -> int:
    return math.prod(pow(value, exponent, n) for value, exponent in zip(values, exponents, strict=True)) % n


class Round:
    """All parties of a round; every secret is given."""

    def __init__(self, vector: Vector) -> None:
        self.vector, self.p, self.phase = vector, Parameters(vector), PHASES[0]
        self.request = _write(REQUESTS["commitments"], self.p.session)
        self.commitments: dict[int, bytes] = {}
        self.endorsements: dict[int, bytes] = {}
        self.accepted: dict[int, bytes] = {}
        self.openings: dict[int, Any] = {}
        self.shown: dict[int, tuple[bytes, bytes]] = {}

    def parties(self) -> list[int]:
        if self.phase == "openings":
            return sorted(self.endorsements)
        if self.phase == "contributions":
            return sorted(self.commitments)
        return sorted(self.p.identities["members" if self.phase == "endorsements" else "contributors"])

    def identity(self, role: str, party: int) -> bytes:
        return bytes.fromhex(self.vector[role][str(party)]["identity_private_key"])

    # What a party answers

    def answer(self, party: int, data: bytes) -> bytes:
        p = self.p
        request = _read(REQUESTS[self.phase], data)
        require(request["session"] == p.session, "UnexpectedMessage")
        if self.phase == "commitments":
            self.shown[party] = p.encrypt(party, self.vector["contributors"][str(party)])
            fields = {"contribution_digest": p.contribution(party, *self.shown[party])}
            return _write(ANSWERS[self.phase], p.session, **fields)
        if self.phase == "openings":
            return self._open(party, request)
        commitments = request["commitments"]
        require(set(commitments) <= set(p.identities["contributors"]), "UnexpectedMessage")
        require(len(commitments) >= p.minimum, "UnexpectedMessage")
        listed = p.listed(commitments)
        if self.phase == "endorsements":
            signature = sign(self.identity("members", party), p.endorsement(party, listed))
            return _write(ANSWERS[self.phase], p.session, commitments_digest=listed, signature=signature)
        contribution = p.contribution(party, *self.shown[party])
        require(commitments.get(party) == contribution, "ContradictoryRequest")
        for member, signature in request["endorsements"].items():
            self._check_endorsement(member, listed, signature)
        require(len(request["endorsements"]) >= p.key.threshold, "ThresholdError")
        return _write(
            ANSWERS[self.phase],
            p.session,
            contributor=party,
            commitments_digest=listed,
            fingerprint=p.key.fingerprint,
            lane_bits=p.lane_bits,
            length=p.count,
            num_addends=1,
            ciphertexts=self.shown[party][0],
            proof=self.shown[party][1],
            signature=sign(self.identity("contributors", party), p.statement(party, listed, contribution)),
        )

    def _check_endorsement(self, member: int, listed: bytes, signature: bytes) -> None:
        public = self.p.identities["members"].get(member, b"")
        require(verifies(public, self.p.endorsement(member, listed), signature), "AuthenticationFailed", member)

    def product(self) -> list[int]:
        key = self.p.key
        columns = zip(*(split(data, key.size) for data in self.accepted.values()), strict=True)
        return [math.prod(column) % key.square for column in columns]

    def context(self) -> bytes:
        product = self.p.key.join(self.product(), self.p.key.size)
        return self.p.sum(self.p.listed(self.commitments), list(self.accepted), product)

    def _open(self, party: int, request: Vector) -> bytes:
        p, asked = self.p, request["contributors"]
        wanting = set(self.accepted) < set(asked) <= set(self.commitments)
        require(not wanting, "UnexpectedMessage")
        require(asked == sorted(self.accepted), "ContradictoryRequest")
        require(len(asked) >= p.minimum, "ContradictoryRequest")
        context = self.context()
        require(request["sum_digest"] == context, "ContradictoryRequest")
        secret = p.key.shares[party - 1]
        bases = [c % p.key.n for c in self.product()]
        images = [pow(base, 2 * p.key.factorial * secret, p.key.n) for base in bases]
        nonce = self.vector["members"][str(party)]["proof_nonce"]
        challenge, response = Opening(p, party, context, bases, images).prove(secret, nonce)
        return _write(
            ANSWERS[self.phase],
            p.session,
            sum_digest=context,
            roots=p.key.join(images, p.key.width),
            challenge=challenge,
            response=response.to_bytes((response.bit_length() + 7) // 8, "big"),
        )

    # What the aggregator makes of it; it relays contributions to the members, who check the same

    def deliver(self, party: int, data: bytes) -> None:
        p = self.p
        try:
            message = _read(ANSWERS[self.phase], data)
        except Refused as refused:
            raise Refused(refused.error, (party,)) from None
        require(message["session"] == p.session, "UnexpectedMessage", party)
        match self.phase:
            case "commitments":
                self.commitments[party] = message["contribution_digest"]
            case "endorsements":
                listed = p.listed(self.commitments)
                require(message["commitments_digest"] == listed, "UnexpectedMessage", party)
                self._check_endorsement(party, listed, message["signature"])
                self.endorsements[party] = message["signature"]
            case "contributions":
                self._accept(party, message)
            case "openings":
                require(message["response"][:1] != b"\0", "MalformedMessage", party)
                require(message["sum_digest"] == self.context(), "UnexpectedMessage", party)
                self.openings[party] = message

    def _accept(self, party: int, message: Vector) -> None:
        p, listed = self.p, self.p.listed(self.commitments)
        require(message["contributor"] == party, "UnexpectedMessage", party)
        require(message["commitments_digest"] == listed, "UnexpectedMessage", party)
        require(message["num_addends"] == 1, "MalformedMessage", party)
        contribution = p.contribution(party, message["ciphertexts"], message["proof"])
        require(contribution == self.commitments[party], "AuthenticationFailed", party)
        public, text = p.identities["contributors"][party], p.statement(party, listed, contribution)
        require(verifies(public, text, message["signature"]), "AuthenticationFailed", party)
        require(message["fingerprint"] == p.key.fingerprint, "MalformedMessage", party)
        ciphertexts = split(message["ciphertexts"], p.key.size)
        sound = all(0 < c < p.key.square and math.gcd(c, p.key.n) == 1 for c in ciphertexts)
        require(sound and len(ciphertexts) == -(-p.count // p.per_plaintext), "MalformedMessage", party)
        if p.unproven:
            require(message["proof"] == b"", "MalformedMessage", party)
        else:
            require(p.known(party, message["ciphertexts"], message["proof"]), "AuthenticationFailed", party)
        self.accepted[party] = message["ciphertexts"]

    def close(self) -> Vector | None:
        p = self.p
        have = {
            "commitments": (self.commitments, p.minimum),
            "endorsements": (self.endorsements, p.key.threshold),
            "contributions": (self.accepted, p.minimum),
            "openings": (self.openings, p.key.threshold),
        }[self.phase]
        require(len(have[0]) >= have[1], "ThresholdError")
        if self.phase == "openings":
            return self._finish()
        self.phase = PHASES[PHASES.index(self.phase) + 1]
        fields: dict[str, Any] = {"commitments": self.commitments, "endorsements": self.endorsements}
        if self.phase == "openings":
            fields = {"contributors": sorted(self.accepted), "sum_digest": self.context()}
        self.request = _write(REQUESTS[self.phase], p.session, **fields)
        return None

    def _finish(self) -> Vector:
        p, key, ciphertexts = self.p, self.p.key, self.product()
        images = {member: split(message["roots"], key.width) for member, message in self.openings.items()}
        liars: set[int] = set()
        while len(images) >= key.threshold:
            chosen = list(images)[: key.threshold]
            plaintexts = self._combine(ciphertexts, {member: images[member] for member in chosen})
            if plaintexts is not None:
                levels, weight = p.decode(plaintexts, len(self.accepted))
                return {
                    "levels": levels,
                    "total_weight": weight,
                    "contributors": sorted(self.accepted),
                    "liars": sorted(liars),
                }
            for member in chosen:
                said = self.openings[member]
                opening = Opening(p, member, self.context(), [c % key.n for c in ciphertexts], images[member])
                if not opening.verifies(said["challenge"], int.from_bytes(said["response"], "big")):
                    liars.add(member)
                    del images[member]
        raise Refused("InconsistentShares", tuple(liars))

    def _combine(self, ciphertexts: list[int], images: dict[int, list[int]]) -> list[int] | None:
        key, out = self.p.key, []
        for at, ciphertext in enumerate(ciphertexts):
            root = 1
            for member, values in images.items():
                others = [other for other in images if other != member]
                coefficient = key.factorial * math.prod(others) // math.prod(other - member for other in others)
                root = root * pow(values[at], 2 * coefficient, key.n) % key.n
            left = pow(ciphertext, 4 * key.factorial**2, key.square) * pow(root, -key.n, key.square) % key.square
            if left % key.n != 1:
                return None
            out.append(left // key.n * pow(4 * key.factorial**2, -1, key.n) % key.n)
        return out

    def collect(self, silent: list[int], replaced: Vector) -> dict[str, str]:
        answers = {}
        for party in self.parties():
            if party not in silent:
                other = replaced.get(str(party))
                answer = self.answer(party, self.request) if other is None else bytes.fromhex(other)
                answers[str(party)] = answer.hex()
                self.deliver(party, answer)
        return answers

    def finish(self, silent: Vector, replaced: Vector) -> Vector:
        while True:
            self.collect(silent.get(self.phase, []), replaced.get(self.phase, {}))
            result = self.close()
            if result is not None:
                return result


def check(vector: Vector) -> int:
    """Replay a round and all its forks; return how many things were compared."""
    run = Round(vector)
    key = run.p.key
    ours = {
        "n": key.n,
        "fingerprint": key.fingerprint.hex(),
        "noise_base": key.noise_base,
        "generator": key.generator,
        "shares": key.shares,
        "member_keys": key.member_keys,
        "key_digest": key.digest.hex(),
        "session": run.p.session.hex(),
        "lane_bits": run.p.lane_bits,
        "lanes_in_a_plaintext": run.p.per_plaintext,
    }
    agree("derived", ours, vector["derived"])
    compared, result = 1, None
    for recorded in vector["rounds"]:
        phase = recorded["phase"]
        agree("phase", run.phase, phase)
        agree(f"{phase}, request", run.request.hex(), recorded["request"])
        for case in vector["refused"]:
            if case["phase"] == phase:
                agree(f"refused: {case['name']}", _refusal(run, case), (case["error"], case["culprits"]))
                compared += 1
        agree(f"{phase}, answers", run.collect(recorded["silent"], {}), recorded["answers"])
        result = run.close()
        compared += 2
    agree("output", result, vector["output"])
    for ending in vector["endings"]:
        try:
            outcome: Vector = {"output": Round(vector).finish(ending["silent"], ending["replaced"])}
        except Refused as refused:
            outcome = {"error": refused.error, "culprits": refused.culprits}
        agree(f"ending: {ending['name']}", outcome, {k: ending[k] for k in outcome if k in ending})
        compared += 1
    return compared + 1


def _refusal(run: Round, case: Vector) -> tuple[str, list[int]]:
    fork = copy.deepcopy(run, {id(part): part for part in (run.vector, run.p)})  # nobody changes these
    data = bytes.fromhex(case["bytes"])
    try:
        if case["to"] == "party":
            fork.answer(case["party"], data)
        else:
            fork.deliver(case["party"], data)
    except Refused as refused:
        return refused.error, refused.culprits
    return "accepted", []
