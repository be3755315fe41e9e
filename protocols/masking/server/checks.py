"""What the server holds against clients' messages before it takes them in: functions that return or raise PeerError."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet

from secagg import signatures
from secagg.errors import AuthenticationFailed, EncodingError, MalformedMessage
from secagg.key_agreement import check_public_key
from secagg.residues import check_packed

from ...inputs.codec import VectorCodec
from .. import derivations
from ..messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    AdvertiseKeys,
    Confirmation,
    MaskedInput,
    ShareKeys,
    UnmaskingShares,
)


def check_keys(message: AdvertiseKeys, seen: AbstractSet[bytes]) -> None:
    """All keys must be usable, and be nobody else's: others would refuse a roster with them."""
    check_public_key(message.cipher_public_key)
    check_public_key(message.mask_public_key)
    keys = message.public_keys
    if len(set(keys)) != len(keys) or seen & set(keys):
        raise MalformedMessage("advertises a public key that is taken")


def check_roster_seen(
    message: ShareKeys, everyone: bytes, entries: Mapping[int, bytes], shown: Collection[int]
) -> None:
    """The client must have been shown what it was sent: keys altered on the way would make a wrong sum."""
    if message.seen != derivations.seen_digest(everyone, entries, shown):
        raise MalformedMessage("was shown other keys than it was sent")


def check_dealt(message: ShareKeys, neighbours: int, holders: int) -> None:
    """There must be shares for every neighbour of the roster, commitments for every holder, and nothing else."""
    _check_records("sealed shares", message.sealed, SEALED_SHARES_BYTES, neighbours)
    _check_records("commitments", message.commitments, COMMITMENTS_BYTES, holders)


def check_complaints(complaints: Collection[int], dealers: AbstractSet[int]) -> None:
    """Each must be of one whose shares the client was sent, once."""
    if len(set(complaints)) != len(complaints) or not set(complaints) <= dealers:
        raise MalformedMessage("complains of clients whose shares it was not to judge, or of one twice")


def check_input(message: MaskedInput, codecs: Sequence[VectorCodec]) -> None:
    """Every vector must be there, with exactly the bytes that it takes."""
    if len(message.vectors) != len(codecs):
        raise MalformedMessage(f"has {len(message.vectors)} vectors, but the round has {len(codecs)}")
    try:
        for vector, codec in zip(message.vectors, codecs, strict=True):
            check_packed(vector, codec.modulus_bits, codec.length)
    except EncodingError as error:
        raise MalformedMessage(str(error)) from None


def check_confirmation(message: Confirmation, statement: bytes, keys: AdvertiseKeys) -> None:
    """The signature must be for what this server told everyone."""
    if keys.confirmation_public_key is None:
        raise AuthenticationFailed("a confirmation without a confirmation key")
    signatures.verify(keys.confirmation_public_key, statement, message.signature)


def check_response(message: UnmaskingShares, owners: int) -> None:
    """There must be a share of everyone that it holds one of, and no other: who has not complained has it."""
    _check_records("shares", message.shares, SHARE_BYTES, owners)


def _check_records(what: str, together: bytes, size: int, count: int) -> None:
    if len(together) != size * count:
        raise MalformedMessage(f"has {len(together)} bytes of {what}, but {count} take {size} each")
