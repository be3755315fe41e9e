"""One frozen type per message (SPEC section 8). Bytes become messages in wire.py and nowhere else.

Every message but the invitation carries the session; every message to the server carries its sender and every message
to a client its recipient, so that nothing that strays is taken for something else.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from secagg.aead import OVERHEAD_BYTES
from secagg.derivation import HASH_BYTES, Label, digest
from secagg.shamir import share_bytes

from ..core.threat_model import MAX_CLIENTS
from .config import MAX_VECTORS, RoundConfig

VERSION = 1
SECRET_BYTES = 32
SHARE_BYTES = share_bytes(SECRET_BYTES)
SEALED_SHARES_BYTES = 2 * SHARE_BYTES + OVERHEAD_BYTES
COMMITMENTS_BYTES = 2 * HASH_BYTES
"""To a holder's share of the dealer's seed, and to its share of the dealer's key."""

ClientId = Annotated[int, Meta(ge=1, le=MAX_CLIENTS)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]


def records(together: bytes, size: int) -> list[bytes]:
    """Cut what lies side by side in a message into records of `size` bytes."""
    return [together[start : start + size] for start in range(0, len(together), size)]


def _binary(size: int) -> bytes:
    """Return what MessagePack writes before so many bytes."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What all messages have in common: fields in order, nothing more and nothing less."""

    def __repr__(self) -> str:  # some hold shares
        return f"{type(self).__name__}(...)"


class Invitation(Message, frozen=True, tag="invitation"):
    """Server to each client, before the first round: the configuration, and what makes the session unique."""

    recipient: ClientId
    config: RoundConfig
    nonce: Bytes32

    @property
    def session_id(self) -> bytes:
        """What both sides hash from the invitation; it is bound into everything that follows."""
        return digest(Label.SESSION, bytes([VERSION]), msgspec.msgpack.encode(self.config), self.nonce)


class AdvertiseKeys(Message, frozen=True, tag="advertise-keys"):
    """Client to server, round AdvertiseKeys: public keys, and a commitment to the self-mask seed.

    The confirmation key is there if the server may equivocate, the signature if identities are known beforehand.
    """

    session_id: Bytes32
    sender: ClientId
    cipher_public_key: Bytes32
    mask_public_key: Bytes32
    self_mask_commitment: Bytes32
    confirmation_public_key: Bytes32 | None = None
    signature: Signature | None = None

    @property
    def public_keys(self) -> list[bytes]:
        """All public keys of the client for this session."""
        keys = (self.cipher_public_key, self.mask_public_key, self.confirmation_public_key)
        return [key for key in keys if key is not None]


class Roster(Message, frozen=True, tag="roster"):
    """Server to client, round ShareKeys: what its neighbours advertised, and what it advertised itself.

    The digest of everyone's keys is the seed of the graph, so that neighbours hang on keys that nobody knows before.
    """

    session_id: Bytes32
    recipient: ClientId
    everyone: Bytes32
    entries: tuple[AdvertiseKeys, ...]


class ShareKeys(Message, frozen=True, tag="share-keys"):
    """Client to server, round ShareKeys: for each neighbour, sealed shares of both secrets and commitments to them.

    `seen` is a digest of the roster, so that a client that was shown other keys takes no part. Records lie side by
    side, ascending by neighbour: SEALED_SHARES_BYTES and COMMITMENTS_BYTES each. In the complete graph the commitments
    to the sender's own shares come last.
    """

    session_id: Bytes32
    sender: ClientId
    seen: Bytes32
    sealed: bytes
    commitments: bytes


class ShareDelivery(Message, frozen=True, tag="share-delivery"):
    """Server to client: the sealed shares that its neighbours dealt to it, and the commitments to them.

    Records lie side by side, in the order of the dealers. It asks for the masked input; against a malicious server, for
    a receipt.
    """

    session_id: Bytes32
    recipient: ClientId
    dealers: tuple[ClientId, ...]
    sealed: bytes
    commitments: bytes


class ShareReceipt(Message, frozen=True, tag="share-receipt"):
    """Client to server, round AcceptShares (if it may be malicious): whose shares do not open or fit."""

    session_id: Bytes32
    sender: ClientId
    complaints: tuple[ClientId, ...]


class InputRequest(Message, frozen=True, tag="input-request"):
    """Server to client, round MaskedInput (if it may be malicious): the neighbours that go on."""

    session_id: Bytes32
    recipient: ClientId
    peers: tuple[ClientId, ...]


class MaskedInput(Message, frozen=True, tag="masked-input"):
    """Client to server, round MaskedInput: every lane, masked and packed. What was decoded lies where it was received.

    Complaints name the peers whose shares did not open or fit; none if a receipt has named them.
    """

    session_id: Bytes32
    sender: ClientId
    vectors: Annotated[tuple[memoryview, ...], Meta(min_length=1, max_length=MAX_VECTORS + 2)]
    complaints: tuple[ClientId, ...]

    def pieces(self) -> list[bytes | memoryview]:
        """Return how it is written, for `core.framing`: the vectors are views, which nobody need copy."""
        encode = msgspec.msgpack.encode
        after = encode(self.complaints)
        before = encode(msgspec.structs.replace(self, vectors=()))[: -len(after) - 1]  # without an array of none
        count = len(self.vectors)
        pieces: list[bytes | memoryview] = [before, encode((None,) * count)[:-count]]
        for vector in self.vectors:
            pieces += (_binary(len(vector)), vector)
        return [*pieces, after]


class SurvivorList(Message, frozen=True, tag="survivor-list"):
    """Server to client, round ConsistencyCheck (if it may equivocate): who shared keys, and whose inputs arrived."""

    session_id: Bytes32
    recipient: ClientId
    shared: tuple[ClientId, ...]
    survivors: tuple[ClientId, ...]


class Confirmation(Message, frozen=True, tag="confirmation"):
    """Client to server, round ConsistencyCheck: a signature of all that the survivor list said."""

    session_id: Bytes32
    sender: ClientId
    signature: Signature


class UnmaskingRequest(Message, frozen=True, tag="unmasking-request"):
    """Server to client, round Unmasking: which neighbours dropped; which survived, the client derives itself."""

    session_id: Bytes32
    recipient: ClientId
    num_survivors: Annotated[int, Meta(ge=0, le=MAX_CLIENTS)]
    dropped: tuple[ClientId, ...]
    confirmations: dict[ClientId, Signature]


class UnmaskingShares(Message, frozen=True, tag="unmasking-shares"):
    """Client to server, round Unmasking: of each client whose shares it holds one, of its seed or of its key.

    They lie side by side, SHARE_BYTES each, ascending by owner: of the keys of those that the request says have
    dropped, of the seeds of the others.
    """

    session_id: Bytes32
    sender: ClientId
    shares: bytes


ToServer = AdvertiseKeys | ShareKeys | ShareReceipt | MaskedInput | Confirmation | UnmaskingShares
ToClient = Invitation | Roster | ShareDelivery | InputRequest | SurvivorList | UnmaskingRequest
