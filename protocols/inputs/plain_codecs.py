"""The encodings of plain vectors: floats in fixed point, and integers as they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.encoding import Encoded, FixedPoint, Integers, Levels, readable
from secagg.errors import EncodingError, ParameterError
from secagg.randomness import RandomBytes
from secagg.residues import Residues

from .codec import VectorCodec
from .vectors import FloatVector, IntegerVector


@dataclass(frozen=True)
class FloatCodec(VectorCodec):
    """Floats in fixed point, weighted or not.

    Raises:
        ParameterError: a value of the specification is impossible, or the sum does not fit in 64 bits.
    """

    spec: FloatVector
    num_summands: int
    max_weight: int

    def __post_init__(self) -> None:
        """Have everything checked that follows from the specification."""
        _ = self.fixed_point

    @cached_property
    def fixed_point(self) -> FixedPoint:
        """The encoding of a coordinate."""
        return FixedPoint(
            clip=self.spec.clip,
            value_bits=self.spec.value_bits,
            num_summands=self.num_summands,
            max_weight=self.max_weight if self.spec.weighted else 1,
            rounding=self.spec.rounding,
        )

    @property
    def length(self) -> int:
        """Coordinates of the vector."""
        return self.spec.length

    @property
    def weighted(self) -> bool:  # type: ignore[override]
        """Whether values are multiplied by the client's weight before they are summed."""
        return self.spec.weighted

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return self.fixed_point.modulus_bits

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        weight = weight if self.weighted else 1
        return self.fixed_point.encode(_of_length(readable(value), self.length), weight=weight, random=random)

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum in levels; raise EncodingError as `VectorCodec.decode`."""
        return self.fixed_point.decode_levels(residues, num_summands=num_summands)

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the sum as float64 (length,)."""
        return levels / self.fixed_point.scale

    def warm_up(self) -> None:
        """Have the loop of this rounding compiled."""
        self.fixed_point.encode(np.zeros(1))


@dataclass(frozen=True)
class IntegerCodec(VectorCodec):
    """Integers from min_value to max_value, exactly: encoded by their distance from min_value.

    Raises:
        ParameterError: the range is empty, or the sum does not fit in 63 bits.
    """

    spec: IntegerVector
    num_summands: int

    def __post_init__(self) -> None:
        """Check the range."""
        spec = self.spec
        for name, value in (("min_value", spec.min_value), ("max_value", spec.max_value)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ParameterError(f"{name} of {spec.name!r} is {value!r}, but must be an integer")
        if spec.min_value > 0:
            raise ParameterError(f"min_value of {spec.name!r} is {spec.min_value}, but must be at most 0")
        if spec.max_value <= spec.min_value:
            raise ParameterError(
                f"max_value of {spec.name!r} is {spec.max_value}, but must be above min_value, {spec.min_value}"
            )
        if max(-spec.min_value, spec.max_value) * self.num_summands >= 1 << 63:
            raise ParameterError(
                f"a sum of {self.num_summands} integers from {spec.min_value} to {spec.max_value} does not fit in 64 "
                "bits: narrow the range"
            )
        _ = self.integers

    @cached_property
    def integers(self) -> Integers:
        """The encoding of a coordinate's distance from min_value."""
        return Integers(max_value=self.spec.max_value - self.spec.min_value, num_summands=self.num_summands)

    @property
    def length(self) -> int:
        """Coordinates of the vector."""
        return self.spec.length

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return self.integers.modulus_bits

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        value = readable(value)
        low, high = self.spec.min_value, self.spec.max_value
        if value.dtype.kind == "f":
            raise EncodingError(f"must be an array of integers, not of {value.dtype}: convert")
        outside = (_of_length(value, self.length) < low) | (value > high)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            raise EncodingError(f"value at index {at} is not from min_value {low} to max_value {high}", index=(at,))
        return self.integers.encode(value.astype(np.int64) - low) if low else self.integers.encode(value)

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum; raise EncodingError as `VectorCodec.decode`."""
        return self.integers.decode_sum(residues, num_summands=num_summands) + self.spec.min_value * num_summands

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the sum as int64 (length,)."""
        return levels


def _of_length(value: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    if value.shape != (length,):
        raise EncodingError(f"must be an array of shape ({length},), not {value.shape}")
    return value
