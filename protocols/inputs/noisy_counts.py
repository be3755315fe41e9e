"""Private histograms: counts in steps, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.distributed import NoiseShare
from dp.sensitivity import Unit
from secagg.encoding import Encoded, Levels
from secagg.errors import ParameterError
from secagg.randomness import RandomBytes

from .noisy_codec import MAX_STEPS, NoisyCodec
from .records import blocks, check_unit, counted
from .vectors import PrivateCounts


@dataclass(frozen=True)
class NoisyCounts(NoisyCodec):
    """How one private histogram is encoded: counts in steps, and noise.

    Raises:
        ParameterError: a value of the histogram's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateCounts
    num_summands: int

    def __post_init__(self) -> None:
        """Check what is this kind's own, and that the largest sum fits."""
        self.check_whole(("max_total", 1), ("scale", 1), ("least_count", 0))
        if self.max_level > MAX_STEPS:
            raise ParameterError(
                f"max_total * scale of {self.spec.name!r} is {self.max_level} steps, but may be at most {MAX_STEPS}"
            )
        check_unit(self.spec)
        self.check_room()

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""
        bound = float(self._unit_total * self.spec.scale)
        return self.noise_share(self.spec.length, bound, bound, nonnegative=True)

    @property
    def _unit_total(self) -> int:
        """The most that the counts of one unit sum to."""
        return self.spec.max_total if self.spec.unit is Unit.CLIENT else self.spec.max_per_record

    @property
    def length(self) -> int:
        """Residues of an encoded vector."""
        return self.spec.length

    @property
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise; and the most that they sum to."""
        return self.spec.max_total * self.spec.scale

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        """Encode counts with fresh noise; a client that has too many has all of them changed."""
        levels, changed = self.levels(value, b"", random=random)
        return self.with_noise(levels, changed, random)

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

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy counts, int64 (spec.length,): to the nearest integer, and 0 for those below least_count."""
        counts = np.rint(levels / self.spec.scale).astype(np.int64)
        return np.where(counts < max(0, self.spec.least_count), 0, counts)
