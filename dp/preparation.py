"""How a client prepares its vector for a sum with shared noise: clip, rotate, scale, round; and how the sum comes back.

Source: Kairouz, Liu, Steinke (2021), algorithms 1 and 2. The norm of the rounded vector is bounded always, not just in
expectation, and the noise is calibrated to that bound. The rotation spreads a vector evenly over its entries, so that
few bits serve each; entries beyond `max_level` all the same, which has a probability below 2**-20 a vector, are cut,
so that sums cannot overflow whatever the input.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .arrays import finite, readable
from .clipping import clip, clip_rows, conditionally_round_rows, rounded_l1_bound, rounded_l2_bound
from .errors import PrivacyParameterError
from .randomness import RandomBytes, WordStream
from .rational import number
from .rotation import padded_length, rotate_back, rotate_rows
from .sensitivity import Norm, check_count

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

BETA = math.exp(-0.5)
"""How readily a rounding is rejected (Kairouz, Liu, Steinke 2021, section 4.2)."""
CUT_BITS = 20
"""A rotated vector has entries beyond `max_level` with a probability below 2**-CUT_BITS."""
_MAX_NORM = 2.0**29


@dataclass(frozen=True)
class Preparation:
    """How vectors of `length` floats become integers of bounded norm.

    Args:
        length: number of entries, at least 1.
        l2_clip: longer vectors are scaled down to this L2 norm; > 0, in the units of the values.
        scale: integer steps to a unit; > 0.

    Raises:
        PrivacyParameterError: an argument out of range; a clip of less than half a step, or of more than 2**29 steps.
    """

    length: int
    l2_clip: float
    scale: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", check_count(self.length, "length"))
        for name in ("l2_clip", "scale"):
            object.__setattr__(self, name, number(getattr(self, name), name))
        if not 0.5 <= self.norm <= _MAX_NORM:
            raise PrivacyParameterError(
                f"l2_clip * scale is {self.norm:.4g} steps, but must lie in [0.5, 2**29]: "
                f"{'raise' if self.norm < 1 else 'lower'} the scale"
            )

    @property
    def dimension(self) -> int:
        """Entries of a prepared vector: the next power of two from `length`."""
        return padded_length(self.length)

    @property
    def norm(self) -> float:
        """The clip in steps."""
        return self.l2_clip * self.scale

    @cached_property
    def l2_bound(self) -> float:
        """The L2 norm that no prepared vector exceeds, in steps."""
        return rounded_l2_bound(self.norm, self.dimension, BETA)

    @property
    def l1_bound(self) -> float:
        """The L1 norm that no prepared vector exceeds, in steps."""
        return rounded_l1_bound(self.l2_bound, self.dimension)

    @property
    def max_level(self) -> int:
        """The magnitude that no prepared entry exceeds, in steps.

        A rotated entry is a sum of entries with random signs: by Hoeffding's inequality it exceeds t with a probability
        of at most 2 exp(-t**2 d / (2 norm**2)); rounding adds at most one step.
        """
        d = self.dimension
        tail = math.sqrt(2 * math.log(2 * d * 2.0**CUT_BITS) / d)
        return math.floor(min(self.l2_bound, math.ceil(self.norm * min(1.0, tail)) + 1))

    def prepare(
        self, values: npt.ArrayLike, rotation_seed: bytes, *, random: RandomBytes = os.urandom
    ) -> tuple[Int64s, bool]:
        """Return the prepared vector, int64 (dimension,), and whether it had to be clipped. Run by a client.

        Args:
            values: finite floats, shape (length,).
            rotation_seed: 32 bytes, the same for all clients of the sum and the receiver; public.
            random: where random bytes come from; other than os.urandom only to replay what was recorded.

        Raises:
            PrivacyParameterError: another shape, NaN or infinity.
        """
        return self.prepare_with(values, rotation_seed, WordStream(self.dimension, random=random))

    def prepare_with(self, values: npt.ArrayLike, rotation_seed: bytes, source: WordStream) -> tuple[Int64s, bool]:
        """Prepare as `prepare`, with the next words of a source: so that many vectors take theirs from one."""
        floats = readable(values).astype(np.float64, copy=False)
        if floats.shape != (self.length,):
            raise PrivacyParameterError(
                f"values have shape {floats.shape}, but the preparation is for ({self.length},)"
            )
        clipped = clip(finite(floats), self.l2_clip, Norm.L2)
        return self._rounded(clipped[np.newaxis], rotation_seed, source)[0], clipped is not floats

    def prepare_rows(
        self, rows: Floats, rotation_seed: bytes, source: WordStream
    ) -> tuple[Int64s, npt.NDArray[np.bool_]]:
        """Prepare many vectors with the next words of a source: each by itself, to the last bit, one after the other.

        Args:
            rows: finite floats, shape (n, length); a cacheful at a time is fastest.
            rotation_seed: as for `prepare`.
            source: of words.

        Returns:
            The prepared vectors, int64 (n, dimension), and which of them had to be clipped, bool (n,).
        """
        clipped, changed = clip_rows(rows.astype(np.float64, copy=False), self.l2_clip)
        return self._rounded(clipped, rotation_seed, source), changed

    def _rounded(self, clipped: Floats, rotation_seed: bytes, source: WordStream) -> Int64s:
        scaled = rotate_rows(clipped, rotation_seed)
        scaled *= self.scale
        levels = conditionally_round_rows(scaled, self.norm, BETA, source)
        np.clip(levels, -self.max_level, self.max_level, out=levels)
        return levels

    def restore(self, levels: Int64s, rotation_seed: bytes) -> Floats:
        """Return the sum of vectors, float64 (length,), from the sum of their prepared and noisy forms."""
        return rotate_back(levels / self.scale, rotation_seed, self.length)
