from __future__ import annotations

import itertools
import math
from fractions import Fraction
from operator import mul

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from protocols.statistics.estimates.elimination import _primes, inverse
from protocols.statistics.estimates.regression import LinearFit, Sums, linear, ridge
from secagg.errors import EstimateError, ParameterError

from .sites import SITES, levels
from .strd import LINEAR

Rows = list[list[Fraction]]


def sums(rows: Rows, responses: list[Fraction], los: list[Fraction], steps: list[Fraction]) -> Sums:
    """Sums and products at seven sites, then the sum of their sums."""
    records = [[*row, response] for row, response in zip(rows, responses, strict=True)]
    columns = [
        levels([record[j] for record in records], lo, step) for j, (lo, step) in enumerate(zip(los, steps, strict=True))
    ]
    width = range(len(columns))
    s1, s2 = [0 for _ in width], [[0 for _ in width] for _ in width]
    for site in range(SITES):
        own = [column[site::SITES] for column in columns]
        for j in width:
            s1[j] += sum(own[j])
            for k in width:
                s2[j][k] += sum(a * b for a, b in zip(own[j], own[k], strict=True))
    return Sums(len(records), tuple(s1), tuple(map(tuple, s2)), tuple(los), tuple(steps))


def exact(rows: Rows, responses: list[Fraction]) -> Sums:
    columns = [*zip(*rows, strict=True), responses]
    steps = [Fraction(1, math.lcm(*(value.denominator for value in column))) for column in columns]
    return sums(rows, responses, [Fraction(0)] * len(columns), steps)


def coarse(rows: Rows, responses: list[Fraction], bits: int) -> Sums:
    columns = [*zip(*rows, strict=True), responses]
    steps = [(max(column) - min(column) or Fraction(1)) / (2**bits - 1) for column in columns]
    return sums(rows, responses, [min(column) for column in columns], steps)


@pytest.mark.parametrize("name", LINEAR)
def test_certified_values_to_the_last_digit_with_enough_digits(name: str) -> None:
    rows, responses, estimates, deviations, residual, r_squared = LINEAR[name]
    fit = linear(exact(rows, responses))
    # Fifteen digits are certified; Longley's own data in floats lose seven of them.
    for found, certified in zip(fit.coefficients, estimates, strict=True):
        assert float(found.value) == pytest.approx(float(certified), rel=1e-14)
    for found, certified in zip(fit.standard_errors, deviations, strict=True):
        assert float(found.value) == pytest.approx(float(certified), rel=1e-14)
    assert fit.deviation.value == pytest.approx(float(residual), rel=1e-14)
    assert float(fit.r_squared.value) == pytest.approx(float(r_squared), rel=1e-14)
    assert fit.degrees == len(rows) - len(estimates)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("bits", [12, 16, 24, 40])
def test_certified_values_within_the_stated_error_at_few_bits(name: str, bits: int) -> None:
    rows, responses, estimates, deviations, residual, r_squared = LINEAR[name]
    fit = linear(coarse(rows, responses, bits))
    found = [*fit.coefficients, *fit.standard_errors, fit.deviation, fit.r_squared]
    for ours, certified in zip(found, [*estimates, *deviations, residual, r_squared], strict=True):
        assert abs(float(ours.value) - float(certified)) <= float(ours.error) + 1e-13 * abs(float(certified))
    if bits == 40:
        # The bound is of use: with 40 bits it promises six digits even of Longley's.
        assert all(ours.error <= abs(Fraction(ours.value)) * Fraction(1, 10**5) for ours in fit.coefficients)


def fitted(found: Sums) -> LinearFit | None:
    try:
        return linear(found)
    except EstimateError:
        return None


NUMBER = st.fractions(-20, 20, max_denominator=20)
DATA = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.lists(NUMBER, min_size=width + 1, max_size=width + 1), min_size=width + 3, max_size=20)
)


@given(DATA, st.integers(4, 20), st.fractions(Fraction(1, 100), 10, max_denominator=100))
def test_every_error_holds_what_rounding_hid(records: Rows, bits: int, penalty: Fraction) -> None:
    rows, responses = [record[:-1] for record in records], [record[-1] for record in records]
    rounded, true = coarse(rows, responses, bits), exact(rows, responses)
    assert all(
        ours.contains(theirs.value) for ours, theirs in zip(ridge(rounded, penalty), ridge(true, penalty), strict=True)
    )
    ours_fit, true_fit = fitted(rounded), fitted(true)
    if ours_fit is None or true_fit is None:
        return
    for ours, theirs in zip(ours_fit.coefficients, true_fit.coefficients, strict=True):
        assert ours.contains(theirs.value)
    ours_rest = [*ours_fit.standard_errors, ours_fit.deviation, ours_fit.r_squared]
    true_rest = [*true_fit.standard_errors, true_fit.deviation, true_fit.r_squared]
    for ours, theirs in zip(ours_rest, true_rest, strict=True):
        assert abs(float(ours.value) - float(theirs.value)) <= float(ours.error) + 1e-12 * abs(float(theirs.value))


def random_data(seed: int, n: int, width: int) -> tuple[Rows, list[Fraction]]:
    rng = np.random.default_rng(seed)
    rows = [[Fraction(int(v), 1000) for v in row] for row in rng.integers(-3000, 3000, size=(n, width))]
    noise = rng.integers(-900, 900, size=n)
    return rows, [sum(row, Fraction(1)) + Fraction(int(e), 1000) for row, e in zip(rows, noise, strict=True)]


def test_ridge_agrees_with_sklearn() -> None:
    for seed in range(20):
        rows, responses = random_data(seed, 40, 1 + seed % 5)
        theirs = Ridge(alpha=2.5).fit(np.array(rows, dtype=float), np.array(responses, dtype=float))
        ours = [float(found.value) for found in ridge(exact(rows, responses), Fraction(5, 2))]
        assert ours == pytest.approx([theirs.intercept_, *theirs.coef_], rel=1e-9)


def test_tests_and_intervals_agree_with_scipys_of_one_predictor() -> None:
    from scipy import stats

    rows, responses = random_data(1, 30, 1)
    theirs = stats.linregress([float(row[0]) for row in rows], [float(v) for v in responses])
    fit = linear(exact(rows, responses))
    assert fit.test(1).p == pytest.approx(theirs.pvalue, rel=1e-6)
    assert float(fit.standard_errors[1].value) == pytest.approx(theirs.stderr)
    assert float(fit.standard_errors[0].value) == pytest.approx(theirs.intercept_stderr)
    reach = stats.t.ppf(0.95, 28) * theirs.stderr
    assert fit.interval(1, 0.9).low == pytest.approx(theirs.slope - reach)
    assert fit.interval(1, 0.9).high == pytest.approx(theirs.slope + reach)


def test_residuals_that_rounding_hid_are_within_the_error() -> None:
    # Responses lie 0.49 above and below a line; in whole steps all lie on it.
    rows = [[Fraction(v)] for v in range(40)]
    responses = [Fraction(v) + Fraction(49, 100) * (-1) ** v for v in range(40)]
    true = linear(exact(rows, responses))
    seen = linear(sums(rows, responses, [Fraction(0)] * 2, [Fraction(1, 10**6), Fraction(1)]))
    assert (seen.deviation.value, seen.r_squared.value, seen.standard_errors[1].value) == (0, 1, 0)
    for ours, theirs in [
        (seen.deviation, true.deviation),
        (seen.r_squared, true.r_squared),
        *zip(seen.standard_errors, true.standard_errors, strict=True),
    ]:
        assert 0 < abs(Fraction(theirs.value) - Fraction(ours.value)) <= Fraction(ours.error)
    # Nor is the bound far off: a length of 0.5 a record, where it was 0.49.
    assert seen.deviation.error < 1.1 * true.deviation.value


def test_a_step_coarser_than_the_design_has_no_bound() -> None:
    rows = [[Fraction(v)] for v in (0, 0, 0, 1)]
    ones = [Fraction(1)] * 2
    fit = linear(sums(rows, [Fraction(v) for v in (0, 1, 0, 3)], [Fraction(0)] * 2, ones))
    assert {found.error for found in (*fit.coefficients, *fit.standard_errors, fit.deviation)} == {math.inf}
    assert fit.r_squared.error == 1


def test_what_has_no_value_is_named() -> None:
    numbers = [Fraction(v) for v in (3, 1, 4, 1, 5, 9)]
    twice = [[v, 2 * v + 1] for v in numbers]
    flat = [[Fraction(7)] for _ in numbers]
    varied = [[v] for v in numbers]
    cases = [
        (twice, numbers, "singular-design", "column 1 is a combination"),
        (flat, numbers, "singular-design", "column 0 is a combination"),
        (varied, [Fraction(2)] * 6, "constant", "does not vary"),
        (varied[:2], numbers[:2], "too-few-records", "at least 3 records"),
    ]
    for rows, responses, reason, text in cases:
        with pytest.raises(EstimateError, match=text) as caught:
            linear(exact(rows, responses))
        assert caught.value.reason == reason
    # Ridge takes what least squares cannot.
    assert len(ridge(exact(twice, numbers), Fraction(1))) == 3
    with pytest.raises(EstimateError) as caught:
        linear(exact(varied, [2 * v for v in numbers])).test(1)
    assert caught.value.reason == "constant"


def test_impossible_sums_are_refused() -> None:
    good = exact([[Fraction(v)] for v in (1, 2, 4)], [Fraction(v) for v in (3, 1, 2)])
    ones = (Fraction(1),) * 2
    for s1, s2, step in [
        ((1,), ((1,),), (Fraction(1),)),
        ((1, 2), ((1, 2), (3, 4)), ones),
        ((1, 2), ((1, 2),), ones),
        (good.s1, good.s2, (Fraction(1), Fraction(0))),
    ]:
        with pytest.raises(ParameterError):
            Sums(3, s1, s2, (Fraction(0),) * len(s1), step)
    with pytest.raises(ParameterError, match="no numbers have these sums"):
        linear(Sums(3, (6, 6), ((14, 20), (20, 14)), (Fraction(0),) * 2, ones))
    with pytest.raises(ParameterError, match="penalty"):
        ridge(good, Fraction(0))


def test_an_inverse_is_exact_however_close_to_singular() -> None:
    hilbert = [[Fraction(1, i + j + 1) for j in range(12)] for i in range(12)]
    found = inverse(hilbert)
    # Known in closed form: the first entry of the inverse of order n is n^2.
    assert found.entry(0, 0) == 144
    for at, row in enumerate(hilbert):
        assert found.times(row) == [int(at == other) for other in range(12)]
        assert found.form(row) == row[at]
    assert found.reach == max(sum(abs(found.entry(i, j)) for j in range(12)) for i in range(12))


WHOLE = st.integers(-9, 9) | st.integers(-(10**15), 10**15)


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(WHOLE, min_size=n, max_size=n), min_size=1, max_size=7)))
def test_an_inverse_is_that_of_elimination_in_rationals_or_names_the_same_column(rows: list[list[int]]) -> None:
    columns = list(zip(*rows, strict=True))
    gram = [[Fraction(sum(map(mul, a, b)), 7) for b in columns] for a in columns]
    # Gram and Schmidt: what is left of a column beside those before it.
    left: list[list[Fraction]] = []
    for at, column in enumerate(columns):
        rest = [Fraction(value) for value in column]
        for other in left:
            share = sum(map(mul, rest, other), Fraction(0)) / sum(map(mul, other, other), Fraction(0))
            rest = [a - share * b for a, b in zip(rest, other, strict=True)]
        if not any(rest):
            with pytest.raises(EstimateError, match=f"column {at} is a combination"):
                inverse(gram)
            return
        left.append(rest)
    found = inverse(gram)
    for at, line in enumerate(gram):
        assert found.times(line) == [int(at == other) for other in range(len(columns))]


@given(st.integers(2**62, 2**64), st.integers(1, 2**65), st.integers(-(2**62), 2**62))
def test_an_inverse_of_two_columns_is_that_of_the_formula(a: int, c: int, b: int) -> None:
    determinant = a * c - b * b
    if determinant <= 0:
        with pytest.raises(EstimateError, match="column 1"):
            inverse([[a, b], [b, c]])
        return
    found = inverse([[a, b], [b, c]])
    assert found.entry(0, 0) == Fraction(c, determinant)
    assert found.entry(1, 0) == found.entry(0, 1) == Fraction(-b, determinant)
    assert found.entry(1, 1) == Fraction(a, determinant)


def test_a_prime_that_divides_a_minor_is_passed_over() -> None:
    first, second = itertools.islice(_primes(), 2)
    found = inverse([[first, 1], [1, second]])
    assert found.entry(0, 0) == Fraction(second, first * second - 1)
    with pytest.raises(EstimateError, match="column 1"):
        inverse([[first, second], [second, 1]])  # not positive
