"""What an analyst is shown: no small count, nothing that betrays one, and which rule spoke."""

import numpy as np
import pytest

from protocols.statistics.answer import release
from protocols.statistics.columns import Number
from protocols.statistics.families.registry import FAMILIES
from protocols.statistics.gate import Gate
from protocols.statistics.grids import gate_in_words
from protocols.statistics.plan import Plan
from protocols.statistics.query import Query, asked
from protocols.statistics.release import ReleasePolicy
from protocols.statistics.rows import Table
from protocols.statistics.rules import Rule
from secagg.errors import ParameterError

from .tables_of_sites import AGE, MASS, query


def shown(one, columns, policy=None, sites=5):
    """The findings about one pooled table."""
    plan = Plan(one)
    length = len(next(iter(columns.values())))
    table = Table(one, columns)
    return release(plan, table.totals(plan, table.selected(length)), sites, policy)


def texts(**counts):
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def numbers(valid, missing=0, above=0):
    return np.array([50.0 + at % 7 for at in range(valid)] + [np.nan] * missing + [500.0] * above)


def test_as_many_rows_need_not_be_the_same_rows():
    """Rows with a and b, and as many with a and c, may differ by few: two sums over a would tell the sum over those."""
    one = Query("d", tuple(Number(name, 0, 1) for name in "abc"), (asked("count"),))
    gates = [Gate(one, {("rows", 0): 40}, 5, ReleasePolicy(), FAMILIES) for _ in range(2)]
    assert [gates[0].far(columns, 30) for columns in (("a", "b"), ("a", "c"), ("b", "c"))] == [True, False, False]
    assert [gates[1].far(columns, 30) for columns in (("a",), ("a", "b"))] == [True, True]  # one within the other


def test_too_few_records_or_sites_show_nothing():
    one = query(asked("count"), asked("mean", "age"), asked("histogram", "age"))
    for found, rule in (
        (shown(one, {"age": numbers(9)}), Rule.RECORDS),
        (shown(one, {"age": numbers(50)}, sites=2), Rule.SITES),
    ):
        assert found.records is None
        assert [(each.value, each.n, each.suppressed) for each in found.findings] == [(None, None, rule)] * 3
    assert shown(one, {"age": numbers(10)}, sites=3).findings[0].value == 10


@pytest.mark.parametrize(("policy", "count"), [(ReleasePolicy.preset("cms"), 10), (ReleasePolicy(min_cell=30), 29)])
def test_the_number_of_all_rows_is_a_cell_too(policy, count):
    one = query(asked("count"), asked("missing", "age"), asked("mean", "age"))
    found = shown(one, {"age": numbers(count)}, policy)
    assert [(each.value, each.n, each.suppressed) for each in found.findings] == [(None, None, Rule.RECORDS)] * 3
    assert found.records is None
    assert f"{count + 1} records" in gate_in_words(policy)
    assert shown(one, {"age": numbers(count + 1)}, policy).records == count + 1


def test_a_small_group_and_another_one_are_hidden_with_all_their_moments():
    columns = {"sex": texts(f=40, m=3, x=30), "age": numbers(73)}
    one = query(asked("count"), asked("mean", "age"), asked("missing", "age"), group_by="sex")
    found = shown(one, columns)
    rules = {(each.statistic, each.group): each.suppressed for each in found.findings}
    assert rules["count", "m"] is rules["mean", "m"] is Rule.CELL
    assert rules["count", "(other)"] is rules["mean", "(other)"] is Rule.CELL  # one word: none tells which is small
    assert rules["count", "f"] is rules["mean", "f"] is None
    values = {(each.statistic, each.group): each.value for each in found.findings}
    assert values["count", "m"] is values["mean", "m"] is values["mean", "(other)"] is None
    assert found.records == 73


def test_a_cell_is_not_found_by_subtraction_from_the_margins():
    columns = {
        "sex": texts(f=60, m=60),
        "ward": np.array((["east"] * 3 + ["north"] * 57) + ["east"] * 25 + ["north"] * 35),
    }
    (table,) = shown(query(asked("table", "sex", "ward")), columns).findings
    counts = np.array([[-1 if count is None else count for count in row] for row in table.value["counts"]])
    assert (counts[:2, :2] == -1).all()  # a single hidden cell in a row or column is the margin less the others
    assert table.value["row_totals"][:2] == [60, 60]
    assert table.suppressed["f, east"] is Rule.CELL
    assert table.suppressed["m, north"] is Rule.CELL


def test_a_table_on_its_side_shows_the_same_cells():
    rng, hidden = np.random.default_rng(1), 0
    for _ in range(60):
        columns = {
            "sex": rng.choice(["f", "m", "x"], 300, p=[0.5, 0.4, 0.1]),
            "ward": rng.choice(["east", "north", "south", ""], 300, p=[0.4, 0.3, 0.25, 0.05]),
        }
        both = shown(query(asked("table", "sex", "ward"), asked("table", "ward", "sex")), columns).findings
        counts, turned = (each.value["counts"] for each in both)
        assert counts == [list(row) for row in zip(*turned, strict=True)]
        hidden += any(None in row for row in counts)
    assert hidden > 20


def test_nothing_hides_in_missing_values():
    """Three rows lack the number: the count of the others would tell that there are three, so it is hidden, too."""
    one = query(asked("count"), asked("mean", "age"), asked("missing", "age"))
    count, mean, missing = shown(one, {"age": numbers(97, missing=3)}).findings
    assert count.value == 100
    assert (mean.value, mean.n, mean.suppressed) == (None, None, Rule.CELL)
    assert missing.value == {"missing": None, "below": 0, "above": 0, "valid": None}
    _, mean, missing = shown(one, {"age": numbers(80, missing=3, above=17)}).findings
    assert mean.n == 80
    assert missing.value == {"missing": None, "below": 0, "above": None, "valid": 80}
    columns = {"sex": texts(**{"f": 50, "m": 40, "": 2}), "ward": np.array(["east"] * 92)}
    (table,) = shown(query(asked("table", "sex", "ward")), columns).findings
    assert table.value["row_totals"] == [50, None, 0, None]


def test_rows_that_two_numbers_differ_by_are_no_hiding_place():
    age, mass = numbers(100), numbers(100)
    mass[:4] = np.nan
    age[50:70] = np.nan
    one = query(asked("correlation", "age", "mass"))
    (found,) = shown(one, {"age": age, "mass": mass}).findings
    assert (found.value, found.n) == (None, None)
    mass[:30] = np.nan
    (found,) = shown(one, {"age": age, "mass": mass}).findings
    assert found.n == 50


def test_two_pairs_of_a_column_differ_by_no_few_rows():
    """Sums of ages over 180 rows and over 177 of these would tell the sum over three."""
    stay = Number("stay", 0, 600)
    one = query(asked("covariance", "age", "mass"), asked("covariance", "age", "stay"), columns=(AGE, MASS, stay))
    columns = {"age": numbers(200), "mass": numbers(180, missing=20), "stay": numbers(177, missing=23)}
    first, second = shown(one, columns).findings
    assert first.n == 180
    assert (second.value, second.n, second.suppressed) == (None, None, Rule.COMPLEMENTARY)
    columns["stay"] = numbers(170, missing=30)
    assert [each.n for each in shown(one, columns).findings] == [180, 170]


def test_what_the_data_do_not_have_is_undefined_and_not_hidden():
    one = query(asked("skewness", "age"), asked("variance", "age"), asked("mean", "mass"), asked("median", "age"))
    columns = {"age": np.full(20, 50.0), "mass": np.full(20, np.nan)}
    skewness, variance, mean, median = shown(one, columns).findings
    assert skewness.suppressed is mean.suppressed is Rule.UNDEFINED
    assert variance.value == 0
    assert mean.n == 0
    assert median.value["brackets"] == [(50.0, 60.0)]


def test_without_a_least_cell_all_is_shown():
    columns = {"sex": texts(f=1, m=2), "ward": np.array(["east", "north", "east"])}
    (table,) = shown(query(asked("table", "sex", "ward")), columns, ReleasePolicy(1, 1, 1)).findings
    assert table.suppressed is None
    assert table.value["counts"][0] == [1, 0, 0, 0, 0]


def test_presets_are_named_after_what_they_follow():
    assert [ReleasePolicy.preset(name).min_cell for name in ("cms", "datashield")] == [11, 3]
    with pytest.raises(ParameterError, match="cms, datashield"):
        ReleasePolicy.preset("lax")
    with pytest.raises(ParameterError, match="min_cell"):
        ReleasePolicy(min_cell=0)


def test_shown_shares_and_brackets_use_shown_counts_alone():
    """Two data sets that show the same histogram show the same shares and brackets, whatever is hidden."""
    one = query(asked("histogram", "age"), asked("ecdf", "age"), asked("quantiles", "age", quantiles=(0.01, 0.5, 0.99)))
    first = np.repeat([5.0, 15.0, 55.0, 105.0], [3, 20, 60, 40])
    second = np.repeat([5.0, 15.0, 55.0, 105.0], [7, 16, 60, 40])
    found = [shown(one, {"age": each}).findings for each in (first, second)]
    assert found[0][0].value == found[1][0].value
    assert found[0] == found[1]
    assert found[0][1].value["shares"][1] is None
