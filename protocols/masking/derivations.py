"""What each derivation, ciphertext and signature of the protocol is bound to, in one place (SPEC section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from secagg.derivation import Label, derive, digest, frame

from .messages import AdvertiseKeys


def graph_seed(session_id: bytes, roster: bytes) -> bytes:
    """Return the public seed of the graph; the digest of everyone's keys is in it, which nobody can tell beforehand."""
    return digest(Label.GRAPH, session_id, roster)


def self_mask_stream_seed(session_id: bytes, client_id: int, self_mask_seed: bytes) -> bytes:
    """Return the seed of the stream that masks a client's input, from the seed b_u that is shared and committed to."""
    return derive(self_mask_seed, Label.SELF_MASK, session_id, _id(client_id))


def self_mask_commitment(session_id: bytes, client_id: int, self_mask_seed: bytes) -> bytes:
    """Return the commitment by which anyone can tell b_u once it is reconstructed; it hides 256 uniform bits."""
    return digest(Label.SELF_MASK_COMMITMENT, session_id, _id(client_id), self_mask_seed)


def pairwise_mask_seed(agreed: bytes, session_id: bytes, one: tuple[int, bytes], other: tuple[int, bytes]) -> bytes:
    """Return the seed of a pair's stream; each end is (client id, mask public key), in either order."""
    low, high = sorted((one, other))
    return derive(agreed, Label.PAIRWISE_MASK, session_id, _id(low[0]), low[1], _id(high[0]), high[1])


def share_encryption_keys(
    agreed: bytes, session_id: bytes, one: tuple[int, bytes], other: tuple[int, bytes]
) -> tuple[bytes, bytes]:
    """Return the key of the one ciphertext from one end to the other, and of the one back.

    Each end is (client id, cipher public key). One derivation makes both: who has the lower id sends under the first.
    """
    low, high = sorted((one, other))
    both = derive(agreed, Label.SHARE_ENCRYPTION, session_id, _id(low[0]), low[1], _id(high[0]), high[1], length=64)
    up, down = both[:32], both[32:]
    return (up, down) if one is low else (down, up)


def share_associated_data(session_id: bytes, sender_id: int, recipient_id: int) -> bytes:
    """Return the associated data of the ciphertext from sender to recipient."""
    return frame(Label.SHARE_ENCRYPTION, session_id, _id(sender_id), _id(recipient_id))


def share_commitment(kind: int, session_id: bytes, dealer: int, holder: int, share: bytes) -> bytes:
    """Return the commitment to a holder's share of a dealer's seed (kind 0) or key (1); it hides the share."""
    label = (Label.SEED_SHARE_COMMITMENT, Label.KEY_SHARE_COMMITMENT)[kind]
    return digest(label, session_id, _id(dealer), _id(holder), share)


def share_commitments(session_id: bytes, dealer: int, holder: int, shares: tuple[bytes, bytes]) -> bytes:
    """Return the commitments to a holder's two shares side by side: of the dealer's seed, of its key."""
    return b"".join([share_commitment(kind, session_id, dealer, holder, share) for kind, share in enumerate(shares)])


def keys_statement(keys: AdvertiseKeys) -> bytes:
    """Return what an identity signs when its client advertises keys."""
    return frame(
        Label.SIGN_KEYS,
        keys.session_id,
        _id(keys.sender),
        keys.cipher_public_key,
        keys.mask_public_key,
        keys.self_mask_commitment,
        keys.confirmation_public_key or b"",
    )


def entry_digest(keys: AdvertiseKeys) -> bytes:
    """Return a digest of what one client advertised."""
    return digest(Label.ROSTER_ENTRY, msgspec.msgpack.encode(keys))


def roster_digest(entries: Mapping[int, bytes]) -> bytes:
    """Return a digest of everyone's advertised keys, from client id -> `entry_digest`, whatever the order."""
    return digest(Label.ROSTER, b"".join([entries[client_id] for client_id in sorted(entries)]))


def seen_digest(roster: bytes, entries: Mapping[int, bytes], shown: Iterable[int]) -> bytes:
    """Return a digest of what one client was shown: of everyone's keys, and of the entries that it was sent."""
    return digest(Label.ROSTER_SEEN, roster, b"".join([entries[client_id] for client_id in sorted(shown)]))


def survivors_statement(session_id: bytes, roster: bytes, shared: Iterable[int], survivors: Iterable[int]) -> bytes:
    """Return what confirmation keys sign: the digest of everyone's keys, who shared keys, whose input arrived.

    The lists stand for themselves by SHA-256: a client of a large session checks many signatures of one long story.
    """
    hashes = (hashlib.sha256(_ids(ids)).digest() for ids in (shared, survivors))
    return frame(Label.SIGN_SURVIVORS, session_id, roster, *hashes)


def _id(client_id: int) -> bytes:
    return client_id.to_bytes(4, "big")


def _ids(client_ids: Iterable[int]) -> bytes:
    return b"".join(map(_id, sorted(client_ids)))
