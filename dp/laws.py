"""The two laws of noise, as weights over blocks of integers, and their enclosures in integers.

A law on the integers is symmetric, with weight exp(-phi(m)) at magnitude m: phi(m) = m**2 / (2 sigma**2) for
the discrete Gaussian, m / scale for the discrete Laplace. Magnitudes are cut into blocks of 2**shift. A
block is proposed with the weight of its first magnitude, an offset in it uniformly, and the pair is kept
with probability exp(-excess), where `excess` is the rational phi(m) - phi(first). The kept magnitudes have
exactly the law asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from .rational import exp_neg, floor_log2, power_of_two

# Blocks per sigma (as a power of two) and per scale: few rejections, tables that stay in a core's cache.
_GAUSSIAN_BLOCKS = 7
_LAPLACE_BLOCKS = 5


@dataclass(frozen=True)
class Law:
    """A discrete Gaussian (`curved`; parameter = sigma**2) or a discrete Laplace (parameter = scale), exactly."""

    curved: bool
    parameter: Fraction

    @cached_property
    def shift(self) -> int:
        """log2 of the block width: 0 for narrow noise, whose table then holds every magnitude by itself."""
        if self.curved:
            return max(0, floor_log2(self.parameter) // 2 - _GAUSSIAN_BLOCKS)
        return max(0, floor_log2(self.parameter) - _LAPLACE_BLOCKS)

    @cached_property
    def rate(self) -> Fraction:
        """Return phi at the first magnitude of block 1."""
        if self.curved:
            return power_of_two(2 * self.shift) / (2 * self.parameter)
        return power_of_two(self.shift) / self.parameter

    def excess(self, block: int, offset: int) -> Fraction:
        """Return phi(m) - phi(first magnitude of the block) for m = block * 2**shift + offset."""
        part = Fraction(offset, 1 << self.shift)
        return self.rate * part * (2 * block + part) if self.curved else self.rate * part


def gaussian_law(variance_parameter: Fraction) -> Law:
    """Return the discrete Gaussian of parameter sigma**2 = `variance_parameter`."""
    return Law(curved=True, parameter=variance_parameter)


def laplace_law(scale: Fraction) -> Law:
    """Return the discrete Laplace of weight exp(-|x| / scale)."""
    return Law(curved=False, parameter=scale)


@dataclass(frozen=True)
class Cumulative:
    """Running sums of block weights in units of 2**-bits, too small by less than their errors.

    The true sum of blocks 0..h lies in [sums[h], sums[h] + (h + 2)**3]; the true sum of all blocks lies in
    [sums[-1], sums[-1] + slack].
    """

    sums: tuple[int, ...]
    slack: int

    def error(self, block: int) -> int:
        """Return a bound on how far sums[block] is below the truth."""
        return (block + 2) ** 3

    @property
    def total(self) -> int:
        """Return the lower bound on the sum of all blocks."""
        return self.sums[-1]


@lru_cache(maxsize=32)
def cumulative(law: Law, bits: int) -> Cumulative:
    """Enclose the cumulative block weights of `law`, using only integers.

    Weights follow from one another: W(h+1) = W(h) R(h), R(h+1) = R(h) D, with R(0) = exp(-rate) and D =
    exp(-2 rate) (Gaussian) or 1 (Laplace). Everything is rounded down. R(0) and D err by less than 3 units,
    so R(h) by 4h + 3, W(h) by 2(h + 1)**2 and their sum by (h + 2)**3. The blocks after the last are a
    geometric series at most.

    With width-1 blocks the magnitude 0 has half its weight, since it comes with either sign.
    """
    one = 1 << bits
    ratio = exp_neg(law.rate, bits)
    damping = exp_neg(2 * law.rate, bits) if law.curved else one
    weight = one
    total = one // 2 if law.shift == 0 else one
    sums = [total]
    while weight := weight * ratio >> bits:
        total += weight
        sums.append(total)
        ratio = ratio * damping >> bits
    last = len(sums)
    tail = 2 * (last + 1) ** 2 * (2 + law.rate.denominator // law.rate.numerator)
    return Cumulative(tuple(sums), (last + 2) ** 3 + tail)
