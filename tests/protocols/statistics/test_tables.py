from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from protocols.statistics.estimates.significance import Test, chi_squared_tail
from protocols.statistics.estimates.tables import (
    chi_squared,
    common_odds_ratio,
    cramers_v,
    g_test,
    mantel_haenszel,
    odds_ratio,
)
from secagg.errors import EstimateError, MissingDependencyError, ParameterError

# UCBAdmissions, of R's datasets: per department admitted men, rejected men, admitted women, rejected women. Its page
# says 1198 of 2691 men and 557 of 1835 women were admitted; R's order of the table is by admission, then sex.
DEPARTMENTS = [
    (512, 313, 89, 19),
    (353, 207, 17, 8),
    (120, 205, 202, 391),
    (138, 279, 131, 244),
    (53, 138, 94, 299),
    (22, 351, 24, 317),
]
BERKELEY = [[[men, women], [no_men, no_women]] for men, no_men, women, no_women in DEPARTMENTS]


def tables(count: int) -> list[list[list[int]]]:
    rng = np.random.default_rng(17)
    return [
        rng.integers(1, [5, 60, 10**6][trial % 3], size=rng.integers(2, 7, size=2)).tolist() for trial in range(count)
    ]


def same(ours: Test, theirs: tuple[float, float, int]) -> None:
    assert ours.statistic == pytest.approx(theirs[0], rel=1e-9, abs=1e-9)
    assert ours.p == pytest.approx(theirs[1], rel=1e-7, abs=1e-300)
    assert ours.degrees == (theirs[2],)


def test_two_hundred_tables_agree_with_scipy() -> None:
    for table in tables(200):
        same(chi_squared(table), stats.chi2_contingency(table, correction=False)[:3])
        same(g_test(table), stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")[:3])
        assert cramers_v(table) == pytest.approx(stats.contingency.association(np.array(table), "cramer"), abs=1e-9)


def test_two_hundred_odds_ratios_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        table = rng.integers(1, 80, size=(2, 2)).tolist()
        theirs = stats.contingency.odds_ratio(table, kind="sample")
        interval = theirs.confidence_interval(0.9)
        ours = odds_ratio(table, 0.9)
        assert ours.value == pytest.approx(theirs.statistic)
        assert (ours.interval.low, ours.interval.high) == pytest.approx((interval.low, interval.high))


def test_cells_of_none_are_counted_in_chi_squared_and_g() -> None:
    table = [[0, 7, 3], [5, 0, 4]]
    same(chi_squared(table), stats.chi2_contingency(table, correction=False)[:3])
    same(g_test(table), stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")[:3])


def test_independent_counts_have_a_statistic_of_exactly_zero() -> None:
    assert chi_squared([[2, 4], [3, 6]]).statistic == 0
    assert chi_squared([[2, 4], [3, 6]]).p == 1
    assert g_test([[2, 4], [3, 6]]).statistic == pytest.approx(0)
    assert cramers_v([[10, 0], [0, 10]]) == 1


def test_berkeley_is_as_r_prints_it() -> None:
    # mantelhaen.test(UCBAdmissions): "Mantel-Haenszel X-squared = 1.4269, df = 1, p-value = 0.2323", 95 percent
    # confidence interval 0.7719074 1.0603298, common odds ratio 0.9046968.
    assert [sum(column) for column in zip(*DEPARTMENTS, strict=True)] == [1198, 2691 - 1198, 557, 1835 - 557]
    test = mantel_haenszel(BERKELEY, continuity=True)
    assert (round(test.statistic, 4), test.degrees, round(test.p, 4)) == (1.4269, (1,), 0.2323)
    ratio = common_odds_ratio(BERKELEY)
    assert round(ratio.value, 7) == 0.9046968
    assert (round(ratio.interval.low, 7), round(ratio.interval.high, 7)) == (0.7719074, 1.0603298)
    assert mantel_haenszel(BERKELEY).statistic > test.statistic


def test_one_stratum_is_pearsons_with_one_record_less() -> None:
    table = [[10, 3], [4, 12]]
    assert mantel_haenszel([table]).statistic == pytest.approx(chi_squared(table).statistic * 28 / 29)
    assert common_odds_ratio([table]).value == pytest.approx(odds_ratio(table).value)
    # One stratum's interval by Robins, Breslow and Greenland is Woolf's.
    assert common_odds_ratio([table]).interval.low == pytest.approx(odds_ratio(table).interval.low)


def test_continuity_leaves_a_difference_of_less_than_half_a_record_as_it_is() -> None:
    # R's mantelhaen.test: YATES <- if (correct && (abs(DELTA) >= .5)) .5 else 0
    for table in ([[51, 50], [50, 50]], [[5, 5], [5, 6]]):
        assert mantel_haenszel([table], continuity=True) == mantel_haenszel([table])
        assert mantel_haenszel([table], continuity=True).p < 1
    assert mantel_haenszel([[[11, 10], [10, 11]]], continuity=True).statistic == 0  # half a record


def test_strata_that_say_nothing_change_nothing() -> None:
    silent = [[[0, 0], [0, 0]], [[1, 0], [0, 0]], [[3, 2], [0, 0]]]
    assert mantel_haenszel([*BERKELEY, *silent]) == mantel_haenszel(BERKELEY)
    assert common_odds_ratio([*BERKELEY, *silent]) == common_odds_ratio(BERKELEY)


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda: chi_squared([[1, 0], [2, 0]]), "empty-margin"),
        (lambda: g_test([[0, 0], [2, 1]]), "empty-margin"),
        (lambda: cramers_v([[0, 0], [0, 0]]), "empty-margin"),
        (lambda: odds_ratio([[1, 0], [2, 3]]), "zero-cell"),
        (lambda: common_odds_ratio([[[1, 0], [2, 3]]]), "zero-cell"),
        (lambda: mantel_haenszel([[[1, 2], [0, 0]]]), "empty-margin"),
        (lambda: mantel_haenszel([]), "empty-margin"),
    ],
)
def test_what_has_no_value_is_named(ask: object, reason: str) -> None:
    with pytest.raises(EstimateError) as caught:
        ask()  # type: ignore[operator]
    assert caught.value.reason == reason


@pytest.mark.parametrize("table", [[], [[1, 2]], [[1], [2]], [[1, 2], [3]], [[1, 2], [3, -1]]])
def test_what_is_no_table_is_refused(table: list[list[int]]) -> None:
    for of_table in (chi_squared, g_test, cramers_v, odds_ratio):
        with pytest.raises(ParameterError):
            of_table(table)
    with pytest.raises(ParameterError):
        mantel_haenszel([table])
    with pytest.raises(ParameterError):
        odds_ratio([[1, 2], [3, 4]], confidence=0)


def test_without_scipy_the_text_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("protocols.statistics.estimates.significance.importlib.import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[statistics\]'"):
        chi_squared_tail(1.0, 1)


def test_great_counts_lose_nothing() -> None:
    # In floats, 10^20 and its neighbours are one number; the counts differ by one record in 10^20.
    big = 10**20
    assert chi_squared([[big, big], [big, big + 1]]).statistic == pytest.approx(float(1 / (4 * big)), rel=1e-6)
    assert g_test([[big, big], [big, big + 1]]).statistic == pytest.approx(float(1 / (4 * big)), rel=1e-6)
    assert g_test([[big, 0], [0, big]]).statistic == pytest.approx(4 * big * math.log(2))
