"""Paillier keys that are phe's keys: made with phe, and to and from its objects and JSON.

Source: Paillier 1999, section 4, with g = 1 + n; decryption by the Chinese remainder theorem, section 7. A
ciphertext is an integer c = (1 + n)**plaintext * r**n mod n**2, plaintexts are integers mod n.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from functools import cached_property
from typing import Any, final

from ..derivation import Label, digest
from ..errors import MalformedMessage, ParameterError
from ..randomness import SYSTEM, RandomBytes, below
from . import moduli
from .integers import Integer, backend, expand, to_bytes, whole, width
from .powers import powmod_all

DEFAULT_KEY_BITS = 3072
_MAX_JWK_CHARACTERS = 1 << 14


@final
class PublicKey:
    """A checked Paillier modulus. Equal moduli make equal keys.

    Args:
        n: the modulus, 2048 to 8192 bits, checked as `moduli.check_modulus` says.

    Raises:
        ParameterError: the modulus fails a check.
    """

    __slots__ = ("__dict__", "n")

    def __init__(self, n: int, *, _min_bits: int = moduli.MIN_KEY_BITS) -> None:
        moduli.check_modulus(n, min_bits=_min_bits)
        self.n = n

    @property
    def key_bits(self) -> int:
        """Bits of the modulus."""
        return self.n.bit_length()

    @property
    def ciphertext_bytes(self) -> int:
        """Bytes of one ciphertext on the wire."""
        return width(self.n_squared)

    @cached_property
    def n_squared(self) -> Integer:
        """n**2, in the backend's integers: ciphertexts are computed mod this."""
        return backend().integer(self.n) ** 2

    @cached_property
    def fingerprint(self) -> bytes:
        """32 bytes that name the key: a hash of the modulus."""
        return digest(Label.PAILLIER_KEY, to_bytes(self.n, width(self.n)))

    @cached_property
    def noise_root(self) -> int:
        """The root of `noise_base`: h = -x**2 mod n, x hashed from the modulus, so that nobody chose or sends it."""
        size = width(self.n)
        x = int.from_bytes(expand(Label.PAILLIER_BASE, to_bytes(self.n, size), length=size + 32), "big") % self.n
        return -x * x % self.n

    @cached_property
    def noise_base(self) -> Integer:
        """h**n mod n**2 for h = `noise_root`: what short-exponent noise is a power of.

        Source: Damgard, Jurik, Nielsen 2010, optimised encryption.
        """
        return backend().powmod(self.noise_root, self.n, self.n_squared)

    def encrypt(self, plaintext: int, noise: Integer) -> Integer:
        """Return (1 + n)**plaintext * noise mod n**2; negative plaintexts stand for their residue mod n.

        Security: `noise` is a fresh n-th residue (`randomness`), secret and never used again.
        """
        return (1 + plaintext % self.n * self.n) * noise % self.n_squared

    def check_ciphertext(self, ciphertext: Integer) -> None:
        """Raise MalformedMessage unless the ciphertext is invertible and from 1 to n**2 - 1."""
        if not (0 < ciphertext < self.n_squared and backend().gcd(ciphertext, self.n) == 1):
            raise MalformedMessage("a ciphertext is not an invertible residue from 1 to n**2 - 1")

    def to_phe(self) -> Any:
        """Return phe's PaillierPublicKey. Raises ParameterError without phe."""
        return _phe().PaillierPublicKey(self.n)

    @classmethod
    def from_phe(cls, key: Any, *, _min_bits: int = moduli.MIN_KEY_BITS) -> PublicKey:
        """Take over phe's object. Raises ParameterError as the constructor."""
        return cls(int(key.n), _min_bits=_min_bits)

    def to_jwk(self) -> str:
        """Return the key in phe's JSON."""
        return json.dumps(self._jwk())

    @classmethod
    def from_jwk(cls, text: str, *, _min_bits: int = moduli.MIN_KEY_BITS) -> PublicKey:
        """Read phe's JSON.

        Raises:
            MalformedMessage: no JSON of a public key.
            ParameterError: the modulus fails a check.
        """
        return cls(_number(_jwk_object(text, operation="encrypt"), "n"), _min_bits=_min_bits)

    def _jwk(self) -> dict[str, Any]:
        return {
            "kty": "DAJ",
            "alg": "PAI-GN1",
            "key_ops": ["encrypt"],
            "n": _base64url(self.n),
            "kid": f"secagg {self.fingerprint.hex()[:16]}",
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.n == other.n

    def __hash__(self) -> int:
        return hash((PublicKey, self.n))

    def __repr__(self) -> str:
        return f"PublicKey(key_bits={self.key_bits}, fingerprint={self.fingerprint.hex()[:16]})"


@final
class PrivateKey:
    """A Paillier private key: the factors of the modulus. Its repr shows the public half only.

    Args:
        p: a prime.
        q: another of the same length; each is prime to the other's order.

    Raises:
        ParameterError: the factors or their product fail a check.

    Security: whoever holds this reads every single update; a session of several parties uses `threshold` instead.
    """

    __slots__ = ("__dict__", "_p", "_q", "public_key")

    def __init__(self, p: int, q: int, *, _min_bits: int = moduli.MIN_KEY_BITS) -> None:
        self.public_key = PublicKey(p * q, _min_bits=_min_bits)
        moduli.check_factors(p, q)
        self._p, self._q = min(p, q), max(p, q)

    @property
    def factors(self) -> tuple[int, int]:
        """The two primes, smaller first; secret."""
        return self._p, self._q

    @cached_property
    def _halves(self) -> tuple[tuple[Integer, Integer, Integer], ...]:
        """For each factor: itself, its square, and the inverse of L((1 + n)**(p - 1) mod p**2)."""
        arithmetic = backend()
        halves = []
        for factor in (self._p, self._q):
            p = arithmetic.integer(factor)
            # (1 + n)**(p - 1) = 1 + (p - 1) n mod p**2, and L of that is (p - 1) n / p = -n / p mod p
            halves.append((p, p * p, arithmetic.invert(-self.public_key.n // p % p, p)))
        return tuple(halves)

    @cached_property
    def _p_inverse(self) -> Integer:
        return backend().invert(self._p, self._q)

    def decrypt(self, ciphertexts: list[Integer], *, workers: int = 1) -> list[int]:
        """Decrypt ciphertexts to plaintexts mod n, on `workers` threads.

        Raises:
            MalformedMessage: a ciphertext is not an invertible residue: 0, n, n**2, a multiple of a factor.

        Security: ciphertexts are blinded first, so what the secret exponents work on is nobody's choice.
        """
        for ciphertext in ciphertexts:
            self.public_key.check_ciphertext(ciphertext)
        blinded = self._blind(ciphertexts)
        parts = []
        for p, p_squared, scale in self._halves:
            powers = powmod_all([c % p_squared for c in blinded], p - 1, p_squared, root=p, workers=workers)
            parts.append([(power - 1) // p * scale % p for power in powers])
        p, q = self._halves[0][0], self._halves[1][0]
        return [int(at_p + (at_q - at_p) * self._p_inverse % q * p) for at_p, at_q in zip(*parts, strict=True)]

    def _blind(self, ciphertexts: list[Integer]) -> list[Integer]:
        n_squared = self.public_key.n_squared
        noise = self.noise()
        blinded = []
        for ciphertext in ciphertexts:
            blinded.append(ciphertext * noise % n_squared)
            noise = noise * noise % n_squared
        return blinded

    def noise(self, *, random: RandomBytes = SYSTEM) -> Integer:
        """Draw a uniform n-th residue mod n**2: noise at full strength, for a third of what r**n mod n**2 costs.

        x**p mod p**2 for x uniform mod p is a uniform element of order dividing p - 1, and the n-th residues mod n**2
        are exactly the pairs of such elements mod p**2 and mod q**2.
        """
        powmod = backend().powmod
        at_p, at_q = (powmod(below(p - 1, random) + 1, p, p_squared) for p, p_squared, _ in self._halves)
        p_squared, q_squared = self._halves[0][1], self._halves[1][1]
        return at_p + (at_q - at_p) * backend().invert(p_squared, q_squared) % q_squared * p_squared

    def root(self, residue: Integer) -> Integer:
        """Return the one n-th root mod n of a number that is invertible mod n."""
        n, powmod, roots = self.public_key.n, backend().powmod, []
        for p, _, _ in self._halves:
            roots.append(powmod(residue % p, pow(n, -1, int(p) - 1), p))
        at_p, at_q = roots
        p, q = self._halves[0][0], self._halves[1][0]
        return at_p + (at_q - at_p) * self._p_inverse % q * p

    def to_phe(self) -> Any:
        """Return phe's PaillierPrivateKey. Raises ParameterError without phe."""
        return _phe().PaillierPrivateKey(self.public_key.to_phe(), self._p, self._q)

    @classmethod
    def from_phe(cls, key: Any, *, _min_bits: int = moduli.MIN_KEY_BITS) -> PrivateKey:
        """Take over phe's object. Raises ParameterError as the constructor."""
        return cls(int(key.p), int(key.q), _min_bits=_min_bits)

    def to_jwk(self) -> str:
        """Return the key in phe's JSON; secret."""
        public = self.public_key._jwk()
        private = {"kty": "DAJ", "key_ops": ["decrypt"], "p": _base64url(self._p), "q": _base64url(self._q)}
        return json.dumps(private | {"pub": public, "kid": public["kid"]})

    @classmethod
    def from_jwk(cls, text: str, *, _min_bits: int = moduli.MIN_KEY_BITS) -> PrivateKey:
        """Read phe's JSON.

        Raises:
            MalformedMessage: no JSON of a private key, or its public half is of another key.
            ParameterError: the factors fail a check.
        """
        fields = _jwk_object(text, operation="decrypt")
        key = cls(_number(fields, "p"), _number(fields, "q"), _min_bits=_min_bits)
        public = fields.get("pub")
        if not isinstance(public, dict) or _number(public, "n") != key.public_key.n:
            raise MalformedMessage("the public half of the private key is of another key")
        return key

    def __repr__(self) -> str:
        return f"PrivateKey(public_key={self.public_key!r})"


def generate(key_bits: int = DEFAULT_KEY_BITS, *, _min_bits: int = moduli.MIN_KEY_BITS) -> PrivateKey:
    """Make a key with phe, whoever is to hold it alone. At 3072 bits this takes seconds.

    phe draws from the operating system, and takes no other source. Keys are drawn until both primes are 3 mod 4 and
    (p - 1) / 2 and (q - 1) / 2 have no common factor, which one pair in six satisfies and short-exponent noise asks for
    (Damgard, Jurik, Nielsen 2010).

    Raises:
        ParameterError: fewer than 2048 bits or more than 8192, an odd number, or phe is not installed.
    """
    key_bits = whole("key_bits", key_bits)
    if not (_min_bits <= key_bits <= moduli.MAX_KEY_BITS and key_bits % 2 == 0):
        raise ParameterError(
            f"key_bits is {key_bits!r}, but must be even and from {_min_bits} to {moduli.MAX_KEY_BITS}"
        )
    phe = _phe()
    while True:
        _, drawn = phe.generate_paillier_keypair(n_length=key_bits)
        p, q = int(drawn.p), int(drawn.q)
        if p % 4 == q % 4 == 3 and p.bit_length() == q.bit_length() and math.gcd(p - 1, q - 1) == 2:
            return PrivateKey(p, q, _min_bits=_min_bits)


def _phe() -> Any:
    try:
        import phe
    except ImportError:
        raise ParameterError("phe is not installed: in a checkout of secagg, pip install '.[paillier]'") from None
    return phe


def _base64url(number: int) -> str:
    return base64.urlsafe_b64encode(to_bytes(number, width(number))).rstrip(b"=").decode("ascii")


def _number(fields: dict[str, Any], name: str) -> int:
    text = fields.get(name)
    if not isinstance(text, str) or not text:
        raise MalformedMessage(f"the key has no number {name!r}")
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), "big")
    except (binascii.Error, ValueError):
        raise MalformedMessage(f"the key's {name!r} is no base64url") from None


def _jwk_object(text: str, *, operation: str) -> dict[str, Any]:
    if len(text) > _MAX_JWK_CHARACTERS:
        raise MalformedMessage(f"a key of {len(text)} characters, but at most {_MAX_JWK_CHARACTERS} are read")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedMessage("a key that is no JSON") from None
    if not isinstance(fields, dict) or fields.get("kty") != "DAJ":
        raise MalformedMessage("the JSON is no Paillier key: 'kty' must be 'DAJ'")
    operations = fields.get("key_ops")
    if not isinstance(operations, list) or operation not in operations:
        raise MalformedMessage(f"the key is not for {operation}ion: 'key_ops' must name {operation!r}")
    return fields
