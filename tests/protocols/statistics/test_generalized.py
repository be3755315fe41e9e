from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from protocols.statistics.estimates.generalized import Step, newton_step
from secagg.errors import EstimateError, ParameterError

from .likelihoods import Terms, logistic_terms, poisson_terms
from .sites import SITES

# Spector and Mazzeo (1980), as statsmodels keeps it (datasets/spector): grade point average, score, method, improved.
SPECTOR = """
    2.66 20 0 0   2.89 22 0 0   3.28 24 0 0   2.92 12 0 0   4 21 0 1      2.86 17 0 0   2.76 17 0 0   2.87 21 0 0
    3.03 25 0 0   3.92 29 0 1   2.63 20 0 0   3.32 23 0 0   3.57 23 0 0   3.26 25 0 1   3.53 26 0 0   2.74 19 0 0
    2.75 25 0 0   2.83 19 0 0   3.12 23 1 0   3.16 25 1 1   2.06 22 1 0   3.62 28 1 1   2.89 14 1 0   3.51 26 1 0
    3.54 24 1 1   2.83 27 1 1   3.39 17 1 1   2.67 24 1 0   3.65 21 1 1   4 23 1 1      3.1 21 1 0    2.39 19 1 1
"""
TermsOf = Callable[[np.ndarray, np.ndarray, np.ndarray], Terms]


def spector() -> tuple[np.ndarray, np.ndarray]:
    table = np.array(SPECTOR.split(), dtype=float).reshape(32, 4)
    return np.column_stack([np.ones(32), table[:, :3]]), table[:, 3]


def dobson() -> tuple[np.ndarray, np.ndarray]:
    """Dobson (1990), page 93, the example of R's glm: counts by outcome and treatment, three levels each."""
    outcome, treatment = np.tile([0, 1, 2], 3), np.repeat([0, 1, 2], 3)
    levels = [outcome == 1, outcome == 2, treatment == 1, treatment == 2]
    return np.column_stack([np.ones(9), *levels]).astype(float), np.array([18, 17, 15, 20, 10, 20, 25, 13, 12.0])


def values(step: Step) -> list[float]:
    return [float(entry.value) for entry in step.coefficients]


def over_sites(terms: TermsOf, x: np.ndarray, y: np.ndarray, step: Fraction, intercept: float = 0.0) -> Step:
    """Newton's method over twelve rounds: seven sites round their terms to whole steps, and only sums are looked at."""
    p = x.shape[1]
    coefficients = [intercept, *[0.0] * (p - 1)]
    for _ in range(12):
        found = [terms(np.array(coefficients), x[site::SITES], y[site::SITES]) for site in range(SITES)]

        def rounded(parts: list[np.ndarray]) -> np.ndarray:
            return sum(np.array([round(Fraction(v) / step) for v in part.flat], object) for part in parts)

        gradient = (rounded([site.gradient for site in found]) * step).tolist()
        information = (rounded([site.information for site in found]) * step).reshape(p, p).tolist()
        made = newton_step(coefficients, gradient, information, SITES * step / 2)
        coefficients = values(made)
    return made


def pooled(terms: TermsOf, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Newton's method on all records in floats."""
    coefficients = np.zeros(x.shape[1])
    for _ in range(30):
        found = terms(coefficients, x, y)
        coefficients = coefficients + np.linalg.solve(found.information, found.gradient)
    return coefficients


def test_spector_is_as_statsmodels_prints_it() -> None:
    # statsmodels 0.15.0, "Discrete Choice Models Overview": GPA 2.826113, TUCE 0.095158, PSI 2.378688 and const
    # -13.021347. The further digits and the standard errors come from running it, by Newton's method, tol=1e-14.
    found = over_sites(logistic_terms, *spector(), Fraction(1, 2**40))
    assert values(found) == pytest.approx([-13.021346858116, 2.826112594889, 0.095157661318, 2.378687655093], abs=1e-6)
    assert found.standard_errors == pytest.approx(
        [4.931324213603, 1.262941075629, 0.141554205674, 1.064564254497], abs=1e-6
    )
    assert abs(found.decrement) < 1e-12
    assert logistic_terms(np.array(values(found)), *spector()).log_likelihood == pytest.approx(-12.889634222131413)
    low, high = found.interval(1).low, found.interval(1).high
    assert (low + high) / 2 == pytest.approx(2.826112594889)
    assert (high - low) / 2 == pytest.approx(1.959963984540054 * 1.262941075629)


def test_dobsons_counts_are_as_r_prints_them() -> None:
    # summary(glm.D93): 3.045 (.1709), -.4543 (.2022), -.2930 (.1927), and two treatments of 0 (.2000).
    x, y = dobson()
    found = over_sites(poisson_terms, x, y, Fraction(1, 2**40), intercept=math.log(y.mean()))
    assert [round(value, 4) for value in values(found)] == pytest.approx([3.0445, -0.4543, -0.2930, 0, 0], abs=1e-9)
    assert [round(error, 4) for error in found.standard_errors] == [0.1709, 0.2022, 0.1927, 0.2, 0.2]


def test_sites_together_agree_with_pooled_newton_and_sklearn() -> None:
    rng = np.random.default_rng(9)
    for width in (1, 3, 6):
        x = np.column_stack([np.ones(400), rng.normal(size=(400, width))])
        chance = 1 / (1 + np.exp(-x @ rng.normal(size=width + 1)))
        y = (rng.random(400) < chance).astype(float)
        found = values(over_sites(logistic_terms, x, y, Fraction(1, 2**36)))
        assert found == pytest.approx(pooled(logistic_terms, x, y), abs=1e-6)
        theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x[:, 1:], y)
        assert found == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], abs=1e-4)
        counts = rng.poisson(np.exp(x @ (rng.normal(size=width + 1) / 3))).astype(float)
        assert values(over_sites(poisson_terms, x, counts, Fraction(1, 2**36))) == pytest.approx(
            pooled(poisson_terms, x, counts), abs=1e-6
        )


@pytest.mark.parametrize(("terms", "data"), [(logistic_terms, spector()), (poisson_terms, dobson())])
def test_gradient_and_information_are_derivatives(terms: TermsOf, data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    b, small = np.linspace(-0.1, 0.1, x.shape[1]), 1e-5
    for j, direction in enumerate(np.eye(x.shape[1]) * small):
        ahead, behind = terms(b + direction, x, y), terms(b - direction, x, y)
        slope = (ahead.log_likelihood - behind.log_likelihood) / (2 * small)
        assert terms(b, x, y).gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-5)
        bend = (ahead.gradient - behind.gradient) / (2 * small)
        assert -terms(b, x, y).information[j] == pytest.approx(bend, rel=1e-5, abs=1e-5)


@given(
    st.lists(st.fractions(-9, 9, max_denominator=30), min_size=2, max_size=2),
    st.lists(st.fractions(-3, 3, max_denominator=30), min_size=3, max_size=3),
    st.sampled_from([Fraction(1, 1000), Fraction(1, 20), Fraction(1, 4), Fraction(2)]),
    st.lists(st.fractions(-1, 1, max_denominator=50), min_size=5, max_size=5),
)
def test_the_error_of_a_step_holds_what_rounding_hid(
    gradient: list[Fraction], entries: list[Fraction], rounding: Fraction, noise: list[Fraction]
) -> None:
    a, b, c = entries
    true = [[1 + a * a + b * b, b * c], [b * c, 1 + c * c + b * b]]
    off = [rounding * part for part in noise]
    moved = [[true[0][0] + off[0], true[0][1] + off[1]], [true[1][0] + off[1], true[1][1] + off[2]]]
    if true[0][0] * true[1][1] <= true[0][1] ** 2 or moved[0][0] <= 0:
        return
    if moved[0][0] * moved[1][1] <= moved[0][1] ** 2:
        return
    exact = newton_step([0.5, -2.0], gradient, true)
    seen = newton_step([0.5, -2.0], [gradient[0] + off[3], gradient[1] + off[4]], moved, rounding)
    assert {entry.error for entry in exact.coefficients} == {0}
    for ours, theirs in zip(seen.coefficients, exact.coefficients, strict=True):
        assert ours.contains(theirs.value)


def test_far_coefficients_neither_overflow_nor_lose_the_sign() -> None:
    x, y = np.array([[1.0], [1.0]]), np.array([0.0, 1.0])
    for far in (800.0, -800.0):
        found = logistic_terms(np.array([far]), x, y)
        assert found.gradient.tolist() == [-math.copysign(1, far)]
        assert found.log_likelihood == -800
    with pytest.raises(EstimateError) as caught:
        poisson_terms(np.array([800.0]), x, y)
    assert caught.value.reason == "no-convergence"


@pytest.mark.parametrize(
    ("gradient", "information", "reason"),
    [
        ([1.0, 1.0], [[1.0, 2.0], [2.0, 4.0]], "singular-design"),
        ([1.0, 1.0], [[1.0, 2.0], [2.0, 3.0]], "singular-design"),
        ([1.0, 1.0], [[0.0, 0.0], [0.0, 1.0]], "singular-design"),
        ([math.nan, 1.0], [[1.0, 0.0], [0.0, 1.0]], "no-convergence"),
        ([1.0, 1.0], [[math.inf, 0.0], [0.0, 1.0]], "no-convergence"),
    ],
)
def test_what_makes_no_step_is_named(gradient: list[float], information: list[list[float]], reason: str) -> None:
    with pytest.raises(EstimateError) as caught:
        newton_step([0.0, 0.0], gradient, information)
    assert caught.value.reason == reason


def test_bad_input_is_refused() -> None:
    x, y = spector()
    for b, rows, responses in [(np.zeros(3), x, y), (np.zeros(4), x, y[:5]), (np.zeros(4), x[0], y)]:
        for terms in (logistic_terms, poisson_terms):
            with pytest.raises(ParameterError, match="do not fit"):
                terms(b, rows, responses)
    with pytest.raises(ParameterError, match="0 or 1"):
        logistic_terms(np.zeros(4), x, y * 2)
    for bad in (y - 2, y / 2):
        with pytest.raises(ParameterError, match="counts"):
            poisson_terms(np.zeros(4), x, bad)
    for gradient, information in [
        ([1.0], [[1.0, 0.0], [0.0, 1.0]]),
        ([1.0, 1.0], [[1.0, 0.0]]),
        ([1.0, 1.0], [[1.0], [1.0]]),
    ]:
        with pytest.raises(ParameterError, match="p entries"):
            newton_step([0.0, 0.0], gradient, information)
    with pytest.raises(ParameterError, match="symmetric"):
        newton_step([0.0, 0.0], [1.0, 1.0], [[2.0, 0.5], [0.0, 2.0]])
