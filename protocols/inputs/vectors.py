"""What a client's input is made of: named vectors, each of a kind that says how it is encoded.

A round's vectors are either all plain (`FloatVector`, `IntegerVector`) or all private (`PrivateVector`,
`PrivateCounts`, `PrivateVotes`): a plain vector beside a private one would tell what the noise is there to hide.
"""

from __future__ import annotations

import msgspec

from dp.sensitivity import Unit
from secagg.encoding import Rounding


class FloatVector(msgspec.Struct, frozen=True, tag="floats", forbid_unknown_fields=True):
    """A named vector of floats: model updates, metrics.

    Attributes:
        name: distinct in a round.
        length: number of coordinates, from 0.
        clip: coordinates are clipped to [-clip, clip].
        value_bits: bits of one encoded coordinate, sign included.
        weighted: multiply by the client's weight before summing, so that a weighted mean comes out.
        rounding: stochastic or nearest.
    """

    name: str
    length: int
    clip: float = 1.0
    value_bits: int = 16
    weighted: bool = False
    rounding: Rounding = Rounding.STOCHASTIC


class IntegerVector(msgspec.Struct, frozen=True, tag="integers", forbid_unknown_fields=True):
    """A named vector of integers from min_value to max_value: counts, votes, differences. Never weighted.

    Attributes:
        name: distinct in a round.
        length: number of coordinates, from 0.
        max_value: the largest integer.
        min_value: the least, 0 or below.
    """

    name: str
    length: int
    max_value: int = 1
    min_value: int = 0


class PrivateVector(msgspec.Struct, frozen=True, tag="private-floats", forbid_unknown_fields=True):
    """A named vector of floats to which each client adds its share of noise. `PrivatePlan` calibrates it.

    Attributes:
        name: distinct in a round.
        length: number of coordinates, from 1.
        l2_clip: longer vectors are scaled down to this L2 norm: those of clients, or of records.
        scale: integer steps to a unit.
        local_sigma: parameter of each client's discrete Gaussian noise, in steps; at least 1/2.
        unit: whose change the noise covers. CLIENT: a client hands in one vector. RECORD: one for each of its records.
        max_records: entries of a client's sum are cut to what so many records may reach, and the modulus has room for
            that. It says nothing about privacy. 1 where the unit is the client.
    """

    name: str
    length: int
    l2_clip: float
    scale: float
    local_sigma: float
    unit: Unit = Unit.CLIENT
    max_records: int = 1


class PrivateCounts(msgspec.Struct, frozen=True, tag="private-counts", forbid_unknown_fields=True):
    """A named histogram: counts from 0 to which each client adds its share of noise. `PrivatePlan` calibrates it.

    Attributes:
        name: distinct in a round.
        length: number of bins, from 1.
        max_total: the most that one client's counts may sum to; 1 where each casts one vote. Where the unit is the
            record: the most that each of a client's counts may be, for which the modulus has room.
        scale: integer steps to a count.
        local_sigma: parameter of each client's discrete Gaussian noise, in steps; at least 1/2.
        least_count: released sums below this are given as 0: few people in a bin are not told from none.
        unit: whose change the noise covers. CLIENT: a client hands in its counts. RECORD: those of each of its records.
        max_per_record: the most that one record's counts may sum to. 1 where the unit is the client.
    """

    name: str
    length: int
    max_total: int
    scale: int
    local_sigma: float
    least_count: int = 10
    unit: Unit = Unit.CLIENT
    max_per_record: int = 1


class PrivateVotes(msgspec.Struct, frozen=True, tag="private-votes", forbid_unknown_fields=True):
    """How well a private vector's clip fits: each unit votes 1 if its norm is within the clip, and -1 if not.

    Nobody hands votes in: the client derives them from the vector that they are on.

    Attributes:
        name: distinct in a round.
        of: name of the `PrivateVector` that the votes are on.
        scale: integer steps to a vote.
        local_sigma: parameter of each client's discrete Gaussian noise, in steps; at least 1/2.
        unit: as of that vector.
        max_records: the sum of a client's votes is cut to as many.
        length: 1.
    """

    name: str
    of: str
    scale: int
    local_sigma: float
    unit: Unit = Unit.CLIENT
    max_records: int = 1
    length: int = 1


PlainSpec = FloatVector | IntegerVector
PrivateSpec = PrivateVector | PrivateCounts | PrivateVotes
VectorSpec = FloatVector | IntegerVector | PrivateVector | PrivateCounts | PrivateVotes
