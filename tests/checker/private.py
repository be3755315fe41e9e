"""SPEC section 27: the private encodings, with every random choice given."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import count, islice
from typing import Any

from .lanes import MAX_MODULUS_BITS
from .primitives import keystream
from .privacy import Law, rotated, unrotated
from .refusal import require

CUT_BITS, WRAP_BITS, LEAST_LOCAL_SIGMA, MOST_LOCAL_SIGMA = 20, 40, 0.5, 2.0**50
LEAST_NORM, MOST_NORM, MOST_STEPS = 0.5, 2.0**29, 2**40
BETA = math.exp(-0.5)
ROOM = 2.0**-37
"""How far below the bound a clipped vector may be (section 16)."""


@dataclass
class Drawn:
    """What a client draws for one private vector: seeds of words (section 13), and what clipping made of its input."""

    noise_seed: bytes
    rounding_seed: bytes = b""
    clipped: list[float] | None = None
    tries: int = field(default=0, init=False)


def words(seed: bytes) -> Iterator[int]:
    for block in count(0, 256):
        data = keystream(seed, 4096, block)
        yield from (int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8))


def rounded_up(value: float) -> float:
    """Section 16: four floats up."""
    for _ in range(4):
        value = math.nextafter(value, math.inf)
    return value


def l2_bound(norm: float, d: int, beta: float) -> float:
    always = norm + math.sqrt(d)
    square = norm * norm + d / 4 + math.sqrt(2 * math.log(1 / beta)) * (norm + math.sqrt(d) / 2)
    return rounded_up(min(always, math.sqrt(square)))


@cache  # the forks of a session draw the same again and again
def noise(local_sigma: float, seed: bytes, length: int) -> tuple[int, ...]:
    square = Fraction(local_sigma) ** 2
    law = Law({"parameter": [square.numerator, square.denominator], "law": "discrete-gaussian"})
    stream = words(seed)
    return tuple(law.sample(stream) for _ in range(length))


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

    def encode(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        prepared = self.prepare(values, rotation, drawn)
        assert sum(level * level for level in prepared) <= Fraction(self.bound) ** 2
        assert max(map(abs, prepared)) <= self.max_level
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
            assert square <= limit**2, "longer than the clip, and nothing is given in its place"
            return values
        assert len(drawn.clipped) == len(values)
        largest = max(range(len(values)), key=lambda i: abs(values[i]))
        factor = drawn.clipped[largest] / values[largest]
        assert all(math.isclose(c, v * factor, rel_tol=1e-15) for c, v in zip(drawn.clipped, values, strict=True))
        norm = math.sqrt(sum(Fraction(c) ** 2 for c in drawn.clipped))
        assert sum(Fraction(c) ** 2 for c in drawn.clipped) <= limit**2 < square
        assert norm >= float(limit) * (1 - ROOM)
        return drawn.clipped

    def prepare(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        require(len(values) == self.vector["length"] and all(map(math.isfinite, values)), "EncodingError")
        scaled = [v * self.vector["scale"] for v in rotated(self.clip(values, drawn), rotation)]
        most, stream, drawn.tries = Fraction(self.bound) ** 2, words(drawn.rounding_seed), 0
        while True:
            drawn.tries += 1
            low = [math.floor(v) for v in scaled]
            chances = [math.floor((v - below) * 2.0**53) for v, below in zip(scaled, low, strict=True)]
            draws = [word >> 11 for word in islice(stream, self.dimension)]
            levels = [below + (r < c) for below, r, c in zip(low, draws, chances, strict=True)]
            if sum(level * level for level in levels) <= most:
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
