"""Tests, regressions, survival and votes, asked of sites: held against the pooled data by other libraries."""

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import roc_auc_score

from protocols.masking.transitions import ServerPhase
from protocols.simulation.pooled_rows import pooled
from protocols.simulation.queried import ask_sites
from protocols.statistics.answer import release
from protocols.statistics.columns import Levels, Number, even_edges
from protocols.statistics.estimates.survival import LifeTable, kaplan_meier, log_rank
from protocols.statistics.facts import finding_facts, finding_of
from protocols.statistics.families.registry import FAMILIES
from protocols.statistics.families.survival import merge, merged_ends
from protocols.statistics.grids import grids_of
from protocols.statistics.kinds import SHAPES, Parameters, Role
from protocols.statistics.newton import fit
from protocols.statistics.plan import Plan
from protocols.statistics.query import Query, Statistic, Where, asked
from protocols.statistics.release import ReleasePolicy
from protocols.statistics.rows import Table
from protocols.statistics.rules import Rule
from protocols.statistics.site import Site, SitePolicy
from secagg.errors import EncodingError, EstimateError, ParameterError

COLUMNS = (
    Number("age", 0, 120, 20, even_edges(0, 120, 24)),
    Number("mass", 20, 220, 20),
    Number("visits", 0, 60),
    Number("time", 0, 200, 16, (0.0, *map(float, range(1, 41)))),
    Levels("sex", ("f", "m")),
    Levels("state", ("event", "censored")),
    Levels("ward", ("east", "north", "south")),
    *(Number(f"rank {name}", 1, 3) for name in "abc"),
)
RANKS = ("rank a", "rank b", "rank c")
EVERYTHING = ReleasePolicy(min_cell=1, min_records=1, min_sites=1, max_coefficients=1.0)
EVERY_KIND = (
    asked("frequencies", "ward"),
    asked("top", "ward", most=2),
    asked("association", "sex", "ward"),
    asked("mantel-haenszel", "sex", "state", "ward"),
    asked("t-test", "mass", "sex"),
    asked("anova", "mass", "ward"),
    asked("linear", "mass", "age", "visits"),
    asked("ridge", "mass", "age", "visits", penalty=2.5),
    asked("logistic", "state", "age", "mass", coefficients=(0.5, -0.01, 0.002)),
    asked("poisson", "visits", "age", coefficients=(0.5, 0.01)),
    asked("survival", "time", "state"),
    asked("survival", "time", "state", "ward"),
    asked("auc", "age", "state"),
    asked("weighted", "sex", "ward", weights=(1, 0, 2.5)),
    asked("approval", "sex", "state"),
    asked("borda", *RANKS),
    asked("consensus", "sex", share=0.5),
)


def rows(rng, count, gaps=0.0):
    """Columns of a site; a share of some of them is missing or of another level."""
    age = np.clip(rng.normal(60, 15, count), 1, 119)
    mass = np.clip(40 + age / 2 + rng.normal(0, 15, count), 21, 219)
    state = np.where(rng.random(count) < 1 / (1 + np.exp(2 - age / 30)), "event", "censored").astype(object)
    sex, ward = (rng.choice(levels, count).astype(object) for levels in (["f", "m"], ["east", "north", "south"]))
    ranks = np.argsort(rng.random((count, 3)), axis=1) + 1.0
    for values in (mass, ranks[:, 1]):
        values[rng.random(count) < gaps] = np.nan
    for values in (sex, state):
        values[rng.random(count) < gaps] = rng.choice(["", "x"])
    return {
        "age": age,
        "mass": mass,
        "visits": rng.poisson(np.exp(age / 50)).astype(float),
        "time": np.floor(rng.exponential(15, count)),
        "sex": sex,
        "state": state,
        "ward": ward,
    } | {f"rank {name}": ranks[:, at] for at, name in enumerate("abc")}


def sites(seed, counts, gaps=0.0):
    rng = np.random.default_rng(seed)
    policy = SitePolicy(
        frozenset(column.name for column in COLUMNS), least_difference=1, max_cells_fraction=1.0, max_dominance=1.0
    )
    return {f"site-{at}": Site(rows(rng, count, gaps), policy, "trial", None) for at, count in enumerate(counts)}


def query(*statistics, **rest):
    return Query("trial", COLUMNS, statistics, **rest)


def answered(*statistics, seed=0, policy=EVERYTHING, gaps=0.0, counts=(150,) * 5, **rest):
    """The findings, and the pooled columns."""
    asked_of = sites(seed, counts, gaps)
    found = ask_sites(query(*statistics, **rest), asked_of, policy)
    assert found.exact
    together = {name: np.concatenate([site.columns[name] for site in asked_of.values()]) for name in rows_names()}
    return found.answer.findings, together


def rows_names():
    return [column.name for column in COLUMNS]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_whoever_vanishes_the_totals_are_those_of_the_pooled_rows(data):
    chosen = data.draw(st.lists(st.sampled_from(EVERY_KIND), min_size=1, max_size=6, unique=True))
    where = data.draw(st.sampled_from([(), (Where("mass", "known"),), (Where("sex", "eq", "f"),)]))
    counts = data.draw(st.lists(st.sampled_from([0, 130, 140]), min_size=5, max_size=8))
    phase = data.draw(st.sampled_from([ServerPhase.SHARE_KEYS, ServerPhase.MASKED_INPUT, ServerPhase.UNMASKING]))
    asked_of = sites(data.draw(st.integers(0, 1000)), counts, data.draw(st.sampled_from([0.0, 0.1])))
    found = ask_sites(query(*chosen, where=where), asked_of, drops={phase: 0.2}, corrupt_fraction=0.0)
    assert found.exact
    assert not found.refused


def test_totals_asked_together_are_those_asked_apart():
    """Of every two kinds, of the same columns as far as they can be: no two of them call other sums by one name."""
    edges = (1.0, 2.0, 3.0)
    columns = (*(Number(name, 1, 3, 8, edges) for name in "xy"), *(Levels(name, ("f", "m")) for name in "abc"))
    rng = np.random.default_rng(1)
    table = {name: rng.choice([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, np.nan], 60) for name in "xy"}
    table |= {name: rng.choice(["f", "m", "x", ""], 60) for name in "abc"}
    given = {"quantiles": (0.5,), "ridge": (1.0,), "top": (1.0,), "consensus": (0.5,)}
    statistics = []
    for kind, shape in SHAPES.items():
        roles = [*shape.columns, *[shape.more] * shape.at_least]
        names = {True: iter("xy"), False: iter("abc")}
        of = tuple(next(names[role in (Role.NUMBER, Role.EDGES)]) for role in roles)
        many = shape.parameters in (Parameters.COEFFICIENTS, Parameters.WEIGHTS)
        statistics.append(Statistic(kind, of, (0.5,) * 2 if many else given.get(kind, ())))

    def totals(*asked_for):
        one = Query("d", columns, asked_for)
        return Table(one, table).totals(Plan(one), np.ones(60, dtype=np.bool_))

    apart = {one: totals(one) for one in statistics}
    for first, second in itertools.combinations(statistics, 2):
        for key in apart[first].keys() & apart[second].keys():
            assert apart[first][key] == apart[second][key], (first.kind, second.kind, key)
        if (first.columns, FAMILIES[first.kind]) != (second.columns, FAMILIES[second.kind]):
            continue  # each counts by itself
        assert totals(first, second) == apart[first] | apart[second], (first.kind, second.kind)


@pytest.mark.parametrize("one", EVERY_KIND, ids=lambda one: f"{one.kind} of {len(one.columns)}")
def test_the_comparison_notices_a_row_and_a_site_too_many(one):
    plan, asked_of = Plan(query(one)), list(sites(1, [40, 41, 40]).values())
    assert pooled(plan, asked_of) != pooled(plan, asked_of[:-1])


def test_tests_of_tables_are_scipys():
    (association, strata), data = answered(
        asked("association", "sex", "state"), asked("mantel-haenszel", "sex", "state", "ward"), seed=2
    )
    table = [[int(((data["sex"] == i) & (data["state"] == j)).sum()) for j in ("event", "censored")] for i in "fm"]
    expected = scipy.stats.chi2_contingency(table, correction=False)
    value = association.value
    assert value["chi_squared"]["statistic"] == pytest.approx(expected.statistic, rel=1e-12)
    assert value["chi_squared"]["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    likelihood = scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert value["g"]["statistic"] == pytest.approx(likelihood.statistic, rel=1e-9)
    assert value["odds_ratio"]["value"] == pytest.approx(table[0][0] * table[1][1] / table[0][1] / table[1][0])
    assert value["cramers_v"] == pytest.approx(math.sqrt(expected.statistic / len(data["sex"])))
    tables = [
        [
            [
                int(((data["sex"] == i) & (data["state"] == j) & (data["ward"] == k)).sum())
                for j in ("event", "censored")
            ]
            for i in "fm"
        ]
        for k in ("east", "north", "south")
    ]
    difference = sum(t[0][0] - sum(t[0]) * (t[0][0] + t[1][0]) / sum(map(sum, t)) for t in tables)
    variance = 0.0
    for (a, b), (c, d) in tables:
        n = a + b + c + d
        variance += (a + b) * (c + d) * (a + c) * (b + d) / (n * n * (n - 1))
    assert strata.value["test"]["statistic"] == pytest.approx(difference**2 / variance)


def test_tests_of_means_are_scipys():
    (t, f), data = answered(asked("t-test", "mass", "sex"), asked("anova", "mass", "ward"), seed=3)
    groups = [data["mass"][data["sex"] == level] for level in "fm"]
    for name, equal in (("student", True), ("welch", False)):
        expected = scipy.stats.ttest_ind(*groups, equal_var=equal)
        found = t.value[name]["test"]
        assert abs(found["statistic"] - expected.statistic) <= found["error"] + 1e-9
        assert found["p"] == pytest.approx(expected.pvalue, rel=1e-2)
    expected = scipy.stats.f_oneway(*(data["mass"][data["ward"] == level] for level in ("east", "north", "south")))
    assert abs(f.value["test"]["statistic"] - expected.statistic) <= f.value["test"]["error"] + 1e-9
    assert f.value["means"]["east"]["n"] == (data["ward"] == "east").sum()


def test_regressions_are_those_of_numpy():
    (line, ridge), data = answered(
        asked("linear", "mass", "age", "visits"), asked("ridge", "mass", "age", "visits", penalty=500.0), seed=4
    )
    x = np.column_stack([np.ones(len(data["age"])), data["age"], data["visits"]])
    slopes, rest, *_ = np.linalg.lstsq(x, data["mass"], rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * rest[0] / (len(x) - 3))
    for found, slope, error in zip(line.value["coefficients"], slopes, errors, strict=True):
        assert abs(float(found["value"]) - slope) <= float(found["error"]) + 1e-9
        assert abs(found["standard_error"]["value"] - error) <= found["standard_error"]["error"] + 1e-9
    centred = x[:, 1:] - x[:, 1:].mean(axis=0)
    shrunk = np.linalg.solve(centred.T @ centred + 500 * np.eye(2), centred.T @ (data["mass"] - data["mass"].mean()))
    for found, slope in zip(ridge.value["coefficients"][1:], shrunk, strict=True):
        assert abs(float(found["value"]) - slope) <= float(found["error"]) + 1e-9


def test_a_logistic_and_a_poisson_regression_end_where_scikit_learns_do():
    asked_of = sites(5, (150,) * 5)
    steps = []

    def ask(one):
        found = ask_sites(one, asked_of)
        assert found.exact
        steps.append(one)
        return found.answer

    data = {name: np.concatenate([site.columns[name] for site in asked_of.values()]) for name in rows_names()}
    x = np.column_stack([data["age"], data["mass"]])
    odds = fit(query(asked("logistic", "state", "age", "mass", coefficients=(0, 0, 0))), ask)
    expected = LogisticRegression(C=1e12, solver="newton-cholesky", tol=1e-12).fit(x, data["state"] == "event")
    found = [each["value"] for each in odds.finding.value["coefficients"]]
    assert found == pytest.approx([expected.intercept_[0], *expected.coef_[0]], abs=1e-6)
    counts = fit(query(asked("poisson", "visits", "age", coefficients=(0, 0))), ask)
    rate = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-12).fit(x[:, :1], data["visits"])
    found = [each["value"] for each in counts.finding.value["coefficients"]]
    assert found == pytest.approx([rate.intercept_, rate.coef_[0]], abs=1e-6)
    assert len(steps) == odds.steps + counts.steps <= 16
    assert len({one.digest for one in steps}) == len(steps)


def test_counts_of_a_large_mean_are_fitted_from_zeros():
    """A whole first step would go to the mean, where its logarithm is meant, and on to means beyond any bound."""
    rng = np.random.default_rng(12)
    policy = SitePolicy(frozenset({"calls", "age"}), least_difference=1, max_cells_fraction=1.0, max_dominance=1.0)
    parts = [{"calls": rng.poisson(300, 40).astype(float), "age": rng.uniform(20, 90, 40)} for _ in range(5)]
    told = {f"site-{at}": Site(part, policy, "trial", None) for at, part in enumerate(parts)}
    columns = (Number("calls", 0, 1000), Number("age", 0, 120))
    one = Query("trial", columns, (asked("poisson", "calls", "age", coefficients=(0, 0)),))
    found = fit(one, lambda step: ask_sites(step, told).answer)
    calls, age = (np.concatenate([part[name] for part in parts]) for name in ("calls", "age"))
    rate = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-12).fit(age[:, None], calls)
    values = [each["value"] for each in found.finding.value["coefficients"]]
    assert values == pytest.approx([rate.intercept_, rate.coef_[0]], abs=1e-6)


def test_regressions_on_years_end_where_those_of_centred_years_do():
    """Years are nearly a constant: where they are taken as they are, means pass any bound, or a design is singular."""
    rng = np.random.default_rng(13)
    policy = SitePolicy(frozenset({"falls", "year", "state"}), least_difference=1, max_dominance=1.0)
    parts = []
    for _ in range(5):
        year = rng.integers(1990, 2021, 80).astype(float)
        odds = rng.random(80) < 1 / (1 + np.exp(1 - (year - 2000) / 8))
        state = np.where(odds, "event", "censored").astype(object)
        parts.append({"falls": rng.poisson(np.exp((year - 2000) / 20)).astype(float), "year": year, "state": state})
    told = {f"site-{at}": Site(part, policy, "trial", None) for at, part in enumerate(parts)}
    columns = (Number("falls", 0, 60), Number("year", 1990, 2020), Levels("state", ("event", "censored")))
    falls, year, state = (np.concatenate([part[name] for part in parts]) for name in ("falls", "year", "state"))
    rate = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-12).fit(year[:, None] - 2005, falls)
    odds = LogisticRegression(C=1e12, solver="newton-cholesky", tol=1e-12).fit(year[:, None] - 2005, state == "event")
    for kind, response, slope, constant in (
        ("poisson", "falls", rate.coef_[0], rate.intercept_),
        ("logistic", "state", odds.coef_[0][0], odds.intercept_[0]),
    ):
        one = Query("trial", columns, (asked(kind, response, "year", coefficients=(0, 0)),))
        first, second = fit(one, lambda step: ask_sites(step, told).answer).finding.value["coefficients"]
        assert second["value"] == pytest.approx(slope, rel=1e-7)
        assert first["value"] == pytest.approx(constant - 2005 * slope, rel=1e-7)
        # In the columns' own units, as the information of these rows has it.
        x = np.column_stack([np.ones(len(year)), year])
        mean = np.exp(constant + slope * (year - 2005))
        spread = mean if kind == "poisson" else mean / (1 + mean) ** 2
        errors = np.sqrt(np.diag(np.linalg.inv((x.T * spread) @ x)))
        assert [each["standard_error"] for each in (first, second)] == pytest.approx(errors, rel=1e-5)
        assert first["error"] < 1e-4 * first["standard_error"]


def test_a_step_is_off_by_no_more_than_it_says():
    one = asked("logistic", "state", "age", "mass", coefficients=(0.3, -0.02, 0.004))
    (found,), data = answered(one, seed=6)
    x = np.column_stack([np.ones(len(data["age"])), data["age"], data["mass"]]).astype(np.longdouble)
    chance = 1 / (1 + np.exp(-(x @ np.array(one.parameters, dtype=np.longdouble))))
    gradient = x.T @ ((data["state"] == "event") - chance)
    information = (x.T * (chance * (1 - chance))) @ x
    scale = np.array([1, 1 / 64, 1 / 128])
    step = np.linalg.solve((information * np.outer(scale, scale)).astype(float), (gradient * scale).astype(float))
    for got, start, moved in zip(found.value["coefficients"], one.parameters, step * scale, strict=True):
        assert abs(got["value"] - (start + moved)) <= got["error"] + 1e-12
        assert got["error"] < 1e-6


def test_a_fit_that_cannot_end_says_so():
    rng = np.random.default_rng(7)
    policy = SitePolicy(frozenset({"age", "state"}), least_difference=1, max_cells_fraction=1.0, max_dominance=1.0)
    told = {}
    for at in range(5):
        age = rng.uniform(20, 100, 40)
        state = np.where(age > 60, "event", "censored").astype(object)  # the predictor tells all
        told[f"site-{at}"] = Site({"age": age, "state": state}, policy, "trial", None)
    with pytest.raises(EstimateError, match="ran away") as caught:
        fit(query(asked("logistic", "state", "age", coefficients=(0, 0))), lambda one: ask_sites(one, told).answer)
    assert caught.value.reason == "no-convergence"
    with pytest.raises(ParameterError, match="one statistic"):
        fit(query(asked("mean", "age")), lambda one: ask_sites(one, told).answer)


def test_a_row_whose_response_is_no_count_is_not_complete():
    data = {"visits": np.array([1.0, 2.0, 2.5, 3.0] * 20), "age": np.linspace(20, 90, 80)}
    one = query(asked("poisson", "visits", "age", coefficients=(0, 0)))
    assert shown(one, data).n == 60


def test_survival_without_a_least_cell_is_that_of_the_records():
    (curve, by_ward), data = answered(
        asked("survival", "time", "state"), asked("survival", "time", "state", "ward"), seed=9
    )

    def table(mask):
        times = [float(time) for time in range(40)]
        counts = [
            [int((mask & (data["time"] == time) & (data["state"] == state)).sum()) for time in times]
            for state in ("event", "censored")
        ]
        return LifeTable(tuple(times), *map(tuple, counts), beyond=int((mask & (data["time"] >= 40)).sum()))

    everyone = np.ones(len(data["time"]), dtype=bool)
    expected = kaplan_meier(table(everyone))
    assert [point["survival"] for point in curve.value["curves"][0]["points"]] == [each.survival for each in expected]
    wards = [table(data["ward"] == level) for level in ("east", "north", "south")]
    assert by_ward.value["log_rank"]["statistic"] == pytest.approx(log_rank(wards).test.statistic, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 25)] * 4), min_size=1, max_size=12), st.integers(1, 12))
def test_merged_bins_have_no_small_count_and_lose_no_row(bins, least):
    counts = np.array(bins, dtype=object).reshape(len(bins), 2, 2)
    ends = merged_ends(counts, least)
    merged = merge(counts, ends)
    assert not any(0 < count < least for count in merged.flat)
    assert merged.sum() == counts[: ends[-1] if ends else 0].sum()
    assert ends == sorted(set(ends))


def test_a_shown_curve_and_area_have_no_small_count_behind_them():
    hidden = 0
    for seed in range(12):
        curve, area = (
            answered(one, seed=seed, policy=ReleasePolicy(min_cell=10), counts=(82 + 9 * seed,) * 5)[0][0]
            for one in (asked("survival", "time", "state", "sex"), asked("auc", "age", "state"))
        )
        if curve.value is None:
            hidden += 1
            assert curve.suppressed is Rule.CELL
            continue
        assert area.value["low"] <= area.value["high"]
        for each in curve.value["curves"]:
            left = each["n"]
            for point in each["points"]:
                assert point["events"] >= 10
                gone = left - point["at_risk"]
                assert gone == 0 or gone >= 10
                left = point["at_risk"] - point["events"]
            assert each["beyond"] == 0 or each["beyond"] >= 10
    assert hidden < 6


def test_the_area_lies_in_its_bracket():
    for seed in range(5):
        (found,), data = answered(
            asked("auc", "age", "state"), seed=seed, policy=ReleasePolicy(min_cell=5, min_sites=1)
        )
        area = roc_auc_score(data["state"] == "event", data["age"])
        assert found.value["low"] - 1e-12 <= area <= found.value["high"] + 1e-12


def test_votes_are_counted():
    (approval, borda, top, consensus), data = answered(
        asked("approval", "sex", "state"),
        asked("borda", *RANKS),
        asked("top", "ward", most=1),
        asked("consensus", "sex", share=0.5),
        seed=10,
    )
    assert approval.value["approvals"] == [(data["sex"] == "f").sum(), (data["state"] == "event").sum()]
    assert borda.value["points"] == [int((3 - data[name]).sum()) for name in RANKS]
    names, counts = np.unique(data["ward"].astype(str), return_counts=True)
    assert top.value == {"levels": [names[counts.argmax()]], "counts": [counts.max()]}
    shares = [(part == "f").mean() for part in np.split(data["sex"], 5)]
    agree = sum(share >= 0.5 for share in shares)
    assert consensus.value == {"sites": 5, "agree": agree, "share": Fraction(agree, 5)}


def test_votes_weigh_as_the_question_says():
    (votes,), data = answered(asked("weighted", "sex", "ward", weights=(1, 0.1, 3)), seed=10)
    weights = {"east": Fraction(1), "north": Fraction(0.1), "south": Fraction(3)}
    expected = [sum(weights[ward] for ward in data["ward"][data["sex"] == level]) for level in "fm"]
    assert votes.value == {"levels": ["f", "m", "(other)", "(missing)"], "votes": [*expected, 0, 0], "weightless": 0}
    assert all(isinstance(each, Fraction) for each in votes.value["votes"])


def test_votes_with_a_small_cell_behind_them_are_hidden_whatever_the_weights():
    data = {"sex": mixed(f=60, m=60), "ward": np.array(["east"] * 57 + ["north"] * 3 + ["east"] * 25 + ["north"] * 35)}
    for weights, gone in (((1, 1, 1), "fm"), ((1, 1000, 0), "fm"), ((0, 0, 1), "")):
        found = shown(query(asked("weighted", "sex", "ward", weights=weights)), data)
        assert [each for each in "fm" if each in (found.suppressed or {})] == list(gone)
    data["ward"][:60] = "west"  # rows whose ward is not listed weigh nothing, and are counted
    found = shown(query(asked("weighted", "sex", "ward", weights=(1, 2, 3))), data)
    assert found.value["votes"][:2] == [0, 25 + 2 * 35]
    assert found.value["weightless"] == 60
    data["ward"][:60] = mixed(west=7, east=53)
    assert shown(query(asked("weighted", "sex", "ward", weights=(1, 2, 3))), data).value["weightless"] is None


def shown(one, columns, policy=None, sites_in=5):
    """The one finding about a pooled table."""
    plan, table = Plan(one), Table(one, columns)
    totals = table.totals(plan, table.selected(len(next(iter(columns.values())))))
    return release(plan, totals, sites_in, policy).findings[0]


def mixed(**counts):
    return np.repeat(np.array(list(counts), dtype=object), list(counts.values()))


def test_what_hangs_on_a_small_count_is_hidden():
    few = {"sex": mixed(f=60, m=9), "mass": np.linspace(50, 90, 69), "state": mixed(event=9, censored=60)}
    few |= {"ward": mixed(east=30, north=30, south=9), "age": np.linspace(30, 60, 69), "time": np.arange(69.0)}
    for one in (
        asked("association", "sex", "state"),
        asked("mantel-haenszel", "sex", "state", "ward"),
        asked("t-test", "mass", "sex"),
        asked("anova", "mass", "ward"),
        asked("auc", "age", "state"),
    ):
        found = shown(query(one), few)
        assert found.value is None
        assert found.suppressed in (Rule.CELL, Rule.COMPLEMENTARY, Rule.TABLE)
        assert shown(query(one), few, EVERYTHING).suppressed in (None, Rule.UNDEFINED)


@pytest.mark.parametrize("missing", [1, 9])
def test_few_incomplete_rows_hide_a_regression(missing):
    data = {
        "mass": np.linspace(50, 90, 69),
        "age": np.linspace(30, 60, 69) ** 1.1,
        "state": mixed(event=29, censored=40),
    }
    data["age"][:missing] = np.nan
    for one in (asked("linear", "mass", "age"), asked("logistic", "state", "age", coefficients=(0, 0))):
        assert shown(query(one), data).suppressed is Rule.CELL
        filtered = query(one, where=(Where("age", "known"),))
        assert shown(filtered, data).value is not None


def test_more_coefficients_than_rows_bear_are_refused():
    rng = np.random.default_rng(11)
    names = [f"x{at}" for at in range(40)]
    columns = tuple(Number(name, -9, 9) for name in ("y", *names))
    data = {name: rng.normal(0, 1, 36) for name in ("y", *names)}
    for count, rule in ((6, None), (7, Rule.PARAMETERS), (39, Rule.PARAMETERS)):  # the intercept counts; 39 + 1 = 1.1 n
        found = shown(Query("trial", columns, (asked("linear", "y", *names[:count]),)), data)
        assert found.suppressed is rule


@pytest.mark.parametrize(
    ("one", "data", "defined", "undefined"),
    [
        (
            asked("mantel-haenszel", "sex", "state", "ward"),  # 20, 0; 15, 30
            {"sex": mixed(f=20, m=45), "state": mixed(event=35, censored=30), "ward": mixed(east=65)},
            ("test", "with_continuity"),
            {"odds_ratio": "zero-cell"},
        ),
        (
            asked("survival", "time", "state", "ward"),
            {"time": np.full(40, 5.0), "state": mixed(censored=40), "ward": mixed(east=20, north=20)},
            ("curves", "times"),
            {"log_rank": "empty-margin"},
        ),
        (
            asked("t-test", "mass", "sex"),
            {"mass": np.repeat([50.0, 60.0], 20), "sex": mixed(f=20, m=20)},
            ("means",),
            {"student": "constant", "welch": "constant"},
        ),
        (
            asked("t-test", "mass", "sex"),
            {"mass": np.linspace(50, 60, 20), "sex": mixed(f=20)},
            ("means",),
            {"student": "too-few-records", "welch": "too-few-records"},
        ),
        (
            asked("anova", "mass", "ward"),
            {"mass": np.full(40, 50.0), "ward": mixed(east=20, north=20)},
            ("means",),
            {"test": "constant", "eta_squared": "constant"},
        ),
    ],
    ids=lambda given: str(given.kind) if isinstance(given, Statistic) else "",
)
def test_a_part_that_the_data_do_not_have_takes_no_other_along(one, data, defined, undefined):
    found = shown(query(one), data)
    assert all(found.value[name] for name in defined)
    assert [found.value[name] for name in undefined] == [None] * len(undefined)
    assert (found.reason, found.suppressed) == (undefined, dict.fromkeys(undefined, Rule.UNDEFINED))
    assert finding_facts(found)["reason"] == undefined
    texts = [text for grid in grids_of(found.value, found.reason) for row in grid.rows for text in row]
    assert texts.count(f"undefined: {next(iter(undefined.values()))}") == len(undefined)


def test_an_error_without_bound_is_null_in_json_and_no_zero_on_a_page():
    data = {"age": np.repeat([0.0, 20.0], [30, 10]), "visits": np.arange(40.0), "mass": 30 + 2 * np.arange(40.0)}
    columns = (Number("age", 0, 60, 2), Number("mass", 30, 140, 8), Number("visits", 0, 60, 8))
    found = shown(Query("trial", columns, (asked("skewness", "age"),)), data)
    facts = json.loads(json.dumps(finding_facts(found), allow_nan=False))
    assert (found.error, facts["error"], finding_of(facts).error) == (math.inf, None, math.inf)
    found = shown(Query("trial", columns, (asked("linear", "mass", "visits"),)), data)
    assert found.value["coefficients"][1]["test"]["error"] == math.inf
    facts = json.loads(json.dumps(finding_facts(found), allow_nan=False))
    assert facts["value"]["coefficients"][1]["test"]["error"] is None
    assert grids_of(finding_of(facts).value)
    (grid,) = grids_of({"coefficients": [{"name": "age", "value": 1.0, "error": None, "interval": [None, 2.0]}]})
    assert grid.rows == (("age", "1", "inf", "-inf to 2"),)


def test_a_hidden_level_is_not_left_out_of_the_top():
    data = {"ward": mixed(east=40, north=12, south=3)}
    assert shown(query(asked("top", "ward", most=1)), data).value == {"levels": ["east"], "counts": [40]}
    assert shown(query(asked("top", "ward", most=2)), data).suppressed is Rule.CELL
    tied = {"ward": mixed(east=40, north=40, south=30)}
    assert shown(query(asked("top", "ward", most=1)), tied).value["levels"] == ["east", "north"]


def test_few_sites_on_a_side_hide_a_consensus():
    plan = Plan(query(asked("consensus", "sex", share=0.5)))
    for agrees, speaks, sites_in in ((2, 9, 9), (7, 9, 9), (4, 8, 9)):
        totals = {("rows", 0): 900, ("speaks", "sex"): speaks, ("agrees", "sex"): agrees}
        assert release(plan, totals, sites_in).findings[0].suppressed is Rule.SITES
    totals = {("rows", 0): 900, ("speaks", "sex"): 9, ("agrees", "sex"): 6}
    assert release(plan, totals, 9).findings[0].value["share"] == Fraction(2, 3)


@pytest.mark.parametrize("one", EVERY_KIND, ids=lambda one: f"{one.kind} of {len(one.columns)}")
def test_totals_that_no_rows_have_are_an_error(one):
    """One cell, sum or ballot more than there are rows."""
    plan = Plan(query(one))
    totals = dict.fromkeys(plan.totals, 0) | {("rows", 0): 40}
    keys = [key for key in totals if key[0] in ("cell", "complete", "counted", "ballots", "speaks")] or [
        key for key in totals if key[0] == "by" and key[-1] == 0
    ]
    totals |= dict.fromkeys(keys, 41)
    with pytest.raises(EncodingError):
        release(plan, totals, 5, EVERYTHING)


@pytest.mark.parametrize(
    ("kind", "columns", "parameters", "why"),
    [
        ("t-test", ("mass", "ward"), {}, "two levels"),
        ("anova", ("ward", "mass"), {}, "numbers are needed"),
        ("linear", ("mass",), {}, "2 to 101 distinct columns"),
        ("linear", ("mass", "mass"), {}, "distinct"),
        ("ridge", ("mass", "age"), {}, "a penalty above 0"),
        ("ridge", ("mass", "age"), {"penalty": 0.0}, "a penalty above 0"),
        ("ridge", ("mass", "age"), {"coefficients": (1.0,)}, "it has penalty"),
        ("logistic", ("state", "age"), {"coefficients": (0.0,)}, "the intercept, then"),
        ("logistic", ("ward", "age"), {"coefficients": (0.0, 0.0)}, "two levels"),
        ("poisson", ("visits", "age"), {"coefficients": (0.0, math.nan)}, "a parameter of poisson"),
        ("survival", ("mass", "state"), {}, "needs public edges"),
        ("survival", ("time", "state", "ward", "sex"), {}, "2 to 3 distinct columns"),
        ("consensus", ("sex",), {"share": 1.5}, "a share in"),
        ("top", ("ward",), {"most": 1.5}, "a whole number"),
        ("mean", ("age",), {"share": 0.5}, "no parameters"),
        ("frequencies", ("age",), {}, "public levels"),
    ],
)
def test_what_does_not_fit_a_kind_is_refused(kind, columns, parameters, why):
    with pytest.raises(ParameterError, match=why):
        query(asked(kind, *columns, **parameters))


def test_coefficients_that_ran_away_are_no_plan():
    for one in (
        asked("logistic", "state", "age", coefficients=(0, 8.2)),
        asked("poisson", "visits", "age", coefficients=(21.0, 0)),
    ):
        with pytest.raises(ParameterError, match="run away"):
            Plan(query(one))
    with pytest.raises(ParameterError, match="two sets"):
        query(*(asked("logistic", "state", "age", coefficients=(0, at)) for at in (0, 1)))
    with pytest.raises(ParameterError, match="below 0"):
        Plan(
            Query("trial", (Number("x", -1, 1), Number("y", 0, 1)), (asked("poisson", "x", "y", coefficients=(0, 0)),))
        )


def test_new_kinds_are_not_given_by_groups():
    for one in EVERY_KIND:
        with pytest.raises(ParameterError, match="not given by groups"):
            query(one, group_by="ward")


def test_what_two_statistics_together_tell_of_few_rows_is_hidden():
    """Found by an attacker: a mean beside a test, two lines beside each other, a curve beside counts."""
    rng = np.random.default_rng(13)
    data = rows(rng, 400)
    data["mass"][:15] = np.nan
    data["sex"][15] = "x"  # one row with a mass and without a sex
    data["state"][:12] = "x"
    policy = ReleasePolicy()
    for several in (
        (asked("mean", "mass"), asked("t-test", "mass", "sex")),
        (asked("mean", "mass"), asked("linear", "age", "mass"), asked("linear", "mass", "age", "visits")),
        (asked("linear", "mass", "age"), asked("linear", "mass", "visits")),
        (asked("frequencies", "state"), asked("survival", "time", "state")),
        (asked("survival", "time", "state"), asked("survival", "time", "state", "sex")),
        (asked("auc", "age", "state"), asked("survival", "time", "state")),
        (asked("association", "sex", "state"), asked("mantel-haenszel", "sex", "state", "ward")),
        (asked("logistic", "state", "age", coefficients=(0, 0)), asked("frequencies", "state")),
    ):
        plan, table = Plan(query(*several)), Table(query(*several), data)
        found = release(plan, table.totals(plan, table.selected(400)), 5, policy).findings
        by_rule = [each for each in found if each.statistic in ("t-test", "linear", "survival", "auc", "logistic")]
        by_rule += [each for each in found if each.statistic == "mantel-haenszel"]
        assert by_rule
        assert all(each.suppressed in (Rule.TOGETHER, Rule.CELL) for each in by_rule), several
    alone = shown(query(asked("linear", "mass", "age")), data)
    assert alone.n == 385


def test_bins_and_statuses_of_one_column_hide_as_one():
    """Both share what is below, above and missing: decided about apart, one told what the other hid."""
    rng = np.random.default_rng(14)
    age = Number("age", 0, 120, 16, even_edges(0, 120, 4))
    pinned = 0
    for _ in range(40):
        counts = rng.integers(0, 25, 7)  # below, four bins, above, missing
        values = np.repeat([-5.0, 15.0, 45.0, 75.0, 105.0, 500.0, np.nan], counts)
        one = Query("trial", (age,), (asked("count"), asked("missing", "age"), asked("histogram", "age")))
        if len(values) < 10:
            continue
        count, statuses, bins = release(
            Plan(one), Table(one, {"age": values}).totals(Plan(one), np.ones(len(values), dtype=bool)), 5
        ).findings
        shown_bins = [bins.value["below"], *bins.value["counts"], bins.value["above"], bins.value["missing"]]
        assert all(told is None or told == 0 or told >= 10 for told in shown_bins)
        for status, told in (("below", shown_bins[0]), ("above", shown_bins[5]), ("missing", shown_bins[6])):
            assert statuses.value[status] == told
        # whatever identity has one unknown tells it: none has
        valid = statuses.value["valid"]
        for parts, total in (
            (shown_bins[1:5], valid),
            ([shown_bins[0], shown_bins[5], shown_bins[6], valid], count.value),
        ):
            pinned += sum(part is None for part in [*parts, total]) == 1
    assert pinned == 0


@pytest.mark.parametrize(
    ("one", "key"),
    [
        (asked("mean", "age"), ("power", "age", 1, 0)),
        (asked("t-test", "mass", "sex"), ("by", "mass", "sex", 0, 1)),
        (asked("linear", "mass", "age"), ("term", "mass", "age", 0, 1)),
        (asked("borda", *RANKS), ("ranks", *RANKS, 0)),
        (asked("covariance", "age", "mass"), ("product", "age", "mass", 1, 1)),
    ],
    ids=str,
)
def test_sums_that_no_rows_within_the_bounds_have_are_an_error(one, key):
    plan, table = Plan(query(one)), Table(query(one), rows(np.random.default_rng(15), 200))
    totals = table.totals(plan, table.selected(200)) | {key: plan.totals[key] // 2}
    with pytest.raises(EncodingError):
        release(plan, totals, 5, EVERYTHING)


def test_a_step_that_few_rows_decide_is_undefined():
    """At steep coefficients the terms of a step count the rows beyond a number: its values alone would tell them."""
    rng = np.random.default_rng(16)
    age = rng.uniform(30, 90, 300).round()
    data = {"age": age, "state": np.where(age > 88.5, "censored", "event").astype(object)}
    for slope in (4.0, 7.5):
        steep = shown(query(asked("logistic", "state", "age", coefficients=(-88.5 * slope, slope))), data)
        assert (steep.value, steep.suppressed, steep.reason) == (None, Rule.UNDEFINED, "no-convergence")
    assert shown(query(asked("logistic", "state", "age", coefficients=(0.0, 0.0))), data).value is not None


def test_few_points_of_a_candidate_are_hidden_and_few_that_lack():
    """Of two candidates, points are counts of ballots."""
    columns = tuple(Number(f"rank {name}", 1, 2) for name in "ab")
    question = Query("trial", columns, (asked("borda", "rank a", "rank b"),))
    for few, rule in ((3, Rule.CELL), (97, Rule.CELL), (40, None), (0, None)):
        first = np.array([1.0] * few + [2.0] * (100 - few))
        assert shown(question, {"rank a": first, "rank b": 3 - first}).suppressed is rule
