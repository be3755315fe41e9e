"""What all codecs of private vectors share: dp clips, rotates, rounds and adds noise; these map integers to residues.

A unit is what the noise covers the change of: a client, whose one vector is its contribution, or a record, of which a
client may have any number, and whose vectors it adds up before they are masked.

No value is refused: whether a client answers is seen by the server, and no noise covers it. So what cannot be summed
as it is becomes something that can, and counts as clipped for the client alone. Shapes and dtypes are the program's,
not the data's, and are refused.

Source: Kairouz, Liu, Steinke 2021 (SPEC section 27). The modulus has room for all that honest and lying clients can
contribute, and for the noise of all of them up to a bound that it passes with a probability below 2**-40.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

from dp.distributed import NoiseShare
from dp.errors import DpError
from dp.events import Event
from dp.sensitivity import Adjacency, Unit, named, round_up
from secagg.encoding import Encoded, Levels, from_residues, sum_bits, to_residues
from secagg.errors import EncodingError, ParameterError
from secagg.randomness import RandomBytes
from secagg.residues import MAX_MODULUS_BITS, Residues

from .codec import VectorCodec
from .vectors import PrivateSpec

MAX_STEPS = 1 << 40
"""Scaled counts stay far below 63 bits, whatever the noise."""


@dataclass(frozen=True)
class NoisyCodec(VectorCodec):
    """How one private vector is encoded: integers within bounds, and noise.

    Attributes:
        spec: of the vector.
        num_summands: how many are summed at most.
    """

    spec: PrivateSpec
    num_summands: int

    @property
    @abstractmethod
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""

    @property
    @abstractmethod
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise."""

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return sum_bits(self.num_summands * self.max_level + self.share.reach(self.num_summands))

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `VectorCodec.decode`."""
        if not 0 <= num_summands <= self.num_summands:
            raise EncodingError(f"{num_summands} summands, but the encoding has room for {self.num_summands}")
        bound = num_summands * self.max_level + self.share.reach(num_summands)
        return from_residues(residues, self.modulus_bits, bound)

    def event(self, honest: int, adjacency: Adjacency, unit: Unit) -> Event:
        """Return what a sum with the noise of so many honest clients reveals, at the vector's unit or at the other.

        For all that a client adds, where noise is for records: its entries alone are bounded. For a record, where noise
        is for clients: a client with a record and without it hands in two different vectors, as if one had been
        replaced.
        """
        share = self.share
        if unit is self.spec.unit:
            return share.event(honest, adjacency)
        if unit is Unit.RECORD:
            return replace(share.event(honest, Adjacency.REPLACE_ONE), adjacency=named(Adjacency, adjacency), unit=unit)
        entry, entries = self.max_level, share.dimension
        l2_bound = round_up(entry * math.sqrt(entries))
        return replace(share, l2_bound=l2_bound, l1_bound=float(entry * entries), unit=unit).event(honest, adjacency)

    def warm_up(self) -> None:
        """Have the sampler compiled."""
        self.share.draw()

    def with_noise(self, levels: Levels, changed: int, random: RandomBytes) -> Encoded:
        """Return levels with fresh noise as residues, and how many coordinates were changed for so many units."""
        levels += self.share.draw(random=random)
        coordinates = self.spec.length if self.spec.unit is Unit.CLIENT else 1
        return Encoded(to_residues(levels, self.modulus_bits), changed * coordinates)

    def noise_share(self, dimension: int, l2_bound: float, l1_bound: float, *, nonnegative: bool = False) -> NoiseShare:
        """Return the noise of a client; raise ParameterError where the spec has none."""
        try:
            return NoiseShare(self.spec.local_sigma, dimension, l2_bound, l1_bound, nonnegative, self.spec.unit)
        except DpError as error:
            raise ParameterError(f"vector {self.spec.name!r}: {error}") from None

    def check_whole(self, *fields: tuple[str, int]) -> None:
        """Raise ParameterError unless these fields of the spec are integers from these on."""
        for name, least in fields:
            value = getattr(self.spec, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ParameterError(f"{name} of {self.spec.name!r} is {value!r}, but must be an integer from {least}")

    def check_room(self) -> None:
        """Raise ParameterError unless the largest sum fits."""
        if self.modulus_bits > MAX_MODULUS_BITS:
            raise ParameterError(
                f"a noisy sum of {self.spec.name!r} takes {self.modulus_bits} bits, but at most {MAX_MODULUS_BITS} are "
                "possible: use a coarser scale"
            )
