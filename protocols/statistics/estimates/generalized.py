"""Logistic and Poisson regression by Newton's method: the step that the sums of all sites make.

Coefficients are public between rounds. A site hands in the gradient and the information of its records' log-likelihood,
rounded to whole units (`families.generalized`); the sums of both give the next coefficients. Whoever drives the rounds
stops when `decrement` is small, and gives up after a number of rounds that was fixed beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import EstimateError, ParameterError

from .elimination import Inverse, inverse
from .estimate import Estimate, Interval, normal_quantile, upwards


@dataclass(frozen=True, slots=True)
class Step:
    """One step of Newton's method.

    Attributes:
        coefficients: after the step; their errors say how far rounding of this step's sums may have moved them.
        standard_errors: by the information before the step, as Wald's tests take them.
        decrement: gradient times step. Half of it is what the log-likelihood is about to gain; it falls to 0.
        covariance: of the coefficients, the information's inverse.
    """

    coefficients: tuple[Estimate, ...]
    standard_errors: tuple[float, ...]
    decrement: float
    covariance: Inverse

    def combined(self, weights: Sequence[Fraction]) -> tuple[Estimate, float]:
        """Return a sum of coefficients, each times its weight, and the standard error of that."""
        pairs = [(Fraction(w), each) for w, each in zip(weights, self.coefficients, strict=True)]
        value = sum((w * Fraction(each.value) for w, each in pairs), Fraction(0))
        errors = [float(each.error) * upwards(abs(w)) for w, each in pairs if w]
        return Estimate(value, math.fsum(errors) * (1 + 1e-15)), math.sqrt(self.covariance.form(weights))

    def interval(self, index: int, confidence: float = 0.95) -> Interval:
        """Wald's interval of a coefficient; it does not hold the error of rounding."""
        return interval(float(self.coefficients[index].value), self.standard_errors[index], confidence)


def interval(value: float, standard_error: float, confidence: float = 0.95) -> Interval:
    """Return Wald's interval around a value."""
    reach = normal_quantile(confidence) * standard_error
    return Interval(value - reach, value + reach, confidence)


def newton_step(
    coefficients: Sequence[Fraction | float],
    gradient: Sequence[Fraction | float],
    information: Sequence[Sequence[Fraction | float]],
    rounding: Fraction | float = 0,
) -> Step:
    """Add to the coefficients the information's inverse times the gradient, in rationals.

    With g and H as they were before rounding, g + f and H + F as given, and d the step, the true step is off by
    H^-1 (F d - f): in the greatest absolute entry at most N r (1 + |d|_1) / (1 - N p r), where r is `rounding`, p the
    number of coefficients and N the greatest sum of absolute entries in a row of (H + F)^-1.

    Args:
        coefficients: p of them, those at which the sums were taken.
        gradient: p sums.
        information: p rows of p sums, symmetric.
        rounding: each sum is off by at most this: half a step for each site.

    Raises:
        ParameterError: lengths that do not fit, or a matrix that is not symmetric.
        EstimateError: the information is not positive definite (`singular-design`), or something is not finite
            (`no-convergence`).
    """
    p = len(coefficients)
    if not p or len(gradient) != p or len(information) != p or any(len(row) != p for row in information):
        raise ParameterError("a step has a gradient of p entries and p rows of information for p coefficients")
    start, slope = _rationals(coefficients), _rationals(gradient)
    matrix = [_rationals(row) for row in information]
    if any(matrix[j][k] != matrix[k][j] for j in range(p) for k in range(j)):
        raise ParameterError("the information is symmetric")
    inverted = inverse(matrix)
    step = inverted.times(slope)
    r = Fraction(rounding)
    reach = inverted.reach
    if reach * p * r >= 1:
        error = math.inf
    else:
        error = upwards(reach * r * (1 + sum(map(abs, step), Fraction(0))) / (1 - reach * p * r))
    return Step(
        tuple(Estimate(b + d, error) for b, d in zip(start, step, strict=True)),
        tuple(math.sqrt(inverted.entry(j, j)) for j in range(p)),
        float(sum((a * b for a, b in zip(slope, step, strict=True)), Fraction(0))),
        inverted,
    )


def _rationals(numbers: Sequence[Fraction | float]) -> list[Fraction]:
    try:
        return [Fraction(number) for number in numbers]
    except (ValueError, OverflowError):
        raise EstimateError("a sum is not a finite number", reason="no-convergence") from None
