"""Fixed-point encoding: floats to residues mod 2**modulus_bits and back, with overflow impossible by construction.

A value is clipped to [-clip, clip], scaled to integer levels of value_bits bits (sign included), rounded, and
multiplied by its owner's weight. modulus_bits is derived from the largest sum that all summands at full weight can
reach, so a sum never wraps; decoding checks that bound again for the summands that are really there (SPEC section 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ._masked import is_masked_array
from .errors import EncodingError, ParameterError
from .loops import compiled_pays
from .prg import SEED_BYTES, keystream
from .randomness import SYSTEM, RandomBytes
from .residues import MAX_MODULUS_BITS, Residues, lane_dtype, reduce_in_place

__all__ = ["Encoded", "FixedPoint", "Integers", "Rounding"]

Levels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
_Lanes = npt.NDArray[np.uint64]

MIN_VALUE_BITS = 2
MAX_VALUE_BITS = 52
"""A float64 holds every level of 52 bits, and half a level, exactly."""

_MAX_CLIP = 1e280
"""No sum of clipped values comes near the end of the floats."""

_FLOATS_WANTED = "floats are encoded from one-dimensional float16, float32 or float64"
_INTEGERS_WANTED = "integers are encoded from one-dimensional integer"

_CHUNK = 1 << 15
"""Elements quantised at once: the temporaries stay in cache."""


class Rounding(StrEnum):
    """How a scaled value becomes a level: at random without bias, or to the nearest (ties to even)."""

    STOCHASTIC = "stochastic"
    NEAREST = "nearest"


class Encoded(NamedTuple):
    """Residues of shape (length,), and how many coordinates had to be clipped."""

    residues: Residues
    num_clipped: int

    def __repr__(self) -> str:  # residues are the input, not yet masked
        return f"Encoded({self.residues.size} residues, num_clipped={self.num_clipped})"


def sum_bits(max_magnitude: int) -> int:
    """Return the least modulus_bits in which sums from -max_magnitude to max_magnitude are told apart."""
    return max(1, (2 * max_magnitude).bit_length())


@dataclass(frozen=True)
class FixedPoint:
    """How the floats of one vector are encoded. Both sides of a sum use equal ones.

    Args:
        clip: values are clipped to [-clip, clip]; finite, positive, in the units of the values.
        value_bits: bits of one encoded value, sign included, 2 to 52.
        num_summands: the most vectors that a sum will ever have.
        max_weight: the largest weight of a summand; 1 for a plain sum.
        rounding: stochastic (unbiased) or nearest.

    Raises:
        ParameterError: an argument is out of range, or the sum does not fit in 64 bits.
    """

    clip: float
    value_bits: int
    num_summands: int
    max_weight: int = 1
    rounding: Rounding = Rounding.STOCHASTIC

    def __post_init__(self) -> None:
        """Check every field, and that the largest sum fits."""
        if isinstance(self.clip, bool) or not isinstance(self.clip, int | float) or not 0 < self.clip < _MAX_CLIP:
            raise ParameterError(f"clip is {self.clip!r}, but must be a positive number below {_MAX_CLIP:g}")
        if not (isinstance(self.value_bits, int) and MIN_VALUE_BITS <= self.value_bits <= MAX_VALUE_BITS):
            raise ParameterError(
                f"value_bits is {self.value_bits!r}, but must be an integer from {MIN_VALUE_BITS} to {MAX_VALUE_BITS}"
            )
        if not math.isfinite(self.max_level / self.clip) or self.max_level / self.clip == 0:
            raise ParameterError(
                f"clip is {self.clip!r}: a level of {self.value_bits} bits is no finite float; rescale"
            )
        _check_sum(self.num_summands, self.max_weight)
        if self.rounding not in tuple(Rounding):
            raise ParameterError(f"rounding is {self.rounding!r}, but must be one of {', '.join(Rounding)}")
        object.__setattr__(self, "rounding", Rounding(self.rounding))
        if self.modulus_bits > MAX_MODULUS_BITS:
            spare = MAX_MODULUS_BITS - (self.modulus_bits - self.value_bits)
            remedy = (
                f"value_bits of at most {spare}"
                if spare >= MIN_VALUE_BITS
                else "fewer summands or a smaller max_weight"
            )
            raise ParameterError(
                f"a sum of {self.num_summands} values of {self.value_bits} bits with weights up to {self.max_weight} "
                f"takes {self.modulus_bits} bits, but at most {MAX_MODULUS_BITS} are possible: use {remedy}"
            )

    @property
    def max_level(self) -> int:
        """The level of +clip; -clip is its negative."""
        return (1 << (self.value_bits - 1)) - 1

    @property
    def scale(self) -> float:
        """Levels per unit."""
        return self.max_level / self.clip

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue: what num_summands values of weight max_weight can sum to, and its negative."""
        return sum_bits(self.max_level * self.num_summands * self.max_weight)

    def quantise(self, values: Floats, *, random: RandomBytes = SYSTEM) -> tuple[Levels, int]:
        """Clip, scale and round: floats (length,) to int64 levels (length,), and the number of clipped coordinates.

        The source gives one seed, 32 bytes, whatever the rounding. Stochastic rounding takes bits 11 to 63 of lane i of
        the seed's stream for element i.

        Raises:
            EncodingError: not a one-dimensional float array, or a NaN or infinity, with its index.
        """
        _check_vector(values, "f", _FLOATS_WANTED)
        levels = np.empty(values.size, dtype=np.int64)
        num_clipped = 0
        for at, chunk, clipped in _quantised_chunks(self, values, random(SEED_BYTES)):
            levels[at] = chunk
            num_clipped += clipped
        return levels, num_clipped

    def encode(self, values: Floats, *, weight: int = 1, random: RandomBytes = SYSTEM) -> Encoded:
        """Encode floats (length,) to residues (length,), each multiplied by `weight`; draws as `quantise`.

        Raises:
            EncodingError: as `quantise`, or the weight is not an integer from 0 to max_weight.
        """
        check_weight(weight, self.max_weight)
        _check_vector(values, "f", _FLOATS_WANTED)
        residues = np.empty(values.size, dtype=lane_dtype(self.modulus_bits))
        num_clipped = 0
        for at, levels, clipped in _quantised_chunks(self, values, random(SEED_BYTES)):
            np.multiply(levels, int(weight), out=levels)
            residues[at] = levels  # the C cast wraps around
            num_clipped += clipped
        return Encoded(reduce_in_place(residues, self.modulus_bits), num_clipped)

    def decode_levels(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact integer sums, after checking that `num_summands` values can reach them.

        Raises:
            EncodingError: more summands than the encoding has room for, or a sum that they cannot reach: the residues
                are no sum of encodings, or not yet unmasked.
        """
        if not 0 <= num_summands <= self.num_summands:
            raise EncodingError(f"{num_summands} summands, but the encoding has room for {self.num_summands}")
        bound = self.max_level * num_summands * self.max_weight
        return from_residues(residues, self.modulus_bits, bound)

    def decode_sum(self, residues: Residues, *, num_summands: int) -> npt.NDArray[np.float64]:
        """Return the (weighted) sums as float64 (length,), in the units of the values. Raises as `decode_levels`."""
        return self.decode_levels(residues, num_summands=num_summands) / self.scale


@dataclass(frozen=True)
class Integers:
    """How the integers of one vector (counts, votes, weights) are encoded: as they are, from 0 to max_value.

    Args:
        max_value: the largest value of a summand; larger ones are refused, not clipped.
        num_summands: the most vectors that a sum will ever have.

    Raises:
        ParameterError: an argument is not positive, or the sum does not fit in 64 bits.
    """

    max_value: int
    num_summands: int

    def __post_init__(self) -> None:
        """Check both fields, and that the largest sum fits."""
        if isinstance(self.max_value, bool) or not isinstance(self.max_value, int) or self.max_value < 1:
            raise ParameterError(f"max_value is {self.max_value!r}, but must be a positive integer")
        _check_sum(self.num_summands, 1)
        if self.modulus_bits >= MAX_MODULUS_BITS:  # sums are returned as int64
            most = ((1 << 63) - 1) // self.num_summands
            remedy = f"max_value of at most {most} or fewer summands" if most else "fewer summands"
            raise ParameterError(
                f"a sum of {self.num_summands} integers up to {self.max_value} takes {self.modulus_bits} bits, but at "
                f"most 63 are possible: use {remedy}"
            )

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue: what num_summands values of max_value sum to."""
        return (self.max_value * self.num_summands).bit_length()

    def encode(self, values: npt.NDArray[Any]) -> Encoded:
        """Encode integers (length,) to residues (length,).

        Raises:
            EncodingError: not a one-dimensional integer or bool array, or a value out of range, with its index.
        """
        _check_vector(values, "iub", _INTEGERS_WANTED)
        outside = (values < 0) | (values > self.max_value)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            raise EncodingError(f"value at index {at} is not from 0 to max_value {self.max_value}", index=(at,))
        return Encoded(values.astype(lane_dtype(self.modulus_bits)), 0)

    def decode_sum(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sums as int64 (length,). Raises EncodingError as `FixedPoint.decode_levels`."""
        if not 0 <= num_summands <= self.num_summands:
            raise EncodingError(f"{num_summands} summands, but the encoding has room for {self.num_summands}")
        lanes = reduce_in_place(residues.copy(), self.modulus_bits)
        bound = self.max_value * num_summands
        _check_reach(lanes > np.uint64(bound), bound)
        return lanes.astype(np.int64)


def check_weight(weight: int, max_weight: int) -> None:
    """Raise EncodingError unless the weight is an integer from 0 to max_weight."""
    if isinstance(weight, bool) or not isinstance(weight, int | np.integer) or not 0 <= weight <= max_weight:
        raise EncodingError(
            f"the weight is not an integer from 0 to {max_weight}: raise max_weight for everyone, or cap the weight"
        )


def to_residues(levels: Levels, modulus_bits: int) -> Residues:
    """Map signed integers to residues mod 2**modulus_bits (two's complement), in the lane dtype."""
    # The C cast wraps around, which is the reduction mod 2**32 or 2**64.
    return reduce_in_place(levels.astype(lane_dtype(modulus_bits)), modulus_bits)


def from_residues(residues: Residues, modulus_bits: int, bound: int) -> Levels:
    """Map residues to the signed integers of least magnitude; raise EncodingError beyond +-bound."""
    lanes = reduce_in_place(residues.copy(), modulus_bits).astype(np.uint64)
    shift = np.uint64(64 - modulus_bits)
    levels = (lanes << shift).view(np.int64) >> shift.astype(np.int64)
    _check_reach((levels > bound) | (levels < -bound), bound)
    return levels


def _check_reach(outside: npt.NDArray[np.bool_], bound: int) -> None:
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise EncodingError(
            f"the sum at index {at} is beyond {bound}, which its summands cannot reach: these residues are no sum of "
            "encodings under these parameters",
            index=(at,),
        )


def _check_sum(num_summands: int, max_weight: int) -> None:
    for name, value in (("num_summands", num_summands), ("max_weight", max_weight)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name} is {value!r}, but must be a positive integer")


def readable(value: Any) -> npt.NDArray[Any]:
    """Return an array as it is, of floats, integers or booleans of at most 64 bits.

    Raises:
        EncodingError: not an array, or one that cannot be read faithfully: masked, or of another dtype.
    """
    if is_masked_array(value):
        raise EncodingError("a masked array hides values that would be summed all the same: fill it, or leave them out")
    if not isinstance(value, np.ndarray):
        raise EncodingError(f"must be a numpy array, not {type(value).__name__}")
    if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
        raise EncodingError(f"must be an array of floats or integers of at most 64 bits, not of {value.dtype}: convert")
    return value


def _check_vector(values: Any, kinds: str, wanted: str) -> None:
    """Raise EncodingError unless the values are a one-dimensional array of one of numpy's kinds."""
    if readable(values).ndim != 1 or values.dtype.kind not in kinds:
        raise EncodingError(f"{wanted} arrays, not {values.dtype} of shape {values.shape}: convert")


def _quantised_chunks(codec: FixedPoint, values: Floats, seed: bytes) -> Iterator[tuple[slice, Levels, int]]:
    """Yield (where, levels, number of clipped coordinates), a cacheful at a time; the levels until the next."""
    quantise = _compiled_quantise if compiled_pays(values.size) else _quantise
    levels = np.empty(min(values.size, _CHUNK), dtype=np.int64)
    for start in range(0, values.size, _CHUNK):
        chunk = values[start : start + _CHUNK].astype(np.float64)
        lanes = _lanes(seed, start, chunk.size) if codec.rounding is Rounding.STOCHASTIC else None
        num_clipped = quantise(codec, chunk, lanes, levels[: chunk.size])
        if num_clipped < 0:
            at = start + int(np.flatnonzero(~np.isfinite(chunk))[0])
            raise EncodingError(f"value at index {at} is not finite", index=(at,))
        yield slice(start, start + chunk.size), levels[: chunk.size], num_clipped


def _quantise(codec: FixedPoint, chunk: npt.NDArray[np.float64], lanes: _Lanes | None, levels: Levels) -> int:
    """Write the levels of a chunk, at random with lanes; return how many were clipped, or -1 if one is not finite."""
    magnitude = np.abs(chunk)
    if not np.isfinite(magnitude.max()):
        return -1
    num_clipped = int(np.count_nonzero(magnitude > codec.clip))
    scaled = np.clip(chunk, -codec.clip, codec.clip)
    scaled *= codec.scale
    if lanes is None:
        rounded = np.rint(scaled)
    else:
        rounded = np.floor(scaled)
        fraction = scaled - rounded  # exact
        # Multiples of 2**-53 in [0, 1): rounding by them is without bias beyond 2**-53 of a level.
        rounded += (lanes >> np.uint64(11)) * np.float64(2.0**-53) < fraction
    # clip * scale may round to one ulp above max_level, and the next level up must not exist
    np.clip(rounded, -codec.max_level, codec.max_level, out=rounded)
    levels[:] = rounded
    return num_clipped


def _compiled_quantise(codec: FixedPoint, chunk: npt.NDArray[np.float64], lanes: _Lanes | None, levels: Levels) -> int:
    """As `_quantise`, in one pass."""
    from . import _encoding_kernels

    clip, top = float(codec.clip), float(codec.max_level)
    if lanes is None:
        return int(_encoding_kernels.nearest(chunk, clip, codec.scale, top, levels))
    return int(_encoding_kernels.stochastic(chunk, clip, codec.scale, top, lanes, levels))


def _lanes(seed: bytes, start: int, count: int) -> _Lanes:
    """Return lanes `start` and on of a seed's stream, where `start` is the first of a block."""
    return np.frombuffer(keystream(seed, 8 * count, first_block=start // 2), dtype="<u8")
