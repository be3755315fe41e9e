"""Ed25519 (RFC 8032) on integers, with the points and signatures that SPEC section 3 admits."""

import hashlib
from functools import cache

from .refusal import require

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME

Point = tuple[int, int, int, int]
"""x, y, z and t of RFC 8032, section 5.1.4."""

NEUTRAL = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * D * p[3] * q[3], 2 * p[2] * q[2]
    e, f, g, h = (b - a) % PRIME, (d - c) % PRIME, (d + c) % PRIME, (b + a) % PRIME
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def times(factor: int, point: Point) -> Point:
    product = NEUTRAL
    for bit in f"{factor:b}":
        product = add(product, product)
        if bit == "1":
            product = add(product, point)
    return product


def same(p: Point, q: Point) -> bool:
    return all((p[i] * q[2] - q[i] * p[2]) % PRIME == 0 for i in (0, 1))


def encode(point: Point) -> bytes:
    x, y = (coordinate * pow(point[2], -1, PRIME) % PRIME for coordinate in point[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Point | None:
    """The point of an encoding that is canonical."""
    sign, y = divmod(int.from_bytes(data, "little"), 2**255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if x * x % PRIME != square:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    if len(data) != 32 or y >= PRIME or x * x % PRIME != square or (sign and not x):
        return None
    x = x if x % 2 == sign else PRIME - x
    return x, y, 1, x * y % PRIME


BASE = decode(b"\x58" + b"\x66" * 31) or NEUTRAL


@cache  # a session's forks ask for the same again and again
def admitted(data: bytes) -> Point | None:
    """The point, if it is of prime order."""
    point = decode(data)
    of_order = point is not None and not same(point, NEUTRAL) and same(times(ORDER, point), NEUTRAL)
    return point if of_order else None


def _secrets(seed: bytes) -> tuple[int, bytes]:
    digest = hashlib.sha512(seed).digest()
    return (int.from_bytes(digest[:32], "little") & ~7 & (2**254 - 1)) | 2**254, digest[32:]


def _hash(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


@cache
def verification_key(seed: bytes) -> bytes:
    require(len(seed) == 32, "ParameterError")
    return encode(times(_secrets(seed)[0], BASE))


@cache
def sign(seed: bytes, message: bytes) -> bytes:
    scalar, prefix = _secrets(seed)
    nonce = _hash(prefix, message)
    commitment = encode(times(nonce, BASE))
    response = (nonce + _hash(commitment, verification_key(seed), message) * scalar) % ORDER
    return commitment + response.to_bytes(32, "little")


@cache
def verifies(public: bytes, message: bytes, signature: bytes) -> bool:
    key, commitment, response = admitted(public), admitted(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or len(signature) != 64 or response >= ORDER:
        return False
    challenge = _hash(signature[:32], public, message)
    return same(times(response, BASE), add(commitment, times(challenge, key)))
