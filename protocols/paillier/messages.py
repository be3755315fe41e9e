"""The messages of Paillier summation, and the door between them and bytes: strict, versioned, limited before parsing.

A message's tag names it and its version. Nothing in a message is to be believed because it was decoded: that only
means that its fields have the right types and lengths.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from secagg.derivation import HASH_BYTES
from secagg.errors import MalformedMessage
from secagg.paillier import MAX_KEY_BITS, EncryptedVector, PartialOpening
from secagg.paillier.proofs import CHALLENGE_BYTES, Proof

from ..core import framing

VERSION = 1
MAX_PARTIES = 1 << 20
_MAX_RESPONSE_BYTES = 2048
_MAX_PROOF_BYTES = HASH_BYTES + 2 * MAX_KEY_BITS // 8

Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
PartyId = Annotated[int, Meta(ge=1, lt=1 << 32)]
Count = Annotated[int, Meta(ge=0, lt=1 << 40)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all messages have: the session they belong to."""

    session: Digest


class Invitation(Message, frozen=True, tag="paillier/v1/invitation"):
    """Aggregator to contributors: the round begins."""


class Commitment(Message, frozen=True, tag="paillier/v1/commitment"):
    """Contributor to aggregator: the hash of the encrypted update that is to come."""

    contribution_digest: Digest


class CommitmentList(Message, frozen=True, tag="paillier/v1/commitment-list"):
    """Aggregator to members: who committed to what."""

    commitments: Annotated[dict[PartyId, Digest], Meta(max_length=MAX_PARTIES)]


class Endorsement(Message, frozen=True, tag="paillier/v1/endorsement"):
    """Member to aggregator: the one list of commitments that this member will ever open a sum of."""

    commitments_digest: Digest
    signature: Signature


class RevealRequest(Message, frozen=True, tag="paillier/v1/reveal-request"):
    """Aggregator to contributors: the list of commitments, and the members' signatures under it."""

    commitments: Annotated[dict[PartyId, Digest], Meta(max_length=MAX_PARTIES)]
    endorsements: Annotated[dict[PartyId, Signature], Meta(max_length=64)]


class Contribution(Message, frozen=True, tag="paillier/v1/contribution"):
    """Contributor to aggregator, and on to every member as it is: the encrypted update, and whose it is.

    The proof shows that the contributor knows its update; it is empty under a key that was dealt for one session.
    """

    contributor: PartyId
    commitments_digest: Digest
    fingerprint: Digest
    lane_bits: Count
    length: Count
    num_addends: Count
    ciphertexts: bytes
    proof: Annotated[bytes, Meta(max_length=_MAX_PROOF_BYTES)]
    signature: Signature

    def vector(self) -> EncryptedVector:
        """Return the encrypted vector."""
        return EncryptedVector(self.fingerprint, self.lane_bits, self.length, self.num_addends, self.ciphertexts)


class OpenRequest(Message, frozen=True, tag="paillier/v1/open-request"):
    """Aggregator to members: whose contributions are in the sum, and the hash of that sum."""

    contributors: Annotated[list[PartyId], Meta(max_length=MAX_PARTIES)]
    sum_digest: Digest


class Opening(Message, frozen=True, tag="paillier/v1/opening"):
    """Member to aggregator: its partial opening of the sum, and the proof of it."""

    sum_digest: Digest
    roots: bytes
    challenge: Annotated[bytes, Meta(min_length=CHALLENGE_BYTES, max_length=CHALLENGE_BYTES)]
    response: Annotated[bytes, Meta(max_length=_MAX_RESPONSE_BYTES)]

    def __post_init__(self) -> None:
        """Refuse a response that is longer than it takes; what is decoded raises MalformedMessage then."""
        if self.response[:1] == b"\0":
            raise ValueError("a response begins with a zero")

    def partial(self, member: int) -> PartialOpening:
        """Return the partial opening as of the member that sent this."""
        return PartialOpening(member, self.roots, Proof(self.challenge, int.from_bytes(self.response, "big")))


M = TypeVar("M", bound=Message)

# All at once: a decoder of one kind lets the tag, and with it the version, be left out.
_MESSAGES = (
    Commitment | CommitmentList | Contribution | Endorsement | Invitation | Opening | OpenRequest | RevealRequest
)


def encode(message: Message) -> bytes:
    """Write a message as bytes, in the frame that all protocols share (SPEC section 8)."""
    return framing.encode(message, version=VERSION)


def decode(data: bytes, kind: type[M], *, max_bytes: int) -> M:
    """Read a message of one kind.

    Args:
        data: hostile.
        kind: what is expected; its tag says the version.
        max_bytes: `RoundParameters.max_message_bytes`; checked before anything is parsed.

    Raises:
        MalformedMessage: too long, or anything but a message of that kind; the caller names the culprit.
    """
    message = decode_any(data, max_bytes=max_bytes)
    if type(message) is not kind:
        raise MalformedMessage(f"bytes that are no {kind.__name__}")
    return message


def decode_any(data: bytes, *, max_bytes: int) -> Message:
    """Read a message of any kind; raises as `decode`."""
    message: Message = framing.decode(taken(data), _MESSAGES, version=VERSION, max_bytes=max_bytes)
    return message


def fingerprint(data: bytes) -> bytes:
    """Return what tells a message from any other: its header, which holds a digest of the body."""
    return framing.fingerprint(taken(data))


def taken(data: object) -> bytes:
    """Return bytes, or a view of bytes, as bytes; raise MalformedMessage for anything else."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise MalformedMessage(f"a message is a {type(data).__name__}, but must be bytes")
    return data if isinstance(data, bytes) else bytes(data)
