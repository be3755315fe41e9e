"""Beginnings of codes are columns of their own: counted exactly, at one length a site, and allowed by their owner."""

from collections import Counter

import numpy as np
import pytest

from protocols.simulation.queried import ask_sites
from protocols.statistics.beginnings import beginnings_of
from protocols.statistics.columns import Levels
from protocols.statistics.query import Query, Where, asked
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import QueryRefused

CODES = Levels("code", ("A00", "A01", "B05", "C10", "C11"))
SEX = Levels("sex", ("f", "m"))
FIRST, TWO = beginnings_of(CODES, 1), beginnings_of(CODES, 2)


def table(seed=0, count=400):
    rng = np.random.default_rng(seed)
    known = rng.choice([*CODES.levels, "A99", "Z", ""], count).astype(object)
    return {"code": np.where(rng.random(count) < 0.05, None, known), "sex": rng.choice(["f", "m"], count)}


def site(columns=None, allowed=("code", "sex"), **rest):
    log = []
    made = Site(columns or table(), SitePolicy(frozenset(allowed)), "d", None, None, log.append, **rest)
    return made, log


def ask(*statistics, columns=(FIRST, SEX), **rest):
    return Query("d", columns, statistics, **rest)


TOP = ask(asked("top", "code|1", most=2))


def refusal(made, one):
    with pytest.raises(QueryRefused) as refused:
        made.answer(one)
    return refused.value.reason


def test_the_most_frequent_beginnings_are_counted_exactly():
    tables = {f"site-{at}": table(at) for at in range(5)}
    found = ask_sites(TOP, {name: site(columns)[0] for name, columns in tables.items()})
    assert found.exact
    assert not found.refused
    texts = [text for columns in tables.values() for text in columns["code"] if text]
    expected = Counter(text[0] for text in texts if text[0] in "ABC").most_common(2)
    assert found.answer.findings[0].value == {
        "levels": [name for name, _ in expected],
        "counts": [count for _, count in expected],
    }


def test_groups_tables_and_filters_take_beginnings():
    columns = table(3)
    made, _ = site(columns)
    one = ask(asked("table", "code|1", "sex"), where=(Where("code|1", "ne", "A"),))
    rest = sum(bool(text) and text[0] != "A" for text in columns["code"])
    assert made.explain(one).startswith(f"answers: {rest} of 400 rows")
    assert site(columns)[0].explain(ask(asked("count"), group_by="code|1")).startswith("answers: 400")


def test_a_site_takes_one_length_of_a_column_for_all_questions():
    """Chapters less the codes that are shown of them would be the codes that are hidden."""
    whole, two = (
        ask(asked("frequencies", "code"), columns=(CODES,)),
        ask(asked("frequencies", "code|2"), columns=(TWO,)),
    )
    for first, *others in ((TOP, whole, two), (whole, TOP, two), (two, TOP, whole)):
        made, log = site()
        made.answer(first)
        for other in others:
            assert refusal(made, other) == "another-schema"
            assert "declared otherwise" in log[-1]
        made.answer(first)


@pytest.mark.parametrize(("allowed", "answers"), [({"code"}, "12"), ({"code|1"}, "1"), ({"sex"}, "")])
def test_an_owner_may_give_the_beginnings_alone(allowed, answers):
    for length, column in (("1", FIRST), ("2", TWO)):
        one = ask(asked("frequencies", column.name), columns=(column,))
        made, _ = site(allowed=allowed)
        if length in answers:
            assert made.answer(one)
        else:
            assert refusal(made, one) == "not-allowed"


def test_levels_that_an_owner_states_hold_for_beginnings():
    stated, _ = site(schema=(CODES,))
    fewer = ask(asked("frequencies", "code|1"), columns=(Levels("code|1", ("A", "B")),))
    assert refusal(stated, fewer) == "another-schema"
    assert stated.answer(ask(asked("frequencies", "code|1")))
    assert site()[0].answer(fewer)


def test_what_has_no_texts_has_no_beginnings():
    made, _ = site({"code": np.arange(400.0), "sex": table()["sex"]})
    assert refusal(made, TOP) == "another-schema"
    assert refusal(made, ask(asked("top", "ward|1", most=1), columns=(Levels("ward|1", ("A",)),))) == "not-allowed"
    lacks, _ = site({"sex": table()["sex"]})
    assert refusal(lacks, TOP) == "another-schema"


def test_a_column_that_is_called_so_is_read_itself():
    own = {"code|1": np.array(["A"] * 200 + ["B"] * 200), "code": np.array(["C10"] * 400)}
    made, _ = site(own, allowed={"code|1"})
    assert made.explain(ask(asked("frequencies", "code|1"), where=(Where("code|1", "eq", "A"),))).startswith(
        "answers: 200"
    )
