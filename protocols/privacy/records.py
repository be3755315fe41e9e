"""Training at the level of records, without a trusted server: what a client does for a round of it.

The client samples its records by coins of its own, computes a gradient for each, and hands these in as they are: the
encoding clips each one, adds them up and adds the client's share of noise. The masked sum is a step of DP-SGD.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from dp.sampling import sample_records
from secagg.encoding import readable
from secagg.errors import EncodingError
from secagg.randomness import SYSTEM, RandomBytes

from ..core.numbers import whole

Gradients = Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]]
"""Indices of records -> what each of them adds, floats (indices, length), one row for each, in their order."""
BLOCK = 256


def sampled_gradients(
    gradients: Gradients, count: int, rate: float, *, block: int = BLOCK, random: RandomBytes = SYSTEM
) -> Iterator[npt.NDArray[Any]]:
    """Yield what a fresh sample of a client's records hands in to one round, block by block. Run by the client.

    What it yields goes into the round as it is, as the value of a `PrivateVector` whose unit is the record. It is for
    one round: the next takes another sample. At a rate of 1 all records are in it.

    Args:
        gradients: computes one row for each record that it is asked for. A row must depend on its own record alone,
            and on what the server sent: nothing like a batch's mean or its batch normalisation may go into it.
        count: how many records the client has, from 0.
        rate: with which each is sampled, in (0, 1]: the plan's `sampling_rate`.
        block: how many records are asked for at a time, and are in memory, at least 1.
        random: of the coins (`dp.sample_records`); the system's, except to replay what was recorded.

    Raises:
        EncodingError: not one row for each record: two rows of one record would move the sum twice as far as its noise
            allows for.
        PrivacyParameterError: no such count or rate.

    Security: who was sampled, and how many, stays here. What `gradients` raises ends the client's part in the round,
    and the server sees that it is silent: a function that fails for some records tells of them. Give zeros for a record
    that has no gradient; a row with an entry that is not finite counts as zeros already.
    """
    size = whole(block, "block", 1)
    sample = sample_records(count, rate, random=random)
    for start in range(0, len(sample), size):
        asked = sample[start : start + size]
        rows = readable(gradients(asked))
        if rows.ndim != 2 or len(rows) != len(asked):
            raise EncodingError(
                f"gradients returned shape {rows.shape} for {len(asked)} records, but one row for each is summed: no "
                "mean, and no sum"
            )
        yield rows
