"""SPEC section 27: private vectors, with every random word given (and section 16: what clipping may do)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from .findings import agree
from .privacy import BETA, Law, conditionally_rounded, l2_bound, rotated, rounded_up, unrotated, words
from .refusal import require

CUT_BITS, WRAP_BITS, MAX_MODULUS_BITS, MAX_LENGTH = 20, 40, 64, 2**32
MAX_NORM, MAX_STEPS = 2.0**29, 2**40
LEAST_LOCAL_SIGMA, MAX_LOCAL_SIGMA = 0.5, 2.0**50


@dataclass(frozen=True)
class Drawn:
    """What a client draws for one private vector, and what became of an input that was too long."""

    noise_seed: bytes
    rounding_seed: bytes
    clipped: list[float] | None


class Private:
    """Vectors of `dimension` lanes, their noise, and bounds: `bound`, on the L2 norm of a unit; `largest`, on lanes."""

    def __init__(self, vector: dict[str, Any], n_clients: int, dimension: int, bound: float, largest: int) -> None:
        self.unit = vector.get("unit", "client")
        require(self.unit in ("client", "record"), "ParameterError")
        self.length, self.scale, self.local_sigma = vector["length"], vector["scale"], vector["local_sigma"]
        self.dimension, self.bound, self.largest = dimension, bound, largest
        require(LEAST_LOCAL_SIGMA <= self.local_sigma <= MAX_LOCAL_SIGMA, "ParameterError")
        self.bits = (2 * self.reach(n_clients)).bit_length()
        require(self.bits <= MAX_MODULUS_BITS, "ParameterError")

    @property
    def l1(self) -> float:
        """Section 16: the L1 norm that no vector exceeds."""
        return rounded_up(self.bound * min(math.sqrt(self.dimension), self.bound))

    def bounds(self, unit: str) -> tuple[float, float]:
        """Section 29: L2 and L1 norms of what a unit contributes; of all of a client's, lanes alone are bounded."""
        unit = unit or self.unit
        if unit == "client" and self.unit == "record":
            return rounded_up(self.largest * math.sqrt(self.dimension)), float(self.largest * self.dimension)
        return self.bound, self.l1

    def rows(self, values: list[Any]) -> list[list[Any]]:
        """A row for each unit: of a client there is one."""
        rows = [values] if self.unit == "client" else values
        require(all(isinstance(row, list) and len(row) == self.length for row in rows), "EncodingError")
        return rows

    def reach(self, clients: int) -> int:
        """n M + R(n), which sums of so many hardly ever exceed."""
        tail = math.sqrt(2 * math.log(2 * self.dimension * 2**WRAP_BITS))
        noise = math.ceil(self.local_sigma * math.sqrt(clients) * tail * (1 + 1e-12))
        return clients * self.largest + noise

    def encode(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        law, stream = _gaussian(self.local_sigma), words(drawn.noise_seed)
        return [(level + law.sample(stream)) % 2**self.bits for level in self.prepare(values, rotation, drawn)]

    def decode(self, sums: list[int], present: int) -> list[int]:
        levels = [s - 2**self.bits if s >= 2 ** (self.bits - 1) else s for s in sums]
        require(all(abs(level) <= self.reach(present) for level in levels), "EncodingError")
        return levels

    def prepare(self, values: list[Any], rotation: bytes, drawn: Drawn) -> list[int]:
        """The levels before noise: those of all rows, added up and cut."""
        rounding, total = words(drawn.rounding_seed), [0] * self.dimension
        for row in self.rows(values):
            levels = self.prepare_row(row, rotation, rounding, drawn)
            total = [a + b for a, b in zip(total, levels, strict=True)]
        return [max(-self.largest, min(self.largest, level)) for level in total]

    def prepare_row(self, row: list[Any], rotation: bytes, rounding: Iterator[int], drawn: Drawn) -> list[int]:
        """The levels of one unit."""
        raise NotImplementedError

    def restore(self, levels: list[int], rotation: bytes) -> list[Any]:
        """What is released, floats in hexadecimal."""
        raise NotImplementedError


class PrivateFloats(Private):
    def __init__(self, vector: dict[str, Any], n_clients: int) -> None:
        self.l2_clip = vector["l2_clip"]
        require(1 <= vector["length"] <= MAX_LENGTH and 0 < self.l2_clip < math.inf, "ParameterError")
        dimension = 1 << (vector["length"] - 1).bit_length()
        norm = self.l2_clip * vector["scale"]
        require(0.5 <= norm <= MAX_NORM, "ParameterError")
        bound = l2_bound(norm, dimension, BETA)
        spread = norm * min(1.0, math.sqrt(2 * math.log(2 * dimension * 2**CUT_BITS) / dimension))
        self.cut = math.floor(min(bound, math.ceil(spread) + 1))
        records = vector.get("max_records", 1)
        require(records >= 1 and (records == 1 or vector.get("unit") == "record"), "ParameterError")
        super().__init__(vector, n_clients, dimension, bound, self.cut * records)

    def prepare_row(self, row: list[Any], rotation: bytes, rounding: Iterator[int], drawn: Drawn) -> list[int]:
        if not all(map(math.isfinite, row)):
            row = [0.0] * len(row)
        if drawn.clipped is None:
            agree("an input that needs no clipping", _square(row) <= Fraction(self.l2_clip) ** 2, True)
        else:
            check_clipped(row, drawn.clipped, self.l2_clip)
            row = drawn.clipped
        scaled = [value * self.scale for value in rotated(row, rotation)]
        levels, _ = conditionally_rounded(scaled, self.bound, rounding)
        return [max(-self.cut, min(self.cut, level)) for level in levels]

    def restore(self, levels: list[int], rotation: bytes) -> list[str]:
        values = unrotated([level / self.scale for level in levels], rotation)
        return [value.hex() for value in values[: self.length]]


class PrivateCounts(Private):
    def __init__(self, vector: dict[str, Any], n_clients: int) -> None:
        self.max_total, self.least_count = vector["max_total"], vector["least_count"]
        require(1 <= vector["length"] <= MAX_LENGTH and self.least_count >= 0, "ParameterError")
        require(self.max_total >= 1 and vector["scale"] >= 1, "ParameterError")
        steps = self.max_total * vector["scale"]
        require(steps <= MAX_STEPS, "ParameterError")
        records, each = vector.get("unit") == "record", vector.get("max_per_record", 1)
        require(1 <= each <= (self.max_total if records else 1), "ParameterError")
        self.of_unit = each if records else self.max_total
        super().__init__(vector, n_clients, vector["length"], float(self.of_unit * vector["scale"]), steps)

    @property
    def l1(self) -> float:
        return self.bound

    def prepare_row(self, row: list[Any], rotation: bytes, rounding: Iterator[int], drawn: Drawn) -> list[int]:
        row = [max(0, value) for value in row]
        total = sum(row)
        if total > self.of_unit:
            return [value * self.of_unit * self.scale // total for value in row]
        return [value * self.scale for value in row]

    def restore(self, levels: list[int], rotation: bytes) -> list[int]:
        counts = [round(level / self.scale) for level in levels]  # ties to even
        return [count if count >= self.least_count else 0 for count in counts]


class PrivateVotes(Private):
    """Votes on the clip of a vector of floats."""

    def __init__(self, vector: dict[str, Any], n_clients: int, others: list[dict[str, Any]]) -> None:
        on = [other for other in others if other["name"] == vector["of"] and other["type"] == "private-floats"]
        require(len(on) == 1 and vector["length"] == 1, "ParameterError")
        records = vector["max_records"]
        require(on[0]["unit"] == vector["unit"] and vector["scale"] >= 1 and records >= 1, "ParameterError")
        require(records == 1 or vector["unit"] == "record", "ParameterError")
        require(records * vector["scale"] <= MAX_STEPS, "ParameterError")
        self.l2_clip, self.on_length = on[0]["l2_clip"], on[0]["length"]
        super().__init__(vector, n_clients, 1, float(vector["scale"]), records * vector["scale"])

    @property
    def l1(self) -> float:
        return self.bound

    def rows(self, values: list[Any]) -> list[list[Any]]:
        rows = [values] if self.unit == "client" else values
        require(all(isinstance(row, list) and len(row) == self.on_length for row in rows), "EncodingError")
        return rows

    def prepare_row(self, row: list[Any], rotation: bytes, rounding: Iterator[int], drawn: Drawn) -> list[int]:
        within = all(map(math.isfinite, row)) and _square(row) <= Fraction(self.l2_clip) ** 2
        return [self.scale if within else -self.scale]

    def restore(self, levels: list[int], rotation: bytes) -> list[str]:
        return [(level / self.scale).hex() for level in levels]


def check_clipped(values: list[float], clipped: list[float], bound: float) -> None:
    """Section 16: all entries times one float, within the bound and no more than a part in 2^37 below it."""
    agree(
        "an input that is clipped is too long",
        _square(values) > (Fraction(bound) * (1 - Fraction(1, 2**40))) ** 2,
        True,
    )
    longest = max(range(len(values)), key=lambda i: abs(values[i]))
    factors = [clipped[longest] / values[longest]]
    for _ in range(4):
        factors = [math.nextafter(factors[0], 0), *factors, math.nextafter(factors[-1], math.inf)]
    agree("one factor", any([value * factor for value in values] == clipped for factor in factors), True)
    least = Fraction(bound) * (1 - Fraction(1, 2**37))
    agree("the norm after clipping", least**2 <= _square(clipped) <= Fraction(bound) ** 2, True)


def _square(values: list[float]) -> Fraction:
    return sum((Fraction(value) ** 2 for value in values), Fraction(0))


@cache  # its table is the same for all clients and forks
def _gaussian(local_sigma: float) -> Law:
    return Law({"law": "discrete-gaussian", "parameter": (Fraction(local_sigma) ** 2).as_integer_ratio()})
