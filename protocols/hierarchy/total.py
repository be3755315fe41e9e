"""What a group's session has summed, with all that is below it: whole numbers, which go up as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.encoding import Levels
from secagg.errors import EncodingError, ParameterError, StateError

from ..core.machine import Inputs
from ..inputs.codec import VectorCodec
from ..inputs.vectors import FloatVector
from ..masking.result import RoundResult
from .levels import CLIPPED, WEIGHT, Hierarchy


@dataclass(frozen=True)
class Total:
    """The sum over a group and all groups below it: exactly what one session over the same clients would sum.

    Attributes:
        level: of the group, from 0.
        survivors: names of the group's members that are in it.
        num_clients: how many clients are in it.
        groups: how many groups of each level are in it, from the lowest to this one, of which there is 1.
        total_weight: the sum of the clients' weights; their number where there are no weights.
        levels: name -> the exact integer sums of encoded values, int64 (length,).
        num_clipped: name of a vector of floats -> how many coordinates the clients' clips have changed in all.
    """

    level: int
    survivors: frozenset[str]
    num_clients: int
    groups: tuple[int, ...]
    total_weight: int
    levels: Mapping[str, Levels] = field(repr=False)
    num_clipped: Mapping[str, int]
    _hierarchy: Hierarchy = field(repr=False)

    @classmethod
    def of(cls, hierarchy: Hierarchy, level: int, result: RoundResult) -> Total:
        """Return what the result of a group's session says.

        Raises:
            ParameterError: the result lacks what a session of this hierarchy and level sums.
            EncodingError: what the members have handed up cannot be what groups of these levels have.
        """
        levels = dict(result.levels)
        counts = levels.pop(hierarchy.bound, None)
        if counts is None or counts.size != (level + 1 if level else 0):
            raise ParameterError(f"the result is not of a session of this hierarchy at level {level}")
        members = len(result.survivors)
        if level == 0:
            clients = members
            groups: tuple[int, ...] = (1,)
            weight, clipped = result.total_weight, dict(result.num_clipped)
        else:
            clients, *below = map(int, counts)
            groups = (*below, 1)
            weight = int(levels.pop(WEIGHT)[0]) if hierarchy.weighted else clients
            names = (spec.name for spec in hierarchy.floats)
            clipped = dict(zip(names, map(int, levels.pop(CLIPPED, ())), strict=True))
        total = cls(level, result.survivors, clients, groups, weight, levels, clipped, hierarchy)
        total._check(members)
        return total

    def handed_up(self) -> Inputs:
        """Return the group's inputs in the session of the level above."""
        hierarchy = self._hierarchy
        values: dict[str, Any] = dict(self.levels)
        values[hierarchy.bound] = np.array([self.num_clients, *self.groups], dtype=np.int64)
        if hierarchy.weighted:
            values[WEIGHT] = np.array([self.total_weight], dtype=np.int64)
        if hierarchy.floats:
            values[CLIPPED] = np.array([self.num_clipped[spec.name] for spec in hierarchy.floats], dtype=np.int64)
        return Inputs(values)

    def sum(self, name: str) -> npt.NDArray[Any]:
        """Return a vector's sum: float64 in the units of its values, weighted where it is; int64 for integers.

        Raises:
            ParameterError: there is no such vector.
        """
        return self._codec(name).release(self.levels[name], session_id=b"")

    def mean(self, name: str) -> npt.NDArray[np.float64]:
        """Return a vector's mean over the clients, by weight where it is weighted: float64 (length,).

        Raises:
            ParameterError: there is no such vector.
            StateError: the total weight is zero: nobody has a say.
        """
        divisor = self.total_weight if self._codec(name).weighted else self.num_clients
        if divisor == 0:
            raise StateError("the survivors' total weight is zero: there is no mean")
        return np.asarray(self.sum(name) / divisor, dtype=np.float64)

    def _codec(self, name: str) -> VectorCodec:
        for codec in self._hierarchy.codecs:
            if codec.name == name:
                return codec
        raise ParameterError(f"the hierarchy has no vector {name!r}, but {sorted(self.levels)}")

    def _check(self, members: int) -> None:
        """Refuse counts that groups of these levels cannot have, and sums that so many clients cannot reach."""
        hierarchy = self._hierarchy
        if self.level and self.groups[-2] != members:
            raise EncodingError(f"{members} operators handed up totals of {self.groups[-2]}: one says what is not so")
        counted = (self.num_clients, *self.groups)
        for below, above, level in zip(counted, counted[1:], hierarchy.levels, strict=False):
            if self.level and not level.fewest * above <= below <= level.most * above:
                raise EncodingError(
                    f"{above} sums of a {level.name} were said to have {below} members, but have {level.fewest} to "
                    f"{level.most} each: some operator handed up what is no total"
                )
        if not 0 <= self.total_weight <= self.num_clients * hierarchy.max_weight:
            raise EncodingError(f"{self.num_clients} clients were said to have a weight of {self.total_weight}")
        for name, count in self.num_clipped.items():
            if count > self.num_clients * self.levels[name].size:
                raise EncodingError(f"{count} coordinates of {name!r} were said to be clipped, more than there are")
        for spec in hierarchy.vectors:
            low, high = hierarchy.range_of(spec)
            times = self.num_clients
            if isinstance(spec, FloatVector) and spec.weighted:  # a sum of weights times levels, each within range
                low, high, times = low // hierarchy.max_weight, high // hierarchy.max_weight, self.total_weight
            sums = self.levels[spec.name]
            if sums.size and not low * times <= int(sums.min()) <= int(sums.max()) <= high * times:
                raise EncodingError(
                    f"the sum of {spec.name!r} is beyond what {self.num_clients} clients can reach: some operator "
                    "handed up what is no total"
                )
