"""One row that makes nearly all of a sum: the sum is that row's value."""

import numpy as np
import pytest

from protocols.statistics.columns import Levels, Number
from protocols.statistics.dominance import greatest_share
from protocols.statistics.query import Query, asked
from protocols.statistics.rows import Table

COST, BLOOD, DIED, WARD = Number("cost", 0, 1000), Number("blood", -1, 1), Number("died", 0, 1), Levels("ward", ("a",))


def share(*statistics, group_by=None, chosen=None, least=5, **columns):
    query = Query("d", (COST, BLOOD, DIED, WARD), statistics, (), group_by)
    arrays = {name: np.array(values) for name, values in columns.items()}
    length = len(next(iter(arrays.values())))
    return greatest_share(query, Table(query, arrays), np.ones(length, bool) if chosen is None else chosen, least)


def test_the_greatest_share_of_a_sum_and_of_its_powers():
    cost = [10.0] * 9 + [910.0]
    assert share(asked("mean", "cost"), cost=cost) == pytest.approx(0.91)
    assert share(asked("variance", "cost"), cost=cost) == pytest.approx(910**2 / (910**2 + 900))
    assert share(asked("skewness", "cost"), cost=cost) == pytest.approx(910**3 / (910**3 + 9000))


def test_it_is_measured_from_both_bounds():
    assert share(asked("mean", "cost"), cost=[990.0] * 9 + [90.0]) == pytest.approx(0.91)
    assert share(asked("mean", "blood"), blood=[-0.9] * 9 + [0.9]) == pytest.approx(1.9 / 2.8)


def test_what_is_missing_out_of_bounds_or_not_selected_has_no_share():
    cost = [10.0] * 10 + [np.nan, 5000.0, -7.0, 900.0]
    assert share(asked("mean", "cost"), cost=cost, chosen=np.arange(14) < 13) == pytest.approx(0.1)


def test_each_cell_is_looked_at_if_it_has_rows_enough():
    cost, ward = [10.0] * 9 + [910.0] + [300.0] * 40, np.array(["a"] * 10 + ["b"] * 40, dtype=object)
    assert share(asked("mean", "cost"), cost=cost, ward=ward, group_by="ward") == pytest.approx(0.91)
    assert share(asked("mean", "cost"), cost=cost, ward=ward) < 0.1
    assert share(asked("mean", "cost"), cost=cost, ward=ward, group_by="ward", least=11) < 0.1


def test_a_column_of_0_and_1_is_a_count_but_not_its_product_with_values():
    died = [1.0] + [0.0] * 19
    cost = list(np.linspace(100, 900, 20))
    assert share(asked("mean", "died"), died=died) == 0
    assert share(asked("covariance", "died", "cost"), died=died, cost=cost) == 1
    assert share(asked("mean", "died"), died=[0.5] + [0.0] * 19) == 1
    assert share(asked("covariance", "died", "blood"), died=died, blood=[1.0] + [-1.0] * 19) == 0  # counts, both


def test_a_step_of_a_poisson_regression_that_leaves_one_row_has_the_share_of_that_row():
    """Where each year more makes a mean half as large again, the oldest row makes nearly all: its age, too."""
    rng = np.random.default_rng(3)
    table = {"falls": rng.poisson(2.0, 200).astype(float), "age": rng.uniform(20, 75, 200).round()}
    table["age"][0], table["falls"][7] = 97.0, 2.5
    columns = (Number("age", 0, 120), Number("falls", 0, 60))
    for coefficients, rows, low, high in (
        ((0.0, 0.0), slice(0, 200), 0, 0.2),
        ((-19.4, 0.32), slice(0, 200), 0.95, 1),
        ((-19.4, 0.32), slice(1, 200), 0, 0.2),
    ):
        one = Query("d", columns, (asked("poisson", "falls", "age", coefficients=coefficients),))
        chosen = np.zeros(200, dtype=bool)
        chosen[rows] = True
        assert low <= greatest_share(one, Table(one, table), chosen, 5) <= high


def test_counts_and_sums_of_nothing_have_no_share():
    assert share(asked("count"), asked("missing", "cost"), cost=[0.0] * 9 + [5.0]) == 0
    assert share(asked("mean", "cost"), cost=[0.0] * 10) == 0
    assert share(asked("mean", "cost"), cost=[np.nan] * 10) == 0
    assert share(asked("mean", "cost"), cost=np.zeros(0)) == 0
