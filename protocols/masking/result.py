"""What a round has learned: the sums, and who is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.accounting import epsilon_of
from dp.events import Event
from dp.sensitivity import Adjacency
from secagg.encoding import FixedPoint, Integers, Levels
from secagg.errors import StateError
from secagg.residues import Residues

from ..inputs.codecs import WEIGHT_LANE, Lane
from ..inputs.private_codecs import NoisyCounts, NoisyFloats
from . import derivations
from .config import RoundConfig


@dataclass(frozen=True)
class RoundResult:
    """The outcome of a completed round.

    Attributes:
        survivors: the names of the clients whose inputs are in the sums.
        total_weight: the sum of their weights; their number where the round is not weighted.
        levels: name -> the exact integer sums of encoded values, int64 (length,).
        excluded: name -> why its messages were refused.
        liars: clients that gave wrong shares, which were corrected.

    The levels of private vectors are noisy sums of prepared (rotated, scaled) integers; `sum` and `mean` undo that.
    """

    survivors: frozenset[str]
    total_weight: int
    levels: Mapping[str, Levels]
    excluded: Mapping[str, str]
    liars: frozenset[str]
    _config: RoundConfig
    _session_id: bytes

    @classmethod
    def decode(
        cls,
        config: RoundConfig,
        session_id: bytes,
        sums: Sequence[Residues],
        survivors: frozenset[str],
        excluded: Mapping[str, str],
        liars: Iterable[str],
    ) -> RoundResult:
        """Decode the unmasked lanes; raise EncodingError for a sum that its summands cannot reach."""
        levels = {}
        for lane, residues in zip(config.lanes, sums, strict=True):
            codec = lane.codec
            decode = codec.decode_sum if isinstance(codec, Integers) else codec.decode_levels
            levels[lane.name] = decode(residues, num_summands=len(survivors))
        weights = levels.pop(WEIGHT_LANE, None)
        total_weight = len(survivors) if weights is None else int(weights[0])
        return cls(survivors, total_weight, levels, dict(excluded), frozenset(liars), config, session_id)

    def sum(self, name: str) -> npt.NDArray[Any]:
        """Return a vector's sum: float64 in the units of its values, weighted where it is; int64 for integers.

        Private vectors: with the noise. Private counts: to the nearest integer, 0 where below the least count.
        """
        levels = self.levels[name]
        match self._lane(name).codec:
            case NoisyFloats() | NoisyCounts() as codec:
                return codec.restore(levels, derivations.rotation_seed(self._session_id, name))
            case FixedPoint() as codec:
                return levels / codec.scale
            case Integers():
                return levels

    def mean(self, name: str) -> npt.NDArray[np.float64]:
        """Return a vector's mean over the survivors, by weight where it is weighted: float64 (length,).

        Raises:
            StateError: the total weight is zero: nobody has a say.
        """
        divisor = self.total_weight if self._lane(name).weighted else len(self.survivors)
        if divisor == 0:
            raise StateError("the survivors' total weight is zero: there is no mean")
        return np.asarray(self.sum(name) / divisor, dtype=np.float64)

    def event(self, adjacency: Adjacency = Adjacency.ADD_REMOVE) -> Event:
        """Return what a private round has revealed, given who survived, for `dp.Accountant` or a ledger.

        At least what `RoundConfig.event` promised: more survivors have brought more noise. Who survives must not
        depend on earlier results, unless a ledger adds the events up (`Composition.RENYI`).

        Raises:
            ParameterError: the round was not private.
        """
        return self._config.event(len(self.survivors), adjacency)

    def epsilon(self, delta: float, adjacency: Adjacency = Adjacency.ADD_REMOVE) -> float:
        """Return the epsilon at delta that this round, by itself, has cost each client. Raises as `event`."""
        return epsilon_of(self.event(adjacency), delta)

    def _lane(self, name: str) -> Lane:
        return next(lane for lane in self._config.lanes if lane.name == name)
