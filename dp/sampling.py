"""Which records take part in a round: each by a coin of its own, that only its client sees.

Amplification by sampling counts on the coins being secret. So a client draws them itself, anew for each round, from the
cryptographic source, and tells nobody how they fell.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from .errors import PrivacyParameterError
from .randomness import RandomBytes, WordStream
from .rational import Real, positive
from .sensitivity import check_count

_BLOCK = 1 << 16  # half a megabyte of words at a time


def sample_records(count: int, rate: Real, *, random: RandomBytes = os.urandom) -> npt.NDArray[np.int64]:
    """Draw a Poisson sample: each of `count` records is in it, or not, independently of all others. Run by the client.

    A record is in it with the probability floor(rate * 2**64) / 2**64 exactly: at most `rate`, for which the rounds
    are accounted. Each record takes one 64-bit word, in order, and is in where that is below floor(rate * 2**64). At a
    rate of 1 all are in, and no word is drawn.

    Args:
        count: how many records there are, from 0.
        rate: in (0, 1].
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Returns:
        The indices of the records in the sample, ascending, int64 (k,), 0 <= k <= count.

    Raises:
        PrivacyParameterError: a value out of range.

    Security: epsilon of sampled rounds (`PoissonSampled`) holds only while nobody else learns who was sampled. The
    client draws afresh for each round, uses the sample for that round alone, and keeps it and its size to itself:
    a mean is the noisy sum divided by the *expected* number of records, never by the true one. A round that failed and
    is run again is another round, with another sample.
    """
    records = 0 if not isinstance(count, bool) and count == 0 else check_count(count, "count")
    chance = positive(rate, "rate")
    if chance > 1:
        raise PrivacyParameterError(f"rate = {rate} is a probability; it must lie in (0, 1]")
    if chance == 1:
        return np.arange(records, dtype=np.int64)
    below = np.uint64(int(chance * (1 << 64)))
    source = WordStream(records, random=random)
    taken = [
        start + np.flatnonzero(source.take(min(_BLOCK, records - start)) < below) for start in range(0, records, _BLOCK)
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *taken])
