"""What a round is about: which vectors, under which threat model; and what a client demands of it.

The server states a `RoundConfig`; everything else follows from it, on both sides by the same code. A client holds the
configuration against its own `ClientPolicy` before it says a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from secagg.encoding import Encoded, FixedPoint, Integers, Rounding, check_weight
from secagg.errors import EncodingError, ParameterError
from secagg.residues import lane_dtype, packed_bytes

from .parameters import Adversary, ThreatModel, Topology, derive_topology

MAX_VECTORS = 64
MAX_LENGTH = 1 << 32
WEIGHT_LANE = "weight"
"""Where the sum of weights travels, as one more masked vector behind the named ones."""


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
    """A named vector of integers from 0 to max_value: counts, votes. Never weighted."""

    name: str
    length: int
    max_value: int = 1


VectorSpec = FloatVector | IntegerVector


class RoundConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, dict=True):
    """One round of secure aggregation.

    Args:
        threat_model: who takes part and what may go wrong.
        vectors: what each client sends, 1 to 64 named vectors.
        max_weight: the largest weight of a client; 1 means that there are no weights.
        minimum_survivors: fewer inputs than this are not summed; the threshold when 0.
        complete_graph: make everyone everyone's neighbour (SecAgg) although a sparse graph would do.

    Raises:
        ParameterError: no encoding, graph or threshold serves it; the text says what would.
    """

    threat_model: ThreatModel
    vectors: tuple[VectorSpec, ...]
    max_weight: int = 1
    minimum_survivors: int = 0
    complete_graph: bool = False

    def __post_init__(self) -> None:
        """Derive everything once, so that what is impossible is refused here."""
        names = [spec.name for spec in self.vectors]
        if not 1 <= len(names) <= MAX_VECTORS:
            raise ParameterError(f"a round has 1 to {MAX_VECTORS} vectors, not {len(names)}")
        if len(set(names)) != len(names) or not set(names).isdisjoint(("", WEIGHT_LANE)):
            raise ParameterError(f"vector names must be distinct, not empty and not {WEIGHT_LANE!r}: {names}")
        for spec in self.vectors:
            if not 0 <= spec.length <= MAX_LENGTH:
                raise ParameterError(f"length of {spec.name!r} is {spec.length}, but must be from 0 to {MAX_LENGTH}")
        if not 0 <= self.minimum_survivors <= self.threat_model.num_clients:
            raise ParameterError(
                f"minimum_survivors is {self.minimum_survivors}, but must be from 0 (the threshold) to the number of "
                f"clients, {self.threat_model.num_clients}"
            )
        if self.minimum_survivors == 0:
            threshold = derive_topology(self.threat_model, complete_graph=self.complete_graph).threshold
            msgspec.structs.force_setattr(self, "minimum_survivors", threshold)
        if self.max_weight > 1 and not self.weighted:
            raise ParameterError(
                f"max_weight is {self.max_weight}, but no vector is weighted: weigh one, or leave it 1"
            )
        self.lanes  # noqa: B018 - raises here rather than later

    @property
    def weighted(self) -> bool:
        """Whether any vector is weighted, so that weights travel too."""
        return any(isinstance(spec, FloatVector) and spec.weighted for spec in self.vectors)

    @cached_property
    def topology(self) -> Topology:
        """Degree, threshold and kind of graph that follow from the threat model."""
        return derive_topology(self.threat_model, complete_graph=self.complete_graph)

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """The masked vectors in the order in which they travel, the weights last."""
        lanes = [Lane(spec.name, spec.length, self._codec(spec), _is_weighted(spec)) for spec in self.vectors]
        if self.weighted:
            codec = Integers(max_value=self.max_weight, num_summands=self.threat_model.num_clients)
            lanes.append(Lane(WEIGHT_LANE, 1, codec, weighted=False))
        return tuple(lanes)

    @property
    def modulus_bits(self) -> int:
        """The widest lane's modulus_bits."""
        return max(lane.modulus_bits for lane in self.lanes)

    @property
    def input_bytes(self) -> int:
        """Bytes of one client's masked vectors on the wire."""
        return sum(lane.packed_bytes for lane in self.lanes)

    def encode(self, values: Mapping[str, npt.NDArray[Any]], weight: int = 1) -> list[Encoded]:
        """Encode a client's named vectors and its weight: one `Encoded` for each lane.

        Raises:
            EncodingError: a vector is missing, unknown, of another length or dtype, or has a value that cannot be
                encoded; or the weight is out of range.
        """
        expected = {spec.name for spec in self.vectors}
        if values.keys() != expected:
            raise EncodingError(f"the round sums {sorted(expected)}, but {sorted(values)} were given")
        check_weight(weight, self.max_weight)
        if weight != 1 and not self.weighted:
            raise EncodingError(f"weight is {weight}, but this round is not weighted")
        return [lane.encode(values, weight) for lane in self.lanes]

    def _codec(self, spec: VectorSpec) -> FixedPoint | Integers:
        num_clients = self.threat_model.num_clients
        if isinstance(spec, IntegerVector):
            return Integers(max_value=spec.max_value, num_summands=num_clients)
        return FixedPoint(
            clip=spec.clip,
            value_bits=spec.value_bits,
            num_summands=num_clients,
            max_weight=self.max_weight if spec.weighted else 1,
            rounding=spec.rounding,
        )


@dataclass(frozen=True)
class Lane:
    """One masked vector: its name, length and encoding."""

    name: str
    length: int
    codec: FixedPoint | Integers
    weighted: bool

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

    def encode(self, values: Mapping[str, npt.NDArray[Any]], weight: int) -> Encoded:
        """Encode this lane's vector out of a client's input."""
        if isinstance(self.codec, Integers) and self.name not in values:
            return self.codec.encode(np.array([weight]))
        vector = values[self.name]
        try:
            if not isinstance(vector, np.ndarray) or vector.shape != (self.length,):
                shape = vector.shape if isinstance(vector, np.ndarray) else type(vector).__name__
                raise EncodingError(f"must be an array of shape ({self.length},), not {shape}")
            if isinstance(self.codec, Integers):
                return self.codec.encode(vector)
            return self.codec.encode(vector, weight=weight if self.weighted else 1)
        except EncodingError as error:
            raise EncodingError(f"vector {self.name!r}: {error}", index=error.index) from None


@dataclass(frozen=True)
class ClientPolicy:
    """What a client demands of a round, whatever the server proposes.

    Args:
        adversary: the weakest adversary that the round must withstand.
        corrupt_fraction: the least fraction of corrupt clients that the round must withstand.
        minimum_clients: refuse rounds to which fewer are invited.
        minimum_neighbours: refuse to go on with fewer neighbours (the threshold always holds as well).
        minimum_survivors: refuse to unmask a sum of fewer inputs.
    """

    adversary: Adversary = Adversary.CURIOUS_SERVER
    corrupt_fraction: float = 0.0
    minimum_clients: int = 2
    minimum_neighbours: int = 1
    minimum_survivors: int = 2

    def check(self, config: RoundConfig) -> None:
        """Return if the round meets the policy; raise ParameterError with the first demand that it does not meet."""
        model = config.threat_model
        if model.adversary.strength < self.adversary.strength:
            raise ParameterError(f"the round withstands a {model.adversary}, but this client demands {self.adversary}")
        if model.corrupt_fraction < self.corrupt_fraction:
            raise ParameterError(
                f"the round withstands a fraction of {model.corrupt_fraction} corrupt clients, but this client demands "
                f"{self.corrupt_fraction}"
            )
        for what, proposed, demanded in (
            ("invites", model.num_clients, self.minimum_clients),
            ("gives each client", config.topology.degree, self.minimum_neighbours),
            ("sums at least", config.minimum_survivors, self.minimum_survivors),
        ):
            if proposed < demanded:
                noun = "neighbours" if what == "gives each client" else "clients"
                raise ParameterError(f"the round {what} {proposed} {noun}, but this client demands {demanded}")


def _is_weighted(spec: VectorSpec) -> bool:
    return isinstance(spec, FloatVector) and spec.weighted
