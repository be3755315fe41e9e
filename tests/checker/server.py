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
KINDS = ("self_mask_shares", "mask_key_shares")


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
        require(set(message["sealed"]) == peers, "MalformedMessage")
        require(set(message["commitments"]) == self.session.holders(sender) & self._speakers, "MalformedMessage")
        self.sealed[sender], self.commitments[sender] = message["sealed"], message["commitments"]

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
        owners = {owner for owner in self.session.holders(sender) & self.shared if sender in self._bound(owner)}
        require(set(message["self_mask_shares"]) == owners & self.masked, "MalformedMessage")
        require(set(message["mask_key_shares"]) == owners - self.masked, "MalformedMessage")
        self.responses[sender] = message

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
            senders = sorted(self.session.neighbours[i] & self.shared)
            sealed = {sender: self.sealed[sender][i] for sender in senders}
            commitments = {sender: self.commitments[sender][i] for sender in senders}
            out[i] = wire.encode(
                "share-delivery", session_id=self.session.id, recipient=i, sealed=sealed, commitments=commitments
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
        owners = {"self_mask_shares": self.masked, "mask_key_shares": self.shared - self.masked}
        secrets = self._recover({(kind, owner) for kind in KINDS for owner in owners[kind]})
        for owner in sorted(self.masked):
            session.add(self.sums, session.self_mask(owner, secrets["self_mask_shares", owner]), -1)
        for owner in sorted(self.shared - self.masked):
            key = secrets["mask_key_shares", owner]
            for survivor in sorted(session.neighbours[owner] & self.masked):
                theirs = self.advertised[survivor]["mask_public_key"]
                ends = [(owner, self.advertised[owner]["mask_public_key"]), (survivor, theirs)]
                mask = session.pairwise_mask(agree(key, theirs), ends)
                session.add(self.sums, mask, -1 if survivor < owner else 1)
        return {}

    def _recover(self, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
        """The secrets as advertised: from the t lowest shares, else from t that are what was committed to."""
        threshold = self.session.topology.threshold
        given = {
            (kind, owner): {i: answer[kind][owner] for i, answer in self.responses.items() if owner in answer[kind]}
            for kind, owner in wanted
        }
        secrets = {which: _plain(shares, sorted(shares)[:threshold]) for which, shares in given.items()}
        unknown = {which for which in wanted if not self._fits(which, secrets[which])}
        fitting = {
            which: {i: share for i, share in given[which].items() if self._committed(which, i, share)}
            for which in unknown
        }
        self.liars: set[int] = {i for which in unknown for i in given[which].keys() - fitting[which].keys()}
        require(all(len(shares) >= threshold for shares in fitting.values()), "InconsistentShares", *self.liars)
        for which, shares in fitting.items():
            truthful, others = sorted(set(shares) - self.liars), sorted(set(shares) & self.liars)
            secrets[which] = _plain(shares, [*truthful, *others][:threshold])
        cheats = {which[1] for which in unknown if not self._fits(which, secrets[which])}
        require(not cheats, "InconsistentShares", *cheats)
        return {which: secret for which, secret in secrets.items() if secret is not None}

    def _fits(self, which: tuple[str, int], secret: bytes | None) -> bool:
        kind, owner = which
        if secret is None:
            return False
        if kind == "self_mask_shares":
            return bool(self.session.commitment(owner, secret) == self.advertised[owner]["self_mask_commitment"])
        return bool(public_key(secret) == self.advertised[owner]["mask_public_key"])

    def _committed(self, which: tuple[str, int], holder: int, share: bytes) -> bool:
        kind, owner = which
        at = KINDS.index(kind)
        computed = self.session.share_commitments(owner, holder, share, share)[at]
        return bool(computed == self.commitments[owner][holder][at])

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
