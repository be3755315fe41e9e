"""SPEC section 27: the private encodings, with every random choice given."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from .findings import agree
from .lanes import MAX_MODULUS_BITS
from .privacy import BETA, Law, conditionally_rounded, l2_bound, rotated, unrotated, words
from .refusal import require

CUT_BITS, WRAP_BITS, LEAST_LOCAL_SIGMA, MOST_LOCAL_SIGMA = 20, 40, 0.5, 2.0**50
LEAST_NORM, MOST_NORM, MOST_STEPS = 0.5, 2.0**29, 2**40
ROOM = 2.0**-37
"""How far below the bound a clipped vector may be (section 16)."""


@dataclass
class Drawn:
    """What a client draws for one private vector: seeds of words (section 13), and what clipping made of its input."""

    noise_seed: bytes
    rounding_seed: bytes = b""
    clipped: list[float] | None = None


@cache
def gaussian(local_sigma: float) -> Law:
    square = Fraction(local_sigma) ** 2
    return Law({"parameter": [square.numerator, square.denominator], "law": "discrete-gaussian"})


@cache  # the forks of a session draw the same again and again
def noise(local_sigma: float, seed: bytes, length: int) -> tuple[int, ...]:
    stream = words(seed)
    return tuple(gaussian(local_sigma).sample(stream) for _ in range(length))


class Private:
    """What both kinds share: modulus, noise, decoding. `dimension` lanes, entries up to `max_level`, norm `bound`."""

    def __init__(self, vector: dict[str, Any], summands: int, dimension: int, max_level: int, bound: float) -> None:
        self.vector, self.summands, self.dimension = vector, summands, dimension
        self.max_level, self.bound, self.local_sigma = max_level, bound, vector["local_sigma"]
        require(LEAST_LOCAL_SIGMA <= self.local_sigma <= MOST_LOCAL_SIGMA, "ParameterError")
        self.bits = (2 * self.reach(summands)).bit_length()
        require(self.bits <= MAX_MODULUS_BITS, "ParameterError")

    def reach(self, clients: int) -> int:
        tail = math.sqrt(2 * math.log(2 * self.dimension * 2.0**WRAP_BITS))
        return clients * self.max_level + math.ceil(self.local_sigma * math.sqrt(clients) * tail * (1 + 1e-12))

    def prepare(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        raise NotImplementedError

    def restore(self, levels: list[int], rotation: bytes) -> list[Any]:
        raise NotImplementedError

    def encode(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        prepared = self.prepare(values, rotation, drawn)
        agree("within the norm", sum(level * level for level in prepared) <= Fraction(self.bound) ** 2, True)
        agree("within the levels", max(map(abs, prepared)) <= self.max_level, True)
        added = noise(self.local_sigma, drawn.noise_seed, self.dimension)
        return [(level + more) % 2**self.bits for level, more in zip(prepared, added, strict=True)]

    def decode(self, sums: list[int], present: int) -> list[int]:
        levels = [s - 2**self.bits if s >= 2 ** (self.bits - 1) else s for s in sums]
        require(all(abs(level) <= self.reach(present) for level in levels), "EncodingError")
        return levels


class PrivateFloats(Private):
    def __init__(self, vector: dict[str, Any], summands: int) -> None:
        require(vector["length"] >= 1 and vector["l2_clip"] > 0 and vector["scale"] > 0, "ParameterError")
        self.norm = vector["l2_clip"] * vector["scale"]
        require(LEAST_NORM <= self.norm <= MOST_NORM, "ParameterError")
        d = 1 << (vector["length"] - 1).bit_length()
        bound = l2_bound(self.norm, d, BETA)
        tail = math.sqrt(2 * math.log(2 * d * 2.0**CUT_BITS) / d)
        super().__init__(vector, summands, d, math.floor(min(bound, math.ceil(self.norm * min(1.0, tail)) + 1)), bound)

    def clip(self, values: list[float], drawn: Drawn) -> list[float]:
        """The values where they are within the bound; else what is given for them, if it is them, clipped."""
        square, limit = sum(Fraction(v) ** 2 for v in values), Fraction(self.vector["l2_clip"])
        if drawn.clipped is None:
            agree("what is not clipped is within the clip", square <= limit**2, True)
            return values
        largest = max(range(len(values)), key=lambda i: abs(values[i]))
        factor = drawn.clipped[largest] / values[largest]
        alike = [math.isclose(c, v * factor, rel_tol=1e-15) for c, v in zip(drawn.clipped, values, strict=True)]
        agree("clipped by one factor", all(alike), True)
        shorter = sum(Fraction(c) ** 2 for c in drawn.clipped)
        agree("clipped to the clip", (limit * (1 - Fraction(ROOM))) ** 2 <= shorter <= limit**2 < square, True)
        return drawn.clipped

    def prepare(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        require(len(values) == self.vector["length"] and all(map(math.isfinite, values)), "EncodingError")
        scaled = [v * self.vector["scale"] for v in rotated(self.clip(values, drawn), rotation)]
        levels, _ = conditionally_rounded(scaled, self.bound, words(drawn.rounding_seed))
        return [max(-self.max_level, min(self.max_level, level)) for level in levels]

    def restore(self, levels: list[int], rotation: bytes) -> list[str]:
        back = unrotated([level / self.vector["scale"] for level in levels], rotation)
        return [value.hex() for value in back[: self.vector["length"]]]


class PrivateCounts(Private):
    def __init__(self, vector: dict[str, Any], summands: int) -> None:
        require(vector["length"] >= 1 and vector["max_total"] >= 1 and vector["scale"] >= 1, "ParameterError")
        steps = vector["max_total"] * vector["scale"]
        require(vector["least_count"] >= 0 and steps <= MOST_STEPS, "ParameterError")
        super().__init__(vector, summands, vector["length"], steps, float(steps))

    def prepare(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        whole = all(isinstance(v, int) and v >= 0 for v in values)
        require(whole and len(values) == self.dimension and sum(values) <= self.vector["max_total"], "EncodingError")
        return [value * self.vector["scale"] for value in values]

    def restore(self, levels: list[int], rotation: bytes) -> list[int]:
        counts = [round(level / self.vector["scale"]) for level in levels]  # ties to even
        return [0 if c < self.vector["least_count"] else c for c in counts]
