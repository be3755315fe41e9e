"""SPEC sections 3 and 5: derivations, X25519 (RFC 7748), sealing, streams."""

import hashlib
import hmac
from collections.abc import Iterable
from functools import cache

from Crypto.Cipher import AES, ChaCha20_Poly1305

from .refusal import Refused, require

LABELS = {
    "SESSION": b"secagg/v1/session",
    "GRAPH": b"secagg/v1/graph",
    "PAIRWISE_MASK": b"secagg/v1/pairwise-mask",
    "SELF_MASK": b"secagg/v1/self-mask",
    "SELF_MASK_COMMITMENT": b"secagg/v1/self-mask-commitment",
    "SHARE_ENCRYPTION": b"secagg/v1/share-encryption",
    "SEED_SHARE_COMMITMENT": b"secagg/v1/seed-share-commitment",
    "KEY_SHARE_COMMITMENT": b"secagg/v1/key-share-commitment",
    "ROSTER_ENTRY": b"secagg/v1/roster-entry",
    "ROSTER": b"secagg/v1/roster",
    "ROSTER_SEEN": b"secagg/v1/roster-seen",
    "SIGN_KEYS": b"secagg/v1/sign-keys",
    "SIGN_SURVIVORS": b"secagg/v1/sign-survivors",
    "ROTATION": b"secagg/v1/rotation",
    "PAILLIER_KEY": b"secagg/v1/paillier-key",
    "PAILLIER_THRESHOLD_KEY": b"secagg/v1/paillier-threshold-key",
    "PAILLIER_BASE": b"secagg/v1/paillier-base",
    "PAILLIER_SESSION": b"secagg/v1/paillier-session",
    "PAILLIER_CONTRIBUTION": b"secagg/v1/paillier-contribution",
    "PAILLIER_COMMITMENTS": b"secagg/v1/paillier-commitments",
    "PAILLIER_SUM": b"secagg/v1/paillier-sum",
    "PAILLIER_OPENING_CONTEXT": b"secagg/v1/paillier-opening-context",
    "PAILLIER_OPENING": b"secagg/v1/paillier-opening",
    "PAILLIER_PROOF_WEIGHTS": b"secagg/v1/paillier-proof-weights",
    "PAILLIER_PROOF": b"secagg/v1/paillier-proof",
    "PAILLIER_KNOWLEDGE": b"secagg/v1/paillier-knowledge",
    "PAILLIER_KNOWLEDGE_CHALLENGE": b"secagg/v1/paillier-knowledge-challenge",
    "PAILLIER_KNOWLEDGE_WEIGHTS": b"secagg/v1/paillier-knowledge-weights",
    "SIGN_PAILLIER_ENDORSEMENT": b"secagg/v1/sign-paillier-endorsement",
    "SIGN_PAILLIER_CONTRIBUTION": b"secagg/v1/sign-paillier-contribution",
    "FLOWER_CONTENT": b"secagg/v1/flower-content",
    "FLOWER_CONTEXT": b"secagg/v1/flower-context",
    "SIGN_FLOWER_IDENTITY": b"secagg/v1/sign-flower-identity",
    "STATISTICS_QUERY": b"secagg/v1/statistics-query",
    "GROUPS_TERMS": b"secagg/v1/groups-terms",
    "GROUPS_COMMITMENT": b"secagg/v1/groups-commitment",
    "GROUPS_COMMITMENTS": b"secagg/v1/groups-commitments",
    "GROUPS_COIN": b"secagg/v1/groups-coin",
    "SIGN_GROUPS_COMMITMENT": b"secagg/v1/sign-groups-commitment",
    "SIGN_GROUPS_NONCE": b"secagg/v1/sign-groups-nonce",
    "HIERARCHY_TERMS": b"secagg/v1/hierarchy-terms",
}

FIELD = 2**255 - 19
SEED_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def frame(label: str, *parts: bytes) -> bytes:
    return b"".join(u32(len(part)) + part for part in (LABELS[label], *parts))


def digest(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(frame(label, *parts)).digest()


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256; no salt is 32 zero bytes, which HMAC pads an empty key to."""
    require(1 <= length <= 255 * 32, "ParameterError")
    key = hmac.digest(salt, secret, "sha256")
    block, out = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def derive(secret: bytes, label: str, *parts: bytes, length: int = 32) -> bytes:
    return hkdf(secret, b"", frame(label, *parts), length)


def keystream(seed: bytes, num_bytes: int, first_block: int = 0) -> bytes:
    require(len(seed) == SEED_BYTES and num_bytes >= 0 and first_block >= 0, "ParameterError")
    blocks = b"".join((first_block + i).to_bytes(16, "big") for i in range(-(-num_bytes // 16)))
    return AES.new(seed, AES.MODE_ECB).encrypt(blocks)[:num_bytes] if blocks else b""


def stream_lanes(seed: bytes, shapes: list[tuple[int, int]]) -> list[list[int]]:
    """The integers that a stream gives to arrays of (length, bytes a lane), each from the next block on."""
    arrays, block = [], 0
    for length, width in shapes:
        require(width in {4, 8}, "ParameterError")
        data = keystream(seed, length * width, block)
        arrays.append([int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)])
        block += -(-length * width // 16)
    return arrays


@cache  # the forks of a session ask for the same again and again
def x25519(scalar: bytes, u: int) -> int:
    """The Montgomery ladder of RFC 7748, section 5, whose variables keep their names."""
    k = (int.from_bytes(scalar, "little") & ~7 & (2**254 - 1)) | 2**254
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap != bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % FIELD, b * b % FIELD, d * a % FIELD, c * b % FIELD
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % FIELD, x1 * (da - cb) ** 2 % FIELD
        x2, z2 = aa * bb % FIELD, e * (aa + 121665 * e) % FIELD
    if swap:
        x2, z2 = x3, z3
    return x2 * pow(z2, FIELD - 2, FIELD) % FIELD


def public_key(private: bytes) -> bytes:
    require(len(private) == 32, "ParameterError")
    return x25519(private, 9).to_bytes(32, "little")


def agree(private: bytes, peer_public: bytes) -> bytes:
    """The shared secret; exactly the points of low order give zero (RFC 7748, section 6.1)."""
    require(len(private) == 32, "ParameterError")
    require(len(peer_public) == 32, "AuthenticationFailed")
    shared = x25519(private, (int.from_bytes(peer_public, "little") & (2**255 - 1)) % FIELD)
    require(shared, "AuthenticationFailed")
    return shared.to_bytes(32, "little")


def seal(key: bytes, plaintext: bytes, data: bytes, nonce: bytes) -> bytes:
    require(len(key) == 32 and data, "ParameterError")
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(data)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return nonce + ciphertext + tag


def unseal(key: bytes, sealed: bytes, data: bytes) -> bytes:
    require(len(key) == 32 and data, "ParameterError")
    require(len(sealed) >= NONCE_BYTES + TAG_BYTES, "AuthenticationFailed")
    cipher = ChaCha20_Poly1305.new(key=key, nonce=sealed[:NONCE_BYTES])
    cipher.update(data)
    try:
        return cipher.decrypt_and_verify(sealed[NONCE_BYTES:-TAG_BYTES], sealed[-TAG_BYTES:])
    except ValueError:
        raise Refused("AuthenticationFailed") from None


def ids(numbers: Iterable[int]) -> bytes:
    return b"".join(map(u32, numbers))
