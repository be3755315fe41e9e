"""Every derivation of a key or seed, and every label, in one table.

HKDF-SHA256 (RFC 5869) on the standard library's HMAC: one extraction and one expansion are two HMAC calls, and a
server that unmasks derives thousands. The info string is the label and the context, each with its length, so that no
two derivations can collide (SPEC section 3).
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum

from .errors import ParameterError

HASH_BYTES = 32
MAX_DERIVED_BYTES = 255 * HASH_BYTES

_LENGTHS = tuple(length.to_bytes(4, "big") for length in range(256))
"""A round frames a million parts, most of them keys and numbers: their lengths are looked up."""


_WITHOUT_SALT = hmac.new(bytes(HASH_BYTES), digestmod="sha256")
"""A copy of it takes half as long as to set its key up anew, which is the same in all derivations."""


class Label(Enum):
    """What a derived value is for. No label serves two purposes."""

    SESSION = b"secagg/v1/session"
    GRAPH = b"secagg/v1/graph"
    PAIRWISE_MASK = b"secagg/v1/pairwise-mask"
    SELF_MASK = b"secagg/v1/self-mask"
    SELF_MASK_COMMITMENT = b"secagg/v1/self-mask-commitment"
    SHARE_ENCRYPTION = b"secagg/v1/share-encryption"
    SEED_SHARE_COMMITMENT = b"secagg/v1/seed-share-commitment"
    KEY_SHARE_COMMITMENT = b"secagg/v1/key-share-commitment"
    ROTATION = b"secagg/v1/rotation"
    ROSTER_ENTRY = b"secagg/v1/roster-entry"
    ROSTER = b"secagg/v1/roster"
    ROSTER_SEEN = b"secagg/v1/roster-seen"
    SIGN_KEYS = b"secagg/v1/sign-keys"
    SIGN_SURVIVORS = b"secagg/v1/sign-survivors"
    PAILLIER_KEY = b"secagg/v1/paillier-key"
    PAILLIER_THRESHOLD_KEY = b"secagg/v1/paillier-threshold-key"
    PAILLIER_BASE = b"secagg/v1/paillier-base"
    PAILLIER_SESSION = b"secagg/v1/paillier-session"
    PAILLIER_CONTRIBUTION = b"secagg/v1/paillier-contribution"
    PAILLIER_COMMITMENTS = b"secagg/v1/paillier-commitments"
    PAILLIER_SUM = b"secagg/v1/paillier-sum"
    PAILLIER_OPENING_CONTEXT = b"secagg/v1/paillier-opening-context"
    PAILLIER_OPENING = b"secagg/v1/paillier-opening"
    PAILLIER_PROOF_WEIGHTS = b"secagg/v1/paillier-proof-weights"
    PAILLIER_PROOF = b"secagg/v1/paillier-proof"
    PAILLIER_KNOWLEDGE = b"secagg/v1/paillier-knowledge"
    PAILLIER_KNOWLEDGE_CHALLENGE = b"secagg/v1/paillier-knowledge-challenge"
    PAILLIER_KNOWLEDGE_WEIGHTS = b"secagg/v1/paillier-knowledge-weights"
    SIGN_PAILLIER_ENDORSEMENT = b"secagg/v1/sign-paillier-endorsement"
    SIGN_PAILLIER_CONTRIBUTION = b"secagg/v1/sign-paillier-contribution"
    FLOWER_CONTENT = b"secagg/v1/flower-content"
    FLOWER_CONTEXT = b"secagg/v1/flower-context"
    SIGN_FLOWER_IDENTITY = b"secagg/v1/sign-flower-identity"
    STATISTICS_QUERY = b"secagg/v1/statistics-query"
    GROUPS_TERMS = b"secagg/v1/groups-terms"
    GROUPS_COMMITMENT = b"secagg/v1/groups-commitment"
    GROUPS_COMMITMENTS = b"secagg/v1/groups-commitments"
    GROUPS_COIN = b"secagg/v1/groups-coin"
    SIGN_GROUPS_COMMITMENT = b"secagg/v1/sign-groups-commitment"
    SIGN_GROUPS_NONCE = b"secagg/v1/sign-groups-nonce"
    HIERARCHY_TERMS = b"secagg/v1/hierarchy-terms"

    def __init__(self, text: bytes) -> None:
        """Frame the text of a label once."""
        self.framed = _LENGTHS[len(text)] + text


def frame(label: Label, *context: bytes) -> bytes:
    """Return label and context as one unambiguous byte string: each part behind its length in four bytes."""
    pieces = [label.framed]
    for part in context:
        length = len(part)
        pieces += (_LENGTHS[length] if length < len(_LENGTHS) else length.to_bytes(4, "big"), part)
    return b"".join(pieces)


def digest(label: Label, *context: bytes) -> bytes:
    """Return the SHA-256 of `frame(label, *context)`: 32 bytes."""
    return hashlib.sha256(frame(label, *context)).digest()


def derive(secret: bytes, label: Label, *context: bytes, length: int = 32) -> bytes:
    """Derive `length` bytes from a secret, bound to a label and a context (HKDF-SHA256 without salt).

    Security: the secret has at least 128 bits of entropy; the context names everything that two derivations from one
    secret must differ by (session, sender, recipient).
    """
    return hkdf(secret, salt=b"", info=frame(label, *context), length=length)


def hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869, sections 2.2 and 2.3).

    Raises:
        ParameterError: length is not from 1 to 8160.
    """
    if not 1 <= length <= MAX_DERIVED_BYTES:
        raise ParameterError(f"length is {length}, but HKDF-SHA256 derives 1 to {MAX_DERIVED_BYTES} bytes")
    extraction = hmac.new(salt, digestmod="sha256") if salt else _WITHOUT_SALT.copy()
    extraction.update(secret)
    pseudorandom_key = extraction.digest()
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(pseudorandom_key, block + info + bytes([counter]), "sha256")
        output += block
        counter += 1
    return output[:length]
