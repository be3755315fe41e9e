"""SPEC sections 13 to 16, as far as deterministic: rotation, bounds, calibration, and samples from given words."""

import math
from bisect import bisect_left
from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import accumulate, count, islice
from typing import Any

from .primitives import AES, keystream

Case = dict[str, Any]
BETA = math.exp(-0.5)


def _floats(values: list[str]) -> list[float]:
    return [float.fromhex(value) for value in values]


def _signs(seed: bytes, length: int) -> list[int]:
    blocks = b"".join(b"rotation" + i.to_bytes(8, "big") for i in range(-(-length // 128)))
    bits = AES.new(seed, AES.MODE_ECB).encrypt(blocks)
    return [-1 if bits[i // 8] >> i % 8 & 1 else 1 for i in range(length)]


def _transformed(values: list[float]) -> list[float]:
    half = 1
    while half < len(values):
        for start in range(0, len(values), 2 * half):
            for i in range(start, start + half):
                values[i], values[i + half] = values[i] + values[i + half], values[i] - values[i + half]
        half *= 2
    return [value * (1 / math.sqrt(len(values))) for value in values]


def rotated(values: list[float], seed: bytes) -> list[float]:
    length = 1 << (len(values) - 1).bit_length()
    values = values + [0.0] * (length - len(values))
    return _transformed([value * sign for value, sign in zip(values, _signs(seed, length), strict=True)])


def unrotated(values: list[float], seed: bytes) -> list[float]:
    return [value * sign for value, sign in zip(_transformed(values), _signs(seed, len(values)), strict=True)]


def rotate(given: Case) -> list[str]:
    return [value.hex() for value in rotated(_floats(given["values"]), bytes.fromhex(given["seed"]))]


def rounded_up(value: float) -> float:
    """Section 16: four floats up."""
    for _ in range(4):
        value = math.nextafter(value, math.inf)
    return value


def l2_bound(norm: float, d: int, beta: float) -> float:
    always = norm + math.sqrt(d)
    if beta == 0:
        return rounded_up(always)
    square = norm * norm + d / 4 + math.sqrt(2 * math.log(1 / beta)) * (norm + math.sqrt(d) / 2)
    return rounded_up(min(always, math.sqrt(square)))


def rounded_bound(given: Case) -> float:
    return l2_bound(float.fromhex(given["l2_norm"]), given["dimension"], float.fromhex(given["beta"]))


def words(seed: bytes) -> Iterator[int]:
    """Section 13: the 64-bit words of a vector's seed."""
    for block in count(0, 256):
        data = keystream(seed, 4096, block)
        yield from (int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))


def conditionally_rounded(values: list[float], bound: float, stream: Iterator[int]) -> tuple[list[int], int]:
    """Section 16: the levels, and how many tries they took."""
    low = [math.floor(value) for value in values]
    chances = [math.floor((value - below) * 2.0**53) for value, below in zip(values, low, strict=True)]
    for tries in count(1):
        draws = [word >> 11 for word in islice(stream, len(values))]
        levels = [below + (r < chance) for below, r, chance in zip(low, draws, chances, strict=True)]
        if sum(level * level for level in levels) <= Fraction(bound) ** 2:
            return levels, tries
    raise AssertionError("not reached")


def conditionally_round(given: Case) -> Case:
    values = _floats(given["values"])
    bound = l2_bound(float.fromhex(given["l2_norm"]), len(values), BETA)
    levels, tries = conditionally_rounded(values, bound, words(bytes.fromhex(given["seed"])))
    return {"levels": levels, "tries": tries}


def _tail(x: float) -> float:
    """Pr[N(0, 1) > x]."""
    return math.erfc(x / math.sqrt(2)) / 2


def gaussian_delta_of(multiplier: float, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8, for sensitivity 1."""
    low, high = epsilon * multiplier - 0.5 / multiplier, epsilon * multiplier + 0.5 / multiplier
    return _tail(low) - math.exp(epsilon) * _tail(high)


def gaussian_delta(given: Case) -> float:
    return gaussian_delta_of(float.fromhex(given["noise_multiplier"]), float.fromhex(given["epsilon"]))


def gaussian_noise_multiplier(given: Case) -> float:
    epsilon, delta = float.fromhex(given["epsilon"]), float.fromhex(given["delta"])
    low, high = 1e-3, 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gaussian_delta_of(middle, epsilon) <= delta else (middle, high)
    return high


def discrete_gaussian_delta(given: Case) -> float:
    variance, move = Fraction(*given["sigma_squared"]), given["sensitivity"]
    epsilon = float.fromhex(given["epsilon"])
    reach = math.ceil(20 * math.sqrt(variance)) + 2 * move
    weights = {x: math.exp(-x * x / (2 * float(variance))) for x in range(-reach, reach + 1)}
    whole = math.fsum(weights.values())
    threshold = Fraction(epsilon) * variance / move
    near = math.fsum(w for x, w in weights.items() if x > threshold - Fraction(move, 2))
    far = math.fsum(w for x, w in weights.items() if x > threshold + Fraction(move, 2))
    return (near - math.exp(epsilon) * far) / whole


def summed_gaussians_ratio(given: Case) -> float:
    sigma = float.fromhex(given["local_sigma"])
    return 10 * math.fsum(math.exp(-2 * math.pi**2 * sigma**2 * k / (k + 1)) for k in range(1, given["clients"]))


class Law:
    """SPEC section 13: weights of magnitudes, and the blocks in which they are drawn."""

    def __init__(self, given: Case) -> None:
        self.parameter, self.curved = Fraction(*given["parameter"]), given["law"] == "discrete-gaussian"
        square = self.parameter if self.curved else self.parameter**2
        self.shift = max(0, _floor_log2_of_root(square) - (7 if self.curved else 5))
        with localcontext() as context:
            context.prec = 60
            weights: list[Decimal] = []
            while not weights or weights[-1] > Decimal(10) ** -55:
                phi = self.phi(len(weights) << self.shift)
                weights.append((-(Decimal(phi.numerator) / Decimal(phi.denominator))).exp())
            if self.shift == 0:
                weights[0] /= 2
            sums = list(accumulate(weights))
            self.below = [total / sums[-1] for total in sums]

    def phi(self, magnitude: int) -> Fraction:
        return magnitude**2 / (2 * self.parameter) if self.curved else magnitude / self.parameter

    def block(self, number: int) -> int:
        """The block of a uniform number of which 63 bits are known; these must settle it."""
        with localcontext() as context:
            context.prec = 60
            low, high = Decimal(number) / 2**63, Decimal(number + 1) / 2**63
            block = bisect_left(self.below, high)
            if block == len(self.below) or (block and low < self.below[block - 1]):
                raise ValueError("63 bits do not settle this one: take other words for a vector")
            return block

    def sample(self, words: Any) -> int:
        while True:
            word = next(words)
            magnitude = block = self.block(word >> 1)
            if self.shift:
                offset = next(words) >> (64 - self.shift)
                magnitude = (block << self.shift) + offset
                excess = self.phi(magnitude) - self.phi(block << self.shift)
                if not _kept(excess, words) or (word & 1 and magnitude == 0):
                    continue
            return -magnitude if word & 1 else magnitude


def _kept(excess: Fraction, words: Any) -> bool:
    if excess > 1:
        return _kept(Fraction(1), words) and _kept(excess - 1, words)
    trial = 1
    while Fraction(next(words), 2**64) < excess / trial:
        trial += 1
    return trial % 2 == 1


def _floor_log2_of_root(square: Fraction) -> int:
    exponent = -64
    while Fraction(4) ** (exponent + 1) <= square:
        exponent += 1
    return exponent


def samples(given: Case) -> list[int]:
    law, stream = Law(given), islice(words(bytes.fromhex(given["seed"])), given["words"])
    return [law.sample(stream) for _ in range(given["count"])]


OPERATIONS = {
    "rotate": rotate,
    "samples": samples,
    "conditionally_round": conditionally_round,
    "rounded_l2_bound": rounded_bound,
    "gaussian_delta": gaussian_delta,
    "gaussian_noise_multiplier": gaussian_noise_multiplier,
    "discrete_gaussian_delta": discrete_gaussian_delta,
    "summed_gaussians_ratio": summed_gaussians_ratio,
}
CLOSE = set(OPERATIONS) - {"rotate", "samples", "conditionally_round"}
"""Whose results are real numbers: to nine digits, since everyone rounds in a way of their own."""
