"""What a round has learned: the sums, and who is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.encoding import FixedPoint, Integers, Levels
from secagg.errors import StateError
from secagg.residues import Residues

from .configuration import WEIGHT_LANE, Lane, RoundConfig


@dataclass(frozen=True)
class RoundResult:
    """The outcome of a completed round.

    Attributes:
        survivors: the ids of the clients whose inputs are in the sums.
        total_weight: the sum of their weights; their number where the round is not weighted.
        levels: name -> the exact integer sums of encoded values, int64 (length,).
        excluded: client id -> why its messages were refused.
        liars: clients that gave wrong shares, which were corrected.
    """

    survivors: frozenset[int]
    total_weight: int
    levels: Mapping[str, Levels]
    excluded: Mapping[int, str]
    liars: frozenset[int]
    _lanes: Mapping[str, Lane]

    @classmethod
    def decode(
        cls,
        config: RoundConfig,
        sums: Sequence[Residues],
        survivors: frozenset[int],
        excluded: Mapping[int, str],
        liars: Iterable[int],
    ) -> RoundResult:
        """Decode the unmasked lanes; raise EncodingError for a sum that its summands cannot reach."""
        levels = {}
        for lane, residues in zip(config.lanes, sums, strict=True):
            if isinstance(lane.codec, Integers):
                levels[lane.name] = lane.codec.decode_sum(residues, num_summands=len(survivors))
            else:
                levels[lane.name] = lane.codec.decode_levels(residues, num_summands=len(survivors))
        weights = levels.pop(WEIGHT_LANE, None)
        total_weight = len(survivors) if weights is None else int(weights[0])
        lanes = {lane.name: lane for lane in config.lanes}
        return cls(survivors, total_weight, levels, dict(excluded), frozenset(liars), lanes)

    def sum(self, name: str) -> npt.NDArray[Any]:
        """Return a vector's sum: float64 in the units of its values, weighted where it is; int64 for integers."""
        codec = self._lanes[name].codec
        return self.levels[name] / codec.scale if isinstance(codec, FixedPoint) else self.levels[name]

    def mean(self, name: str) -> npt.NDArray[np.float64]:
        """Return a vector's mean over the survivors, by weight where it is weighted: float64 (length,).

        Raises:
            StateError: the total weight is zero: nobody has a say.
        """
        divisor = self.total_weight if self._lanes[name].weighted else len(self.survivors)
        if divisor == 0:
            raise StateError("the survivors' total weight is zero: there is no mean")
        return np.asarray(self.sum(name) / divisor, dtype=np.float64)
