"""Whether byte strings that should be random are: of full length, all distinct, and free of what weak sources show.

Rates of false alarms are bounds: a union bound over pairs for repetition, one over all affine functions for bits that
depend on one another, Hoeffding's inequality for bits that lean to a side; only Pearson's test of bytes is as good as
its approximation. Repetition is what shows few bits behind a hash: of 1,500 strings of 16 bits some are equal but with
a probability below 10^-7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from dp.goodness import chi_squared_quantile

from .outcome import Figure, demand

_quantile = lru_cache(maxsize=64)(chi_squared_quantile)
_MARGIN = 64
"""So many strings more than bits, and any affine dependence would be seen by chance less than once in 2**62 times."""
_BINS = 256
_TESTS = 2

Bits = npt.NDArray[np.uint8]


def enough(size: int) -> int:
    """Return how many strings of so many bytes `fresh` needs at least."""
    return 8 * size + _MARGIN


def distinct(drawn: Sequence[bytes], size: int, what: str) -> None:
    """Raise Refuted unless all strings have `size` bytes (12 or more) and no two are equal."""
    demand(bool(drawn), f"there are no {what}")
    wrong = [len(text) for text in drawn if len(text) != size]
    demand(not wrong, f"{what} have {wrong[:1]} bytes, not {size}", drawn=len(drawn))
    demand(len(set(drawn)) == len(drawn), f"{len(drawn) - len(set(drawn))} of {len(drawn)} {what} repeat another")


def fresh(drawn: Sequence[bytes], size: int, what: str, level: float) -> dict[str, Figure]:
    """Raise Refuted unless strings of `size` bytes are distinct and look random; return what was measured.

    Args:
        drawn: at least `enough(size)` of them.
        size: bytes of each, at least 12.
        what: they are, in the plural.
        level: the rate of false alarms, on top of less than 2**-60.
    """
    distinct(drawn, size, what)
    table = bits(drawn)
    independent(table, what)
    worst = level_bits(table, what, level / _TESTS)
    counts = np.bincount(np.frombuffer(b"".join(drawn), dtype=np.uint8), minlength=_BINS)
    even(counts, f"bytes of {what}", level / _TESTS)
    return {what: len(drawn), f"{what}: farthest of a bit from half": round(worst, 4)}


def bits(drawn: Sequence[bytes]) -> Bits:
    """Return the bits of strings of one length, a row for each."""
    return np.unpackbits(np.frombuffer(b"".join(drawn), dtype=np.uint8).reshape(len(drawn), -1), axis=1)


def independent(table: Bits, what: str) -> None:
    """Raise Refuted if any exclusive-or of columns is constant: stuck bits, copied bits, too short a seed stretched.

    Of 2**(columns + 1) affine functions each vanishes on random rows with a probability of 2**-rows.
    """
    rows, columns = table.shape
    if rows < columns + _MARGIN:
        raise ValueError(f"{rows} rows are too few for {columns} columns")
    one = np.ones((rows, 1), dtype=np.uint8)
    packed = np.packbits(np.concatenate([table, one], axis=1), axis=1)
    pivots: dict[int, int] = {}
    for row in packed:
        value = int.from_bytes(row.tobytes(), "big")
        while value:
            top = value.bit_length()
            if top not in pivots:
                pivots[top] = value
                break
            value ^= pivots[top]
        if len(pivots) == columns + 1:
            return
    demand(False, f"the bits of {what} depend on one another: rank {len(pivots) - 1} where {columns} bits are")


def level_bits(table: Bits, what: str, level: float) -> float:
    """Raise Refuted if a column is not half ones; return how far the worst is from half. By Hoeffding's inequality."""
    rows, columns = table.shape
    off = np.abs(table.mean(axis=0) - 0.5)
    allowed = math.sqrt(math.log(2 * columns / level) / (2 * rows))
    at = int(off.argmax())
    demand(
        float(off[at]) <= allowed,
        f"bit {at} of {what} is {off[at]:.4f} off one half where {allowed:.4f} is critical",
        drawn=rows,
    )
    return float(off[at])


def even(counts: npt.NDArray[np.int64], what: str, level: float) -> dict[str, Figure]:
    """Return the figures of Pearson's chi-squared test of uniformity; raise Refuted if it fails at this false alarm."""
    expected = counts.sum() / counts.size
    statistic = float(((counts - expected) ** 2 / expected).sum())
    critical = _quantile(level, counts.size - 1)
    demand(
        statistic <= critical,
        f"{what} are not uniform: chi-squared {statistic:.1f}, critical {critical:.1f}",
        statistic=statistic,
        critical=critical,
    )
    return {"samples": int(counts.sum()), "chi-squared": round(statistic, 2), "critical": round(critical, 2)}
