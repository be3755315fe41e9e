"""Which records take part in a release: each by a coin of its own, which is what amplification by sampling counts on.

Source: Abadi et al. (2016), Mironov, Talwar, Zhang (2019): Poisson sampling.
"""

from __future__ import annotations

import math
import os

import numpy as np
import numpy.typing as npt

from .errors import PrivacyParameterError
from .randomness import RandomBytes, WordStream
from .rational import exact, number
from .sensitivity import check_count

_WORDS = 1 << 64


def sample_records(count: int, rate: float, *, random: RandomBytes = os.urandom) -> npt.NDArray[np.int64]:
    """Return the indices of the records that take part, rising: each of them independently of all others.

    The probability is floor(rate * 2**64) / 2**64, which is never more than `rate`: a word of 64 random bits decides.

    Args:
        count: number of records, from 0.
        rate: in (0, 1]; at 1 all take part, and nothing is drawn.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Raises:
        PrivacyParameterError: another rate, or no number of records.

    Security: whoever holds the records draws the coins, anew for each release, and tells nobody which fell how, nor how
    many: a mean divides by the expected number, rate * count.
    """
    count = 0 if exact(count, "count") == 0 else check_count(count, "count")
    if number(rate, "rate") > 1:
        raise PrivacyParameterError(f"rate = {rate} is a probability; it must lie in (0, 1]")
    below = math.floor(exact(rate, "rate") * _WORDS)
    if below == _WORDS:
        return np.arange(count, dtype=np.int64)
    words = WordStream(count, random=random).take(count)
    return np.flatnonzero(words < np.uint64(below)).astype(np.int64)
