"""Linear and ridge regression from exact normal equations, with proven bounds of what rounding hid.

X holds the rounded predictors, centred, a column each scaled to length 1; y the rounded responses, centred; b and r are
coefficients and residuals. Before rounding it was X + E and y + e, with |e| <= h_y sqrt(n), |E| <= eps in Frobenius's
norm, eps^2 = sum of (h_j sqrt(n) / |x_j|)^2.

- 1 / sigma(X) <= k, the root of the sum of the variance inflation factors, as no eigenvalue exceeds the trace.
  If k eps < 1, then 1 / sigma(X + E) <= k' = k / (1 - k eps). Else there is no bound, and errors are infinite.
- b' - b = (X + E)^+ (r + e - E b), and X^T r = 0, so |b' - b| <= k'^2 eps |r| + k' (|e| + |E b|), in scaled columns.
- |r'| <= |r| + |e - E b|, and |r| <= |r'| + |e - E b'|.
- The distance of a column from the span of the others is that of X v for a v with entry 1 there, |v| <= k |X v|. So it
  grows by no more than 1 + k eps, and shrinks by no more than 1 + k' eps. Standard errors are s over that distance.

Ridge is the same with sqrt(penalty) times the unit matrix below X, and zeros below y.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from secagg.errors import EstimateError, ParameterError

from .elimination import Inverse, inverse
from .estimate import Estimate, Interval, at_least, confident, root, upwards, within
from .significance import Test, t_quantile, t_tails


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over n records of several variables, the response last.

    Attributes:
        n: records.
        s1: sums of q, one for each variable.
        s2: sums of products of two variables' q, a symmetric matrix.
        lo, step: variable j of a record is lo[j] + step[j] q, off by at most step[j] / 2.

    Raises:
        ParameterError: fewer than two variables, lengths that do not fit, a matrix that is not symmetric, a step that
            is not positive.
    """

    n: int
    s1: tuple[int, ...]
    s2: tuple[tuple[int, ...], ...]
    lo: tuple[Fraction, ...]
    step: tuple[Fraction, ...]

    def __post_init__(self) -> None:
        width = len(self.s1)
        if width < 2 or {len(self.s2), len(self.lo), len(self.step), *map(len, self.s2)} != {width}:
            raise ParameterError("a regression has two variables or more, and sums, products, lo and step for each")
        if any(self.s2[j][k] != self.s2[k][j] for j in range(width) for k in range(j)):
            raise ParameterError("sums of products make a symmetric matrix")
        if min(self.step) <= 0:
            raise ParameterError("every step must be positive")

    def whole(self, j: int, k: int) -> int:
        """The sum of products of two variables' q less their means, n times."""
        return self.n * self.s2[j][k] - self.s1[j] * self.s1[k]

    def centred(self, j: int, k: int) -> Fraction:
        """The sum of products of two variables' distances from their means, of the rounded data, exactly."""
        return self.step[j] * self.step[k] * Fraction(self.whole(j, k), self.n)

    def mean(self, j: int) -> Fraction:
        """The mean of a variable of the rounded data, exactly."""
        return self.lo[j] + self.step[j] * Fraction(self.s1[j], self.n)

    def moved(self, j: int) -> Fraction:
        """The most by which rounding moved the vector of a variable's n values, bounded from above."""
        return root(self.n * self.step[j] ** 2 / 4)[1]


@dataclass(frozen=True, slots=True)
class LinearFit:
    """Least squares with an intercept.

    Attributes:
        n: records.
        degrees: n less the number of coefficients.
        coefficients: the intercept, then a predictor each.
        standard_errors: of each coefficient.
        deviation: of the residuals, with the degrees below the line.
        r_squared: the share of the response's sum of squares that the predictors explain.
    """

    n: int
    degrees: int
    coefficients: tuple[Estimate, ...]
    standard_errors: tuple[Estimate, ...]
    deviation: Estimate
    r_squared: Estimate

    def test(self, index: int) -> Test:
        """Test that a coefficient is 0, by Student's t; raises EstimateError (`constant`) if all residuals are 0."""
        value, spread = self.coefficients[index], self.standard_errors[index]
        if not spread.value:
            raise EstimateError("the predictors explain the response wholly: nothing to test", reason="constant")
        t, off, width = float(value.value) / float(spread.value), float(value.error), float(spread.error)
        if width >= spread.value:
            error = math.inf
        else:
            error = (off + abs(t) * width) / (float(spread.value) - width) * (1 + 1e-15)
        return Test(t, (self.degrees,), t_tails(t, self.degrees), error)

    def interval(self, index: int, confidence: float = 0.95) -> Interval:
        """A coefficient's interval by Student's t; it does not hold the error of rounding."""
        value, spread = float(self.coefficients[index].value), float(self.standard_errors[index].value)
        reach = t_quantile(confident(confidence), self.degrees) * spread
        return Interval(value - reach, value + reach, confidence)


def linear(sums: Sums) -> LinearFit:
    """Fit the last variable by the others and an intercept.

    Raises:
        EstimateError: no more records than coefficients (`too-few-records`); a predictor is constant or a combination
            of others (`singular-design`); the response is constant (`constant`).
    """
    predictors = range(len(sums.s1) - 1)
    response = len(predictors)
    at_least(sums.n, response + 2, f"a regression with {response + 1} coefficients")
    found = _LeastSquares.of(sums, Fraction(0))
    total = sums.centred(response, response)
    if not total:
        raise EstimateError("the response does not vary", reason="constant")
    degrees = sums.n - response - 1
    low, high = _residuals(sums, found)
    exact = root(found.rest)[1]
    part = root(Fraction(degrees))
    if high is None:
        deviation = Estimate(float(exact / part[1]), math.inf)
    else:
        deviation = within(exact / part[1], low / part[1], high / part[0])

    means = [sums.mean(j) for j in predictors]
    at_zero = Fraction(1, sums.n) + found.form(means)
    lengths = [found.lengths[j] + sums.n * means[j] ** 2 for j in predictors]  # not centred, for the intercept
    inflation = sums.n * at_zero + _dot(lengths, found.squares)
    squares = [(at_zero, _turn(sums, lengths, inflation)), *((square, found.turn) for square in found.squares)]
    errors = tuple(_standard_error(square / degrees, found.rest, low, high, turn) for square, turn in squares)
    r_squared = _explained(sums, found.rest, total, low, high)
    return LinearFit(sums.n, degrees, found.estimates(sums), errors, deviation, r_squared)


def ridge(sums: Sums, penalty: Fraction) -> tuple[Estimate, ...]:
    """Fit as `linear` with `penalty` times the sum of squared coefficients added, the intercept's left out.

    Args:
        sums: as for `linear`.
        penalty: positive, in units of the response's square over the predictors' squares; all predictors share it.

    Returns:
        The intercept, then a coefficient for each predictor. There are no standard errors: ridge is biased.

    Raises:
        ParameterError: the penalty is not positive.
        EstimateError: no records (`too-few-records`).
    """
    if penalty <= 0:
        raise ParameterError(f"a penalty of {penalty} is not possible: it must be positive")
    at_least(sums.n, 1, "a ridge regression")
    return _LeastSquares.of(sums, Fraction(penalty)).estimates(sums)


@dataclass(frozen=True, slots=True)
class _Turn:
    """How far rounding may have turned scaled columns: k eps, k' eps, k' and eps of the module's text."""

    shrunk: Fraction
    grown: Fraction
    least: Fraction
    eps: Fraction


@dataclass(frozen=True, slots=True)
class _LeastSquares:
    """Solved normal equations, exactly.

    They are solved in whole numbers: of the inverse of X^T X, in the predictors' own units, the entry j, k is that of
    `whole` times units[j] units[k]. `squares` are its diagonal, `rest` is |r|^2, and `turn` None where rounding leaves
    no bound.
    """

    slopes: list[Fraction]
    whole: Inverse
    units: list[Fraction]
    squares: list[Fraction]
    lengths: list[Fraction]
    rest: Fraction
    turn: _Turn | None

    @classmethod
    def of(cls, sums: Sums, penalty: Fraction) -> _LeastSquares:
        predictors = range(len(sums.s1) - 1)
        response = len(predictors)
        # Without a penalty in steps; else in what the step is over, so that the penalty is nearly whole.
        scales = [sums.step[j].numerator if penalty else 1 for j in predictors]
        units = [scale / sums.step[j] for j, scale in enumerate(scales)]
        gram: list[list[Fraction | int]]
        gram = [[scales[j] * scales[k] * sums.whole(j, k) for k in predictors] for j in predictors]
        for j, unit in enumerate(units):
            gram[j][j] += sums.n * penalty * unit**2
        whole = inverse(gram)
        against = [scale * sums.whole(j, response) for j, scale in enumerate(scales)]
        solved = whole.times(against)
        slopes = [sums.step[response] * unit * each for unit, each in zip(units, solved, strict=True)]
        left = sums.whole(response, response) - _dot(solved, against)
        if left < 0:
            raise ParameterError("no numbers have these sums: the residuals' squares would be negative")
        rest = sums.step[response] ** 2 * left / sums.n
        whole = replace(whole, unit=whole.unit * sums.n)
        squares = [unit**2 * whole.entry(j, j) for j, unit in enumerate(units)]
        lengths = [sums.centred(j, j) + penalty for j in predictors]
        return cls(slopes, whole, units, squares, lengths, rest, _turn(sums, lengths, _dot(lengths, squares)))

    def form(self, vector: Sequence[Fraction]) -> Fraction:
        """Return the vector times the inverse of X^T X, in the predictors' own units, times the vector."""
        return self.whole.form([each * unit for each, unit in zip(vector, self.units, strict=True)])

    def off(self, sums: Sums) -> list[Fraction] | None:
        """Bound how far each slope is from that of the data before rounding."""
        if self.turn is None:
            return None
        least, eps = self.turn.least, self.turn.eps
        shift = _shift(sums, [abs(slope) for slope in self.slopes])
        distance = least**2 * eps * root(self.rest)[1] + least * shift
        return [distance / root(length)[0] for length in self.lengths]

    def estimates(self, sums: Sums) -> tuple[Estimate, ...]:
        """The intercept and the slopes, exact rationals of the rounded data, each with its error."""
        response = len(self.slopes)
        means = [sums.mean(j) for j in range(response)]
        constant = sums.mean(response) - _dot(self.slopes, means)
        off = self.off(sums)
        if off is None:
            return tuple(Estimate(value, math.inf) for value in (constant, *self.slopes))
        halves = [step / 2 for step in sums.step]
        off_constant = halves[response] + _dot(map(abs, self.slopes), halves)
        off_constant += _dot(off, [abs(mean) + half for mean, half in zip(means, halves, strict=False)])
        errors = map(upwards, (off_constant, *off))
        return tuple(map(Estimate, (constant, *self.slopes), errors))


def _dot(left: Iterable[Fraction], right: Iterable[Fraction | int]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=False)), Fraction(0))


def _turn(sums: Sums, lengths: Sequence[Fraction], inflation: Fraction) -> _Turn | None:
    """Bound the turn of columns of these squared lengths; `inflation` is the square of k."""
    eps = root(sum((sums.n * sums.step[j] ** 2 / 4 / length for j, length in enumerate(lengths)), Fraction(0)))[1]
    k = root(inflation)[1]
    if k * eps >= 1:
        return None
    least = k / (1 - k * eps)
    return _Turn(k * eps, least * eps, least, eps)


def _shift(sums: Sums, slopes: Sequence[Fraction]) -> Fraction:
    """Bound |e| + |E b| for slopes of at most these sizes."""
    return sums.moved(len(slopes)) + _dot(map(sums.moved, range(len(slopes))), slopes)


def _residuals(sums: Sums, found: _LeastSquares) -> tuple[Fraction, Fraction | None]:
    """Bound the length of the residuals of the data before rounding, from below and from above."""
    off = found.off(sums)
    if off is None:
        return Fraction(0), None
    low, high = root(found.rest)
    sizes = [abs(slope) for slope in found.slopes]
    fell = _shift(sums, [size + distance for size, distance in zip(sizes, off, strict=True)])
    return max(low - fell, Fraction(0)), high + _shift(sums, sizes)


def _standard_error(
    square: Fraction, rest: Fraction, low: Fraction, high: Fraction | None, turn: _Turn | None
) -> Estimate:
    """The root of `square` times `rest`: the residuals' length was `low` to `high`, and the column's distance turned.

    A column that came closer to the others by k' eps, or went further by k eps, has the larger or the smaller error.
    """
    value = root(square * rest)[1]
    if high is None or turn is None:
        return Estimate(float(value), math.inf)
    below, above = root(square)
    return within(value, below * low / (1 + turn.shrunk), above * high * (1 + turn.grown))


def _explained(sums: Sums, rest: Fraction, total: Fraction, low: Fraction, high: Fraction | None) -> Estimate:
    """R squared, whose parts are lengths that moved."""
    value = 1 - rest / total
    length, moved = root(total), sums.moved(len(sums.s1) - 1)
    if high is None or length[0] <= moved:
        return Estimate(value, 1.0)  # it was between 0 and 1
    least = 1 - (high / (length[0] - moved)) ** 2
    most = 1 - (low / (length[1] + moved)) ** 2
    return Estimate(value, upwards(max(value - max(least, Fraction(0)), min(most, Fraction(1)) - value)))
