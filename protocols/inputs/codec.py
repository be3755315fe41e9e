"""The one interface of all encodings of named vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.events import Event
from dp.sensitivity import Adjacency, Unit
from secagg.encoding import Encoded, Levels
from secagg.errors import EncodingError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.residues import Residues, lane_dtype, packed_bytes

from .vectors import VectorSpec


class VectorCodec(ABC):
    """How one vector becomes residues, and the sum of all clients' residues becomes numbers again."""

    spec: VectorSpec
    weighted = False
    """Whether values are multiplied by the client's weight before they are summed."""

    @property
    def name(self) -> str:
        """Of the vector."""
        return self.spec.name

    @property
    @abstractmethod
    def length(self) -> int:
        """Residues of an encoded vector."""

    @property
    @abstractmethod
    def modulus_bits(self) -> int:
        """Bits of a residue."""

    @property
    def packed_bytes(self) -> int:
        """Bytes on the wire."""
        return packed_bytes(self.length, self.modulus_bits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The unsigned dtype that holds residues in memory."""
        return lane_dtype(self.modulus_bits)

    def encode(self, value: Any, *, weight: int = 1, session_id: bytes, random: RandomBytes = SYSTEM) -> Encoded:
        """Encode one client's vector: residues (length,), and how many of its coordinates the clip has changed.

        Raises:
            EncodingError: not the array that the specification asks for; the text names the vector.
        """
        try:
            return self._encode(value, weight, session_id, random)
        except EncodingError as error:
            raise EncodingError(f"vector {self.name!r}: {error}", index=error.index) from None

    @abstractmethod
    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded: ...

    @abstractmethod
    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of encoded integers, int64 (length,).

        Raises:
            EncodingError: so many summands cannot reach it, so some input was no encoding.
        """

    @abstractmethod
    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return a sum in the units of the values."""

    def event(self, honest: int, adjacency: Adjacency, unit: Unit) -> Event | None:
        """Return what a sum with the noise of so many honest clients reveals; None where there is no noise.

        Of what is noise for records, `unit` may ask what it is for all that a client adds.
        """
        return None

    def warm_up(self) -> None:  # noqa: B027 - most have nothing to do
        """Have compiled what encoding uses, so that the first client need not wait."""
