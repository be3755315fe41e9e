"""SPEC section 9, the server: collects rounds, leaves out and refuses, and unmasks."""

import itertools
from typing import Any

from . import lanes, sharing, wire
from .configuration import Session
from .edwards import verifies
from .primitives import agree, frame, public_key
from .private import Private
from .refusal import Refused, require
from .roster import check_keys, roster_digest, seen_digest

PHASES = ("advertise-keys", "share-keys", "masked-input", "consistency-check", "unmasking")
COLLECTS = dict(
    zip(PHASES, ("advertise-keys", "share-keys", "masked-input", "confirmation", "unmasking-shares"), strict=True)
)
MAX_TRIALS = 1000


class Server:
    def __init__(self, session: Session, known: dict[int, bytes]) -> None:
        self.session, self.known, self.phase = session, known, PHASES[0]
        self.excluded: set[int] = set()
        self.accepted: dict[int, bytes] = {}
        self.advertised: dict[int, Any] = {}
        self.sealed: dict[int, Any] = {}
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
        self.sealed[sender] = message["sealed"]

    def _take_input(self, sender: int, message: dict[str, Any]) -> None:
        require(len(message["vectors"]) == len(self.session.lanes), "MalformedMessage")
        try:
            vectors = [
                lanes.unpack(packed, lane.codec.bits, lane.length)
                for packed, lane in zip(message["vectors"], self.session.lanes, strict=True)
            ]
        except Refused:
            raise Refused("MalformedMessage") from None
        self.session.add(self.sums, vectors)
        self.masked.add(sender)

    def _take_confirmation(self, sender: int, message: dict[str, Any]) -> None:
        key = self.advertised[sender]["confirmation_public_key"]
        require(verifies(key, self.statement, message["signature"]), "AuthenticationFailed")
        self.confirmations[sender] = message["signature"]

    def _take_response(self, sender: int, message: dict[str, Any]) -> None:
        holders = self.session.holders(sender) & self.shared
        require(set(message["self_mask_shares"]) <= holders & self.masked, "MalformedMessage")
        require(set(message["mask_key_shares"]) <= holders - self.masked, "MalformedMessage")
        self.responses[sender] = message

    # Closing

    def close(self) -> dict[int, bytes]:
        step = {
            "advertise-keys": self._close_keys,
            "share-keys": self._close_shares,
            "masked-input": self._close_inputs,
            "consistency-check": self._close_confirmations,
            "unmasking": self._close_unmasking,
        }[self.phase]
        at = PHASES.index(self.phase) + 1
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
            lonely = {
                i for i in remaining if len(self.session.holders(i) & remaining) < self.session.topology.threshold
            }
            if not lonely:
                break
            remaining -= lonely
        require(len(remaining) >= self.session.min_survivors, "ThresholdError")
        return remaining

    def _require_survivors(self, responsive: Any) -> None:
        require(len(self.masked) >= self.session.min_survivors, "ThresholdError")
        for owner in self.shared:
            holders = self.session.holders(owner) & set(responsive)
            require(len(holders) >= self.session.topology.threshold, "ThresholdError")

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
            out[i] = wire.encode("share-delivery", session_id=self.session.id, recipient=i, sealed=sealed)
        return out

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
        self.liars: set[int] = set()
        for owner in sorted(self.masked):
            seed = self._recover(
                owner,
                "self_mask_shares",
                lambda s, i=owner: (
                    session.commitment(i, s)  # type: ignore[misc]
                    == self.advertised[i]["self_mask_commitment"]
                ),
            )
            session.add(self.sums, session.self_mask(owner, seed), -1)
        for owner in sorted(self.shared - self.masked):
            key = self._recover(
                owner,
                "mask_key_shares",
                lambda s, i=owner: (
                    public_key(s)  # type: ignore[misc]
                    == self.advertised[i]["mask_public_key"]
                ),
            )
            for survivor in sorted(session.neighbours[owner] & self.masked):
                theirs = self.advertised[survivor]["mask_public_key"]
                ends = [(owner, self.advertised[owner]["mask_public_key"]), (survivor, theirs)]
                mask = session.pairwise_mask(agree(key, theirs), ends)
                session.add(self.sums, mask, -1 if survivor < owner else 1)
        return {}

    def _recover(self, owner: int, kind: str, fits: Any) -> bytes:
        """The secret that its owner advertised: from t shares, by the code's correction, or by leaving shares out."""
        threshold = self.session.topology.threshold
        shares = {i: answer[kind][owner] for i, answer in self.responses.items() if owner in answer[kind]}
        require(len(shares) >= threshold, "InconsistentShares", owner)
        lowest = sorted(shares)[:threshold]
        secret = _plain(shares, lowest)
        if secret is not None and fits(secret):
            return secret
        try:
            secret, wrong = sharing.reconstruct_robust(shares, threshold, 32)
            if fits(secret):
                self.liars |= set(wrong)
                return secret
        except Refused:
            pass
        trials = (
            left_out
            for number in range(1, len(shares) - threshold + 1)
            for left_out in itertools.combinations(sorted(shares), number)
        )
        for left_out in itertools.islice(trials, MAX_TRIALS):
            chosen = [i for i in sorted(shares) if i not in left_out][:threshold]
            secret = _plain(shares, chosen)
            if secret is not None and fits(secret):
                others = set(shares) - set(chosen)
                self.liars |= {i for i in others if _plain(shares, [*chosen[1:], i]) != secret}
                return secret
        raise Refused("InconsistentShares", (owner,))

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
