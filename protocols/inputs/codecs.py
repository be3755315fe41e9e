"""The masked vectors of a round: each named vector, the weights behind them, with the encoding that follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.encoding import Encoded, FixedPoint, Integers
from secagg.errors import EncodingError
from secagg.residues import lane_dtype, packed_bytes

from .private_codecs import NoisyCounts, NoisyFloats
from .vectors import FloatVector, IntegerVector, PrivateCounts, PrivateVector, VectorSpec

WEIGHT_LANE = "weight"
"""Where the sum of weights travels, as one more masked vector behind the named ones."""

Codec = FixedPoint | Integers | NoisyFloats | NoisyCounts


@dataclass(frozen=True)
class Lane:
    """One masked vector: its name, the number of its residues, and its encoding."""

    name: str
    length: int
    codec: Codec
    weighted: bool = False

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return self.codec.modulus_bits

    @property
    def packed_bytes(self) -> int:
        """Bytes on the wire."""
        return packed_bytes(self.length, self.modulus_bits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its lanes."""
        return lane_dtype(self.modulus_bits)

    def encode(
        self, values: Mapping[str, npt.NDArray[Any]], weight: int, rotation_seed: Callable[[str], bytes]
    ) -> Encoded:
        """Encode this lane's vector out of a client's input."""
        if self.name == WEIGHT_LANE and isinstance(self.codec, Integers):
            return self.codec.encode(np.array([weight]))
        vector = values[self.name]
        try:
            if isinstance(self.codec, NoisyFloats | NoisyCounts):
                return self.codec.encode(vector, rotation_seed(self.name))
            if not isinstance(vector, np.ndarray) or vector.shape != (self.length,):
                shape = vector.shape if isinstance(vector, np.ndarray) else type(vector).__name__
                raise EncodingError(f"must be an array of shape ({self.length},), not {shape}")
            if isinstance(self.codec, Integers):
                return self.codec.encode(vector)
            return self.codec.encode(vector, weight=weight if self.weighted else 1)
        except EncodingError as error:
            raise EncodingError(f"vector {self.name!r}: {error}", index=error.index) from None


def lane_of(spec: VectorSpec, num_clients: int, max_weight: int) -> Lane:
    """Return the lane of a named vector; raise ParameterError where no encoding serves it."""
    match spec:
        case PrivateVector():
            floats = NoisyFloats(spec, num_clients)
            return Lane(spec.name, floats.length, floats)
        case PrivateCounts():
            counts = NoisyCounts(spec, num_clients)
            return Lane(spec.name, counts.length, counts)
        case IntegerVector():
            return Lane(spec.name, spec.length, Integers(max_value=spec.max_value, num_summands=num_clients))
        case FloatVector():
            codec = FixedPoint(
                clip=spec.clip,
                value_bits=spec.value_bits,
                num_summands=num_clients,
                max_weight=max_weight if spec.weighted else 1,
                rounding=spec.rounding,
            )
            return Lane(spec.name, spec.length, codec, weighted=spec.weighted)


def weight_lane(num_clients: int, max_weight: int) -> Lane:
    """Return the lane in which the weights travel."""
    return Lane(WEIGHT_LANE, 1, Integers(max_value=max_weight, num_summands=num_clients))
