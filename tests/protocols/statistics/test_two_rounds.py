"""Counts first: what is told is what one session tells, and sums over few rows are made nowhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.simulation.queried import ask_sites, inquire
from protocols.statistics.kinds import Kind
from protocols.statistics.plan import Plan
from protocols.statistics.query import Where, asked
from protocols.statistics.release import ReleasePolicy
from protocols.statistics.rules import Rule
from protocols.statistics.site import Site, SitePolicy
from protocols.statistics.two_rounds import ask_twice
from secagg.errors import ParameterError

from .tables_of_sites import NAMES, query, rows, sites

STATISTICS = (asked("count"), asked("mean", "age"), asked("variance", "mass"))


def asking(asked_of, policy=None):
    """A way to ask, and what was asked and summed."""
    totals = []

    def ask(one):
        found = ask_sites(one, asked_of, policy)
        assert found.exact
        totals.append((one, Plan(one).decode(found.report.result)))
        return found.answer

    return ask, totals


def unequal(seed, rare):
    """Sites whose ward `south` has as many rows as are told, in all."""
    rng = np.random.default_rng(seed)
    policy = SitePolicy(NAMES, least_difference=1, max_cells_fraction=1.0, max_dominance=1.0)
    found = {}
    for at in range(5):
        columns = rows(rng, 60)
        columns["ward"] = np.array((["east", "north"] * 30)[:60], dtype=object)
        columns["age"] = columns["age"].clip(1, 119)
        columns["ward"][: rare // 5 + (at < rare % 5)] = "south"
        found[f"site-{at}"] = Site(columns, policy, "hospitals", None)
    return found


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 100), st.integers(0, 30))
def test_what_is_told_is_what_one_session_tells(seed, rare):
    one = query(*STATISTICS, group_by="ward")
    ask, totals = asking(unequal(seed, rare))
    twice = ask_twice(one, ask)
    once = ask_sites(one, unequal(seed, rare)).answer
    assert (twice.digest, twice.records, twice.sites) == (once.digest, once.records, once.sites)
    for first, second in zip(twice.findings, once.findings, strict=True):
        assert (first.statistic, first.group, first.value) == (second.statistic, second.group, second.value)
        assert first.suppressed == second.suppressed
    for asked_for, sums in totals:
        for key in sums:
            if key[0] == "power":
                assert sums["valid", key[1], key[3]] == 0 or sums["valid", key[1], key[3]] >= 10
                assert asked_for.statistics[0].kind in (Kind.MEAN, Kind.VARIANCE)


def test_a_small_group_has_no_moments_anywhere():
    ask, totals = asking(unequal(1, 7))
    found = ask_twice(query(asked("mean", "age"), group_by="ward"), ask)
    rules = {each.group: each.suppressed for each in found.findings}
    assert rules["south"] is Rule.CELL
    (first, counted), (second, summed) = totals
    assert not [key for key in counted if key[0] == "power"]
    assert "south" not in second.cells
    assert [first.statistics[0].kind, second.statistics[0].kind] == [Kind.MISSING, Kind.MEAN]
    assert sum(key[0] == "power" for key in summed) == len(second.cells)


def test_without_groups_and_when_nothing_is_shown():
    ask, totals = asking(sites(2, [60] * 5))
    within = (Where("age", "known"),)
    found = ask_twice(query(asked("mean", "age"), where=within), ask).findings
    assert found[0].value is not None
    assert len(totals) == 2
    ask, totals = asking(sites(2, [60] * 5), ReleasePolicy(min_records=1000))
    found = ask_twice(query(asked("mean", "age"), asked("count")), ask).findings
    assert [each.suppressed for each in found] == [Rule.RECORDS, Rule.RECORDS]
    assert len(totals) == 1


def test_statistics_that_differ_by_parameters_alone_keep_their_own_findings():
    low, mean, high = (
        asked("quantiles", "age", quantiles=(0.1,)),
        asked("mean", "age"),
        asked("quantiles", "age", quantiles=(0.9,)),
    )
    asked_of = sites(2, [60] * 5)
    for two_rounds in (True, False):
        found = inquire(query(low, mean, high), lambda one: ask_sites(one, asked_of), two_rounds=two_rounds)
        assert [each.statistic for each in found.answer.findings] == [Kind.QUANTILES, Kind.MEAN, Kind.QUANTILES]
        first, _, last = (each.value for each in found.answer.findings)
        assert (first["quantiles"], last["quantiles"]) == ([0.1], [0.9])
        assert first["brackets"] != last["brackets"]


def test_other_kinds_are_refused_by_name():
    with pytest.raises(ParameterError, match="table is not asked in two rounds"):
        ask_twice(query(asked("table", "sex", "ward")), lambda one: pytest.fail(str(one)))


def test_cells_are_some_of_the_groups_in_order():
    for rest in (
        {"cells": ("east",)},
        {"cells": ("north", "east"), "group_by": "ward"},
        {"cells": ("east", "east"), "group_by": "ward"},
        {"cells": ("west",), "group_by": "ward"},
        {"cells": ("east", "north", "south", "(other)", "(missing)"), "group_by": "ward"},
    ):
        with pytest.raises(ParameterError, match="cells must be"):
            query(asked("count"), **rest)
    assert len(Plan(query(asked("count"), group_by="ward", cells=("north", "(missing)"))).totals) == 2


def test_records_of_some_cells_are_not_told():
    """Beside the cells that are shown they would tell one that is hidden."""
    for cells in (("east", "south"), ("east",)):
        found = ask_sites(query(asked("count"), group_by="ward", cells=cells), unequal(1, 7)).answer
        assert found.records is None
    assert ask_sites(query(asked("count"), group_by="ward"), unequal(1, 7)).answer.records == 300
