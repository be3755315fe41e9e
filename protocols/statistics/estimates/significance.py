"""Probabilities of test statistics, by scipy's special functions: the one place that imports scipy."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

from secagg.errors import MissingDependencyError


@dataclass(frozen=True, slots=True)
class Test:
    """A test of significance.

    Attributes:
        statistic: what was computed, in the rounded data.
        degrees: degrees of freedom; two of them for F, above and below the line.
        p: the probability of a statistic at least as extreme if nothing is there; two-sided for t.
        error: the statistic of the data before rounding is at most this far from `statistic`; 0 where counts make it.
    """

    __test__ = False  # not a class of tests

    statistic: float
    degrees: tuple[float, ...]
    p: float
    error: float = 0.0


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """Return the chance that chi-squared with these degrees of freedom is above the statistic."""
    return float(_special().chdtrc(degrees, statistic))


def t_tails(statistic: float, degrees: float) -> float:
    """Return the chance that Student's t with these degrees of freedom is further from 0 than the statistic."""
    return float(2 * _special().stdtr(degrees, -abs(statistic)))


def t_quantile(confidence: float, degrees: float) -> float:
    """Return how many standard errors a two-sided interval by Student's t reaches to either side."""
    # By the beta law, both its ends, rather than by `stdtrit`, which has eight digits in old versions of scipy.
    special = _special()
    inside = special.betaincinv(0.5, degrees / 2, confidence)
    outside = special.betaincinv(degrees / 2, 0.5, 1 - confidence)
    return math.sqrt(degrees * inside / outside)


def f_tail(statistic: float, above: int, below: int) -> float:
    """Return the chance that F with these degrees of freedom is above the statistic."""
    return float(_special().fdtrc(above, below, statistic))


def _special() -> Any:
    try:
        return importlib.import_module("scipy.special")
    except ImportError:
        raise MissingDependencyError(
            "tests of significance need scipy: in a checkout of secagg, pip install '.[statistics]'"
        ) from None
