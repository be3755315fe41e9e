"""SPEC section 9, the client: every secret is given, so that every byte follows."""

from typing import Any

from . import sharing, wire
from .configuration import Session
from .costs import check_policy, read_policy
from .edwards import sign, verification_key, verifies
from .lanes import pack
from .primitives import agree, derive, frame, public_key, seal, u32, unseal
from .private import Drawn
from .refusal import Refused, require
from .roster import check_keys, keys_statement, roster_digest, seen_digest

SHARE_BYTES, SEALED_BYTES, COMMITMENTS_BYTES = 36, 100, 64
EXPECTED = {
    "invited": ("invitation",),
    "advertised": ("roster",),
    "shared": ("share-delivery",),
    "accepted": ("input-request",),
    "masked": ("survivor-list", "unmasking-request"),
    "confirmed": ("unmasking-request",),
}


class Client:
    """A client with the given randomness: a dict of hexadecimal strings, as tests/vectors/README.md has it."""

    def __init__(
        self, client_id: int, given: dict[str, Any], known: dict[int, bytes], policy: dict[str, Any] | None = None
    ) -> None:
        self.id, self.given, self.known, self.phase = client_id, given, known, "invited"
        self.policy = policy or {}
        self.session: Session | None = None

    def respond(self, data: bytes) -> bytes:
        limit = self.session.max_request_bytes if self.session else wire.MAX_INVITATION_BYTES
        tag, message = wire.decode(data, wire.TO_CLIENT, limit)
        if tag == "invitation" and self.phase == "invited":
            self.id = message["recipient"]
        require(tag in EXPECTED.get(self.phase, ()) and message["recipient"] == self.id, "UnexpectedMessage")
        if self.session:
            require(message["session_id"] == self.session.id, "UnexpectedMessage")
        phase, self.phase = self.phase, "aborted"
        steps = {
            "invitation": self._advertise,
            "roster": self._share,
            "share-delivery": self._accept,
            "input-request": self._go_on,
            "survivor-list": self._confirm,
            "unmasking-request": self._unmask,
        }
        answer = steps[tag](message, phase)
        self.phase = {
            "invitation": "advertised",
            "roster": "shared",
            "share-delivery": "accepted" if self.session and self.session.signed else "masked",
            "input-request": "masked",
            "survivor-list": "confirmed",
            "unmasking-request": "completed",
        }[tag]
        return answer

    def secret(self, name: str) -> bytes:
        return bytes.fromhex(self.given[name])

    def _encode(self, tag: str, **fields: Any) -> bytes:
        assert self.session
        return wire.encode(tag, session_id=self.session.id, sender=self.id, **fields)

    def _enough(self, neighbours: int, demanded: int | None = None) -> None:
        """In the complete graph a client holds a share itself; its policy may demand more than are needed."""
        assert self.session
        own = 1 if self.session.topology.complete else 0
        least = self._demanded("min_neighbours") if demanded is None else demanded
        require(neighbours >= max(self.session.topology.threshold - own, least), "ThresholdError")

    def _enough_survivors(self, survivors: int, neighbours: int) -> None:
        assert self.session
        require(survivors >= max(self.session.min_survivors, self._demanded("min_survivors")), "ThresholdError")
        self._enough(neighbours)

    def _demanded(self, name: str) -> int:
        return int(read_policy(self.policy)[name])

    def _advertise(self, message: dict[str, Any], phase: str) -> bytes:
        try:
            session = Session(message["config"], message["nonce"])
        except Refused:
            raise Refused("MalformedMessage") from None
        self.session = session
        check_policy(self.policy, session)
        require(self.id <= session.num_clients, "ParameterError")
        keys = {
            "session_id": session.id,
            "sender": self.id,
            "cipher_public_key": public_key(self.secret("cipher_private_key")),
            "mask_public_key": public_key(self.secret("mask_private_key")),
            "self_mask_commitment": session.commitment(self.id, self.secret("self_mask_seed")),
            "confirmation_public_key": None,
            "signature": None,
        }
        if session.equivocates:
            keys["confirmation_public_key"] = verification_key(self.secret("confirmation_private_key"))
        if session.signed:
            identity = self.secret("identity_private_key")
            require(self.known.get(self.id) == verification_key(identity), "ParameterError")
            require(set(self.known) >= set(range(1, session.num_clients + 1)), "ParameterError")
            require(len(set(self.known.values())) == len(self.known), "ParameterError")
            keys["signature"] = sign(identity, keys_statement(keys))
        self.keys = keys
        return wire.encode("advertise-keys", **keys)

    def _share(self, message: dict[str, Any], phase: str) -> bytes:
        session = self.session
        assert session
        names = [name for name, _ in wire.MESSAGES["advertise-keys"]]
        listed = [dict(zip(names, entry[1:], strict=True)) for entry in message["entries"]]
        entries = {entry["sender"]: entry for entry in listed}
        require(len(entries) == len(listed), "ContradictoryRequest")
        require(entries.pop(self.id, None) == self.keys, "ContradictoryRequest")
        session.everyone = message["everyone"]
        strangers = set(entries) - session.neighbours[self.id]
        require(not strangers, "ContradictoryRequest", *strangers)
        require(all(entry["session_id"] == session.id for entry in entries.values()), "ContradictoryRequest")
        keys = [entry[name] for entry in listed for name in names if name.endswith("public_key") and entry[name]]
        require(len(set(keys)) == len(keys), "ContradictoryRequest")
        for entry in entries.values():
            try:
                check_keys(entry, session, self.known)
            except Refused as refused:
                contradicts = refused.error == "MalformedMessage"
                raise Refused("ContradictoryRequest" if contradicts else refused.error, refused.culprits) from None
        self._enough(len(entries))
        self.peers = dict(sorted(entries.items()))
        holders = [*self.peers, *([self.id] if session.topology.complete else [])]
        dealt = [
            dict(zip(holders, sharing.split(self.secret(secret), self.given[drawn], holders), strict=True))
            for secret, drawn in (
                ("self_mask_seed", "seed_coefficients"),
                ("mask_private_key", "mask_key_coefficients"),
            )
        ]
        self.own_share = dealt[0].get(self.id)
        sealed = b""
        for peer in self.peers:
            plaintext = dealt[0][peer] + dealt[1][peer]
            key = self._sealing_key(self.id, peer)
            sealed += seal(key, plaintext, self._data(self.id, peer), bytes.fromhex(self.given["nonces"][str(peer)]))
        require(not session.topology.complete or roster_digest(listed) == session.everyone, "ContradictoryRequest")
        commitments = b"".join(
            session.share_commitments(self.id, holder, dealt[0][holder], dealt[1][holder]) for holder in holders
        )
        seen = seen_digest(session.everyone, listed)
        return self._encode("share-keys", seen=seen, sealed=sealed, commitments=commitments)

    def _sealing_key(self, sender: int, recipient: int) -> bytes:
        """The key for one direction; this client is one of the two."""
        assert self.session
        peer = recipient if sender == self.id else sender
        try:
            agreed = agree(self.secret("cipher_private_key"), self.peers[peer]["cipher_public_key"])
        except Refused as refused:
            raise Refused(refused.error, (peer,)) from None
        low, high = [
            (u32(i), (self.keys if i == self.id else self.peers[i])["cipher_public_key"])
            for i in sorted((sender, recipient))
        ]
        both = derive(agreed, "SHARE_ENCRYPTION", self.session.id, *low, *high, length=64)
        return both[:32] if sender < recipient else both[32:]

    def _data(self, sender: int, recipient: int) -> bytes:
        assert self.session
        return frame("SHARE_ENCRYPTION", self.session.id, u32(sender), u32(recipient))

    def _accept(self, message: dict[str, Any], phase: str) -> bytes:
        session = self.session
        assert session
        dealers = message["dealers"]
        require(len(set(dealers)) == len(dealers), "ContradictoryRequest")
        strangers = set(dealers) - set(self.peers)
        require(not strangers, "ContradictoryRequest", *strangers)
        sealed, commitments = (
            dict(zip(dealers, wire.records(message[name], size), strict=False))
            for name, size in (("sealed", SEALED_BYTES), ("commitments", COMMITMENTS_BYTES))
        )
        require(len(message["sealed"]) == SEALED_BYTES * len(dealers), "ContradictoryRequest")
        require(len(message["commitments"]) == COMMITMENTS_BYTES * len(dealers), "ContradictoryRequest")
        self._enough(len(dealers))
        self.shares = {}
        for sender in sorted(dealers):
            try:
                opened = unseal(self._sealing_key(sender, self.id), sealed[sender], self._data(sender, self.id))
            except Refused:
                continue
            pair = opened[:SHARE_BYTES], opened[SHARE_BYTES:]
            if session.share_commitments(sender, self.id, *pair) == commitments[sender]:
                self.shares[sender] = pair
        self.active = set(sealed)
        complaints = sorted(self.active - set(self.shares))
        return self._encode("share-receipt", complaints=complaints) if session.signed else self._mask(complaints)

    def _go_on(self, message: dict[str, Any], phase: str) -> bytes:
        peers = set(message["peers"])
        require(len(peers) == len(message["peers"]), "ContradictoryRequest")
        require(peers <= self.active, "ContradictoryRequest", *(peers - self.active))
        self._enough(len(peers))
        self.active = peers
        self.shares = {sender: pair for sender, pair in self.shares.items() if sender in peers}
        return self._mask([])

    def _mask(self, complaints: list[int]) -> bytes:
        session = self.session
        assert session
        values = {name: numbers(given) for name, given in self.given["values"].items()}
        seeds = {name: bytes.fromhex(seed) for name, seed in self.given["rounding_seeds"].items()}
        clipped = {name: numbers(given) for name, given in self.given.get("clipped", {}).items()}
        drawn = {
            name: Drawn(bytes.fromhex(seed), seeds.get(name, b""), clipped.get(name))
            for name, seed in self.given.get("noise_seeds", {}).items()
        }
        sums = session.encode(values, self.given["weight"], seeds, drawn)
        session.add(sums, session.self_mask(self.id, self.secret("self_mask_seed")))
        for peer in sorted(self.active):
            key = self.peers[peer]["mask_public_key"]
            try:
                agreed = agree(self.secret("mask_private_key"), key)
            except Refused as refused:
                raise Refused(refused.error, (peer,)) from None
            mask = session.pairwise_mask(agreed, [(self.id, self.keys["mask_public_key"]), (peer, key)])
            session.add(sums, mask, 1 if self.id < peer else -1)
        return self._encode("masked-input", vectors=pack_all(session, sums), complaints=complaints)

    def _confirm(self, message: dict[str, Any], phase: str) -> bytes:
        session = self.session
        assert session
        require(session.equivocates, "ContradictoryRequest")
        shared, survivors = set(message["shared"]), set(message["survivors"])
        require(len(shared) == len(message["shared"]), "ContradictoryRequest")
        require(len(survivors) == len(message["survivors"]), "ContradictoryRequest")
        require(self.id in survivors, "ContradictoryRequest")
        require(survivors <= shared, "ContradictoryRequest", *(survivors - shared))
        require(max(shared) <= session.num_clients, "ContradictoryRequest")
        others = (session.neighbours[self.id] & shared) ^ self.active
        require(not others, "ContradictoryRequest", *others)
        self._enough_survivors(len(survivors), len(survivors & self.active))
        self.statement = frame("SIGN_SURVIVORS", *session.survivors_parts(shared, survivors))
        self.survivors = survivors
        return self._encode("confirmation", signature=sign(self.secret("confirmation_private_key"), self.statement))

    def _unmask(self, message: dict[str, Any], phase: str) -> bytes:
        session = self.session
        assert session
        dropped = set(message["dropped"])
        if session.equivocates:
            require(phase == "confirmed", "ContradictoryRequest")
            require(dropped == self.active - self.survivors, "ContradictoryRequest")
            require(message["num_survivors"] == len(self.survivors), "ContradictoryRequest")
            strangers = set(message["confirmations"]) - (self.active & self.survivors) - {self.id}
            require(not strangers, "ContradictoryRequest", *strangers)
            others = {i: s for i, s in message["confirmations"].items() if i != self.id}
            for signer, signature in others.items():
                key = self.peers[signer]["confirmation_public_key"]
                require(verifies(key, self.statement, signature), "AuthenticationFailed", signer)
            self._enough(len(others), demanded=1)  # confirmations come of as many as are needed
        require(len(dropped) == len(message["dropped"]) and self.id not in dropped, "ContradictoryRequest")
        require(dropped <= self.active, "ContradictoryRequest", *(dropped - self.active))
        neighbours = len(self.active) - len(dropped)
        claimed = message["num_survivors"]
        require(claimed > neighbours, "ContradictoryRequest")
        require(not session.topology.complete or claimed == neighbours + 1, "ContradictoryRequest")
        require(claimed <= session.num_clients, "ContradictoryRequest")
        self._enough_survivors(claimed, neighbours)
        given = {i: shares[1 if i in dropped else 0] for i, shares in self.shares.items()}
        if self.own_share is not None:
            given[self.id] = self.own_share
        return self._encode("unmasking-shares", shares=b"".join(given[i] for i in sorted(given)))


def numbers(given: list[Any]) -> list[Any]:
    """The numbers of a vector, or the rows of records."""
    if given and isinstance(given[0], list):
        return [numbers(row) for row in given]
    return [float.fromhex(value) if isinstance(value, str) else value for value in given]


def pack_all(session: Session, sums: list[list[int]]) -> list[bytes]:
    return [pack(total, lane.codec.bits) for total, lane in zip(sums, session.lanes, strict=True)]
