"""What a round is about: which vectors, under which threat model.

The server states a `RoundConfig`; everything else follows from it, on both sides by the same code. A client holds the
configuration against its own `ClientPolicy` before it says a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from dp.errors import DpError
from dp.events import Composed, Event
from dp.sensitivity import Adjacency, Unit, named
from secagg.encoding import Encoded, check_weight
from secagg.errors import EncodingError, ParameterError
from secagg.randomness import SYSTEM, RandomBytes

from ..core.machine import Values
from ..core.numbers import boolean, whole
from ..core.threat_model import ThreatModel
from ..inputs.codec import VectorCodec
from ..inputs.codecs import CLIPPED, WEIGHT, codec_of, extra_codecs
from ..inputs.vectors import FloatVector, PrivateSpec, PrivateVotes, VectorSpec
from .topology import GraphKind, Topology, derive_topology

MAX_VECTORS = 64
MAX_LENGTH = 1 << 32
MAX_CONFIG_BYTES = 32 * 1024
COMPLETE_UP_TO = 256
"""With so many clients everyone is everyone's neighbour unless stated: it costs little, and no graph can be cut."""


class RoundConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, dict=True):
    """One round of secure aggregation.

    Attributes:
        threat_model: who takes part and what may go wrong.
        vectors: what each client sends, 1 to 64 named vectors.
        max_weight: the largest weight of a client; 1 means that there are no weights.
        min_survivors: fewer inputs than this are not summed, at least two more than may be corrupt. When 0: as many as
            are left after the dropouts that the threat model allows.
        graph: how it is drawn who is whose neighbour. When None: COMPLETE up to COMPLETE_UP_TO clients, and in private
            rounds whose adversary may equivocate; RANDOM_CYCLES beyond.

    Raises:
        ParameterError: no encoding, graph or threshold serves it; the text says what would.
    """

    threat_model: ThreatModel
    vectors: tuple[VectorSpec, ...]
    max_weight: int = 1
    min_survivors: int = 0
    graph: GraphKind | None = None

    def __post_init__(self) -> None:
        """Derive everything once, so that what is impossible is refused here."""
        if not isinstance(self.vectors, tuple | list) or not all(isinstance(v, VectorSpec) for v in self.vectors):
            raise ParameterError("vectors must be a tuple of FloatVector, IntegerVector and their private kinds")
        msgspec.structs.force_setattr(self, "vectors", tuple(self.vectors))
        for spec in self.vectors:
            _settle(spec)
        names = [spec.name for spec in self.vectors]
        if not 1 <= len(names) <= MAX_VECTORS:
            raise ParameterError(f"a round has 1 to {MAX_VECTORS} vectors, not {len(names)}")
        if len(set(names)) != len(names) or not set(names).isdisjoint(("", WEIGHT, CLIPPED)):
            raise ParameterError(
                f"vector names must be distinct, not empty, and neither {WEIGHT!r} nor {CLIPPED!r}: {names}"
            )
        if not isinstance(self.threat_model, ThreatModel):
            raise ParameterError(f"threat_model is a {type(self.threat_model).__name__}, but must be a ThreatModel")
        self._settle_graph()
        msgspec.structs.force_setattr(self, "max_weight", whole(self.max_weight, "max_weight", 1))
        self._check_min_survivors()
        if self.max_weight > 1 and not self.weighted:
            raise ParameterError(
                f"max_weight is {self.max_weight}, but no vector is weighted: weigh one, or leave it 1"
            )
        self._check_private()
        self.topology, self.codecs  # noqa: B018 - raises here rather than later

    def _settle_graph(self) -> None:
        graph = self.graph
        if graph is None:
            apart = self.threat_model.adversary.may_equivocate and isinstance(self.vectors[0], PrivateSpec)
            complete = apart or self.num_clients <= COMPLETE_UP_TO
            graph = GraphKind.COMPLETE if complete else GraphKind.RANDOM_CYCLES
        if graph not in tuple(GraphKind):
            raise ParameterError(f"graph is {graph!r}, but must be one of {', '.join(GraphKind)}, or None")
        msgspec.structs.force_setattr(self, "graph", GraphKind(graph))

    def _check_min_survivors(self) -> None:
        """Refuse sums of which the corrupt could subtract their own and be left with one or none."""
        model = self.threat_model
        given = whole(self.min_survivors, "min_survivors", 0, model.num_clients)
        msgspec.structs.force_setattr(self, "min_survivors", given)
        least = model.max_corrupt + 2
        if least > model.num_clients:
            raise ParameterError(
                f"{model.max_corrupt} of {model.num_clients} clients may be corrupt, so that no sum would hide "
                "anybody: invite more, or assume fewer corrupt"
            )
        if given == 0:
            msgspec.structs.force_setattr(self, "min_survivors", max(model.min_survivors, least))
        elif given < least:
            raise ParameterError(
                f"min_survivors is {given}, but must be at least {least}, two more than may be corrupt; or 0 for as "
                "many as are left after the dropouts"
            )
        if self.topology.graph is GraphKind.RANDOM_CYCLES and self.min_survivors < model.min_survivors:
            raise ParameterError(
                f"min_survivors is {given}, but on random cycles no more than dropout_fraction may be late, which "
                f"leaves {model.min_survivors}: raise either of them, or use GraphKind.COMPLETE"
            )

    def _check_private(self) -> None:
        """Refuse what would undo the noise: plain vectors beside private ones, small or split sums."""
        private = [isinstance(spec, PrivateSpec) for spec in self.vectors]
        if not any(private):
            return
        if not all(private):
            plain = self.vectors[private.index(False)].name
            raise ParameterError(f"vector {plain!r} has no noise beside private ones: make all of them private")
        units = sorted({str(spec.unit) for spec in self.vectors if isinstance(spec, PrivateSpec)})
        if len(units) > 1:
            raise ParameterError(
                f"the vectors have noise for different units, {' and '.join(units)}: choose one of them"
            )
        if any(spec.length < 1 for spec in self.vectors):
            raise ParameterError("a private vector has at least one coordinate: leave the empty one out")
        if self.threat_model.adversary.may_equivocate and not self.topology.complete:
            raise ParameterError(
                f"against a {self.threat_model.adversary} the sum over a sparse graph may be of little more than half "
                "of the honest clients, with less noise than it was made for: use GraphKind.COMPLETE"
            )

    @property
    def num_clients(self) -> int:
        """How many are invited."""
        return self.threat_model.num_clients

    @property
    def weighted(self) -> bool:
        """Whether any vector is weighted, so that weights travel too."""
        return any(isinstance(spec, FloatVector) and spec.weighted for spec in self.vectors)

    @cached_property
    def topology(self) -> Topology:
        """Degree, threshold and kind of graph that follow from the threat model."""
        return derive_topology(self.threat_model, self.graph or GraphKind.RANDOM_CYCLES)

    @property
    def private(self) -> bool:
        """Whether the vectors carry noise: then all of them do."""
        return isinstance(self.vectors[0], PrivateSpec)

    @cached_property
    def codecs(self) -> tuple[VectorCodec, ...]:
        """The masked vectors in the order in which they travel: the named ones, the weights, the clipped counts."""
        named = (codec_of(spec, self.num_clients, self.max_weight, self.vectors) for spec in self.vectors)
        return (*named, *extra_codecs(self.vectors, self.num_clients, self.max_weight))

    @property
    def unit(self) -> Unit:
        """Whose change the noise covers: what a client hands in, or one of its records. Without noise: the client."""
        spec = self.vectors[0]
        return spec.unit if isinstance(spec, PrivateSpec) else Unit.CLIENT

    def honest(self, survivors: int) -> int:
        """Return how many of so many survivors are honest at least, and so have noise in the sum that nobody knows."""
        return survivors - self.threat_model.max_corrupt

    def event(self, survivors: int, adjacency: Adjacency = Adjacency.ADD_REMOVE, unit: Unit | None = None) -> Event:
        """Return what a private round of so many inputs reveals, for an accountant.

        Args:
            survivors: how many inputs the sum has.
            adjacency: of data sets that differ in one unit.
            unit: None for the round's own. CLIENT asks a round with noise for records what it is worth for all that a
                client adds, which is little. RECORD asks a round with noise for clients what it is worth for a record:
                as much as for a client that could be any other, since all that a client hands in may hang on a record.

        Raises:
            ParameterError: the round is not private, or all of so many may be corrupt; or there is no such unit.
        """
        if not self.private:
            raise ParameterError("the round has no noise, and so no event for an accountant")
        honest = self.honest(survivors)
        if honest < 1:
            raise ParameterError(
                f"{survivors} survivors of whom {self.threat_model.max_corrupt} may be corrupt give no privacy"
            )
        try:
            asked = self.unit if unit is None else named(Unit, unit)
        except DpError as error:
            raise ParameterError(str(error)) from None
        events = [event for codec in self.codecs if (event := codec.event(honest, adjacency, asked)) is not None]
        return events[0] if len(events) == 1 else Composed(tuple(events))

    @property
    def modulus_bits(self) -> int:
        """Bits of a residue of the widest named vector."""
        return max(codec.modulus_bits for codec in self.codecs[: len(self.vectors)])

    @property
    def input_bytes(self) -> int:
        """Bytes of one client's masked vectors on the wire."""
        return sum(codec.packed_bytes for codec in self.codecs)

    def encode(
        self,
        values: Values,
        weight: int = 1,
        *,
        session_id: bytes,
        random: RandomBytes = SYSTEM,
    ) -> list[Encoded]:
        """Encode a client's named vectors and what travels behind them, noise included where there is.

        Returns:
            One `Encoded` for each codec, in order.

        Raises:
            EncodingError: a vector is missing, unknown, of another length or dtype, or has a value that cannot be
                encoded; or the weight is out of range.
        """
        expected = {spec.name for spec in self.vectors if not isinstance(spec, PrivateVotes)}
        if values.keys() != expected:
            raise EncodingError(f"the round sums {sorted(expected)}, but {sorted(values)} were given")
        check_weight(weight, self.max_weight)
        if weight != 1 and not self.weighted:
            raise EncodingError("this round is not weighted: leave the weight 1")
        named = self.codecs[: len(self.vectors)]
        voted = {spec.name: spec.of for spec in self.vectors if isinstance(spec, PrivateVotes)}
        # What votes are on is read twice.
        given = {name: _kept(value) if name in voted.values() else value for name, value in values.items()}
        encoded = [
            codec.encode(given[voted.get(codec.name, codec.name)], weight=weight, session_id=session_id, random=random)
            for codec in named
        ]
        clipped = [
            done.num_clipped for spec, done in zip(self.vectors, encoded, strict=True) if isinstance(spec, FloatVector)
        ]
        behind = {WEIGHT: np.array([weight]), CLIPPED: np.array(clipped, dtype=np.int64)}
        for codec in self.codecs[len(named) :]:
            encoded.append(codec.encode(behind[codec.name], session_id=session_id, random=random))
        return encoded


def _settle(spec: VectorSpec) -> None:
    """Make numpy's scalars Python's, for others are written nowhere; check what no codec does."""
    for field in spec.__struct_fields__:
        if isinstance(value := getattr(spec, field), np.generic):
            msgspec.structs.force_setattr(spec, field, value.item())
    if not isinstance(spec.name, str):
        raise ParameterError(f"a vector's name is {spec.name!r}, but must be a text")
    length = whole(spec.length, f"length of {spec.name!r}", 0, MAX_LENGTH)
    msgspec.structs.force_setattr(spec, "length", length)
    if isinstance(spec, FloatVector):
        weighted = boolean(spec.weighted, f"weighted of {spec.name!r}")
        msgspec.structs.force_setattr(spec, "weighted", weighted)


def _kept(value: Any) -> Any:
    """Return blocks of records as a list; anything else as it is."""
    return list(value) if isinstance(value, Iterator) else value


def written_down(config: RoundConfig) -> RoundConfig:
    """Return the configuration as clients will read it, so that both sides hash the same: 1 becomes 1.0 for a float.

    Raises:
        ParameterError: it cannot be written down, or nobody would accept its length.
    """
    try:
        written = msgspec.msgpack.encode(config)
        read = msgspec.msgpack.decode(written, type=RoundConfig)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"the configuration cannot be written down: {error}") from None
    if len(written) > MAX_CONFIG_BYTES:
        raise ParameterError(
            f"the configuration takes {len(written)} bytes, but at most {MAX_CONFIG_BYTES} are accepted: shorten names"
        )
    return read
