"""Proof that the author of an encrypted vector knows what it encrypts: one for a vector of any length.

Without it, a ciphertext of somebody else's, raised to a power or under fresh noise, passes for an update of one's own,
and the sum tells what is in it.

Source: Cramer, Damgard 1998 (preimages under a group homomorphism; Guillou and Quisquater 1988 for the root),
made non-interactive by Fiat-Shamir, over a random combination of all ciphertexts (Bellare, Garay, Rabin 1998, small
exponents). Encryption is a bijection and the weights are shorter than any factor of n, so that answers to enough
different weights tell every plaintext and every root (SPEC section 20.1).
"""

from __future__ import annotations

import hashlib
import hmac

from ..derivation import HASH_BYTES, Label, digest
from ..errors import AuthenticationFailed
from ..randomness import SYSTEM, RandomBytes, below
from ..residues import Residues
from .halves import product_of_powers
from .integers import WEIGHT_BITS, Integer, Progress, backend, to_bytes, weights_of, width
from .keys import PublicKey
from .lanes import Lanes
from .randomness import NoisePool, unit
from .vectors import EncryptedVector, checked_ciphertexts, encrypt_known


def proof_bytes(key: PublicKey) -> int:
    """Return how long a proof is: a challenge, and two numbers mod n."""
    return HASH_BYTES + 2 * width(key.n)


def encrypt_and_prove(
    residues: Residues,
    lanes: Lanes,
    noise: NoisePool,
    *,
    context: bytes,
    random: RandomBytes = SYSTEM,
    progress: Progress | None = None,
) -> tuple[EncryptedVector, bytes]:
    """Encrypt residues (length,) as `encrypt`, and prove that the author knows them.

    Args:
        residues: of the encoding's lane dtype.
        lanes: how they are laid out.
        noise: of the key to encrypt under.
        context: the session and the author: the proof holds for no other.
        random: gives the proof's two nonces.
        progress: told of every ciphertext.

    Returns:
        The vector, and the proof as bytes; both are public.

    Raises:
        EncodingError: the residues have another length or dtype than the lanes.
        ParameterError: the lanes are for a key of another size.

    Security: the proof reveals nothing. Its nonces, used twice, give away a combination of the plaintexts.
    """
    vector, plaintexts, drawn = encrypt_known(residues, lanes, noise, progress=progress)
    key = noise.public_key
    n = key.n
    plaintext, root = below(n, random), unit(n, random)
    announcement = key.encrypt(plaintext, backend().powmod(root, n, key.n_squared))
    challenge = _challenge(key, vector, context, announcement)
    weights = weights_of(Label.PAILLIER_KNOWLEDGE_WEIGHTS, challenge, len(plaintexts))
    plaintext += sum(weight * each for weight, each in zip(weights, plaintexts, strict=True))
    root = root * noise.source.root(drawn, weights) % n
    size = width(n)
    return vector, challenge + to_bytes(plaintext % n, size) + to_bytes(root, size)


def check_knowledge(
    vector: EncryptedVector, key: PublicKey, lanes: Lanes, proof: bytes, *, context: bytes, times: int = 1
) -> None:
    """Return if the proof shows that the author of the vector knows what it encrypts.

    Args:
        vector: as it came.
        key: what it must be under.
        lanes: what it must look like.
        proof: as `encrypt_and_prove` gives it.
        context: the session and the author.
        times: how many vectors are going to be checked, which may make the vector unit worth it.

    Raises:
        AuthenticationFailed: it does not.
        MalformedMessage: the vector itself is not valid.
    """
    failed = AuthenticationFailed("a proof that its author knows what a vector encrypts does not verify")
    ciphertexts = checked_ciphertexts(vector, key, lanes)
    arithmetic, n, size = backend(), key.n, width(key.n)
    if len(proof) != proof_bytes(key):
        raise failed
    challenge = proof[:HASH_BYTES]
    plaintext = int.from_bytes(proof[HASH_BYTES : HASH_BYTES + size], "big")
    root = int.from_bytes(proof[HASH_BYTES + size :], "big")
    if not (plaintext < n and 0 < root < n and arithmetic.gcd(root, n) == 1):
        raise failed
    weights = weights_of(Label.PAILLIER_KNOWLEDGE_WEIGHTS, challenge, len(ciphertexts))
    combined = product_of_powers(ciphertexts, weights, n, bits=WEIGHT_BITS, times=times)
    answered = key.encrypt(plaintext, arithmetic.powmod(root, n, key.n_squared))
    announcement = answered * arithmetic.invert(combined, key.n_squared) % key.n_squared
    if not hmac.compare_digest(_challenge(key, vector, context, announcement), challenge):
        raise failed


def _challenge(key: PublicKey, vector: EncryptedVector, context: bytes, announcement: Integer) -> bytes:
    count = len(vector.data) // key.ciphertext_bytes
    statement = digest(
        Label.PAILLIER_KNOWLEDGE,
        context,
        key.fingerprint,
        count.to_bytes(8, "big"),
        hashlib.sha256(vector.data).digest(),
    )
    return digest(Label.PAILLIER_KNOWLEDGE_CHALLENGE, statement, to_bytes(announcement, key.ciphertext_bytes))
