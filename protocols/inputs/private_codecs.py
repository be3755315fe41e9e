"""The encodings of private vectors: `dp` prepares and draws, this room puts the result into residues and back.

Source: Kairouz, Liu, Steinke 2021 (SPEC section 27). The modulus has room for all that honest and lying clients can
contribute, and for the noise of all of them up to a bound that it passes with a probability below 2**-40.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.distributed import NoiseShare
from dp.errors import DpError
from dp.preparation import Preparation
from secagg.encoding import Encoded, Levels, from_residues, sum_bits, to_residues
from secagg.errors import EncodingError, ParameterError
from secagg.residues import MAX_MODULUS_BITS, Residues

from .vectors import PrivateCounts, PrivateSpec, PrivateVector

_MAX_STEPS = 1 << 40
"""Scaled counts stay far below 63 bits, whatever the noise."""


@dataclass(frozen=True)
class NoisyFloats:
    """How one private vector of floats is encoded: clip, rotate, scale, round, add noise.

    Raises:
        ParameterError: a value of the vector's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateVector
    num_summands: int

    def __post_init__(self) -> None:
        """Have everything checked that follows from the spec."""
        _check_room(self)

    @cached_property
    def preparation(self) -> Preparation:
        """Bounds on what a client contributes."""
        try:
            return Preparation(self.spec.length, self.spec.l2_clip, self.spec.scale)
        except DpError as error:
            raise ParameterError(f"vector {self.spec.name!r}: {error}") from None

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds."""
        made = self.preparation
        return _share(self.spec, made.dimension, made.l2_bound, made.l1_bound)

    @property
    def length(self) -> int:
        """Residues of an encoded vector."""
        return self.preparation.dimension

    @property
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise."""
        return self.preparation.max_level

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return _modulus_bits(self)

    def encode(self, values: npt.NDArray[Any], rotation_seed: bytes) -> Encoded:
        """Encode floats (spec.length,) with fresh noise: residues (length,), and how many values the clip has changed.

        Raises:
            EncodingError: another shape, no floats, NaN or infinity.
        """
        if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
            given = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
            raise EncodingError(f"a private vector is an array of floats, not {given}: convert")
        try:
            levels, clipped = self.preparation.prepare(values, rotation_seed)
        except DpError as error:
            raise EncodingError(str(error)) from None
        levels += self.share.draw()
        return Encoded(to_residues(levels, self.modulus_bits), self.spec.length if clipped else 0)

    def decode_levels(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `FixedPoint.decode_levels`."""
        return _decode_levels(self, residues, num_summands)

    def restore(self, levels: Levels, rotation_seed: bytes) -> npt.NDArray[np.float64]:
        """Return the noisy sum in the units of the values, float64 (spec.length,)."""
        return self.preparation.restore(levels, rotation_seed)


@dataclass(frozen=True)
class NoisyCounts:
    """How one private histogram is encoded: counts in steps, and noise.

    Raises:
        ParameterError: a value of the histogram's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateCounts
    num_summands: int

    def __post_init__(self) -> None:
        """Check what is this kind's own, and that the largest sum fits."""
        for name, least in (("max_total", 1), ("scale", 1), ("least_count", 0)):
            value = getattr(self.spec, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ParameterError(f"{name} of {self.spec.name!r} is {value!r}, but must be an integer from {least}")
        if self.max_level > _MAX_STEPS:
            raise ParameterError(
                f"max_total * scale of {self.spec.name!r} is {self.max_level} steps, but may be at most {_MAX_STEPS}"
            )
        _check_room(self)

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds."""
        return _share(self.spec, self.spec.length, float(self.max_level), float(self.max_level))

    @property
    def length(self) -> int:
        """Residues of an encoded vector."""
        return self.spec.length

    @property
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise; and the most that they sum to."""
        return self.spec.max_total * self.spec.scale

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return _modulus_bits(self)

    def encode(self, values: npt.NDArray[Any], rotation_seed: bytes) -> Encoded:
        """Encode counts (spec.length,) with fresh noise: residues (length,); nothing is ever clipped.

        Raises:
            EncodingError: another shape, no integers, negative counts, or more than max_total in all.
        """
        is_array = isinstance(values, np.ndarray)
        if not is_array or values.dtype.kind not in "iub" or values.shape != (self.spec.length,):
            given = f"{values.dtype} of shape {values.shape}" if is_array else type(values).__name__
            raise EncodingError(f"private counts are an integer array of shape ({self.spec.length},), not {given}")
        outside = (values < 0) | (values > self.spec.max_total)
        if outside.any():
            at = int(np.flatnonzero(outside)[0])
            raise EncodingError(
                f"the count at index {at} is not from 0 to max_total {self.spec.max_total}", index=(at,)
            )
        counts = values.astype(np.int64)
        if sum(counts.tolist()) > self.spec.max_total:
            raise EncodingError(
                f"the counts sum to more than max_total {self.spec.max_total}: raise it for everyone, or count less"
            )
        return Encoded(to_residues(counts * self.spec.scale + self.share.draw(), self.modulus_bits), 0)

    def decode_levels(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `FixedPoint.decode_levels`."""
        return _decode_levels(self, residues, num_summands)

    def restore(self, levels: Levels, rotation_seed: bytes) -> Levels:
        """Return the noisy counts, int64 (spec.length,): to the nearest integer, and 0 for those below least_count."""
        counts = np.rint(levels / self.spec.scale).astype(np.int64)
        return np.where(counts < max(0, self.spec.least_count), 0, counts)


Noisy = NoisyFloats | NoisyCounts


def _share(spec: PrivateSpec, dimension: int, l2_bound: float, l1_bound: float) -> NoiseShare:
    try:
        return NoiseShare(spec.local_sigma, dimension, l2_bound, l1_bound)
    except DpError as error:
        raise ParameterError(f"vector {spec.name!r}: {error}") from None


def _modulus_bits(codec: Noisy) -> int:
    return sum_bits(codec.num_summands * codec.max_level + codec.share.reach(codec.num_summands))


def _check_room(codec: Noisy) -> None:
    if codec.modulus_bits > MAX_MODULUS_BITS:
        raise ParameterError(
            f"a noisy sum of {codec.spec.name!r} takes {codec.modulus_bits} bits, but at most {MAX_MODULUS_BITS} are "
            "possible: use a coarser scale"
        )


def _decode_levels(codec: Noisy, residues: Residues, num_summands: int) -> Levels:
    if not 0 <= num_summands <= codec.num_summands:
        raise EncodingError(f"{num_summands} summands, but the encoding has room for {codec.num_summands}")
    bound = num_summands * codec.max_level + codec.share.reach(num_summands)
    return from_residues(residues, codec.modulus_bits, bound)
