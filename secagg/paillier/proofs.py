"""Proof that a committee member raised every ciphertext to the exponent it was dealt, and to no other.

Source: Shoup 2000, protocol 1 (equality of discrete logarithms in the squares mod n, made non-interactive by
Fiat-Shamir), over a random combination of all ciphertexts (Bellare, Garay, Rabin 1998, small exponents): one proof for
a vector of any length. Sound because n is a product of safe primes, so the squares have no small subgroup.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from ..derivation import Label, digest
from ..errors import AuthenticationFailed
from ..randomness import SYSTEM, RandomBytes, bits
from . import integers
from .integers import WEIGHT_BITS, Integer, backend, to_bytes, weights_of, width
from .powers import powmod_product

CHALLENGE_BYTES = 32
_HIDING_BITS = 128


@dataclass(frozen=True)
class Statement:
    """What is proven: images[j]**2 == (bases[j]**4)**(factor * secret), where member_key == generator**secret.

    Args:
        context: the session and whatever else the proof is bound to, hashed by the caller.
        n: the modulus.
        member: index of the member who proves.
        generator, member_key: a square mod n, and its power to the member's secret.
        factor: public: the committee's factorial.
        bases, images: one pair a ciphertext, mod n.
    """

    context: bytes
    n: int
    member: int
    generator: int
    member_key: int
    factor: int
    bases: Sequence[Integer]
    images: Sequence[Integer]

    def digest(self) -> bytes:
        """Hash every public value."""
        size = width(self.n)
        vectors = (hashlib.sha256(integers.join(vector, size)).digest() for vector in (self.bases, self.images))
        numbers = (self.n, self.generator, self.member_key)
        factor = to_bytes(self.factor, width(self.factor))
        return digest(
            Label.PAILLIER_OPENING,
            self.context,
            self.member.to_bytes(4, "big"),
            len(self.bases).to_bytes(8, "big"),
            *(to_bytes(number, size) for number in numbers),
            factor,
            *vectors,
        )

    def combined(self, transcript: bytes) -> tuple[Integer, Integer]:
        """Combine all pairs into one, with 128-bit weights that depend on every one of them."""
        weights = weights_of(Label.PAILLIER_PROOF_WEIGHTS, transcript, len(self.bases))
        powmod = backend().powmod
        base = powmod(powmod_product(self.bases, weights, self.n, bits=WEIGHT_BITS), 4 * self.factor, self.n)
        image = powmod(powmod_product(self.images, weights, self.n, bits=WEIGHT_BITS), 2, self.n)
        return base, image


@dataclass(frozen=True)
class Proof:
    """Challenge and response of the proof; public."""

    challenge: bytes
    response: int


def response_bits(n: int) -> int:
    """Return how long a response can be: the secret times the challenge disappears in it up to 2**-128."""
    return n.bit_length() + 8 * CHALLENGE_BYTES + _HIDING_BITS + 1


def prove(statement: Statement, secret: Integer, *, random: RandomBytes = SYSTEM) -> Proof:
    """Prove the statement with the member's secret, which is below n.

    Security: the nonce, one bit shorter than a response can be, comes from `random`; used twice, it gives the secret
    away.
    """
    nonce = bits(response_bits(statement.n) - 1, random)
    transcript = statement.digest()
    base, image = statement.combined(transcript)
    powmod, n = backend().powmod, statement.n
    announcements = powmod(statement.generator, nonce, n), powmod(base, nonce, n)
    challenge = _challenge(statement, transcript, base, image, *announcements)
    return Proof(challenge, int(nonce + int.from_bytes(challenge, "big") * secret))


def verify(statement: Statement, proof: Proof) -> None:
    """Raise AuthenticationFailed, naming the member, unless the proof proves the statement.

    The caller has checked that all values are invertible mod n.
    """
    failed = AuthenticationFailed("a partial opening's proof does not verify", culprits={statement.member})
    if len(proof.challenge) != CHALLENGE_BYTES or not 0 <= proof.response < 1 << response_bits(statement.n):
        raise failed
    transcript = statement.digest()
    base, image = statement.combined(transcript)
    arithmetic, n = backend(), statement.n
    challenge = int.from_bytes(proof.challenge, "big")

    def announcement(power_of: Integer, result: Integer) -> Integer:
        inverse = arithmetic.invert(arithmetic.powmod(result, challenge, n), n)
        return arithmetic.powmod(power_of, proof.response, n) * inverse % n

    announcements = (announcement(statement.generator, statement.member_key), announcement(base, image))
    if not hmac.compare_digest(_challenge(statement, transcript, base, image, *announcements), proof.challenge):
        raise failed


def _challenge(statement: Statement, transcript: bytes, *values: Integer) -> bytes:
    size = width(statement.n)
    return digest(Label.PAILLIER_PROOF, transcript, *(to_bytes(value, size) for value in values))
