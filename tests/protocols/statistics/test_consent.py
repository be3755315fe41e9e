"""Rows without consent are as if they were not there, and who withdraws is not told by subtraction."""

import numpy as np
import pytest

from protocols.simulation.queried import ask_sites
from protocols.statistics.consent import Consent
from protocols.statistics.query import Query, Where, asked
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import ParameterError, QueryRefused

from .tables_of_sites import AGE, COLUMNS, NAMES, Plan, rows

IDS = [f"p{at}" for at in range(100)]
MEAN = Query("hospitals for research", COLUMNS, (asked("count"), asked("mean", "age")))


def site(consent, *, columns=None, ids=IDS, **policy):
    log = []
    table = columns or rows(np.random.default_rng(3), 100)
    return Site(table, SitePolicy(NAMES, **policy), "hospitals", None, ids, log.append, consent=consent), log


def refused(made, one, reason="disclosure"):
    with pytest.raises(QueryRefused, match=reason):
        made.answer(one)


def test_rows_without_consent_are_as_if_they_were_not_there():
    agreed = set(IDS[:70])
    made, _ = site(Consent("research", agreed))
    columns = {name: values[:70] for name, values in made.columns.items()}
    alone = Site(columns, SitePolicy(NAMES), "hospitals for research", None)
    plan = Plan(MEAN)
    assert made.answer(MEAN).values[plan.name].tolist() == alone.answer(MEAN).values[plan.name].tolist()
    assert made.explain(MEAN).startswith("answers: 70 of 70 rows")
    small = Query(MEAN.dataset, COLUMNS, MEAN.statistics, max_rows=70)
    made.answer(small)
    agreed.update(IDS)
    refused(made, small)
    table = Query(MEAN.dataset, COLUMNS, (asked("table", "sex", "ward"),))  # of 20 cells
    few, _ = site(Consent("research", set(IDS[:39]), least_share=0))
    refused(few, table)


def test_a_withdrawal_counts_at_once_and_is_no_difference_of_few_rows():
    agreed = set(IDS)
    made, log = site(Consent("research", agreed), columns={"age": np.arange(100.0)})
    made.answer(MEAN)
    for at in range(9):
        agreed.discard(IDS[at])
        refused(made, MEAN)
        assert f"{at + 1} rows differ" in log[-1]
    agreed.discard(IDS[9])
    assert made.answer(MEAN).values
    assert made.explain(MEAN).startswith("answers: 90 of 90 rows")
    agreed.add(IDS[9])  # and who comes back is none
    refused(made, MEAN)


def test_consent_in_a_column_is_withdrawn_there():
    columns = rows(np.random.default_rng(3), 100) | {"agreed": np.array([1.0] * 80 + [0.0] * 10 + [np.nan] * 10)}
    made, _ = site(Consent("research", "agreed"), columns=columns, ids=None)
    assert made.explain(MEAN).startswith("answers: 80 of 80 rows")
    made.columns["agreed"][:5] = 0
    assert made.explain(MEAN).startswith("answers: 75 of 75 rows")
    made.columns["agreed"] = made.columns["agreed"] == 1
    assert made.explain(MEAN).startswith("answers: 75 of 75 rows")


def test_too_small_a_share_is_refused():
    agreed = set(IDS[:50])
    made, log = site(Consent("research", agreed))
    made.answer(MEAN)
    agreed.clear()
    agreed.update(IDS[:49])
    refused(made, MEAN)
    assert "49 of 100 rows have consent" in log[-1]
    nobody, _ = site(Consent("research", set()))
    refused(nobody, MEAN)
    empty, _ = site(Consent("research", set()), columns=rows(np.random.default_rng(3), 0), ids=[])
    assert not empty.answer(MEAN).values[Plan(MEAN).name].any()


def test_another_purpose_is_another_data_set():
    made, log = site(Consent("research", set(IDS)))
    for name in ("hospitals", "hospitals for billing"):
        refused(made, Query(name, COLUMNS, MEAN.statistics), "another-dataset")
        assert "'hospitals for research'" in log[-1]


def test_two_purposes_of_one_table_have_one_journal(tmp_path):
    table = {"age": np.arange(100.0)}
    journal = tmp_path / "journal"
    research, billing = (
        Site(table, SitePolicy({"age"}), "h", journal, IDS, consent=Consent(purpose, agreed))
        for purpose, agreed in (("research", set(IDS)), ("billing", set(IDS[1:])))
    )
    research.answer(Query("h for research", (AGE,), (asked("mean", "age"),)))
    refused(billing, Query("h for billing", (AGE,), (asked("mean", "age"),)))
    assert billing.answer(Query("h for billing", (AGE,), (asked("mean", "age"),), (Where("age", "ge", 20.0),)))


def test_the_pooled_rows_are_those_with_consent():
    made = {
        f"site-{at}": site(Consent("research", set(IDS[: 60 + at])), columns=rows(np.random.default_rng(at), 100))[0]
        for at in range(5)
    }
    found = ask_sites(MEAN, made)
    assert found.exact
    assert found.answer.records == 60 + 61 + 62 + 63 + 64


@pytest.mark.parametrize(
    ("consent", "ids", "text"),
    [
        (Consent("research", {"p1"}), None, "give the site `ids`"),
        (Consent("research", "agreed"), IDS, "there is none"),
        (Consent("research", "ward"), IDS, "0 and 1"),
        (Consent("research", "age"), IDS, "0 and 1"),
    ],
)
def test_a_table_that_does_not_say_who_agreed_answers_nothing(consent, ids, text):
    made, _ = site(consent, ids=ids)
    with pytest.raises(ParameterError, match=text):
        made.answer(MEAN)


def test_what_a_consent_must_be():
    with pytest.raises(ParameterError, match="purpose"):
        Consent("", set())
    with pytest.raises(ParameterError, match="least_share"):
        Consent("research", set(), 1.5)
