"""SPEC section 9, the server: collects rounds, leaves out and refuses, and unmasks."""

from typing import Any

from . import lanes, sharing, wire
from .configuration import Session
from .edwards import verifies
from .primitives import agree, frame, public_key
from .private import Private
from .refusal import Refused, require
from .roster import check_keys, roster_digest, seen_digest

PHASES = ("advertise-keys", "share-keys", "accept-shares", "masked-input", "consistency-check", "unmasking")
TAGS = ("advertise-keys", "share-keys", "share-receipt", "masked-input", "confirmation", "unmasking-shares")
COLLECTS = dict(zip(PHASES, TAGS, strict=True))
SHARE_BYTES, SEALED_BYTES, COMMITMENTS_BYTES = 36, 100, 64


class Server:
    def __init__(self, session: Session, known: dict[int, bytes]) -> None:
        self.session, self.known, self.phase = session, known, PHASES[0]
        self.excluded: set[int] = set()
        self.accepted: dict[int, bytes] = {}
        self.advertised: dict[int, Any] = {}
        self.sealed: dict[int, Any] = {}
        self.commitments: dict[int, Any] = {}
        self.receipts: set[int] = set()
        self.complaints: dict[int, set[int]] = {}
        self.shared: set[int] = set()
        self.masked: set[int] = set()
        self.confirmations: dict[int, bytes] = {}
        self.responses: dict[int, Any] = {}
        self.sums = [[0] * lane.length for lane in session.lanes]
        self._speakers, self._heard = set(range(1, session.num_clients + 1)), set[int]()

    def invitations(self) -> dict[int, bytes]:
        s = self.session
        everyone = range(1, s.num_clients + 1)
        return {i: wire.encode("invitation", recipient=i, config=s.written, nonce=s.nonce) for i in everyone}

    # Receiving

    def receive(self, sender: int, data: bytes) -> None:
        try:
            tag, message = wire.decode(data, wire.TO_SERVER, self.session.max_bytes)
        except Refused as refused:
            raise self._exclude(sender, refused) from None
        if self.accepted.get(sender) == data:
            return
        awaited = sender in self._speakers - self._heard - self.excluded
        require(tag == COLLECTS.get(self.phase) and awaited, "UnexpectedMessage", sender)
        addressed = message["session_id"] == self.session.id and message["sender"] == sender
        require(addressed, "UnexpectedMessage", sender)
        try:
            {
                "advertise-keys": self._take_keys,
                "share-keys": self._take_shares,
                "share-receipt": self._take_receipt,
                "masked-input": self._take_input,
                "confirmation": self._take_confirmation,
                "unmasking-shares": self._take_response,
            }[tag](sender, message)
        except Refused as refused:
            raise self._exclude(sender, refused) from None
        self._heard.add(sender)
        self.accepted[sender] = data

    def _exclude(self, sender: int, refused: Refused) -> Refused:
        if sender in self._speakers - self._heard:
            self.excluded.add(sender)
        return Refused(refused.error, (sender,))

    def _take_keys(self, sender: int, keys: dict[str, Any]) -> None:
        check_keys(keys, self.session, self.known)
        one = (1).to_bytes(32, "little")
        for name in ("cipher_public_key", "mask_public_key"):
            agree(one, keys[name])  # of low order, or not
        mine = _public_keys(keys)
        taken = {key for other in self.advertised.values() for key in _public_keys(other)}
        require(len(set(mine)) == len(mine) and not taken & set(mine), "MalformedMessage")
        self.advertised[sender] = keys

    def _take_shares(self, sender: int, message: dict[str, Any]) -> None:
        peers = self.session.neighbours[sender] & self._speakers
        shown = seen_digest(self.session.everyone, [self.advertised[i] for i in sorted(peers | {sender})])
        require(message["seen"] == shown, "MalformedMessage")
        holders = sorted(peers) + sorted(self.session.holders(sender) & {sender})
        require(len(message["sealed"]) == SEALED_BYTES * len(peers), "MalformedMessage")
        require(len(message["commitments"]) == COMMITMENTS_BYTES * len(holders), "MalformedMessage")
        sealed, commitments = wire.records(message["sealed"], SEALED_BYTES), message["commitments"]
        self.sealed[sender] = dict(zip(sorted(peers), sealed, strict=True))
        self.commitments[sender] = dict(zip(holders, wire.records(commitments, COMMITMENTS_BYTES), strict=True))

    def _take_receipt(self, sender: int, message: dict[str, Any]) -> None:
        self._take_complaints(sender, message["complaints"], self.session.neighbours[sender] & self.shared)
        self.receipts.add(sender)

    def _take_complaints(self, holder: int, dealers: list[int], judged: set[int]) -> None:
        require(len(set(dealers)) == len(dealers) and set(dealers) <= judged, "MalformedMessage")
        for dealer in dealers:
            self.complaints.setdefault(dealer, set()).add(holder)

    def _bound(self, owner: int) -> set[int]:
        return self.session.holders(owner) - self.complaints.get(owner, set())

    def _refuted(self, clients: Any) -> set[int]:
        most = self.session.topology.max_corrupt_holders
        return {i for i in clients if len(self.complaints.get(i, ())) > most}

    def _take_input(self, sender: int, message: dict[str, Any]) -> None:
        require(len(message["vectors"]) == len(self.session.lanes), "MalformedMessage")
        try:
            vectors = [
                lanes.unpack(packed, lane.codec.bits, lane.length)
                for packed, lane in zip(message["vectors"], self.session.lanes, strict=True)
            ]
        except Refused:
            raise Refused("MalformedMessage") from None
        judged = set() if self.session.signed else self.session.neighbours[sender] & self.shared
        self._take_complaints(sender, message["complaints"], judged)
        self.session.add(self.sums, vectors)
        self.masked.add(sender)

    def _take_confirmation(self, sender: int, message: dict[str, Any]) -> None:
        key = self.advertised[sender]["confirmation_public_key"]
        require(verifies(key, self.statement, message["signature"]), "AuthenticationFailed")
        self.confirmations[sender] = message["signature"]

    def _take_response(self, sender: int, message: dict[str, Any]) -> None:
        owners = sorted(i for i in self.session.holders(sender) & self.shared if sender in self._bound(i))
        require(len(message["shares"]) == SHARE_BYTES * len(owners), "MalformedMessage")
        self.responses[sender] = dict(zip(owners, wire.records(message["shares"], SHARE_BYTES), strict=True))

    # Closing

    def close(self) -> dict[int, bytes]:
        step = {
            "advertise-keys": self._close_keys,
            "share-keys": self._close_shares,
            "accept-shares": self._close_receipts,
            "masked-input": self._close_inputs,
            "consistency-check": self._close_confirmations,
            "unmasking": self._close_unmasking,
        }[self.phase]
        at = PHASES.index(self.phase) + 1
        if self.phase == "share-keys" and not self.session.signed:
            at += 1
        if self.phase == "masked-input" and not self.session.equivocates:
            at += 1
        self.phase = "aborted"
        messages = step()
        self.phase = [*PHASES, "completed"][at]
        self._speakers, self._heard = set(messages), set()
        return messages

    def _recoverable(self, clients: Any) -> set[int]:
        remaining = set(clients)
        while True:
            lonely = {i for i in remaining if len(self._bound(i) & remaining) < self.session.topology.threshold}
            if not lonely:
                break
            remaining -= lonely
        require(len(remaining) >= self.session.min_survivors, "ThresholdError")
        return remaining

    def _require_survivors(self, responsive: Any) -> None:
        require(len(self.masked) >= self.session.min_survivors, "ThresholdError")
        threshold = self.session.topology.threshold
        short = {owner for owner in self.shared if len(self._bound(owner) & set(responsive)) < threshold}
        require(not self._refuted(short), "InconsistentShares", *self._refuted(short))
        require(not short, "ThresholdError")

    def _close_keys(self) -> dict[int, bytes]:
        self.session.everyone = roster_digest(list(self.advertised.values()))
        remaining = self._recoverable(self.advertised)
        self.advertised = {i: self.advertised[i] for i in sorted(remaining)}
        out = {}
        for i in sorted(remaining):
            members = sorted((self.session.neighbours[i] | {i}) & remaining)
            names = [name for name, _ in wire.MESSAGES["advertise-keys"]]
            entries = [["advertise-keys", *(self.advertised[m][name] for name in names)] for m in members]
            out[i] = wire.encode(
                "roster", session_id=self.session.id, recipient=i, everyone=self.session.everyone, entries=entries
            )
        return out

    def _close_shares(self) -> dict[int, bytes]:
        self.shared = self._recoverable(self.sealed)
        out = {}
        for i in sorted(self.shared):
            dealers = sorted(self.session.neighbours[i] & self.shared)
            out[i] = wire.encode(
                "share-delivery",
                session_id=self.session.id,
                recipient=i,
                dealers=dealers,
                sealed=b"".join(self.sealed[dealer][i] for dealer in dealers),
                commitments=b"".join(self.commitments[dealer][i] for dealer in dealers),
            )
        return out

    def _close_receipts(self) -> dict[int, bytes]:
        self.shared = self._recoverable(self.receipts)
        self.excluded |= self._refuted(self.receipts - self.shared)
        return {
            i: wire.encode(
                "input-request",
                session_id=self.session.id,
                recipient=i,
                peers=sorted(self.session.neighbours[i] & self.shared),
            )
            for i in sorted(self.shared)
        }

    def _close_inputs(self) -> dict[int, bytes]:
        self._require_survivors(self.masked)
        if not self.session.equivocates:
            return self._requests(self.masked)
        self.statement = frame("SIGN_SURVIVORS", *self.session.survivors_parts(self.shared, self.masked))
        listed = {"shared": sorted(self.shared), "survivors": sorted(self.masked)}
        return {
            i: wire.encode("survivor-list", session_id=self.session.id, recipient=i, **listed)
            for i in sorted(self.masked)
        }

    def _close_confirmations(self) -> dict[int, bytes]:
        self._require_survivors(self.confirmations)
        return self._requests(self.confirmations)

    def _requests(self, recipients: Any) -> dict[int, bytes]:
        out = {}
        for i in sorted(recipients):
            neighbours = self.session.neighbours[i]
            signers = sorted(neighbours & set(self.confirmations))[: self.session.topology.threshold]
            out[i] = wire.encode(
                "unmasking-request",
                session_id=self.session.id,
                recipient=i,
                num_survivors=len(self.masked),
                dropped=sorted(neighbours & (self.shared - self.masked)),
                confirmations={signer: self.confirmations[signer] for signer in signers},
            )
        return out

    # Unmasking

    def _close_unmasking(self) -> dict[int, bytes]:
        session = self.session
        self._require_survivors(self.responses)
        secrets = self._recover(self.shared)
        for owner in sorted(self.masked):
            session.add(self.sums, session.self_mask(owner, secrets[owner]), -1)
        for owner in sorted(self.shared - self.masked):
            key = secrets[owner]
            for survivor in sorted(session.neighbours[owner] & self.masked):
                theirs = self.advertised[survivor]["mask_public_key"]
                ends = [(owner, self.advertised[owner]["mask_public_key"]), (survivor, theirs)]
                mask = session.pairwise_mask(agree(key, theirs), ends)
                session.add(self.sums, mask, -1 if survivor < owner else 1)
        return {}

    def _recover(self, owners: set[int]) -> dict[int, bytes]:
        """The secrets as advertised: from the t lowest shares, else from t that are what was committed to."""
        threshold = self.session.topology.threshold
        given = {
            owner: {i: answer[owner] for i, answer in self.responses.items() if owner in answer} for owner in owners
        }
        secrets = {owner: _plain(shares, sorted(shares)[:threshold]) for owner, shares in given.items()}
        unknown = {owner for owner in owners if not self._fits(owner, secrets[owner])}
        fitting = {
            owner: {i: share for i, share in given[owner].items() if self._committed(owner, i, share)}
            for owner in unknown
        }
        self.liars: set[int] = {i for owner in unknown for i in given[owner].keys() - fitting[owner].keys()}
        require(all(len(shares) >= threshold for shares in fitting.values()), "InconsistentShares", *self.liars)
        for owner, shares in fitting.items():
            truthful, others = sorted(set(shares) - self.liars), sorted(set(shares) & self.liars)
            secrets[owner] = _plain(shares, [*truthful, *others][:threshold])
        cheats = {owner for owner in unknown if not self._fits(owner, secrets[owner])}
        require(not cheats, "InconsistentShares", *cheats)
        return {owner: secret for owner, secret in secrets.items() if secret is not None}

    def _fits(self, owner: int, secret: bytes | None) -> bool:
        if secret is None:
            return False
        if owner in self.masked:
            return bool(self.session.commitment(owner, secret) == self.advertised[owner]["self_mask_commitment"])
        return bool(public_key(secret) == self.advertised[owner]["mask_public_key"])

    def _committed(self, owner: int, holder: int, share: bytes) -> bool:
        at = 0 if owner in self.masked else 32
        computed = self.session.share_commitments(owner, holder, share, share)[at : at + 32]
        return bool(computed == self.commitments[owner][holder][at : at + 32])

    def output(self) -> dict[str, Any]:
        present = len(self.masked)
        levels = {
            lane.name: lane.codec.decode(total, present)
            for lane, total in zip(self.session.lanes, self.sums, strict=True)
        }
        weight, clipped = levels.pop("weight", [present])[0], levels.pop("clipped", None)
        released = {
            lane.name: lane.codec.restore(levels[lane.name], self.session.rotation(lane.name))
            for lane in self.session.lanes
            if isinstance(lane.codec, Private)
        }
        return (
            {
                "survivors": sorted(self.masked),
                "total_weight": weight,
                "levels": levels,
                "excluded": sorted(self.excluded),
                "liars": sorted(self.liars),
            }
            | ({"num_clipped": clipped} if clipped else {})
            | ({"released": released} if released else {})
        )


def _public_keys(keys: dict[str, Any]) -> list[bytes]:
    names = ("cipher_public_key", "mask_public_key", "confirmation_public_key")
    return [keys[name] for name in names if keys[name] is not None]


def _plain(shares: dict[int, bytes], holders: list[int]) -> bytes | None:
    try:
        return sharing.reconstruct({i: shares[i] for i in holders}, len(holders), 32)
    except Refused:
        return None
