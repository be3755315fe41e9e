"""What all parties of a Paillier round agree on beforehand, and the hashes that bind everything to it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from secagg import signatures
from secagg.derivation import HASH_BYTES, Label, digest, frame
from secagg.encoding import FixedPoint
from secagg.errors import AuthenticationFailed, MalformedMessage, ParameterError, PeerError, UnexpectedMessage
from secagg.paillier import EncryptedVector, Lanes, ThresholdKey, check_knowledge
from secagg.paillier.integers import whole

from ..core.participants import Participants
from .messages import MAX_PARTIES, Contribution, Message

_OVERHEAD_BYTES = 4096


@dataclass(frozen=True)
class RoundParameters:
    """One round of Paillier summation. Everyone has equal ones, from a source that everyone trusts.

    Args:
        key: the dealt key. Contributors prove that they know their updates, unless it was dealt for one session.
        codec: how updates are encoded; its num_summands bounds the contributors.
        length: numbers in an update.
        contributors: who may contribute, by name, with their public keys.
        members: the committee, by name, with their public keys. A member's number is that of its key share.
        min_contributors: the committee opens no sum of fewer; at least 2.
        nonce: 32 bytes that no other round has.
        corrupt_members: how many members may collude with the aggregator; a third of them, rounded down, unless stated.
        corrupt_contributors: how many contributors may; a third of them, rounded down, unless stated. A sum of
            `min_contributors` has at least two others in it.

    Raises:
        ParameterError: out of range, or two quorums of the committee could meet in corrupt members only: they could
            open two sums, whose difference is a single update.
    """

    key: ThresholdKey
    codec: FixedPoint
    length: int
    contributors: Participants
    members: Participants
    min_contributors: int
    nonce: bytes
    corrupt_members: int | None = None
    corrupt_contributors: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        self._check_kinds()
        for role, roster in (("contributors", self.contributors), ("members", self.members)):
            if len(roster.keys) != len(roster):
                raise ParameterError(f"the {role} need public keys: Participants takes a mapping of names to keys")
        both = set(self.contributors) & set(self.members)
        if both:
            raise ParameterError(f"{min(both)!r} is a contributor and a member: give the two roles names of their own")
        if len(self.members) != self.key.num_members:
            raise ParameterError(f"{len(self.members)} members, but the key was dealt to {self.key.num_members}")
        if not 2 <= self.min_contributors <= len(self.contributors) <= min(self.codec.num_summands, MAX_PARTIES):
            raise ParameterError(
                f"{len(self.contributors)} contributors, at least {self.min_contributors} of them, but there must be "
                f"2 <= minimum <= contributors <= the encoding's num_summands {self.codec.num_summands}"
            )
        corrupt = self.max_corrupt_contributors
        if corrupt < 0 or self.min_contributors < corrupt + 2:
            raise ParameterError(
                f"sums of {self.min_contributors} contributors, {corrupt} of whom may be corrupt, tell too much of the "
                f"others: raise min_contributors to at least {corrupt + 2}, or state fewer corrupt_contributors"
            )
        if len(self.nonce) != HASH_BYTES:
            raise ParameterError(f"the nonce has {len(self.nonce)} bytes, but must have {HASH_BYTES}")
        check_quorum(self.key.threshold, self.key.num_members, self.corrupt_members)
        if self.length < 1:
            raise ParameterError(f"length is {self.length}, but must be 1 at least")
        _ = self.lanes

    def _check_kinds(self) -> None:
        kinds = {"key": ThresholdKey, "codec": FixedPoint, "contributors": Participants, "members": Participants}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ParameterError(f"{name} is a {type(getattr(self, name)).__name__}, but must be a {kind.__name__}")
        for name in ("length", "min_contributors", "corrupt_members", "corrupt_contributors"):
            if not (name.startswith("corrupt_") and getattr(self, name) is None):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        if not isinstance(self.nonce, bytes | bytearray | memoryview):
            raise ParameterError(f"the nonce is a {type(self.nonce).__name__}, but must be {HASH_BYTES} bytes")
        object.__setattr__(self, "nonce", bytes(self.nonce))

    @property
    def max_corrupt_members(self) -> int:
        """How many members may collude with the aggregator, as stated or by default."""
        return check_quorum(self.key.threshold, self.key.num_members, self.corrupt_members)

    @property
    def max_corrupt_contributors(self) -> int:
        """How many contributors may collude with the aggregator, as stated or by default."""
        stated = self.corrupt_contributors
        return len(self.contributors) // 3 if stated is None else stated

    @property
    def weighted(self) -> bool:
        """Whether updates carry a weight, encrypted, as their last lane."""
        return self.codec.max_weight > 1

    @cached_property
    def contributor_keys(self) -> Mapping[int, bytes]:
        """Number -> public key of each contributor."""
        return self.contributors.numbered_keys()

    @cached_property
    def member_keys(self) -> Mapping[int, bytes]:
        """Number -> public key of each member."""
        return self.members.numbered_keys()

    @cached_property
    def lanes(self) -> Lanes:
        """How updates are packed."""
        return Lanes(self.key.public_key.key_bits, self.codec.modulus_bits, self.length + self.weighted)

    @cached_property
    def session(self) -> bytes:
        """32 bytes that name the round: a hash of every field."""
        codec = self.codec
        numbers = (
            codec.value_bits,
            codec.num_summands,
            codec.max_weight,
            self.length,
            self.min_contributors,
            self.max_corrupt_members,
            self.max_corrupt_contributors,
        )
        return digest(
            Label.PAILLIER_SESSION,
            self.nonce,
            self.key.digest(),
            struct.pack(">d", codec.clip),
            codec.rounding.encode(),
            *(number.to_bytes(8, "big") for number in numbers),
            _roster(self.contributor_keys),
            _roster(self.member_keys),
            *("\n".join(roster).encode() for roster in (self.contributors, self.members)),
        )

    @property
    def max_message_bytes(self) -> int:
        """The longest message that anyone may send in this round: refuse more before reading it."""
        vector = self.lanes.num_plaintexts * self.key.public_key.ciphertext_bytes
        return _OVERHEAD_BYTES + max(vector, 64 * len(self.contributors) + 80 * len(self.members))

    def check_session(self, message: Message) -> None:
        """Raise UnexpectedMessage unless the message is of this round."""
        if message.session != self.session:
            raise UnexpectedMessage("a message of another session")

    def commitments_digest(self, commitments: Mapping[int, bytes]) -> bytes:
        """Hash who committed to what."""
        return digest(Label.PAILLIER_COMMITMENTS, self.session, _roster(commitments))

    def contribution_digest(self, contributor: int, vector: EncryptedVector, proof: bytes) -> bytes:
        """Hash an encrypted update, the proof that its author knows it, and its author."""
        header = struct.pack(">IQQQ", contributor, vector.lane_bits, vector.length, vector.num_addends)
        parts = (hashlib.sha256(part).digest() for part in (vector.data, proof))
        return digest(Label.PAILLIER_CONTRIBUTION, self.session, header, vector.fingerprint, *parts)

    def knowledge_context(self, contributor: int) -> bytes:
        """Return what the proof that a contributor knows its update is bound to: the session and the author."""
        return self.session + contributor.to_bytes(4, "big")

    def sum_digest(self, commitments_digest: bytes, contributors: Iterable[int], product: EncryptedVector) -> bytes:
        """Hash the sum to be opened, and what it is the sum of: the context of every partial opening."""
        ids = b"".join(contributor.to_bytes(4, "big") for contributor in sorted(contributors))
        count = product.num_addends.to_bytes(8, "big")
        body = hashlib.sha256(product.data).digest()
        return digest(Label.PAILLIER_SUM, self.session, commitments_digest, ids, count, body)

    def endorsement_text(self, member: int, commitments_digest: bytes) -> bytes:
        """Return what a member signs."""
        return frame(Label.SIGN_PAILLIER_ENDORSEMENT, self.session, member.to_bytes(4, "big"), commitments_digest)

    def contribution_text(self, contributor: int, commitments_digest: bytes, contribution_digest: bytes) -> bytes:
        """Return what a contributor signs."""
        return frame(
            Label.SIGN_PAILLIER_CONTRIBUTION,
            self.session,
            contributor.to_bytes(4, "big"),
            commitments_digest,
            contribution_digest,
        )

    def check_commitments(self, commitments: Mapping[int, bytes]) -> None:
        """Raise unless the list is of contributors of this round, and enough of them.

        Raises:
            UnexpectedMessage: a stranger is on the list, or it is too short.
        """
        strangers = commitments.keys() - self.contributor_keys.keys()
        if strangers:
            raise UnexpectedMessage(f"{len(strangers)} on the list of commitments have no part in this round")
        if len(commitments) < self.min_contributors:
            raise UnexpectedMessage(
                f"a list of {len(commitments)} commitments, but no sum of fewer than {self.min_contributors} is opened"
            )

    def check_contribution(
        self, contributor: int, contribution: Contribution, commitments: Mapping[int, bytes]
    ) -> EncryptedVector:
        """Check all of a contribution; the contributor is the culprit.

        Raises:
            UnexpectedMessage: not of this session or list, or from someone who did not commit.
            MalformedMessage: it claims to be a sum, or a ciphertext or the vector's shape is not valid.
            AuthenticationFailed: not what was committed to, not signed by its author, or not proven to be known to it.
        """
        culprits = {contributor}
        if contributor not in commitments or contribution.session != self.session:
            raise UnexpectedMessage("a contribution of another session, or without commitment", culprits=culprits)
        if contribution.contributor != contributor:
            raise UnexpectedMessage("a contribution in another's name", culprits=culprits)
        listed = self.commitments_digest(commitments)
        if contribution.commitments_digest != listed:
            raise UnexpectedMessage("a contribution for another list of commitments", culprits=culprits)
        if contribution.num_addends != 1:
            raise MalformedMessage(
                f"a contribution that claims {contribution.num_addends} addends, but it has one author",
                culprits=culprits,
            )
        vector = contribution.vector()
        contribution_digest = self.contribution_digest(contributor, vector, contribution.proof)
        if contribution_digest != commitments[contributor]:
            raise AuthenticationFailed("a contribution is not what was committed to", culprits=culprits)
        text = self.contribution_text(contributor, listed, contribution_digest)
        try:
            signatures.verify(self.contributor_keys[contributor], text, contribution.signature)
        except AuthenticationFailed:
            raise AuthenticationFailed("a contribution is not signed by its author", culprits=culprits) from None
        try:
            self._check_knowledge(contributor, vector, contribution.proof)
        except PeerError as error:
            raise type(error)(error.reason, culprits=culprits) from None
        return vector

    def is_signed(self, contributor: int, contribution: Contribution) -> bool:
        """Tell whether a contributor has said this in this round, whatever is wrong with it."""
        digest = self.contribution_digest(contributor, contribution.vector(), contribution.proof)
        text = self.contribution_text(contributor, contribution.commitments_digest, digest)
        try:
            signatures.verify(self.contributor_keys[contributor], text, contribution.signature)
        except (AuthenticationFailed, KeyError):
            return False
        return True

    def _check_knowledge(self, contributor: int, vector: EncryptedVector, proof: bytes) -> None:
        key = self.key.public_key
        if not self.key.one_session_without_proofs:
            context, times = self.knowledge_context(contributor), len(self.contributors)
            check_knowledge(vector, key, self.lanes, proof, context=context, times=times)
        elif proof:
            raise MalformedMessage("a contribution with a proof, in a round that does without")


def check_quorum(threshold: int, members: int, corrupt: int | None = None) -> int:
    """Return how many members may be corrupt: a third, rounded down, unless stated.

    Raises:
        ParameterError: there are no quorums, or two of them need not share an honest member.
    """
    corrupt = members // 3 if corrupt is None else corrupt
    if threshold > members:
        raise ParameterError(f"threshold {threshold} of {members} members: nobody could open a sum; lower it")
    if corrupt < 0 or threshold <= corrupt:
        raise ParameterError(f"{corrupt} corrupt members would open on their own: raise the threshold {threshold}")
    if 2 * threshold <= members + corrupt:
        raise ParameterError(
            f"with threshold {threshold} of {members} and {corrupt} corrupt, two quorums can open two sums: deal a "
            f"threshold of at least {(members + corrupt) // 2 + 1}, or state fewer corrupt members"
        )
    return corrupt


def _roster(entries: Mapping[int, bytes]) -> bytes:
    return b"".join(party.to_bytes(4, "big") + entries[party] for party in sorted(entries))
