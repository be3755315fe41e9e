"""The compiled walk from random words to noise. Imported on the first large draw only: it loads numba.

Every decision compares 64-bit integers whose error against the true real number is known; when a word falls
into the gap the walk stops and says so, and `arbiter` decides the same question with as many bits as it
takes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ._compiling import compiled
from .tables import GUIDE_BITS, RATE_HEADROOM, UNIFORM_BITS

U64 = np.uint64
ATTEMPT_WORDS = 32  # an attempt starts only if so many words are left; a longer one goes to the arbiter

_ONE = U64(1)
_32 = U64(32)
_LOW = U64(0xFFFF_FFFF)
_GUIDE_SHIFT = U64(UNIFORM_BITS - GUIDE_BITS)
_ATTEMPT = U64(ATTEMPT_WORDS)
_CURVED_HEADROOM = U64(RATE_HEADROOM[True])
_STRAIGHT_HEADROOM = U64(RATE_HEADROOM[False])
_CURVED_SHIFT = U64(64 - RATE_HEADROOM[True])
_64 = U64(64)
_ERROR = U64(3)


def _high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return floor(a * b / 2**64)."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _32, b & _LOW, b >> _32
    cross = a_high * b_low + ((a_low * b_low) >> _32)
    other = a_low * b_high + (cross & _LOW)
    return U64(a_high * b_high + (cross >> _32) + (other >> _32))


high_product: Callable[[np.uint64, np.uint64], np.uint64] = compiled(_high_product, inline="always")


def _walk(  # noqa: PLR0912 - one compiled loop
    words: npt.NDArray[np.uint64],
    first: int,
    out: npt.NDArray[np.int64],
    done: int,
    thresholds: npt.NDArray[np.uint64],
    guide: npt.NDArray[np.int16],
    shift: np.uint64,
    rate: np.uint64,
    curved: bool,
) -> tuple[int, int, bool]:
    """Fill out[done:] from words[first:]; return (done, next word, undecided).

    undecided: the attempt that starts at `next word` met a tie and must be decided by the arbiter.
    """
    last_start = words.size - ATTEMPT_WORDS
    blocks = thresholds.size
    position = first
    ceiling = (rate >> (_CURVED_HEADROOM if curved else _STRAIGHT_HEADROOM)) + _ONE  # rate * 2**64, rounded up
    while done < out.size:
        if position > last_start:
            return done, position, False
        start = position
        sign = words[position] & _ONE
        prefix = words[position] >> _ONE
        position += 1
        block = int(guide[prefix >> _GUIDE_SHIFT])
        while block < blocks and prefix >= thresholds[block]:
            block += 1
        if block == blocks or (block > 0 and prefix == thresholds[block - 1]):
            return done, start, True
        if shift == 0:
            out[done] = -block if sign else block
            done += 1
            continue

        # An offset in the block, kept with probability exp(-excess): Bernoulli(excess / j) for j = 1, 2, ... until
        # one fails, which happens at an odd j with just that probability (Canonne, Kamath, Steinke 2020, alg. 1).
        start_of_block = U64(block) << shift
        part = words[position] >> (_64 - shift)
        magnitude = start_of_block + part
        uniform = words[position + 1]
        position += 2
        keep = True
        # No excess of the block reaches this; nearly always the first trial fails already against it.
        if uniform < (U64(2 * block + 1) * ceiling if curved else ceiling):
            fraction = part << (_64 - shift)
            if curved:
                slope = (start_of_block + magnitude) << (_CURVED_SHIFT - shift)
                excess = high_product(high_product(fraction, slope), rate)
            else:
                excess = high_product(fraction, rate) >> _STRAIGHT_HEADROOM
            # excess <= true excess * 2**64 < excess + 3
            divisor = _ONE
            while uniform < excess + _ERROR:
                low = excess // divisor
                if uniform < low:
                    keep = not keep
                    divisor += _ONE
                    uniform = words[position]
                    position += 1
                    if U64(position - start) == _ATTEMPT:
                        return done, start, True
                elif uniform <= (excess + _ERROR) // divisor:
                    return done, start, True
                else:
                    break
        if keep and not (sign and magnitude == 0):
            out[done] = -np.int64(magnitude) if sign else np.int64(magnitude)
            done += 1
    return done, position, False


walk: Callable[..., tuple[int, int, bool]] = compiled(_walk)
