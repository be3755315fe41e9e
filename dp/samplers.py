"""Exact discrete noise, by the array, from the operating system's randomness unless another source is handed in.

No float decides an outcome: each decision compares integers, and a tie is settled with as many further
random bits as it takes (`arbiter`). The probability error is zero for uniform words; words are AES-256 over
a counter under a fresh key (`randomness`). Sampling is not constant-time: the time
reveals little of magnitudes, but not nothing (one draw takes longer where a proposal is rejected).
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt

from .arbiter import MoreBits, decide
from .errors import PrivacyParameterError
from .laws import Law, gaussian_law, laplace_law
from .randomness import RandomBytes, WordSource, WordStream, random_bits
from .rational import Real, number, positive
from .reference import reference_sample
from .tables import Table, table_for

Int64s = npt.NDArray[np.int64]
Shape = int | tuple[int, ...]

MIN_SCALE = Fraction(1, 32)
MAX_SCALE = Fraction(1 << 50)
_SMALL_DRAW = 32  # up to here, the slow reference is faster than loading the loops and building a table
_LOOPS = f"{__package__}._kernels"


def discrete_gaussian(sigma: Real, size: Shape = 1, *, random: RandomBytes = os.urandom) -> Int64s:
    """Draw from the discrete Gaussian: P(x) proportional to exp(-x**2 / (2 sigma**2)) over all integers x.

    Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020), definition 1.

    Args:
        sigma: the parameter (not quite the standard deviation below 1), 1/32 to 2**50. A float means its
            exact binary value; a Fraction is taken as it is.
        size: number of samples, or a shape.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Returns:
        int64 array of that shape. A value beyond +-2**62, of probability below 2**-5900, raises
        OverflowError.

    Raises:
        PrivacyParameterError: sigma out of range, NaN or no real number; negative or empty size.

    Security: fresh operating-system randomness for each call; never reuse noise for two releases.
    """
    exact_sigma = _scale(sigma, "sigma")
    return _draw(gaussian_law(exact_sigma * exact_sigma), size, random)


def discrete_gaussian_of_variance(sigma_squared: Real, size: Shape = 1, *, random: RandomBytes = os.urandom) -> Int64s:
    """Draw from the discrete Gaussian of parameter sigma**2, for rational sigma**2 with irrational sigma.

    As `discrete_gaussian`; sigma_squared ranges from 1/1024 to 2**100.
    """
    value = positive(sigma_squared, "sigma_squared")
    if not MIN_SCALE**2 <= value <= MAX_SCALE**2:
        raise PrivacyParameterError(
            f"sigma_squared = {number(value, 'sigma_squared'):.6g} is outside [1/1024, 2**100]; "
            "rescale the data to another grid"
        )
    return _draw(gaussian_law(value), size, random)


def discrete_laplace(scale: Real, size: Shape = 1, *, random: RandomBytes = os.urandom) -> Int64s:
    """Draw from the discrete Laplace (two-sided geometric) law: P(x) proportional to exp(-|x| / scale).

    Source: Ghosh, Roughgarden, Sundararajan (2009); Canonne, Kamath, Steinke (2020), section 5.

    Args:
        scale: sensitivity / epsilon, 1/32 to 2**50. A float means its exact binary value.
        size: number of samples, or a shape.
        random: where random bytes come from; other than os.urandom only to replay what was recorded.

    Returns:
        int64 array of that shape. A value beyond +-2**62, of probability below 2**-5900, raises
        OverflowError.

    Raises:
        PrivacyParameterError: scale out of range, NaN or no real number; negative or empty size.

    Security: fresh operating-system randomness for each call; never reuse noise for two releases.
    """
    return _draw(laplace_law(_scale(scale, "scale")), size, random)


def _scale(value: Real, name: str) -> Fraction:
    result = positive(value, name)
    if not MIN_SCALE <= result <= MAX_SCALE:
        raise PrivacyParameterError(
            f"{name} = {number(result, name):.6g} is outside [{float(MIN_SCALE):g}, 2**50]; "
            "rescale the data to a finer or coarser grid"
        )
    return result


def _shape(size: Shape) -> tuple[int, ...]:
    shape = size if isinstance(size, tuple) else (size,)
    if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in shape):
        raise PrivacyParameterError(
            f"size = {size!r} must be a positive integer or a tuple of them; an empty draw is refused"
        )
    return tuple(int(n) for n in shape)


def _draw(law: Law, size: Shape, random: RandomBytes) -> Int64s:
    shape = _shape(size)
    count = math.prod(shape)
    # Once the loops are loaded, they draw any two values faster. What is recorded is replayed in one way, all the same.
    if count == 1 or (count <= _SMALL_DRAW and (_LOOPS not in sys.modules or random is not os.urandom)):
        return np.array([reference_sample(law, random=random) for _ in range(count)], dtype=np.int64).reshape(shape)
    out: Int64s = np.empty(count, dtype=np.int64)
    words_per_sample = 4 if law.shift else 1
    fill(law, table_for(law), out, WordStream(words_per_sample * count + 64, random=random), random=random)
    return out.reshape(shape)


def fill(law: Law, table: Table, out: Int64s, source: WordSource, *, random: RandomBytes = os.urandom) -> None:
    """Fill the flat array `out` with samples of `law` made of the words of `source`; `random` settles ties."""
    from ._kernels import ATTEMPT_WORDS, walk

    more_bits = partial(random_bits, random=random)
    done = unread = 0
    while done < out.size:
        words = source.chunk(unread)
        position = 0
        while True:
            done, position, undecided = walk(
                words,
                position,
                out,
                done,
                table.thresholds,
                table.guide,
                np.uint64(table.shift),
                np.uint64(table.rate),
                table.curved,
            )
            if not undecided:
                break
            # The arbiter may have read fewer words than that, and unused ones may be dropped.
            end = position + ATTEMPT_WORDS
            out[done] = decide(law, _tail(words[position:end], more_bits), more_bits)
            done, position = done + 1, end
        unread = words.size - position


def _tail(words: npt.NDArray[np.uint64], more_bits: MoreBits) -> Iterator[int]:
    """Yield the given words, then fresh ones."""
    yield from words.tolist()
    while True:
        yield more_bits(64)
