"""Packing: many residues of a fixed-point encoding in one Paillier plaintext, so that adding plaintexts adds lanes.

Lane i of a plaintext weighs 2**(i * lane_bits) and holds a *signed* number: the residue mod 2**lane_bits that
`encoding` made, read as two's complement. The encoding proves that no sum of its summands leaves a lane, so nothing
ever carries into a neighbour; there is no offset, so a sum means the same whatever number of addends it claims.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import residues as wire
from ..errors import EncodingError, ParameterError
from ..residues import MAX_MODULUS_BITS, Residues
from .integers import whole

MAX_LENGTH = 1 << 32


@dataclass(frozen=True)
class Lanes:
    """How a vector of residues is laid out in plaintexts. Both sides of a sum use equal ones.

    Args:
        key_bits: bits of the Paillier modulus.
        lane_bits: the encoding's modulus_bits, 2 to 64: the guard bits for its num_summands are among them.
        length: residues in the vector, at least 1.

    Raises:
        ParameterError: an argument is out of range, or not even one lane fits.
    """

    key_bits: int
    lane_bits: int
    length: int

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("key_bits", "lane_bits", "length"):  # numpy's integers would overflow without a word
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        if not 2 <= self.lane_bits <= MAX_MODULUS_BITS:
            raise ParameterError(f"lane_bits is {self.lane_bits}, but must be from 2 to {MAX_MODULUS_BITS}")
        if not 1 <= self.length <= MAX_LENGTH:
            raise ParameterError(f"a vector of length {self.length}, but it must be from 1 to {MAX_LENGTH}")
        if self.per_plaintext < 1:
            raise ParameterError(f"no lane of {self.lane_bits} bits fits in {self.key_bits} bits: use a larger key")

    @property
    def per_plaintext(self) -> int:
        """Lanes in one plaintext: 2**(per_plaintext * lane_bits) is below the modulus."""
        return (self.key_bits - 1) // self.lane_bits

    @property
    def num_plaintexts(self) -> int:
        """Plaintexts, and so ciphertexts, of one vector."""
        return -(-self.length // self.per_plaintext)

    @cached_property
    def _half(self) -> int:
        return 1 << (self.lane_bits - 1)

    def _offset(self, count: int) -> int:
        """Half the range in each of `count` lanes: the difference between signed and unsigned lanes."""
        return self._half * (((1 << (count * self.lane_bits)) - 1) // ((1 << self.lane_bits) - 1))

    def _counts(self) -> Iterable[tuple[int, int]]:
        """Where each plaintext's lanes start in the vector, and how many there are."""
        step = self.per_plaintext
        return ((start, min(step, self.length - start)) for start in range(0, self.length, step))

    def pack(self, residues: Residues) -> list[int]:
        """Lay residues (length,) of the lane dtype out as signed plaintexts.

        Raises:
            EncodingError: another length or dtype, or a masked array.
        """
        dtype = wire.lane_dtype(self.lane_bits)
        if type(residues) is not np.ndarray or residues.dtype != dtype:
            kind = residues.dtype if type(residues) is np.ndarray else type(residues).__name__
            raise EncodingError(f"residues are {kind}, but these lanes take a plain array of {dtype}")
        if residues.shape != (self.length,):
            raise EncodingError(f"residues have shape {residues.shape}, but these lanes hold ({self.length},)")
        # flipping the highest bit of two's complement adds half the range: unsigned lanes, which pack as bit strings
        unsigned = residues ^ wire.lane_dtype(self.lane_bits).type(self._half)
        plaintexts = []
        for start, count in self._counts():
            packed = wire.pack(unsigned[start : start + count], self.lane_bits)
            plaintexts.append(int.from_bytes(packed, "little") - self._offset(count))
        return plaintexts

    def unpack(self, plaintexts: Iterable[int], modulus: int) -> Residues:
        """Read plaintexts mod `modulus` back as residues (length,).

        Raises:
            EncodingError: the number of plaintexts is wrong, or one has bits beyond its lanes: an addend was no packing
                of these lanes, or there were more addends than the encoding has room for.
        """
        residues = np.zeros(self.length, dtype=wire.lane_dtype(self.lane_bits))
        filled = 0
        for plaintext, (start, count) in zip(plaintexts, self._counts(), strict=False):
            unsigned = (int(plaintext) + self._offset(count)) % modulus
            if unsigned >> (count * self.lane_bits):
                raise EncodingError(
                    f"a plaintext has bits beyond its {count} lanes from index {start}: an addend was not packed so, "
                    "or the addends were more than the encoding has room for",
                    index=(start,),
                )
            packed = unsigned.to_bytes(wire.packed_bytes(count, self.lane_bits), "little")
            residues[start : start + count] = wire.unpack(packed, self.lane_bits, count)
            filled += 1
        if filled != self.num_plaintexts:
            raise EncodingError(f"{filled} plaintexts, but these lanes take {self.num_plaintexts}")
        residues ^= wire.lane_dtype(self.lane_bits).type(self._half)
        return residues
