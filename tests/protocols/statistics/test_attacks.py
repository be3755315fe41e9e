"""Whoever wants one person's value from sums over many: each way that is known is refused, or tells nothing.

The victim is the one row whose age is 97. Sequences of questions are asked of one site that keeps its journal.
"""

import itertools

import numpy as np
import pytest

from protocols.statistics.columns import Levels, Number
from protocols.statistics.query import Query, Where, asked
from protocols.statistics.release import ReleasePolicy
from protocols.statistics.rules import Rule
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import QueryRefused

from .test_release import shown

AGE = Number("age", 0, 120, edges=(0.0, 60.0, 96.5, 120.0))
STAY = Number("stay", 0, 60)
SERUM = Number("serum", 0, 10)
WARD = Levels("ward", ("heart", "lung"))
SEX = Levels("sex", ("f", "m"))
COLUMNS = (AGE, STAY, SERUM, WARD, SEX)
VICTIM = 0


def patients(count=400):
    rng = np.random.default_rng(11)
    age = rng.integers(20, 95, count).astype(float)
    age[VICTIM] = 97.0
    return {
        "age": age,
        "stay": rng.integers(1, 40, count).astype(float),
        "serum": rng.uniform(1, 9, count),
        "ward": np.where(np.arange(count) % 2, "heart", "lung"),
        "sex": np.where(np.arange(count) % 3, "f", "m"),
    }


def hospital(table=None, **policy):
    columns = table or patients()
    log = []
    return Site(columns, SitePolicy(**({"columns": set(columns)} | policy)), "d", None, None, log.append), log


def ask(*statistics, where=(), group_by=None, **rest):
    return Query("d", COLUMNS, statistics, tuple(where), group_by, **rest)


def refused(site, one):
    with pytest.raises(QueryRefused, match="disclosure"):
        site.answer(one)
    return True


WITHOUT = Where("age", "lt", 97.0)
LUNG = Where("ward", "eq", "lung")
MEAN = asked("mean", "stay")


def test_all_rows_against_all_but_one():
    for first, second in (((), (WITHOUT,)), ((WITHOUT,), ())):
        site, _ = hospital()
        site.answer(ask(MEAN, where=first))
        assert refused(site, ask(MEAN, where=second))


def test_a_group_against_a_filter_that_is_one_row_short_of_it():
    for first, second in (
        (ask(MEAN, group_by="ward"), ask(MEAN, where=(LUNG, WITHOUT))),
        (ask(MEAN, where=(LUNG, WITHOUT)), ask(MEAN, group_by="ward")),
        (ask(asked("count"), group_by="ward"), ask(asked("count"), where=(LUNG, WITHOUT))),
        (ask(asked("table", "ward", "sex")), ask(asked("count"), group_by="sex", where=(LUNG, WITHOUT))),
    ):
        site, log = hospital()
        site.answer(first)
        assert refused(site, second)
        assert "1 rows differ" in log[-1]


def test_groups_of_two_questions_that_differ_by_one_row_though_their_selections_differ_by_many():
    """The second question leaves out the victim, and half of the other ward as well."""
    columns = patients()
    columns["age"][(columns["ward"] == "heart") & (np.arange(400) % 4 == 1)] = 98.0
    site, log = hospital(columns)
    site.answer(ask(MEAN, group_by="ward"))
    assert refused(site, ask(MEAN, where=(WITHOUT,), group_by="ward"))
    assert "1 rows differ" in log[-1]


def test_some_groups_against_all_rows():
    """The release gate sees no row of groups that are left out, so it hides none: five rows' sum by subtraction."""
    columns = patients()
    columns["ward"] = np.where(np.arange(400) < 5, "lung", "heart")
    some = ask(MEAN, group_by="ward", cells=("heart",))
    for first, second in ((ask(MEAN), some), (some, ask(MEAN)), (some, ask(asked("covariance", "serum", "stay")))):
        site, log = hospital(columns)
        site.answer(first)
        assert refused(site, second)
        assert "5 rows" in log[-1]
    site, _ = hospital(columns)
    site.answer(ask(asked("missing", "stay"), group_by="ward"))
    site.answer(some)  # moments of the groups whose counts were shown


def test_a_bin_against_a_filter():
    site, _ = hospital()
    site.answer(ask(asked("histogram", "age"), where=(LUNG,)))
    assert refused(site, ask(asked("count"), where=(LUNG, Where("age", "ge", 60.0), Where("age", "lt", 94.0))))


def test_a_cell_by_subtraction_of_filters_and_of_margins():
    """At the site, by filters on the margins; at the release, by the margins of one table."""
    columns = patients()
    columns["sex"][columns["ward"] == "lung"] = "f"
    columns["sex"][VICTIM] = "m"
    site, _ = hospital(columns)
    site.answer(ask(MEAN, where=(LUNG,)))
    assert refused(site, ask(MEAN, where=(LUNG, Where("sex", "eq", "f"))))
    (table,) = shown(ask(asked("table", "ward", "sex")), columns).findings
    assert table.value["counts"][1][:2] == [None, None]
    assert table.suppressed["lung, m"] is Rule.CELL
    assert table.suppressed["lung, f"] is Rule.CELL


def test_hiding_in_missing_values():
    """Who has no serum value cannot be told from the others by what they are missing from."""
    columns = patients()
    columns["serum"][VICTIM] = np.nan
    site, _ = hospital(columns)
    site.answer(ask(MEAN))
    assert refused(site, ask(MEAN, where=(Where("serum", "known"),)))
    site, log = hospital(columns)
    site.answer(ask(MEAN))  # the sum of stays of all, and then of those with a serum value
    assert refused(site, ask(asked("covariance", "serum", "stay")))
    assert "1 rows differ" in log[-1]
    both = shown(ask(MEAN, asked("covariance", "serum", "stay")), columns).findings
    assert [each.suppressed for each in both] == [None, Rule.CELL]


def test_a_repeated_question_with_another_digest():
    site, _ = hospital()
    first = ask(MEAN, where=(WITHOUT,))
    site.answer(first)
    again = ask(MEAN, where=(Where("age", "le", 96.0),), max_rows=999)
    assert first.digest != again.digest
    site.answer(again)  # the same rows, whatever the question is called
    assert refused(site, ask(MEAN, max_rows=998))
    assert refused(site, ask(MEAN, where=(Where("age", "ge", 0.0),)))


def test_a_site_of_no_rows_and_one_of_few():
    empty, _ = hospital({name: values[:0] for name, values in patients().items()})
    one = ask(MEAN, asked("table", "ward", "sex"))
    (values,) = empty.answer(one).values.values()
    assert not values.any()
    few, _ = hospital({name: values[:9] for name, values in patients().items()}, max_cells_fraction=1.0)
    assert refused(few, ask(MEAN))


LOW, HIGH = Where("stay", "le", 20.0), Where("stay", "ge", 20.0)
"""Whose stay is 20 is in both, so that both and everyone tell of them alone."""


def test_three_filters_of_which_each_pair_is_far_apart():
    columns = patients()
    columns["stay"][columns["stay"] == 20.0] = 21.0
    columns["stay"][VICTIM] = 20.0
    for order in itertools.permutations([(LOW,), (HIGH,), ()]):
        site, log = hospital(columns)
        for where in order[:-1]:
            site.answer(ask(asked("mean", "age"), where=where))
        assert refused(site, ask(asked("mean", "age"), where=order[-1]))
        assert "this tells of 1 rows" in log[-1]


def test_four_filters_of_which_each_pair_is_far_apart():
    """All, less those with p, less those with q, and those with both: that leaves who has neither, the victim."""
    columns = patients()
    p, q = Where("stay", "ge", 10.0), Where("age", "lt", 50.0)
    columns["stay"][(columns["stay"] < 10) & (columns["age"] >= 50)] = 10.0
    columns["stay"][VICTIM] = 5.0
    for order in itertools.permutations([(), (p,), (q,), (p, q)]):
        site, log = hospital(columns)
        for where in order[:-1]:
            site.answer(ask(asked("mean", "serum"), where=where))
        assert refused(site, ask(asked("mean", "serum"), where=order[-1]))
        assert "this tells of 1 rows" in log[-1]


def test_a_tracker_by_groups():
    """The sum of the victim's ward follows from both sexes of it; each of three questions is harmless."""
    columns = patients()
    columns["sex"][columns["ward"] == "lung"] = np.where(np.arange(200) % 2, "f", "m")
    columns["sex"][VICTIM] = ""
    site, log = hospital(columns)
    site.answer(ask(MEAN, group_by="ward"))
    site.answer(ask(MEAN, where=(Where("sex", "eq", "f"),), group_by="ward"))
    assert refused(site, ask(MEAN, where=(Where("sex", "eq", "m"),), group_by="ward"))
    assert "tells of 1 rows" in log[-1]


def test_two_rows_that_follow_together():
    columns = patients()
    columns["stay"][columns["stay"] == 20.0] = 21.0
    columns["stay"][:2] = 20.0
    site, log = hospital(columns)
    site.answer(ask(asked("mean", "age"), where=(LOW,)))
    site.answer(ask(asked("mean", "age"), where=(HIGH,)))
    assert refused(site, ask(asked("mean", "age")))
    assert "tells of 2 rows" in log[-1]


def test_one_row_that_makes_nearly_all_of_a_sum():
    columns = patients()
    columns["serum"] = np.full(400, 1e-3)
    columns["serum"][VICTIM] = 8.0
    site, log = hospital(columns)
    assert refused(site, ask(asked("mean", "serum")))
    assert "one row makes 0.952 of a sum" in log[-1]


def test_the_ordinary_questions_of_a_study_are_answered():
    site, log = hospital()
    for _ in range(2):  # and once more
        for one in (
            ask(asked("count"), MEAN, asked("variance", "age"), asked("correlation", "age", "stay")),
            ask(asked("histogram", "age"), asked("median", "age")),
            ask(asked("table", "sex", "ward")),
            ask(MEAN, asked("variance", "stay"), group_by="ward"),
            ask(MEAN, group_by="sex"),
            ask(MEAN, where=(Where("sex", "eq", "f"),)),
            ask(MEAN, where=(Where("sex", "eq", "m"),)),
            ask(MEAN, where=(Where("sex", "eq", "m"),), group_by="ward"),
            ask(MEAN, where=(Where("age", "ge", 65.0),)),
            ask(MEAN, where=(Where("age", "ge", 65.0),), group_by="ward"),
            ask(asked("correlation", "age", "stay"), where=(LUNG,)),
        ):
            site.answer(one)
    assert not log


def test_counts_of_the_same_rows_are_one_question_in_parts():
    """Two columns that are nearly the same: their counts are compared under filters alone, sums always."""
    columns = patients()
    columns["sex"] = np.where(columns["ward"] == "lung", "f", "m")
    columns["sex"][VICTIM] = "m"
    site, log = hospital(columns)
    site.answer(ask(asked("count"), group_by="ward"))
    site.answer(ask(asked("count"), group_by="sex"))
    assert refused(site, ask(asked("count"), group_by="sex", where=(Where("age", "lt", 90.0),)))
    site.answer(ask(MEAN, group_by="ward"))
    assert refused(site, ask(MEAN, group_by="sex"))
    assert "1 rows differ" in log[-1]


def test_answers_come_to_an_end():
    site, log = hospital(max_answers=2)
    first, second, third = (ask(asked("mean", name)) for name in ("age", "stay", "serum"))
    site.answer(first)
    site.answer(second)
    assert site.explain(third).startswith("refuses: too-many-answers")
    with pytest.raises(QueryRefused, match="too-many-answers"):
        site.answer(third)
    assert "2 questions" in log[-1]
    site.answer(first)  # it was answered before


def test_when_answers_have_come_to_an_end_no_refusal_tells_of_rows():
    """A step through a column by filters, of which each told whether few rows were beyond it, and none was noted."""
    site, _ = hospital(max_answers=1)
    site.answer(ask(MEAN))
    for above in (10.0, 96.0):
        with pytest.raises(QueryRefused, match="too-many-answers"):
            site.answer(ask(MEAN, where=(Where("age", "gt", above),)))
    with site._journal.open() as journal:
        assert len(journal.entries) == 1
    changed, log = hospital(patients(500), max_answers=1)
    changed._journal = site._journal
    assert refused(changed, ask(MEAN))  # asked before, of other rows
    assert "over other cells" in log[-1]


def test_what_is_explained_is_what_happens():
    """`explain` after each question of an attack, against what the site then does."""
    site, log = hospital()
    for one in (
        ask(MEAN, group_by="ward"),
        ask(MEAN, where=(LUNG, WITHOUT)),
        ask(MEAN, where=(LUNG,)),
        ask(MEAN, where=(WITHOUT,)),
        ask(MEAN),
    ):
        explained = site.explain(one)
        try:
            site.answer(one)
            assert explained.startswith("answers:")
        except QueryRefused:
            assert explained == f"refuses: {log[-1].removeprefix('query refused, ')}"


@pytest.mark.parametrize("policy", [ReleasePolicy(), ReleasePolicy.preset("cms")])
def test_no_small_count_is_shown_beside_a_large_one(policy):
    columns = patients(60)
    columns["sex"][:7] = ""
    (table,) = shown(ask(asked("table", "ward", "sex")), columns, policy).findings
    counts = [count for row in table.value["counts"] for count in row if count is not None]
    assert all(count == 0 or count >= policy.min_cell for count in counts)
