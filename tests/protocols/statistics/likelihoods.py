"""Terms of logistic and Poisson regression in floats, as textbooks have them: other code than the sites'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secagg.errors import EstimateError, ParameterError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Terms:
    """A site's part of a step.

    Attributes:
        gradient: of the log-likelihood, float64 of shape (p,).
        information: less its second derivatives, float64 of shape (p, p), symmetric.
        log_likelihood: without the terms that hang on the responses alone.
    """

    gradient: Floats
    information: Floats
    log_likelihood: float


def logistic_terms(coefficients: Floats, rows: Floats, responses: Floats) -> Terms:
    """A site's terms for P(y = 1) = 1 / (1 + exp(-x b)).

    Args:
        coefficients: b, of shape (p,).
        rows: x, of shape (n, p), with a column of ones for an intercept.
        responses: y, of shape (n,), each 0 or 1.

    Raises:
        ParameterError: shapes that do not fit, or a response that is neither 0 nor 1.
    """
    b, x, y = _checked(coefficients, rows, responses)
    if not np.isin(y, (0, 1)).all():
        raise ParameterError("responses of a logistic regression are 0 or 1")
    line = x @ b
    # exp of what is not positive never overflows.
    small = np.exp(-np.abs(line))
    chance = np.where(line >= 0, 1, small) / (1 + small)
    weights = small / (1 + small) ** 2
    value = float(np.sum(y * line - np.maximum(line, 0) - np.log1p(small)))
    return Terms(x.T @ (y - chance), _squares(x, weights), value)


def poisson_terms(coefficients: Floats, rows: Floats, responses: Floats) -> Terms:
    """A site's terms for counts y with mean exp(x b); arguments as of `logistic_terms`.

    Raises:
        ParameterError: shapes that do not fit, or a response that is not a count.
        EstimateError: a mean is beyond what a float holds (`no-convergence`).
    """
    b, x, y = _checked(coefficients, rows, responses)
    if (y < 0).any() or (y != np.floor(y)).any():
        raise ParameterError("responses of a Poisson regression are counts")
    line = x @ b
    with np.errstate(over="ignore"):
        mean = np.exp(line)
    if not np.isfinite(mean).all():
        raise EstimateError("the coefficients have run away", reason="no-convergence")
    return Terms(x.T @ (y - mean), _squares(x, mean), float(np.sum(y * line - mean)))


def _checked(coefficients: Any, rows: Any, responses: Any) -> tuple[Floats, Floats, Floats]:
    b, x, y = (np.asarray(given, dtype=np.float64) for given in (coefficients, rows, responses))
    if x.ndim != 2 or b.shape != x.shape[1:] or y.shape != x.shape[:1]:
        raise ParameterError(f"{b.shape} coefficients, {x.shape} rows and {y.shape} responses do not fit")
    return b, x, y


def _squares(x: Floats, weights: Floats) -> Floats:
    products = (x.T * weights) @ x
    return (products + products.T) / 2  # symmetric to the last bit
