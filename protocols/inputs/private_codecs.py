"""Codecs of private vectors: dp clips, rotates, rounds and adds noise; this module maps the integers to residues.

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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.distributed import NoiseShare
from dp.errors import DpError
from dp.events import Event
from dp.preparation import Preparation
from dp.randomness import WordStream
from dp.sensitivity import Adjacency, Unit, named, round_up
from secagg.derivation import Label, digest
from secagg.encoding import Encoded, Levels, from_residues, sum_bits, to_residues
from secagg.errors import EncodingError, ParameterError
from secagg.randomness import RandomBytes
from secagg.residues import MAX_MODULUS_BITS, Residues

from .codec import VectorCodec
from .records import blocks, check_unit, counted, votes
from .vectors import PrivateCounts, PrivateSpec, PrivateVector, PrivateVotes

_MAX_STEPS = 1 << 40
"""Scaled counts stay far below 63 bits, whatever the noise."""


@dataclass(frozen=True)
class NoisyFloats(VectorCodec):
    """How one private vector of floats is encoded: clip, rotate, scale, round, add noise.

    Raises:
        ParameterError: a value of the vector's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateVector
    num_summands: int

    def __post_init__(self) -> None:
        """Have everything checked that follows from the spec."""
        check_unit(self.spec)
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
        """What noise a client adds, and the bounds on what its unit contributes."""
        made = self.preparation
        return _share(self.spec, made.dimension, made.l2_bound, made.l1_bound)

    @property
    def name(self) -> str:
        """Of the vector."""
        return self.spec.name

    @property
    def length(self) -> int:
        """Residues of an encoded vector."""
        return self.preparation.dimension

    @property
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise."""
        return self.preparation.max_level * self.spec.max_records

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return _modulus_bits(self)

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        """Encode floats with fresh noise; a client that is clipped has all coordinates changed."""
        levels, changed = self.levels(value, rotation_seed(session_id, self.name), random=random)
        return _with_noise(self, levels, changed, random)

    def levels(self, value: Any, seed: bytes, *, random: RandomBytes) -> tuple[Levels, int]:
        """Return what is summed but for the noise, int64 (dimension,), and how many units were changed for it.

        Args:
            value: floats (spec.length,); where the unit is the record: (records, spec.length), or blocks of that.
                Zeros stand for a unit with an entry that is not finite.
            seed: of the rotation.
            random: for the rounding.

        Raises:
            EncodingError: another shape, or no floats.
        """
        total, changed = np.zeros(self.length, dtype=np.int64), 0
        words = WordStream(self.length, random=random)
        for block in blocks(value, self.spec, "f", "floats"):
            for row in block:
                finite = bool(np.isfinite(row).all())
                usable = row if finite else np.zeros(self.spec.length)
                levels, clipped = self.preparation.prepare_with(usable, seed, words)
                total += levels
                changed += clipped or not finite
        return np.clip(total, -self.max_level, self.max_level, out=total), changed

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `VectorCodec.decode`."""
        return _decode(self, residues, num_summands)

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy sum in the units of the values, float64 (spec.length,)."""
        return self.preparation.restore(levels, rotation_seed(session_id, self.name))

    def event(self, honest: int, adjacency: Adjacency, unit: Unit) -> Event:
        """Return what a sum with the noise of so many honest clients reveals."""
        return _event(self, honest, adjacency, unit)

    def warm_up(self) -> None:
        """Have the sampler compiled."""
        self.share.draw()


@dataclass(frozen=True)
class NoisyCounts(VectorCodec):
    """How one private histogram is encoded: counts in steps, and noise.

    Raises:
        ParameterError: a value of the histogram's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateCounts
    num_summands: int

    def __post_init__(self) -> None:
        """Check what is this kind's own, and that the largest sum fits."""
        _check_whole(self.spec, ("max_total", 1), ("scale", 1), ("least_count", 0))
        if self.max_level > _MAX_STEPS:
            raise ParameterError(
                f"max_total * scale of {self.spec.name!r} is {self.max_level} steps, but may be at most {_MAX_STEPS}"
            )
        check_unit(self.spec)
        _check_room(self)

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""
        bound = float(self._unit_total * self.spec.scale)
        return _share(self.spec, self.spec.length, bound, bound, nonnegative=True)

    @property
    def _unit_total(self) -> int:
        """The most that the counts of one unit sum to."""
        return self.spec.max_total if self.spec.unit is Unit.CLIENT else self.spec.max_per_record

    @property
    def name(self) -> str:
        """Of the vector."""
        return self.spec.name

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

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        """Encode counts with fresh noise; a client that has too many has all of them changed."""
        levels, changed = self.levels(value, b"", random=random)
        return _with_noise(self, levels, changed, random)

    def levels(self, value: Any, seed: bytes, *, random: RandomBytes) -> tuple[Levels, int]:
        """Return what is summed but for the noise, int64 (length,), and how many units were changed for it.

        Args:
            value: integers (spec.length,); where the unit is the record: (records, spec.length), or blocks of that.
                0 stands for a negative one, and where a unit's sum passes what it may be, all of it is scaled down.
            seed: of nothing: counts are not rotated.
            random: for nothing: counts are not rounded at random.

        Raises:
            EncodingError: another shape, or no integers.
        """
        most = self.max_level
        total, changed = np.zeros(self.length, dtype=np.int64), 0
        for block in blocks(value, self.spec, "iub", "integers"):
            levels, of_block = counted(block, self._unit_total, self.spec.scale)
            # Both are at most 2**40 steps, and cutting each block's sum is cutting the whole, since nothing is below 0.
            total = np.minimum(total + levels, most)
            changed += of_block
        return total, changed

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `VectorCodec.decode`."""
        return _decode(self, residues, num_summands)

    def event(self, honest: int, adjacency: Adjacency, unit: Unit) -> Event:
        """Return what a sum with the noise of so many honest clients reveals."""
        return _event(self, honest, adjacency, unit)

    def warm_up(self) -> None:
        """Have the sampler compiled."""
        self.share.draw()

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy counts, int64 (spec.length,): to the nearest integer, and 0 for those below least_count."""
        counts = np.rint(levels / self.spec.scale).astype(np.int64)
        return np.where(counts < max(0, self.spec.least_count), 0, counts)


@dataclass(frozen=True)
class NoisyVotes(VectorCodec):
    """How the votes on a private vector's clip are encoded: their sum in steps, and noise.

    Raises:
        ParameterError: a value of the votes' is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateVotes
    num_summands: int
    on: PrivateVector

    def __post_init__(self) -> None:
        """Check what is this kind's own, and that the largest sum fits."""
        _check_whole(self.spec, ("scale", 1))
        check_unit(self.spec)
        check_unit(self.on)
        if self.spec.length != 1 or self.spec.unit is not self.on.unit:
            raise ParameterError(f"the votes {self.spec.name!r} are one number, of the unit of {self.on.name!r}")
        if self.max_level > _MAX_STEPS:
            raise ParameterError(
                f"max_records * scale of {self.spec.name!r} is {self.max_level} steps, but may be at most {_MAX_STEPS}"
            )
        _check_room(self)

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""
        return _share(self.spec, 1, float(self.spec.scale), float(self.spec.scale))

    @property
    def name(self) -> str:
        """Of the votes."""
        return self.spec.name

    @property
    def length(self) -> int:
        """One residue."""
        return 1

    @property
    def max_level(self) -> int:
        """The most that one client's votes may come to, without noise."""
        return self.spec.max_records * self.spec.scale

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue."""
        return _modulus_bits(self)

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        return _with_noise(self, *self.levels(value, b"", random=random), random)

    def levels(self, value: Any, seed: bytes, *, random: RandomBytes) -> tuple[Levels, int]:
        """Return the sum of votes in steps, int64 (1,), and 0: the vector that they are on counts what is clipped.

        Args:
            value: what is handed in for the vector that the votes are on.
            seed: of nothing.
            random: for nothing.

        Raises:
            EncodingError: as for that vector.
        """
        total = sum(votes(block, self.on.l2_clip) for block in blocks(value, self.on, "f", "floats"))
        most = self.spec.max_records
        return np.array([max(-most, min(most, total)) * self.spec.scale], dtype=np.int64), 0

    def decode(self, residues: Residues, *, num_summands: int) -> Levels:
        """Return the exact sum of the noisy integers; raise EncodingError as `VectorCodec.decode`."""
        return _decode(self, residues, num_summands)

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy sum of votes, float64 (1,), for `AdaptiveClip.update_from_noisy`."""
        return levels / self.spec.scale

    def event(self, honest: int, adjacency: Adjacency, unit: Unit) -> Event:
        """Return what a sum with the noise of so many honest clients reveals."""
        return _event(self, honest, adjacency, unit)

    def warm_up(self) -> None:
        """Have the sampler compiled."""
        self.share.draw()


Noisy = NoisyFloats | NoisyCounts | NoisyVotes


def private_codec_of(spec: PrivateSpec, num_clients: int, others: tuple[object, ...] = ()) -> Noisy:
    """Return the codec of a private vector; raise ParameterError where no encoding serves it.

    Args:
        spec: of the vector.
        num_clients: how many are summed at most.
        others: the round's vectors, among which votes find the one that they are on.
    """
    if isinstance(spec, PrivateVector):
        return NoisyFloats(spec, num_clients)
    if isinstance(spec, PrivateCounts):
        return NoisyCounts(spec, num_clients)
    for other in others:
        if isinstance(other, PrivateVector) and other.name == spec.of:
            return NoisyVotes(spec, num_clients, other)
    raise ParameterError(f"the votes {spec.name!r} are on {spec.of!r}, which is no private vector of the round")


def rotation_seed(session_id: bytes, name: str) -> bytes:
    """Return the public seed of the signs by which a private vector is rotated."""
    return digest(Label.ROTATION, session_id, name.encode())


def _with_noise(codec: Noisy, levels: Levels, changed: int, random: RandomBytes) -> Encoded:
    levels += codec.share.draw(random=random)
    coordinates = codec.spec.length if codec.spec.unit is Unit.CLIENT else 1
    return Encoded(to_residues(levels, codec.modulus_bits), changed * coordinates)


def _event(codec: Noisy, honest: int, adjacency: Adjacency, unit: Unit) -> Event:
    """Account at the vector's unit, or at the other.

    For all that a client adds, where noise is for records: its entries alone are bounded. For a record, where noise is
    for clients: a client with a record and without it hands in two different vectors, as if one had been replaced.
    """
    share = codec.share
    if unit is codec.spec.unit:
        return share.event(honest, adjacency)
    if unit is Unit.RECORD:
        return replace(share.event(honest, Adjacency.REPLACE_ONE), adjacency=named(Adjacency, adjacency), unit=unit)
    entry, entries = codec.max_level, share.dimension
    l2_bound = round_up(entry * math.sqrt(entries))
    return replace(share, l2_bound=l2_bound, l1_bound=float(entry * entries), unit=unit).event(honest, adjacency)


def _check_whole(spec: PrivateSpec, *fields: tuple[str, int]) -> None:
    for name, least in fields:
        value = getattr(spec, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ParameterError(f"{name} of {spec.name!r} is {value!r}, but must be an integer from {least}")


def _share(
    spec: PrivateSpec, dimension: int, l2_bound: float, l1_bound: float, *, nonnegative: bool = False
) -> NoiseShare:
    try:
        return NoiseShare(spec.local_sigma, dimension, l2_bound, l1_bound, nonnegative, spec.unit)
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


def _decode(codec: Noisy, residues: Residues, num_summands: int) -> Levels:
    if not 0 <= num_summands <= codec.num_summands:
        raise EncodingError(f"{num_summands} summands, but the encoding has room for {codec.num_summands}")
    bound = num_summands * codec.max_level + codec.share.reach(num_summands)
    return from_residues(residues, codec.modulus_bits, bound)
