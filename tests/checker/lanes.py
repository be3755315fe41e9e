"""SPEC section 4: floats and integers to residues, residues to bytes, and sums back to levels."""

import math

from .primitives import stream_lanes
from .refusal import require

MIN_VALUE_BITS, MAX_VALUE_BITS, MAX_MODULUS_BITS, MAX_INTEGER_BITS = 2, 52, 64, 63


def lane_bytes(bits: int) -> int:
    require(1 <= bits <= MAX_MODULUS_BITS, "ParameterError")
    return 4 if bits <= 32 else 8


class Floats:
    def __init__(self, clip: float, value_bits: int, summands: int, max_weight: int, rounding: str) -> None:
        require(clip > 0 and math.isfinite(clip), "ParameterError")
        require(MIN_VALUE_BITS <= value_bits <= MAX_VALUE_BITS, "ParameterError")
        self.clip, self.max_level, self.rounding = clip, 2 ** (value_bits - 1) - 1, rounding
        self.summands, self.max_weight = summands, max_weight
        self.bits = (2 * summands * max_weight * self.max_level).bit_length()
        require(self.bits <= MAX_MODULUS_BITS, "ParameterError")

    def encode(self, values: list[float], weight: int, seed: bytes) -> tuple[list[int], int]:
        require(all(map(math.isfinite, values)) and 0 <= weight <= self.max_weight, "EncodingError")
        draws = stream_lanes(seed, [(len(values), 8)])[0] if self.rounding == "stochastic" else []
        out, clipped = [], 0
        for i, value in enumerate(values):
            clipped += abs(value) > self.clip
            scaled = max(-self.clip, min(self.clip, value)) * (self.max_level / self.clip)
            if draws:
                below = math.floor(scaled)
                level = below + ((draws[i] >> 11) * 2.0**-53 < scaled - below)
            else:
                level = round(scaled)  # ties to even
            out.append(max(-self.max_level, min(self.max_level, level)) * weight % 2**self.bits)
        return out, clipped

    def decode(self, sums: list[int], present: int) -> list[int]:
        require(present <= self.summands, "EncodingError")
        levels = [s - 2**self.bits if s >= 2 ** (self.bits - 1) else s for s in sums]
        require(all(abs(level) <= present * self.max_weight * self.max_level for level in levels), "EncodingError")
        return levels


class Integers:
    def __init__(self, max_value: int, summands: int, min_value: int = 0) -> None:
        self.reach, self.min_value, self.summands = max_value - min_value, min_value, summands
        self.bits = (summands * self.reach).bit_length()
        require(self.reach >= 1 and self.bits <= MAX_INTEGER_BITS and min_value <= 0, "ParameterError")
        require(summands * max(-min_value, max_value) < 2**63, "ParameterError")

    def encode(self, values: list[int]) -> list[int]:
        out = [value - self.min_value for value in values]
        require(all(0 <= distance <= self.reach for distance in out), "EncodingError")
        return out

    def decode(self, sums: list[int], present: int) -> list[int]:
        require(present <= self.summands, "EncodingError")
        require(all(value <= present * self.reach for value in sums), "EncodingError")
        return [value + present * self.min_value for value in sums]


def pack(residues: list[int], bits: int) -> bytes:
    whole = sum(residue << i * bits for i, residue in enumerate(residues))
    return whole.to_bytes(-(-len(residues) * bits // 8), "little")


def unpack(packed: bytes, bits: int, length: int) -> list[int]:
    require(1 <= bits <= MAX_MODULUS_BITS, "ParameterError")
    require(length >= 0 and len(packed) == -(-length * bits // 8), "EncodingError")
    whole = int.from_bytes(packed, "little")
    require(whole < 1 << length * bits, "EncodingError")
    return [whole >> i * bits & 2**bits - 1 for i in range(length)]
