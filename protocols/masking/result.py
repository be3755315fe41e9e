"""What a round has learned: the sums, and who is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.accounting import epsilon_of
from dp.events import Event
from dp.sensitivity import Adjacency, Unit
from secagg.encoding import Levels
from secagg.errors import ParameterError, StateError
from secagg.residues import Residues

from ..inputs.codec import VectorCodec
from ..inputs.codecs import CLIPPED, WEIGHT
from ..inputs.vectors import FloatVector
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
        num_clipped: name of a vector of floats -> how many coordinates the survivors' clips have changed in all; empty
            in private rounds.

    The levels of private vectors are noisy sums of prepared (rotated, scaled) integers; `sum` and `mean` undo that.
    """

    survivors: frozenset[str]
    total_weight: int
    levels: Mapping[str, Levels] = field(repr=False)
    excluded: Mapping[str, str]
    liars: frozenset[str]
    num_clipped: Mapping[str, int]
    _config: RoundConfig = field(repr=False)
    _session_id: bytes = field(repr=False)

    @property
    def config(self) -> RoundConfig:
        """What the round was about."""
        return self._config

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
        """Decode the unmasked vectors; raise EncodingError for a sum that its summands cannot reach."""
        levels = {
            codec.name: codec.decode(residues, num_summands=len(survivors))
            for codec, residues in zip(config.codecs, sums, strict=True)
        }
        weights, clipped = levels.pop(WEIGHT, None), levels.pop(CLIPPED, ())
        total_weight = len(survivors) if weights is None else int(weights[0])
        floats = (spec.name for spec in config.vectors if isinstance(spec, FloatVector))
        num_clipped = dict(zip(floats, map(int, clipped), strict=True))
        return cls(survivors, total_weight, levels, dict(excluded), frozenset(liars), num_clipped, config, session_id)

    def sum(self, name: str) -> npt.NDArray[Any]:
        """Return a vector's sum: float64 in the units of its values, weighted where it is; int64 for integers.

        Private vectors: with the noise. Private counts: to the nearest integer, 0 where below the least count.

        Raises:
            ParameterError: the round has no such vector.
        """
        codec = self._codec(name)
        return codec.release(self.levels[name], session_id=self._session_id)

    def mean(self, name: str) -> npt.NDArray[np.float64]:
        """Return a vector's mean over the survivors, by weight where it is weighted: float64 (length,).

        Raises:
            ParameterError: the round has no such vector.
            StateError: the total weight is zero: nobody has a say.
        """
        divisor = self.total_weight if self._codec(name).weighted else len(self.survivors)
        if divisor == 0:
            raise StateError("the survivors' total weight is zero: there is no mean")
        return np.asarray(self.sum(name) / divisor, dtype=np.float64)

    def event(self, adjacency: Adjacency = Adjacency.ADD_REMOVE, unit: Unit | None = None) -> Event:
        """Return what a private round has revealed, given who survived, for `dp.Accountant` or a ledger.

        `unit` is as in `RoundConfig.event`: None for the round's own.

        At least what `RoundConfig.event` promised: more survivors have brought more noise. Who survives must not
        depend on earlier results, unless a ledger adds the events up (`Composition.RENYI`).

        Raises:
            ParameterError: the round was not private.
        """
        return self._config.event(len(self.survivors), adjacency, unit)

    def epsilon(self, delta: float, adjacency: Adjacency = Adjacency.ADD_REMOVE, unit: Unit | None = None) -> float:
        """Return the epsilon at delta that this round, by itself, has cost each unit. Raises as `event`."""
        return epsilon_of(self.event(adjacency, unit), delta)

    def _codec(self, name: str) -> VectorCodec:
        for codec in self._config.codecs:
            if codec.name == name and name in self.levels:
                return codec
        raise ParameterError(f"the round has no vector {name!r}, but {sorted(self.levels)}")
