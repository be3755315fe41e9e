"""Mean, variance, deviation, skewness, covariance and correlation from sums of whole numbers.

A value x was rounded to the nearest x' = lo + step q, q a whole number, so |x - x'| <= h = step / 2. With c for what is
centred, A = |x'_c| and D = h sqrt(n) >= |x_c - x'_c| in the Euclidean norm, bounds follow by the triangle inequality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import EstimateError, ParameterError

from .estimate import Estimate, Interval, at_least, normal_quantile, root, upwards, within


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over n records of one variable.

    Attributes:
        n: records.
        s1, s2, s3: sums of q, of its square and of its cube; `s3` may be None where no skewness is asked for.
        lo, step: a record's value is lo + step q, off by at most step / 2.

    Raises:
        ParameterError: no n numbers have these sums, or the step is not positive.
    """

    n: int
    s1: int
    s2: int
    s3: int | None
    lo: Fraction
    step: Fraction

    def __post_init__(self) -> None:
        object.__setattr__(self, "lo", Fraction(self.lo))
        object.__setattr__(self, "step", Fraction(self.step))
        if self.step <= 0:
            raise ParameterError(f"a step of {self.step} is not possible: it must be positive")
        if self.n < 0 or self.spread < 0 or (self.n == 0 and (self.s2 or self.s3)):
            raise ParameterError(f"no {self.n} numbers have the sum {self.s1} and the sum of squares {self.s2}")

    @property
    def spread(self) -> int:
        """The sum of squared distances from the mean, in squared steps, n times."""
        return self.n * self.s2 - self.s1 * self.s1

    @property
    def half(self) -> Fraction:
        """The most by which rounding moved a record."""
        return self.step / 2

    @property
    def squares(self) -> Fraction:
        """The sum of squared distances from the mean, of the rounded data, exactly."""
        at_least(self.n, 1, "a sum of squares")
        return self.step**2 * Fraction(self.spread, self.n)

    @property
    def mean(self) -> Estimate:
        """The mean; its error is half a step."""
        at_least(self.n, 1, "a mean")
        return Estimate(self.lo + self.step * Fraction(self.s1, self.n), self.half)

    def variance(self, ddof: int = 1) -> Estimate:
        """The variance with n - ddof below the line; its error is (2 A D + D^2) / (n - ddof)."""
        at_least(self.n, ddof + 1, f"a variance with ddof = {ddof}")
        spread = root(self.squares)[1]
        moved = root(self.half**2 * self.n)[1]
        free = self.n - ddof
        return Estimate(self.squares / free, upwards((2 * spread * moved + moved**2) / free))

    @property
    def deviation(self) -> Estimate:
        """The standard deviation with n - 1 below the line; its error is D / sqrt(n - 1)."""
        at_least(self.n, 2, "a standard deviation")
        low, high = root(self.squares / (self.n - 1))
        moved = root(self.half**2 * Fraction(self.n, self.n - 1))[1]
        return within(low, max(low - moved, Fraction(0)), high + moved)

    @property
    def skewness(self) -> Estimate:
        """The third central moment over the cube of the deviation, both with n below the line.

        With s for that deviation, the third moment is off by at most 6 h s^2 + 6 h^2 s + 2 h^3, because no centred
        record moves by more than 2 h, and s by at most h.

        Raises:
            EstimateError: all records are the same (`constant`).
            ParameterError: the sum of cubes is not there.
        """
        if self.s3 is None:
            raise ParameterError("a skewness needs the sum of cubes, s3")
        at_least(self.n, 1, "a skewness")
        mean = Fraction(self.s1, self.n)
        low, high = root(Fraction(self.s2, self.n) - mean**2)
        if high == 0:
            raise EstimateError("a constant has no skewness", reason="constant")
        third = Fraction(self.s3, self.n) - 3 * mean * Fraction(self.s2, self.n) + 2 * mean**3
        half = Fraction(1, 2)  # in steps
        if low <= half:
            return Estimate(float(third / high**3), math.inf)
        moved = 6 * half * high**2 + 6 * half**2 * high + 2 * half**3
        corners = [(third + sign * moved) / wide**3 for sign in (-1, 1) for wide in (low - half, high + half)]
        return within(third / high**3, min(corners), max(corners))


@dataclass(frozen=True, slots=True)
class CoMoments:
    """Sums over the records of two variables: both variables' sums, and `s12`, the sum of the product of their q.

    Raises:
        ParameterError: the variables count different records, or no numbers have these sums.
    """

    x: Moments
    y: Moments
    s12: int

    def __post_init__(self) -> None:
        if self.x.n != self.y.n:
            raise ParameterError(f"a pair of variables has one number of records, not {self.x.n} and {self.y.n}")
        if self.spread**2 > self.x.spread * self.y.spread:
            raise ParameterError("no numbers have these sums: their correlation would be beyond 1")

    @property
    def spread(self) -> int:
        """The sum of products of distances from the means, in products of steps, n times."""
        return self.x.n * self.s12 - self.x.s1 * self.y.s1

    @property
    def products(self) -> Fraction:
        """The sum of products of distances from the means, of the rounded data, exactly."""
        n = self.x.n
        at_least(n, 1, "a sum of products")
        return self.x.step * self.y.step * Fraction(self.spread, n)

    def covariance(self, ddof: int = 1) -> Estimate:
        """The covariance with n - ddof below the line; its error is (A_x D_y + A_y D_x + D_x D_y) / (n - ddof)."""
        n = self.x.n
        at_least(n, ddof + 1, f"a covariance with ddof = {ddof}")
        spread_x, spread_y = root(self.x.squares)[1], root(self.y.squares)[1]
        moved_x, moved_y = root(self.x.half**2 * n)[1], root(self.y.half**2 * n)[1]
        error = upwards((spread_x * moved_y + spread_y * moved_x + moved_x * moved_y) / (n - ddof))
        return Estimate(self.products / (n - ddof), error)

    @property
    def correlation(self) -> Estimate:
        """Pearson's correlation.

        It is a product of two unit vectors. By the inequality of Dunkl and Williams each moves by at most
        2 D / (2 A - D), and the error is the sum of both, or what is left to the ends of [-1, 1].

        Raises:
            EstimateError: a variable is constant (`constant`), or fewer than two records (`too-few-records`).
        """
        at_least(self.x.n, 2, "a correlation")
        if not self.x.spread or not self.y.spread:
            raise EstimateError("a constant has no correlation", reason="constant")
        low, high = root(Fraction(self.spread**2, self.x.spread * self.y.spread))  # whatever the steps
        value, slack = (low, high - low) if self.spread >= 0 else (-low, high - low)
        error = slack + _turned(self.x) + _turned(self.y)
        return within(value, max(value - error, Fraction(-1)), min(value + error, Fraction(1)))

    def correlation_interval(self, confidence: float = 0.95) -> Interval:
        """Fisher's z interval of the correlation, drawn apart by the error of rounding at both ends.

        Raises:
            EstimateError: as `correlation`; fewer than four records (`too-few-records`).
            ParameterError: the confidence is not between 0 and 1.
        """
        return fisher_interval(self.x.n, self.correlation, confidence)


def fisher_interval(n: int, r: Estimate, confidence: float = 0.95) -> Interval:
    """Fisher's z interval of a correlation of n records, drawn apart by its error. Raises as `correlation_interval`."""
    at_least(n, 4, "an interval of a correlation")
    reach = normal_quantile(confidence) / math.sqrt(n - 3)
    ends = max(float(r.value) - float(r.error), -1.0), min(float(r.value) + float(r.error), 1.0)
    low, high = (math.atanh(end) if abs(end) < 1 else math.copysign(math.inf, end) for end in ends)
    return Interval(math.tanh(low - reach), math.tanh(high + reach), confidence)


def _turned(variable: Moments) -> Fraction:
    """Bound how far rounding turned the unit vector of a variable's distances from its mean; never above 2."""
    # In half steps over sqrt(n): A is 2 sqrt(spread), and D is n.
    length, n = 2 * root(Fraction(variable.spread))[0], variable.n
    return 2 * n / (2 * length - n) if length > n else Fraction(2)
