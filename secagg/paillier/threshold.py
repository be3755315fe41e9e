"""Threshold decryption: t of n committee members open a ciphertext, and no party ever holds the key.

Source: Shoup 2000 (threshold RSA) applied to Paillier's own trapdoor: the noise r of c = (1 + n)**m * r**n is the n-th
root of c mod n, so d = n**-1 mod p'q' is the secret that is shared, as in Damgard and Jurik 2001 their d is. Exponents
are half as long and the modulus too, which makes a partial opening eight times cheaper than theirs; and whoever has the
root can check it, so proofs are verified only to name who lied (SPEC section 21).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..derivation import Label, digest
from ..errors import AuthenticationFailed, InconsistentShares, ParameterError, ThresholdError
from ..randomness import SYSTEM, RandomBytes, below
from . import integers, moduli
from .integers import Integer, Progress, all_invertible, backend, to_bytes, whole, width
from .keys import DEFAULT_KEY_BITS, PublicKey
from .lanes import Lanes
from .opening import Opener
from .powers import powmod_all
from .proofs import Proof, Statement, prove, verify
from .vectors import EncryptedVector, checked_ciphertexts

MAX_MEMBERS = 64
"""The factorial of the committee's size is an exponent: beyond this it costs more than the secret does."""


@dataclass(frozen=True)
class ThresholdKey:
    """The public side of a dealt key: everyone has an equal one.

    Args:
        public_key: what contributors encrypt under; a product of two safe primes.
        threshold: how many members open; 2 to the number of members.
        generator: a square mod n.
        member_keys: generator to the power of each member's secret; member i has entry i - 1.
        one_session_without_proofs: dealt to serve one session, in which contributors do not prove that they know their
            updates: in a second one, a corrupt contributor could read an update of the first (SPEC section 20.1).

    Raises:
        ParameterError: sizes are out of range, a number is not invertible mod n, or a field is of another kind.

    Security: that n is a product of safe primes, and that shares lie on one polynomial, is the dealer's word: a party
    that checks its own share knows no more than that the share fits its member key.
    """

    public_key: PublicKey
    threshold: int
    generator: int = field(repr=False)
    member_keys: tuple[int, ...] = field(repr=False)
    one_session_without_proofs: bool = False

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("threshold", "generator"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        keys = tuple(whole("a member key", member_key) for member_key in self.member_keys)
        object.__setattr__(self, "member_keys", keys)
        if not isinstance(self.public_key, PublicKey):
            raise ParameterError(f"public_key is a {type(self.public_key).__name__}, but must be a PublicKey")
        _check_committee(self.threshold, len(self.member_keys), self.one_session_without_proofs)
        numbers = (self.generator, *self.member_keys)
        if min(numbers) < 2 or max(numbers) >= self.public_key.n or not all_invertible(numbers, self.public_key.n):
            raise ParameterError("a verification key is not an invertible residue from 2 to n - 1")

    @property
    def num_members(self) -> int:
        """The committee's size."""
        return len(self.member_keys)

    @property
    def factorial(self) -> int:
        """Shoup's Delta: with it, Lagrange coefficients are integers."""
        return math.factorial(self.num_members)

    def digest(self) -> bytes:
        """Hash every field: two equal digests are one key and one committee."""
        size = width(self.public_key.n)
        numbers = (self.public_key.n, self.generator, *self.member_keys)
        return digest(
            Label.PAILLIER_THRESHOLD_KEY,
            self.threshold.to_bytes(4, "big"),
            bytes([self.one_session_without_proofs]),
            *(to_bytes(number, size) for number in numbers),
        )


def _check_committee(threshold: int, members: int, one_session_without_proofs: object) -> None:
    if not isinstance(one_session_without_proofs, bool):
        raise ParameterError(f"one_session_without_proofs is {one_session_without_proofs!r:.50}, but must be a bool")
    if not 2 <= members <= MAX_MEMBERS or not 2 <= threshold <= members:
        raise ParameterError(
            f"threshold {threshold} of {members} members, but it must be from 2 to their number, and they at most "
            f"{MAX_MEMBERS}: a threshold of 1 makes everyone a holder of the key"
        )


@dataclass(frozen=True)
class KeyShare:
    """A member's secret: one point of the dealer's polynomial. Its repr shows whose it is only.

    Raises:
        AuthenticationFailed: the secret does not fit the member's verification key; the dealer or the channel lied.
    """

    key: ThresholdKey
    member: int
    secret: int = field(repr=False)

    def __post_init__(self) -> None:
        """Check the share against its verification key."""
        object.__setattr__(self, "member", whole("member", self.member))
        if isinstance(self.secret, bool) or not isinstance(self.secret, int):  # whose value stands in no error
            raise ParameterError(f"the secret is a {type(self.secret).__name__}, but must be an integer")
        if not 1 <= self.member <= self.key.num_members:
            raise ParameterError(f"member is {self.member}, but must be from 1 to {self.key.num_members}")
        n = self.key.public_key.n
        expected = self.key.member_keys[self.member - 1]
        if not 0 <= self.secret < n or backend().powmod(self.key.generator, self.secret, n) != expected:
            raise AuthenticationFailed(f"the key share of member {self.member} does not fit its verification key")


@dataclass(frozen=True)
class PartialOpening:
    """What one member says to open a vector: one residue mod n a ciphertext, and the proof for all of them; public."""

    member: int
    roots: bytes = field(repr=False)
    proof: Proof


def deal(
    threshold: int,
    num_members: int,
    *,
    key_bits: int = DEFAULT_KEY_BITS,
    one_session_without_proofs: bool = False,
    progress: Progress | None = None,
    random: RandomBytes = SYSTEM,
) -> tuple[ThresholdKey, list[KeyShare]]:
    """Make a key and deal it; a party that everyone trusts does this once and forgets everything.

    Seconds at 2048 bits, tens of them at 3072, minutes without gmpy2: safe primes are searched for.

    Args:
        threshold: how many members open a sum.
        num_members: how many there are.
        key_bits: bits of the modulus.
        one_session_without_proofs: as `ThresholdKey` has it.
        progress: told of candidates that were tried.
        random: gives primes and shares.

    Returns:
        The public side, and one share a member: send each to its member alone.

    Raises:
        ParameterError: sizes are out of range.

    Security: the dealer knows the key while this runs; Python cannot wipe it.
    """
    threshold, num_members = whole("threshold", threshold), whole("num_members", num_members)
    key_bits = whole("key_bits", key_bits)
    _check_committee(threshold, num_members, one_session_without_proofs)  # before the search, which takes minutes
    if not (moduli.MIN_KEY_BITS <= key_bits <= moduli.MAX_KEY_BITS and key_bits % 2 == 0):
        raise ParameterError(
            f"key_bits is {key_bits}, but must be even and from {moduli.MIN_KEY_BITS} to {moduli.MAX_KEY_BITS}"
        )
    p = q = moduli.safe_prime(key_bits // 2, progress=progress, random=random)
    while p == q:
        q = moduli.safe_prime(key_bits // 2, progress=progress, random=random)
    key, shares = _deal(threshold, num_members, p, q, random=random)
    key = replace(key, one_session_without_proofs=one_session_without_proofs)
    return key, [replace(share, key=key) for share in shares]


def _deal(
    threshold: int,
    num_members: int,
    p: int,
    q: int,
    *,
    min_bits: int = moduli.MIN_KEY_BITS,
    random: RandomBytes = SYSTEM,
) -> tuple[ThresholdKey, list[KeyShare]]:
    """Deal with given safe primes: draw the generator's root, then the coefficients of x, x**2 and so on."""
    public_key = PublicKey(p * q, _min_bits=min_bits)
    n, order = public_key.n, (p // 2) * (q // 2)
    powmod = backend().powmod
    generator = 1
    while generator == 1 or math.gcd(generator - 1, n) != 1:  # of full order p'q', as all but a few squares are
        generator = int(powmod(below(n, random), 2, n))
    coefficients = [pow(n, -1, order), *(below(order, random) for _ in range(threshold - 1))]
    points = []
    for member in range(1, num_members + 1):
        point = 0
        for coefficient in reversed(coefficients):
            point = (point * member + coefficient) % order
        points.append(point)
    key = ThresholdKey(public_key, threshold, generator, tuple(int(powmod(generator, point, n)) for point in points))
    return key, [KeyShare(key, member, point) for member, point in enumerate(points, start=1)]


def open_partially(
    share: KeyShare,
    vector: EncryptedVector,
    lanes: Lanes,
    *,
    context: bytes,
    workers: int = 1,
    progress: Progress | None = None,
    random: RandomBytes = SYSTEM,
) -> PartialOpening:
    """Do one member's part in opening a vector.

    Args:
        share: the member's own.
        vector: what everyone agreed to open: whoever gets t of these reads it.
        lanes: what the vector must look like.
        context: the session and the agreement, hashed; the proof holds for no other.
        workers: threads.
        progress: told of every ciphertext.
        random: gives the proof's nonce.

    Raises:
        MalformedMessage: the vector is not valid.

    Security: never run this on a ciphertext that one contributor made: `protocols.paillier` sees to it. Bases are
    blinded, so that the time that the secret exponent takes says nothing about a base that a peer chose.
    """
    key = share.key
    n = backend().integer(key.public_key.n)
    bases = [ciphertext % n for ciphertext in checked_ciphertexts(vector, key.public_key, lanes)]
    exponent = 2 * key.factorial * share.secret
    masks, unmasks = _blinding(n, exponent, len(bases))
    blinded = [base * mask % n for base, mask in zip(bases, masks, strict=True)]
    powers = powmod_all(blinded, exponent, n, workers=workers, progress=progress)
    images = [power * unmask % n for power, unmask in zip(powers, unmasks, strict=True)]
    proof = prove(_statement(key, share.member, context, bases, images), share.secret, random=random)
    return PartialOpening(share.member, integers.join(images, width(key.public_key.n)), proof)


def _blinding(n: Integer, exponent: Integer, count: int) -> tuple[list[Integer], list[Integer]]:
    """Return masks, and the inverses of their powers: one pair is drawn, each next one is the square of the last."""
    arithmetic = backend()
    mask = arithmetic.integer(below(n - 1, SYSTEM) + 1)
    unmask = arithmetic.invert(arithmetic.powmod(mask, exponent, n), n)
    masks, unmasks = [], []
    for _ in range(count):
        masks.append(mask)
        unmasks.append(unmask)
        mask, unmask = mask * mask % n, unmask * unmask % n
    return masks, unmasks


@dataclass(frozen=True)
class Opened:
    """Plaintexts mod n, and the members whose partial openings were wrong."""

    plaintexts: list[int] = field(repr=False)
    liars: frozenset[int]


def combine(
    key: ThresholdKey,
    vector: EncryptedVector,
    lanes: Lanes,
    partials: Mapping[int, PartialOpening],
    *,
    context: bytes,
    workers: int = 1,
    progress: Progress | None = None,
) -> Opened:
    """Open a vector with the partial openings of `threshold` or more members; the aggregator does this.

    Any `threshold` correct ones are enough, whatever the others say. The result proves itself: only when it does not,
    proofs are checked, and every member whose proof fails is named and left out.

    Args:
        key: the public side of the dealt key.
        vector: what was opened, as the members had it.
        lanes: what the vector must look like.
        context: as the members had it.
        partials: member -> what it said.
        workers: threads.
        progress: told of every ciphertext that was opened.

    Raises:
        MalformedMessage: the vector itself is not valid.
        ThresholdError: fewer than `threshold` partial openings.
        InconsistentShares: enough came, but too few of them are correct; the liars are the culprits.
    """
    n = backend().integer(key.public_key.n)
    ciphertexts = checked_ciphertexts(vector, key.public_key, lanes)
    if len(partials) < key.threshold:
        raise ThresholdError(
            f"{len(partials)} partial openings, but {key.threshold} are needed",
            needed=key.threshold,
            have=len(partials),
        )
    images = {member: roots for member, part in partials.items() if (roots := _roots(key, member, part, lanes))}
    liars = partials.keys() - images.keys()
    while len(images) >= key.threshold:
        opener = Opener(key.public_key.n, key.factorial, tuple(images)[: key.threshold])
        said = [images[member] for member in opener.members]
        plaintexts = opener.open(ciphertexts, said, workers=workers, progress=progress)
        if plaintexts is not None:
            return Opened(plaintexts, frozenset(liars))
        bases = [ciphertext % n for ciphertext in ciphertexts]
        found = set()
        for member, roots in images.items():  # all at once: one lie must not buy a second one's time
            try:
                verify(_statement(key, member, context, bases, roots), partials[member].proof)
            except AuthenticationFailed:
                found.add(member)
        if not found:
            raise InconsistentShares("partial openings verify but do not open: the dealer's keys do not fit together")
        liars |= found
        for member in found:
            del images[member]
    raise InconsistentShares(
        f"{len(images)} correct partial openings are left of {len(partials)}, but {key.threshold} are needed",
        culprits=liars,
    )


def check_partial(
    key: ThresholdKey, vector: EncryptedVector, lanes: Lanes, partial: PartialOpening, *, context: bytes
) -> None:
    """Return if the partial opening is proven to be correct.

    Raises:
        AuthenticationFailed: it is not; its member is the culprit.
        MalformedMessage: the vector itself is not valid.
    """
    n = backend().integer(key.public_key.n)
    bases = [ciphertext % n for ciphertext in checked_ciphertexts(vector, key.public_key, lanes)]
    images = _roots(key, partial.member, partial, lanes)
    if images is None:
        raise AuthenticationFailed("a partial opening is malformed", culprits={partial.member})
    verify(_statement(key, partial.member, context, bases, images), partial.proof)


def _roots(key: ThresholdKey, member: int, partial: PartialOpening, lanes: Lanes) -> list[Integer] | None:
    """Parse a partial opening, or return None if it cannot be one."""
    n, size = key.public_key.n, width(key.public_key.n)
    if partial.member != member or not 1 <= member <= key.num_members:
        return None
    if len(partial.roots) != lanes.num_plaintexts * size:
        return None
    roots = integers.split(partial.roots, size)
    return roots if min(roots) > 0 and max(roots) < n and all_invertible(roots, n) else None


def _statement(
    key: ThresholdKey, member: int, context: bytes, bases: Sequence[Integer], images: Sequence[Integer]
) -> Statement:
    bound = digest(Label.PAILLIER_OPENING_CONTEXT, context, key.digest())
    member_key = key.member_keys[member - 1]
    return Statement(bound, key.public_key.n, member, key.generator, member_key, key.factorial, bases, images)
