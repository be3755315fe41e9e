"""What one row adds: never more than is stated, exactly so much at worst, and noise where it matters least."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.statistics.columns import Levels, Number
from protocols.statistics.private.features import MAX_PRIVATE_TOTALS, STATUSES, Features
from protocols.statistics.query import Query, Where, asked
from protocols.statistics.rows import Table
from secagg.errors import ParameterError

X = Number("x", -1.0, 5.0, 16, (-1.0, 0.0, 2.0, 5.0))
Y = Number("y", 10.0, 20.0)
G = Levels("g", ("a", "b"))
H = Levels("h", ("c",))
VALUES = {
    "x": [math.nan, -2.0, -1.0, 0.0, 2.0, 3.3, 5.0, 6.0, 1e308, math.inf],
    "y": [math.nan, 9.0, 10.0, 15.0, 17.7, 20.0, 21.0],
    "g": ["a", "b", "other", ""],
    "h": ["c", "", "d"],
}
OF_X = [asked(kind, "x") for kind in ("missing", "mean", "variance", "deviation", "histogram", "ecdf", "median")]
PAIRS = [asked("covariance", "x", "y"), asked("correlation", "y", "x"), asked("table", "g", "h")]
QUERIES = {
    "count": ([asked("count")], None),
    "mean": ([asked("mean", "x")], None),
    "groups": ([asked("count"), *OF_X], "g"),
    "everything": ([asked("count"), *OF_X, asked("mean", "y"), *PAIRS], None),
    "covariance": (PAIRS[:1], None),
    "table": (PAIRS[2:], None),
}


def features(statistics, group=None, where=()):
    return Features(Query("d", (X, Y, G, H), tuple(statistics), where, group))


def every_row():
    rows = list(itertools.product(*VALUES.values()))
    return {name: np.array([row[at] for row in rows]) for at, name in enumerate(VALUES)}, len(rows)


def laid_out(of, columns, count):
    table = Table(of.query, columns)
    blocks = list(of.rows(table, table.selected(count)))
    return np.concatenate([np.zeros((0, of.length)), *blocks])


@pytest.mark.parametrize("name", QUERIES)
def test_some_row_adds_the_stated_norm_and_none_more(name):
    of = features(*QUERIES[name])
    columns, count = every_row()
    norms = np.linalg.norm(laid_out(of, columns, count), axis=1)
    assert norms.max() <= of.sensitivity * (1 + 1e-14)
    assert norms.max() == pytest.approx(of.sensitivity, rel=1e-14)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-1e9, 1e9) | st.just(math.nan), st.floats(5, 25), st.sampled_from("abz"), st.sampled_from(list(QUERIES))
)
def test_no_value_adds_more(x, y, g, name):
    of = features(*QUERIES[name])
    row = {"x": np.array([x]), "y": np.array([y]), "g": np.array([g]), "h": np.array(["c"])}
    assert np.linalg.norm(laid_out(of, row, 1)) <= of.sensitivity * (1 + 1e-14)


def test_rows_that_are_not_selected_add_nothing():
    of = features([asked("count"), asked("mean", "x")], where=(Where("x", "ge", 0.0),))
    columns, count = every_row()
    assert len(laid_out(of, columns, count)) == np.count_nonzero(np.nan_to_num(columns["x"], nan=-1) >= 0)
    none = {name: values[:0] for name, values in columns.items()}
    assert laid_out(of, none, 0).shape == (0, of.length)


def test_totals_are_those_of_the_definitions():
    of = features([asked("count"), *OF_X, *PAIRS])
    columns, count = every_row()
    total = laid_out(of, columns, count).sum(axis=0) / of.weights
    x, y = columns["x"], columns["y"]
    valid = (x >= -1) & (x <= 5)
    u, v = (np.where(valid, x, 0) - 2) / 3, (y - 15) / 5
    both = valid & (y >= 10) & (y <= 20)
    expected = {
        ("rows",): [count],
        ("status", "x"): [valid.sum(), (x < -1).sum(), (x > 5).sum(), np.isnan(x).sum()],
        ("power", "x", 1): [u[valid].sum()],
        ("power", "x", 2): [(2 * u[valid] ** 2 - 1).sum()],
        ("bin", "x"): [(x < -1).sum(), *np.histogram(x, X.edges)[0], (x > 5).sum(), np.isnan(x).sum()],
        ("complete",): [both.sum()],
        ("sum", "x"): [u[both].sum()],
        ("sum", "y"): [v[both].sum()],
        ("square", "x"): [(2 * u[both] ** 2 - 1).sum()],
        ("square", "y"): [(2 * v[both] ** 2 - 1).sum()],
        ("product", "x", "y"): [(u * v)[both].sum()],
        ("cell", "g", "h"): [
            np.count_nonzero((columns["g"] == g) & (columns["h"] == h))
            for g in ("a", "b", "other", "")
            for h in ("c", "d", "")
        ],
    }
    assert set(of.places) == set(expected)
    for block, place in of.places.items():
        assert total[place] == pytest.approx(np.array(expected[block]), abs=1e-9), block
    assert of.places["status", "x"].stop - of.places["status", "x"].start == len(STATUSES)


def test_groups_lie_apart():
    of = features([asked("mean", "x"), asked("histogram", "x")], "g")
    columns, count = every_row()
    total = laid_out(of, columns, count).sum(axis=0) / of.weights
    for at, level in enumerate(("a", "b", "other", "")):
        members = {name: values[columns["g"] == level] for name, values in columns.items()}
        alone = features([asked("mean", "x"), asked("histogram", "x")])
        expected = laid_out(alone, members, len(members["x"])).sum(axis=0) / alone.weights
        for block, place in alone.places.items():
            cells = of.cells(block)
            start = of.places[block].start + at * cells
            assert total[start : start + cells] == pytest.approx(expected[place])


def test_weights_make_the_least_of_what_statistics_suffer():
    """No other weights of blocks have a lesser sum of variances over statistics, a block counted where it is read."""
    of = features([asked("count"), *OF_X, asked("mean", "y"), *PAIRS])
    uses = np.array(list(of.uses.values()), dtype=float)

    def suffered(weights):
        return (weights**2).sum() * (uses / weights**2).sum()

    own = np.array([of.weights[place.start] for place in of.places.values()])
    assert math.sqrt((own**2).sum()) == pytest.approx(of.sensitivity)
    least = suffered(own)
    assert least == pytest.approx(np.sqrt(uses).sum() ** 2)
    rng = np.random.default_rng(1)
    for spread in (0.01, 0.1, 1.0):
        for _ in range(200):
            assert suffered(own * np.exp(spread * rng.normal(size=len(own)))) >= least * (1 - 1e-12)
    assert suffered(np.ones(len(own))) > least * 1.01


def test_one_vector_is_cheaper_than_a_vector_a_statistic():
    """Blocks that statistics share are noised once: against each by itself, with an equal share of the budget."""
    together = features([asked("mean", "x"), asked("variance", "x"), asked("deviation", "x")])
    apart = [features([asked(kind, "x")]) for kind in ("mean", "variance", "deviation")]
    squares = math.fsum(one.sensitivity**2 for one in apart)
    place = together.places["power", "x", 1].start
    assert together.sensitivity**2 / together.weights[place] ** 2 < squares


def test_too_many_totals_are_refused():
    wide = Levels("g", tuple(f"{at}" for at in range(300)))
    query = Query("d", (wide, Levels("h", wide.levels)), (asked("table", "g", "h"),))
    with pytest.raises(ParameterError, match=f"{MAX_PRIVATE_TOTALS}"):
        Features(query)
