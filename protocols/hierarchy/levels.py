"""What a hierarchy is: its levels, the configuration of each level's sessions, and what their operators learn.

All of it follows from terms that name no group and no client: a party needs the terms and its own group, and can tell
the configuration of every session that it is invited to. Widths follow from the most members of each level, so that no
sum overflows at any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import msgspec
import numpy as np

from secagg.derivation import Label, digest
from secagg.errors import ParameterError

from ..core.machine import Inputs, Values
from ..core.numbers import real, whole
from ..core.threat_model import Adversary, ThreatModel
from ..inputs.codec import VectorCodec
from ..inputs.vectors import FloatVector, IntegerVector, PlainSpec
from ..masking.config import MAX_VECTORS, RoundConfig

MAX_LEVELS = 16
MAX_MEMBERS = 100_000
"""Members of one group."""
_RESERVED = "hierarchy "
WEIGHT, CLIPPED = _RESERVED + "weight", _RESERVED + "clipped"
"""The vectors in which weights and clipped counts travel above the lowest level."""
_OWN_VECTORS = 3


class Level(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One level: groups of so many members, each a session with this threat model.

    Attributes:
        name: of one group of the level, such as "team"; it is written in tables and errors.
        most: members of a group at most, from 2.
        least: members of a group at least; as many as `most` when 0.
        corrupt_fraction: the largest fraction of a group's members that colludes with operators.
        dropout_fraction: the largest fraction of them that vanishes; a group that loses more is left out above.
        adversary: what the operator of a group may do.

    Raises:
        ParameterError: a value is out of range, or the fractions leave too few honest survivors.
    """

    name: str
    most: int
    least: int = 0
    corrupt_fraction: float = 0.1
    dropout_fraction: float = 0.1
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER

    def __post_init__(self) -> None:
        """Check every field."""
        set_field = msgspec.structs.force_setattr
        if not isinstance(self.name, str) or not self.name.isprintable() or not self.name:
            raise ParameterError(f"a level's name is {self.name!r}, but must be printable text")
        set_field(self, "most", whole(self.most, f"most of {self.name!r}", 2, MAX_MEMBERS))
        least = whole(self.least, f"least of {self.name!r}", 0, self.most) or self.most
        set_field(self, "least", whole(least, f"least of {self.name!r}", 2))
        for name in ("corrupt_fraction", "dropout_fraction"):
            set_field(self, name, float(real(getattr(self, name), name, 0, 1)))
        set_field(self, "adversary", self.model(self.least).adversary)

    def model(self, members: int) -> ThreatModel:
        """Return the threat model of a group; raise ParameterError if the level has none of so many members."""
        members = whole(members, f"the number of members of a {self.name}", self.least, self.most)
        return ThreatModel(members, self.corrupt_fraction, self.dropout_fraction, self.adversary)

    @property
    def fewest(self) -> int:
        """The fewest members in the sum of a group: no larger group has fewer."""
        return _fewest(self.model(self.least))

    @property
    def fewest_honest(self) -> int:
        """The fewest in it that are not corrupt, from 2; not always those of the smallest group."""
        return _fewest_honest(self)


@dataclass(frozen=True)
class Learned:
    """What the operator of a group learns by itself: one sum, of at least so many inputs.

    Attributes:
        level: of the group.
        inputs: clients' inputs in the sum, at least.
        honest: the same without those of corrupt members, of any of the levels: what hides one input from an operator
            that all of these help. Corrupt operators below bring their own groups' sums along.
        members: members of the group in the sum, at least; their totals are not told apart.
    """

    level: str
    inputs: int
    honest: int
    members: int


class Hierarchy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, dict=True):
    """The terms of a hierarchy: what is summed, and through which levels. Equal terms make equal sessions.

    Attributes:
        levels: from the lowest, whose members are clients, to the highest, which has one group. 1 to 16.
        vectors: what each client sends: vectors of floats and integers, without noise, 1 to 61.
        max_weight: the largest weight of a client; 1 means that there are no weights.

    Raises:
        ParameterError: a level has no session, a sum does not fit in 64 bits, a name is taken; or a vector has noise.
    """

    levels: tuple[Level, ...]
    vectors: tuple[PlainSpec, ...]
    max_weight: int = 1

    def __post_init__(self) -> None:
        """Derive the sessions of all levels once, so that what is impossible is refused here."""
        set_field = msgspec.structs.force_setattr
        if not isinstance(self.levels, tuple | list) or not all(isinstance(level, Level) for level in self.levels):
            raise ParameterError("levels must be a tuple of Level")
        if not isinstance(self.vectors, tuple | list):
            raise ParameterError("vectors must be a tuple of FloatVector and IntegerVector")
        if not 1 <= len(self.levels) <= MAX_LEVELS:
            raise ParameterError(f"a hierarchy has 1 to {MAX_LEVELS} levels, not {len(self.levels)}")
        names = [level.name for level in self.levels]
        if len(set(names)) != len(names):
            raise ParameterError(f"two levels have the same name: {names}")
        set_field(self, "levels", tuple(self.levels))
        set_field(self, "max_weight", whole(self.max_weight, "max_weight", 1))
        for spec in self.vectors:
            if not isinstance(spec, PlainSpec):
                raise ParameterError(
                    "the vectors of a hierarchy have no noise: each group's operator sees its sum, so that each group "
                    "would bear all of it; run groups with a plan for each instead"
                )
            if str(spec.name).startswith(_RESERVED):
                raise ParameterError(f"vector {spec.name!r} has a name that is the hierarchy's own")
        most = MAX_VECTORS - _OWN_VECTORS
        if not 1 <= len(self.vectors) <= most:
            raise ParameterError(f"a hierarchy has 1 to {most} vectors, not {len(self.vectors)}")
        set_field(self, "vectors", _written_down(self.vectors))
        for place, level in enumerate(self.levels):
            for members in (level.least, level.most):
                self.config(place, members)

    @cached_property
    def digest(self) -> bytes:
        """What tells these terms from any others, 32 bytes. The sessions of all levels have it in their names."""
        return digest(Label.HIERARCHY_TERMS, msgspec.msgpack.encode(self))

    @property
    def bound(self) -> str:
        """The name of the vector that binds a session to these terms.

        It is empty at the lowest level. Above, it counts who is in a sum: clients, then groups of each level below.
        """
        return _RESERVED + self.digest.hex()

    @property
    def weighted(self) -> bool:
        """Whether any vector is weighted, so that weights travel too."""
        return any(isinstance(spec, FloatVector) and spec.weighted for spec in self.vectors)

    @property
    def floats(self) -> tuple[FloatVector, ...]:
        """The vectors of floats, whose clipped coordinates are counted."""
        return tuple(spec for spec in self.vectors if isinstance(spec, FloatVector))

    def clients_below(self, level: int) -> int:
        """Return how many clients one member of a group at this level, from 0, stands for at most."""
        return math.prod(each.most for each in self.levels[: self._place(level)])

    def config(self, level: int, members: int) -> RoundConfig:
        """Return the configuration of a group's session.

        Args:
            level: from 0, the lowest.
            members: of the group.

        Raises:
            ParameterError: there is no such level, or none of its groups has so many members.
        """
        model = self.levels[self._place(level)].model(members)
        if level == 0:
            return RoundConfig(model, (*self.vectors, IntegerVector(self.bound, 0)), max_weight=self.max_weight)
        clients = self.clients_below(level)
        vectors = []
        for spec in self.vectors:
            low, high = self.range_of(spec)
            vectors.append(IntegerVector(spec.name, spec.length, high * clients, low * clients))
        vectors.append(IntegerVector(self.bound, level + 1, clients))
        if self.weighted:
            vectors.append(IntegerVector(WEIGHT, 1, clients * self.max_weight))
        if self.floats:
            longest = max(1, *(spec.length for spec in self.floats))
            vectors.append(IntegerVector(CLIPPED, len(self.floats), clients * longest))
        return RoundConfig(model, tuple(vectors))

    def inputs(self, values: Values, weight: int = 1) -> Inputs:
        """Return what a client hands in: its vectors by name, its weight, and nothing in the vector that binds."""
        return Inputs({**values, self.bound: np.empty(0, dtype=np.int64)}, weight)

    @cached_property
    def codecs(self) -> tuple[VectorCodec, ...]:
        """How clients encode the vectors, in order."""
        lowest = RoundConfig(self.levels[0].model(self.levels[0].least), self.vectors, max_weight=self.max_weight)
        return lowest.codecs[: len(self.vectors)]

    def range_of(self, spec: PlainSpec) -> tuple[int, int]:
        """Return the least and the largest integer that an encoded coordinate of one client's vector may be."""
        if isinstance(spec, IntegerVector):
            return spec.min_value, spec.max_value
        most = ((1 << (spec.value_bits - 1)) - 1) * (self.max_weight if spec.weighted else 1)
        return -most, most

    @property
    def learned(self) -> tuple[Learned, ...]:
        """What the operator of a group learns, level by level."""
        rows, inputs, honest = [], 1, 1
        for level in self.levels:
            inputs, honest = inputs * level.fewest, honest * level.fewest_honest
            rows.append(Learned(level.name, inputs, honest, level.fewest))
        return tuple(rows)

    def _place(self, level: int) -> int:
        return whole(level, "level", 0, len(self.levels) - 1)


def _written_down(vectors: Iterable[PlainSpec]) -> tuple[PlainSpec, ...]:
    """Return the vectors as everyone reads them, so that all sides hash the same: 1 becomes 1.0 for a float."""
    try:
        return msgspec.msgpack.decode(msgspec.msgpack.encode(tuple(vectors)), type=tuple[PlainSpec, ...])
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ParameterError(f"the vectors cannot be written down: {error}") from None


def _fewest(model: ThreatModel) -> int:
    """As `RoundConfig` has it, where nothing else is stated."""
    return max(model.min_survivors, model.max_corrupt + 2)


@lru_cache(maxsize=256)
def _fewest_honest(level: Level) -> int:
    models = map(level.model, range(level.least, level.most + 1))
    return min(_fewest(model) - model.max_corrupt for model in models)
