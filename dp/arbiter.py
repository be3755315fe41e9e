"""The same walk in exact arithmetic: it settles what 64 bits cannot, and the kernel is tested against it.

On the same words it takes the same decisions as the kernel wherever the kernel decides. Where a word ties
with a threshold it draws more bits of that uniform number and more bits of that threshold until they part.
The noise thus has exactly its law: no truncation, no rounding, no float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

from .laws import Law, cumulative
from .tables import UNIFORM_BITS

MoreBits = Callable[[int], int]
_MORE = 64


class Uniform:
    """A uniform real in [0, 1) of which the first `bits` bits are known; the rest are drawn when asked for."""

    def __init__(self, prefix: int, bits: int, more_bits: MoreBits) -> None:
        self.prefix = prefix
        self.bits = bits
        self._more_bits = more_bits

    def refine(self) -> None:
        """Draw 64 more bits."""
        self.prefix = self.prefix << _MORE | self._more_bits(_MORE)
        self.bits += _MORE

    def below(self, limit: Fraction) -> bool:
        """Tell whether the number is below `limit`, exactly."""
        while True:
            scaled = limit.numerator << self.bits
            if (self.prefix + 1) * limit.denominator <= scaled:
                return True
            if self.prefix * limit.denominator >= scaled:
                return False
            self.refine()


def invert(law: Law, uniform: Uniform) -> int:
    """Return the block h with F(h - 1) <= uniform < F(h), for the cumulative distribution F of the law's blocks."""
    precision = 128
    while True:
        table = cumulative(law, precision)
        highest = table.total + table.slack
        low, high = 0, len(table.sums)
        while low < high:  # the first block that is surely above the uniform number
            middle = (low + high) // 2
            if (uniform.prefix + 1) * highest <= table.sums[middle] << uniform.bits:
                high = middle
            else:
                low = middle + 1
        if low < len(table.sums):
            if low == 0:
                return 0
            below = table.sums[low - 1] + table.error(low - 1)
            if uniform.prefix * table.total >= below << uniform.bits:
                return low
        uniform.refine()
        precision = 2 * max(precision, uniform.bits)


def keep(excess: Fraction, words: Iterator[int], more_bits: MoreBits) -> bool:
    """Return True with probability exp(-excess), for excess >= 0 (Canonne, Kamath, Steinke 2020, algorithm 1)."""
    while excess > 1:  # 128 standard deviations out, where no kernel goes
        if not keep(Fraction(1), words, more_bits):
            return False
        excess -= 1
    trial = 1
    while Uniform(next(words), 64, more_bits).below(excess / trial):
        trial += 1
    return trial % 2 == 1


def decide(law: Law, words: Iterator[int], more_bits: MoreBits) -> int:
    """Return one sample, reading 64-bit words in the kernel's order; `more_bits(n)` gives n further uniform bits."""
    while True:
        word = next(words)
        negative = word & 1
        block = invert(law, Uniform(word >> 1, UNIFORM_BITS, more_bits))
        magnitude = block
        if law.shift:
            offset = next(words) >> (64 - law.shift)
            magnitude = (block << law.shift) + offset
            if not keep(law.excess(block, offset), words, more_bits) or (negative and magnitude == 0):
                continue
        return -magnitude if negative else magnitude
