"""The slow, plain sampler: Bernoulli trials on Fractions, after Canonne, Kamath and Steinke (2020), section 5.

It shares nothing with the fast walk but the definition of the laws; tests tie the two together. Single
values and small vectors are drawn with it, so that a scalar release loads no compiler.
"""

from __future__ import annotations

import math
import os
from fractions import Fraction

from .laws import Law
from .randomness import RandomBytes, random_below, random_bits

_ONE = Fraction(1)


def bernoulli_exp(x: Fraction, random: RandomBytes) -> bool:
    """Return True with probability exp(-x), x >= 0, exactly (algorithm 1)."""
    while x > 1:
        if not bernoulli_exp(_ONE, random):
            return False
        x -= 1
    numerator, denominator, k = x.numerator, x.denominator, 1
    while True:  # Bernoulli(x / k), in lowest terms
        shared = math.gcd(numerator, k)
        if random_below(denominator * (k // shared), random=random) >= numerator // shared:
            return k % 2 == 1
        k += 1


def laplace_sample(scale: Fraction, random: RandomBytes) -> int:
    """Return one discrete Laplace sample, P(x) proportional to exp(-|x| / scale) (algorithm 2)."""
    numerator, denominator = scale.numerator, scale.denominator
    while True:
        remainder = random_below(numerator, random=random)
        if not bernoulli_exp(Fraction(remainder, numerator), random):
            continue
        quotient = 0
        while bernoulli_exp(_ONE, random):
            quotient += 1
        magnitude = (remainder + numerator * quotient) // denominator
        negative = random_bits(1, random=random)
        if not (negative and magnitude == 0):
            return -magnitude if negative else magnitude


def gaussian_sample(sigma_squared: Fraction, random: RandomBytes) -> int:
    """Return one discrete Gaussian sample, P(x) proportional to exp(-x**2 / (2 sigma**2)) (algorithm 3)."""
    numerator, denominator = sigma_squared.numerator, sigma_squared.denominator
    scale = math.isqrt(numerator // denominator) + 1
    wide = Fraction(scale)
    while True:
        candidate = laplace_sample(wide, random)
        # (abs(candidate) - sigma**2 / scale)**2 / (2 sigma**2), with one division
        distance = abs(candidate) * scale * denominator - numerator
        if bernoulli_exp(Fraction(distance * distance, 2 * scale * scale * denominator * numerator), random):
            return candidate


def reference_sample(law: Law, *, random: RandomBytes = os.urandom) -> int:
    """Return one sample of `law`."""
    return gaussian_sample(law.parameter, random) if law.curved else laplace_sample(law.parameter, random)
