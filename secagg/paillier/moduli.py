"""What is checked of a modulus before anything is encrypted under it, and the primes that we make moduli of."""

from __future__ import annotations

import math
from functools import cache

from ..errors import ParameterError
from ..randomness import SYSTEM, RandomBytes, bits
from .integers import Progress, backend, is_probable_prime

MIN_KEY_BITS = 2048
"""112 bits of security, NIST SP 800-57; the default of `keys.generate` is 3072, 128 bits."""

MAX_KEY_BITS = 8192
"""More is refused before it is computed with: a peer's modulus must not buy our time."""

_SMALL = 1 << 16
_SIEVE = 1 << 16


@cache
def small_primes() -> tuple[int, ...]:
    """Return the odd primes below 2**16."""
    composite = bytearray(_SMALL)
    for number in range(3, math.isqrt(_SMALL) + 1, 2):
        if not composite[number]:
            composite[number * number :: 2 * number] = b"\1" * len(range(number * number, _SMALL, 2 * number))
    return tuple(number for number in range(3, _SMALL, 2) if not composite[number])


@cache
def _primorial() -> int:
    return math.prod(small_primes())


def check_modulus(modulus: int, *, min_bits: int = MIN_KEY_BITS) -> None:
    """Raise ParameterError unless the modulus can be a Paillier modulus, as far as anyone without its factors can tell.

    Checked: an odd integer of min_bits to 8192 bits, without a prime factor below 2**16, neither a prime nor a perfect
    power. That it has two factors, of equal length and prime to one another's order, only its owner can know.
    """
    if isinstance(modulus, bool) or not isinstance(modulus, int) or modulus < 1:
        raise ParameterError("a modulus is a positive integer")
    num_bits = modulus.bit_length()
    if num_bits < min_bits:
        raise ParameterError(
            f"the modulus has {num_bits} bits, but fewer than {min_bits} are not secure: use a larger key"
        )
    if num_bits > MAX_KEY_BITS:
        raise ParameterError(f"the modulus has {num_bits} bits, but at most {MAX_KEY_BITS} are accepted")
    if modulus % 2 == 0:
        raise ParameterError("the modulus is even: it is no product of two large primes")
    if math.gcd(_primorial() % modulus, modulus) != 1:
        raise ParameterError("the modulus has a factor below 2**16: it is no product of two large primes")
    if is_probable_prime(modulus, rounds=2):  # a large prime must not buy forty
        raise ParameterError("the modulus is prime: anyone can decrypt under it")
    if is_perfect_power(modulus):
        raise ParameterError("the modulus is a perfect power: anyone can factor it")


def is_perfect_power(number: int) -> bool:
    """Tell whether an odd number without factors below 2**16 is a k-th power for some k above 1."""
    num_bits = number.bit_length()
    return any(_integer_root(number, k) ** k == number for k in (2, *small_primes()) if 16 * k <= num_bits)


def _integer_root(number: int, k: int) -> int:
    """Return the floor of the k-th root: Newton's iteration from above."""
    root = 1 << -(-number.bit_length() // k)
    while True:
        better = ((k - 1) * root + number // root ** (k - 1)) // k
        if better >= root:
            return root
        root = better


def check_factors(p: int, q: int) -> None:
    """Raise ParameterError unless p and q are distinct primes of equal length, prime to one another's order.

    Security: the texts name no factor.
    """
    if p == q:
        raise ParameterError("the two factors are equal: the modulus is a square")
    if p.bit_length() != q.bit_length():
        raise ParameterError("the two factors differ in length: the modulus is easier to factor than its size says")
    if not (is_probable_prime(p) and is_probable_prime(q)):
        raise ParameterError("a factor is not prime: ciphertexts would not decrypt")
    if math.gcd(p * q, (p - 1) * (q - 1)) != 1:
        raise ParameterError("the modulus shares a factor with its totient: ciphertexts would not decrypt")


def safe_prime(num_bits: int, *, progress: Progress | None = None, random: RandomBytes = SYSTEM) -> int:
    """Find a prime p = 2 p' + 1 of exactly `num_bits` bits, p' prime too, its two highest bits set.

    With gmpy2 on one core 1 to 4 s at 1024 bits and 3 to 10 s or more at 1536, as chance has it. Each sieve
    interval starts at a fresh random place. `progress` is called once an interval.
    """
    while True:
        found = _search(bits(num_bits - 1, random) | (3 << (num_bits - 3)) | 1)
        if progress is not None:
            progress(1)
        if found.bit_length() == num_bits:
            return found


def _search(start: int) -> int:
    """Return the first safe prime 2 (start + 2 i) + 1 of an interval, or 0: sieve both, then test what is left."""
    composite = bytearray(_SIEVE)
    for prime in small_primes():
        if prime >= start:
            break
        half = (prime + 1) // 2  # the inverse of 2
        residue = start % prime
        for root in (-residue * half % prime, ((prime - 1) * half - residue) * half % prime):
            composite[root::prime] = b"\1" * len(range(root, _SIEVE, prime))
    powmod, integer = backend().powmod, backend().integer
    for index, struck in enumerate(composite):
        if struck:
            continue
        candidate = integer(start + 2 * index)
        safe = 2 * candidate + 1
        if (
            powmod(2, candidate - 1, candidate) == 1
            and powmod(2, safe - 1, safe) == 1
            and is_probable_prime(int(candidate))
            and is_probable_prime(int(safe))
        ):
            return int(safe)
    return 0
