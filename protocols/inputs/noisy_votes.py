"""Votes on the clip of a private vector: their sum in steps, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.distributed import NoiseShare
from secagg.encoding import Encoded, Levels
from secagg.errors import ParameterError
from secagg.randomness import RandomBytes

from .noisy_codec import MAX_STEPS, NoisyCodec
from .records import blocks, check_unit, votes
from .vectors import PrivateVector, PrivateVotes


@dataclass(frozen=True)
class NoisyVotes(NoisyCodec):
    """How the votes on a private vector's clip are encoded: their sum in steps, and noise.

    Raises:
        ParameterError: a value of the votes' is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateVotes
    num_summands: int
    on: PrivateVector

    def __post_init__(self) -> None:
        """Check what is this kind's own, and that the largest sum fits."""
        self.check_whole(("scale", 1))
        check_unit(self.spec)
        check_unit(self.on)
        if self.spec.length != 1 or self.spec.unit is not self.on.unit:
            raise ParameterError(f"the votes {self.spec.name!r} are one number, of the unit of {self.on.name!r}")
        if self.max_level > MAX_STEPS:
            raise ParameterError(
                f"max_records * scale of {self.spec.name!r} is {self.max_level} steps, but may be at most {MAX_STEPS}"
            )
        self.check_room()

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""
        return self.noise_share(1, float(self.spec.scale), float(self.spec.scale))

    @property
    def length(self) -> int:
        """One residue."""
        return 1

    @property
    def max_level(self) -> int:
        """The most that one client's votes may come to, without noise."""
        return self.spec.max_records * self.spec.scale

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        return self.with_noise(*self.levels(value, b"", random=random), random)

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

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy sum of votes, float64 (1,), for `AdaptiveClip.update_from_noisy`."""
        return levels / self.spec.scale
