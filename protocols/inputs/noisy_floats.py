"""Private vectors of floats: clip, rotate, scale, round, add noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.distributed import NoiseShare
from dp.errors import DpError
from dp.preparation import Preparation
from dp.randomness import WordStream
from dp.sensitivity import Unit
from secagg.derivation import Label, digest
from secagg.encoding import Encoded, Levels
from secagg.errors import ParameterError
from secagg.randomness import RandomBytes

from .noisy_codec import NoisyCodec
from .records import blocks, check_unit
from .vectors import PrivateVector

_ENTRIES_AT_ONCE = 1 << 14
"""Records are prepared by the cacheful."""


@dataclass(frozen=True)
class NoisyFloats(NoisyCodec):
    """How one private vector of floats is encoded: clip, rotate, scale, round, add noise.

    Raises:
        ParameterError: a value of the vector's is impossible, or the sum does not fit in 64 bits.
    """

    spec: PrivateVector
    num_summands: int

    def __post_init__(self) -> None:
        """Have everything checked that follows from the spec."""
        check_unit(self.spec)
        self.check_room()

    @cached_property
    def preparation(self) -> Preparation:
        """Bounds on what a client contributes."""
        try:
            return Preparation(self.spec.length, self.spec.l2_clip, self.spec.scale)
        except DpError as error:
            raise ParameterError(f"vector {self.spec.name!r}: {error}") from None

    @cached_property
    def share(self) -> NoiseShare:
        """What noise a client adds, and the bounds on what its unit contributes."""
        made = self.preparation
        return self.noise_share(made.dimension, made.l2_bound, made.l1_bound)

    @property
    def length(self) -> int:
        """Residues of an encoded vector."""
        return self.preparation.dimension

    @property
    def max_level(self) -> int:
        """The most that an entry of one client's vector may be, without noise."""
        return self.preparation.max_level * self.spec.max_records

    def _encode(self, value: Any, weight: int, session_id: bytes, random: RandomBytes) -> Encoded:
        """Encode floats with fresh noise; a client that is clipped has all coordinates changed."""
        levels, changed = self.levels(value, rotation_seed(session_id, self.name), random=random)
        return self.with_noise(levels, changed, random)

    def levels(self, value: Any, seed: bytes, *, random: RandomBytes) -> tuple[Levels, int]:
        """Return what is summed but for the noise, int64 (dimension,), and how many units were changed for it.

        Args:
            value: floats (spec.length,); where the unit is the record: (records, spec.length), or blocks of that.
                Zeros stand for a unit with an entry that is not finite.
            seed: of the rotation.
            random: for the rounding.

        Raises:
            EncodingError: another shape, or no floats.
        """
        total, changed = np.zeros(self.length, dtype=np.int64), 0
        words = WordStream(self.length, random=random)
        at_once = max(1, _ENTRIES_AT_ONCE // self.length)
        for block in blocks(value, self.spec, "f", "floats"):
            for start in range(0, len(block), at_once):
                rows = block[start : start + at_once]
                finite = np.isfinite(rows).all(axis=1)
                usable = rows if finite.all() else np.where(finite[:, np.newaxis], rows, 0)
                levels, clipped = self._prepared(usable, seed, words)
                total += levels.sum(axis=0)
                changed += int(np.count_nonzero(clipped | ~finite))
        return np.clip(total, -self.max_level, self.max_level, out=total), changed

    def _prepared(self, rows: Any, seed: bytes, words: WordStream) -> tuple[Levels, npt.NDArray[np.bool_]]:
        if self.spec.unit is Unit.RECORD:
            return self.preparation.prepare_rows(rows, seed, words)
        levels, clipped = self.preparation.prepare_with(rows[0], seed, words)  # which is faster for one that is long
        return levels[np.newaxis], np.array([clipped])

    def release(self, levels: Levels, *, session_id: bytes) -> npt.NDArray[Any]:
        """Return the noisy sum in the units of the values, float64 (spec.length,)."""
        return self.preparation.restore(levels, rotation_seed(session_id, self.name))


def rotation_seed(session_id: bytes, name: str) -> bytes:
    """Return the public seed of the signs by which a private vector is rotated."""
    return digest(Label.ROTATION, session_id, name.encode())
