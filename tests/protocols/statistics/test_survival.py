from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.statistics.estimates.survival import LifeTable, kaplan_meier, log_rank, median_survival
from secagg.errors import EstimateError, ParameterError

from .sites import SITES

# Remission in weeks after acute myelogenous leukaemia, Miller (1981), the data set `aml` of R's package survival:
# chemotherapy maintained or not; + is censored.
MAINTAINED = ["9", "13", "13+", "18", "23", "28+", "31", "34", "45+", "48", "161+"]
NOT_MAINTAINED = ["5", "5", "8", "8", "12", "16+", "23", "27", "30", "33", "43", "45"]
# summary(survfit(Surv(time, status) ~ x, data = aml)): time, at risk, events, survival, standard error, interval.
MAINTAINED_CURVE = """
     9 11 1 0.909 0.0867 0.7541 1.000
    13 10 1 0.818 0.1163 0.6192 1.000
    18  8 1 0.716 0.1397 0.4884 1.000
    23  7 1 0.614 0.1526 0.3769 0.999
    31  5 1 0.491 0.1642 0.2549 0.946
    34  4 1 0.368 0.1627 0.1549 0.875
    48  2 1 0.184 0.1535 0.0359 0.944
"""
NOT_MAINTAINED_CURVE = """
     5 12 2 0.8333 0.1076 0.6470 1.000
     8 10 2 0.6667 0.1361 0.4468 0.995
    12  8 1 0.5833 0.1423 0.3616 0.941
    23  6 1 0.4861 0.1481 0.2675 0.883
    27  5 1 0.3889 0.1470 0.1854 0.816
    30  4 1 0.2917 0.1387 0.1148 0.741
    33  3 1 0.1944 0.1219 0.0569 0.664
    43  2 1 0.0972 0.0919 0.0153 0.620
"""
Records = list[tuple[int, bool]]


def table(records: Records, grid: range, beyond: int = 0) -> LifeTable:
    """Counts at seven sites over a public grid, then their sums; records after the grid are beyond it."""
    sites = [records[site::SITES] for site in range(SITES)]
    counts = {
        happened: tuple(sum(site.count((time, happened)) for site in sites) for time in grid)
        for happened in (True, False)
    }
    return LifeTable(tuple(grid), counts[True], counts[False], beyond)


def parsed(words: list[str]) -> Records:
    return [(int(word.rstrip("+")), not word.endswith("+")) for word in words]


WEEKS = range(1, 162)


@pytest.mark.parametrize(
    ("words", "printed", "median"), [(MAINTAINED, MAINTAINED_CURVE, 31), (NOT_MAINTAINED, NOT_MAINTAINED_CURVE, 23)]
)
def test_curves_of_aml_are_as_r_prints_them(words: list[str], printed: str, median: int) -> None:
    aml = table(parsed(words), WEEKS)
    points = kaplan_meier(aml)
    lines = printed.strip().splitlines()
    assert len([point for point in points if point.survival]) == len(lines)
    for point, line in zip(points, lines, strict=False):
        time, risk, events, survival, error, low, high = line.split()
        assert (point.time, point.at_risk, point.events) == (int(time), int(risk), int(events))
        for ours, theirs in [
            (float(point.survival), survival),
            (point.deviation, error),
            (point.interval.low, low),
            (point.interval.high, high),
        ]:
            assert f"{ours:.{len(theirs.split('.')[1])}f}" == theirs
    assert median_survival(aml) == median


def test_after_the_last_event_of_all_there_is_no_deviation() -> None:
    last = kaplan_meier(table(parsed(NOT_MAINTAINED), WEEKS))[-1]
    assert (last.time, last.survival, last.deviation, last.interval) == (45, 0, None, None)


def test_log_rank_of_aml_is_as_r_prints_it() -> None:
    # survdiff(Surv(time, status) ~ x, data = aml): observed 7 and 11, expected 10.69 and 7.31, "Chisq= 3.4  on 1
    # degrees of freedom, p= 0.0653".
    found = log_rank([table(parsed(words), WEEKS) for words in (MAINTAINED, NOT_MAINTAINED)])
    assert found.observed == (7, 11)
    assert [round(float(fair), 2) for fair in found.expected] == [10.69, 7.31]
    assert (round(found.test.statistic, 1), found.test.degrees, round(found.test.p, 4)) == (3.4, (1,), 0.0653)


def censored(records: Records) -> stats.CensoredData:
    return stats.CensoredData(
        uncensored=[time for time, happened in records if happened],
        right=[time for time, happened in records if not happened],
    )


def draw(rng: np.random.Generator) -> Records:
    size = rng.integers(2, 40)
    return [(int(t), bool(h)) for t, h in zip(rng.integers(1, 20, size), rng.random(size) < 0.7, strict=True)]


def test_two_hundred_groups_agree_with_scipy() -> None:
    rng = np.random.default_rng(11)
    for _ in range(200):
        groups = [draw(rng), draw(rng)]
        if not all(any(happened for _, happened in group) for group in groups):
            continue
        theirs = stats.ecdf(censored(groups[0])).sf
        ours = {point.time: float(point.survival) for point in kaplan_meier(table(groups[0], range(1, 20)))}
        for time, survival in ours.items():
            assert survival == pytest.approx(theirs.evaluate(time), abs=1e-12)
        found = log_rank([table(group, range(1, 20)) for group in groups]).test
        other = stats.logrank(*map(censored, groups))
        assert found.statistic == pytest.approx(other.statistic**2, rel=1e-9)
        assert found.p == pytest.approx(other.pvalue, rel=1e-7)


RECORDS = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=25)


@given(RECORDS, st.integers(0, 5))
def test_without_censoring_the_curve_is_the_share_that_is_left(records: Records, beyond: int) -> None:
    all_died = [(time, True) for time, _ in records]
    for point in kaplan_meier(table(all_died, range(1, 10), beyond)):
        left = sum(time > point.time for time, _ in records) + beyond
        assert point.survival == Fraction(left, len(records) + beyond)
        assert 1 - point.survival <= 1 - Fraction(left, len(records) + beyond) <= point.hazard


@given(st.lists(RECORDS, min_size=3, max_size=3))
def test_the_order_of_groups_changes_nothing(three: list[Records]) -> None:
    groups = [table(records, range(1, 10)) for records in three]
    try:
        found = log_rank(groups)
    except EstimateError:
        with pytest.raises(EstimateError):
            log_rank(groups[::-1])
        return
    assert found.test.statistic == pytest.approx(log_rank(groups[::-1]).test.statistic)
    assert sum(found.observed) == sum(found.expected)
    assert found.test.degrees == (2,)


def test_the_curve_may_stay_above_one_half() -> None:
    assert median_survival(LifeTable((1.0, 2.0), (1, 1), (0, 0), beyond=9)) is None
    assert median_survival(LifeTable((1.0, 2.0), (1, 1), (0, 0), beyond=2)) == 2.0


def test_what_has_no_value_is_named() -> None:
    def group(*events: int) -> LifeTable:
        return LifeTable((1.0, 2.0), events[:2], events[2:4], sum(events[4:]))

    nobody = group(0, 0, 0, 0)
    for ask, reason in [
        (lambda: kaplan_meier(nobody), "too-few-records"),
        (lambda: median_survival(nobody), "too-few-records"),
        (lambda: log_rank([group(3, 2, 1, 0), nobody]), "empty-margin"),
        (lambda: log_rank([group(0, 0, 1, 3), group(0, 0, 2, 2)]), "empty-margin"),
        # The second group was gone before the first event.
        (lambda: log_rank([group(0, 3, 0, 1), group(0, 0, 5, 0)]), "empty-margin"),
    ]:
        with pytest.raises(EstimateError) as caught:
            ask()
        assert caught.value.reason == reason


def test_impossible_tables_are_refused() -> None:
    for times, events, lost in [
        ((), (), ()),
        ((1, 2), (1,), (0, 0)),
        ((2, 1), (1, 1), (0, 0)),
        ((1, 2), (1, -1), (0, 0)),
    ]:
        with pytest.raises(ParameterError):
            LifeTable(times, events, lost)
    one = LifeTable((1.0,), (1,), (1,))
    for groups in ([one], [one, LifeTable((2.0,), (1,), (1,))]):
        with pytest.raises(ParameterError, match="same times"):
            log_rank(groups)
    with pytest.raises(ParameterError, match="between 0 and 1"):
        kaplan_meier(one, 0.0)
