"""With next to no noise answers are numpy's; with much of it they say so."""

import numpy as np
import pytest

from protocols.statistics.columns import Number
from protocols.statistics.kinds import Kind
from protocols.statistics.private.answer import PrivateAnswer, _Findings
from protocols.statistics.private.features import Features
from protocols.statistics.private.intervals import Doubt
from protocols.statistics.private.plan import NoisyTotals
from protocols.statistics.query import Query, asked
from protocols.statistics.rows import Table
from secagg.errors import ParameterError

from ..tables_of_sites import AGE, SEX, query, rows
from .answering import FEATURES, answered, pooled, truths, values_of

QUIET = 1e-7


def test_without_noise_values_are_numpys():
    columns, exact = pooled(500)
    by_kind, fit = answered(exact, QUIET)
    expected = truths(columns)
    for name, value in values_of(by_kind, fit).items():
        assert value.value == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name
        assert value.doubt is None
        assert value.low <= value.value <= value.high
    age = columns["age"]
    found = by_kind[Kind.HISTOGRAM].value
    assert [one.value for one in found["counts"]] == pytest.approx(np.histogram(age, AGE.edges)[0])
    assert found["below"].value == pytest.approx((age < 0).sum(), abs=1e-6)
    assert found["missing"].value == pytest.approx(0, abs=1e-6)
    assert by_kind[Kind.HISTOGRAM].n.value == pytest.approx(500)
    shares = [one.value for one in by_kind[Kind.ECDF].value["shares"]]
    assert shares == pytest.approx([(age < edge).mean() for edge in AGE.edges])
    table = by_kind[Kind.TABLE].value
    assert table["rows"] == ["f", "m", "(other)", "(missing)"]
    assert [one.value for one in table["row_totals"]] == pytest.approx(
        [(columns["sex"] == name).sum() for name in ("f", "m", "x", "")], abs=1e-6
    )
    assert [one.value for one in table["column_totals"]][:3] == pytest.approx(
        [(columns["ward"] == name).sum() for name in ("east", "north", "south")]
    )


def test_groups_are_answered_apart():
    one = query(asked("count"), asked("mean", "age"), asked("deviation", "age"), asked("median", "age"), group_by="sex")
    features = Features(one)
    columns, exact = pooled(500, features=features)
    found = list(_Findings(NoisyTotals(features, exact, QUIET / features.weights)).all())
    assert [finding.group for finding in found[:4]] == list(SEX.names)
    for at, level in enumerate(("f", "m", "x", "")):
        age = columns["age"][columns["sex"] == level]
        within = age[(age >= 0) & (age <= 120)]
        assert found[at].value.value == pytest.approx(len(age))
        assert found[4 + at].value.value == pytest.approx(within.mean())
        assert found[8 + at].value.value == pytest.approx(within.std(ddof=1))
        bracket = found[12 + at].value["brackets"][0]
        assert bracket["low"] <= np.median(age) <= bracket["high"]


def test_regression_on_several_columns_is_least_squares():
    rng = np.random.default_rng(4)
    columns = {name: rng.uniform(-1, 3, 400) for name in "abc"}
    columns["y"] = 2 + columns["a"] - 3 * columns["b"] + rng.normal(size=400)
    columns["b"][:50] = np.nan
    numbers = tuple(Number(name, -20.0 + at, 20.0 + at) for at, name in enumerate("abcy"))
    pairs = [asked("correlation", *pair) for pair in ("ab", "ca", "bc", "ya", "yb", "cy")]
    features = Features(Query("d", numbers, tuple(pairs)))
    table = Table(features.query, columns)
    exact = features.rows(table, table.selected(400)).sum() / features.weights
    findings = _Findings(NoisyTotals(features, exact, QUIET / features.weights))
    known = ~np.isnan(columns["b"])
    for predictors in (("a",), ("c", "b"), ("b", "a", "c")):
        design = np.column_stack([np.ones(known.sum()), *(columns[name][known] for name in predictors)])
        expected = np.linalg.lstsq(design, columns["y"][known], rcond=None)[0]
        found = findings.regression("y", predictors)
        assert list(found) == ["", *predictors]
        assert [one.value for one in found.values()] == pytest.approx(expected, abs=1e-5)
    loud = _Findings(NoisyTotals(features, exact, 200.0 / features.weights)).regression("y", ("a", "b", "c"))
    assert all(one.doubt is Doubt.TOO_NOISY and one.value is None for one in loud.values())
    for wrong in ((), ("a", "a"), ("y",), ("d",)):
        with pytest.raises(ParameterError, match="correlation of each two"):
            findings.regression("y", wrong)


def test_a_covariance_alone_gives_no_regression():
    features = Features(query(asked("covariance", "age", "mass")))
    _, exact = pooled(100, features=features)
    with pytest.raises(ParameterError, match="correlation"):
        _Findings(NoisyTotals(features, exact, QUIET / features.weights)).regression("age", ("mass",))


def test_what_noise_has_taken_away_is_named():
    _, exact = pooled(20)
    by_kind, fit = answered(np.zeros_like(exact), 10.0)
    for kind in (Kind.MEAN, Kind.VARIANCE, Kind.DEVIATION, Kind.COVARIANCE, Kind.CORRELATION):
        value = by_kind[kind].value
        assert value.value is None
        assert value.doubt is Doubt.TOO_NOISY
    assert (by_kind[Kind.MEAN].value.low, by_kind[Kind.MEAN].value.high) == (AGE.lo, AGE.hi)
    assert (by_kind[Kind.CORRELATION].value.low, by_kind[Kind.CORRELATION].value.high) == (-1, 1)
    assert {one.doubt for one in fit.values()} == {Doubt.TOO_NOISY}


def test_a_variance_below_zero_stays_and_is_named():
    totals = pooled(3000)[1]
    totals[FEATURES.places["power", "age", 2].start] = -totals[
        FEATURES.places["status", "age"].start
    ]  # all at the middle
    totals[FEATURES.places["power", "age", 1].start] = 300.0
    by_kind, _ = answered(totals, 5.0)
    variance, deviation = by_kind[Kind.VARIANCE].value, by_kind[Kind.DEVIATION].value
    assert variance.value < 0
    assert variance.doubt is deviation.doubt is Doubt.IMPOSSIBLE
    assert deviation.value == 0
    assert variance.low == deviation.low == 0
    assert deviation.high == pytest.approx(variance.high**0.5)


def test_counts_below_zero_are_neither_hidden_nor_mended():
    _, exact = pooled(20)
    by_kind, _ = answered(exact - 50, 10.0)
    count = by_kind[Kind.COUNT].value
    assert count.value == pytest.approx(-30)
    assert count.doubt is Doubt.IMPOSSIBLE
    assert count.low == 0


def test_results_state_their_price():
    fields = PrivateAnswer.__dataclass_fields__
    assert {"epsilon", "delta", "unit", "adjacency", "confidence"} <= fields.keys()
    assert rows(np.random.default_rng(1), 3)
