"""No hidden cell is determined by what is shown: by exact shifts in the code, by linear programs here."""

from collections import defaultdict
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.optimize import linprog

from protocols.statistics.suppression import suppress_grid, suppress_line, widths


def intervals(values, equations, hidden):
    """The interval of each hidden unknown by linear programs: independent of kernels and of shifts."""
    matrix = np.zeros((len(equations), len(values)))
    for row, equation in enumerate(equations):
        for at, factor in equation.items():
            matrix[row, at] = factor
    right = matrix @ np.array(values)
    bounds = [(0, None) if at in hidden else (value, value) for at, value in enumerate(values)]
    found = {}
    for at in hidden:
        aim = np.zeros(len(values))
        aim[at] = 1
        low, high = (linprog(sign * aim, A_eq=matrix, b_eq=right, bounds=bounds) for sign in (1, -1))
        found[at] = -high.fun - low.fun if high.status == 0 else np.inf
    return found


def table(counts):
    """Unknowns of a table with its margins, and what is known of their sums."""
    height, width = len(counts), len(counts[0])
    size = height * width
    values = [count for row in counts for count in row] + [sum(row) for row in counts]
    values += [sum(column) for column in zip(*counts, strict=True)]
    equations = [{i * width + j: 1 for j in range(width)} | {size + i: -1} for i in range(height)]
    equations += [{i * width + j: 1 for i in range(height)} | {size + height + j: -1} for j in range(width)]
    return values, [*equations, {size + i: 1 for i in range(height)}]


def random_tables(seed, count):
    rng = np.random.default_rng(seed)
    while count:
        shape = rng.integers(1, 4), rng.integers(2, 6)
        mean = rng.choice([3, 15, 40])
        counts = rng.poisson(mean, shape) if rng.random() < 0.7 else rng.negative_binomial(1, 0.03, shape)
        least = int(rng.choice([3, 5, 10]))
        if counts.sum() >= least and ((counts > 0) & (counts < least)).any():
            count -= 1
            yield counts.tolist(), least


@pytest.mark.parametrize("tables", [60, pytest.param(500, marks=pytest.mark.long)])
def test_no_hidden_cell_of_random_suppressed_tables_is_determined(tables):
    withheld = 0
    for counts, least in random_tables(17, tables):
        height, width = len(counts), len(counts[0])
        size = height * width
        rows = suppress_line([sum(row) for row in counts], least)
        columns = suppress_line([sum(column) for column in zip(*counts, strict=True)], least)
        lines = rows.small | rows.others, columns.small | columns.others
        found = suppress_grid(counts, least, hidden_rows=lines[0], hidden_columns=lines[1])
        values, equations = table(counts)
        assert {at for at in range(size) if 0 < values[at] < least} <= found.small | found.others
        hidden = set(found.small | found.others)
        hidden |= {size + i for i in lines[0]} | {size + height + j for j in lines[1]}
        if not found.protected:  # then the release gate shows neither cells nor margins of it
            assert len(found.small | found.others) == size
            hidden = set(range(len(values)))
            withheld += 1
        if height == 1:
            hidden.discard(size)  # that is the number of rows, which is known
        for at, wide in intervals(values, equations, hidden).items():
            assert wide >= (least if 0 < values[at] < least else 1) - 1e-6, (counts, least, at)
    assert 0 < withheld < 0.3 * tables


def test_the_linear_program_notices_a_cell_that_was_hidden_alone():
    values, equations = table([[3, 20], [30, 40]])
    assert intervals(values, equations, {0})[0] == pytest.approx(0)


def test_a_cell_that_is_hidden_alone_is_found_by_subtraction():
    (row,) = [dict.fromkeys(range(4), 1)]
    assert widths([3, 20, 30, 40], [row], {0}) == {0: 0}
    assert widths([3, 20, 30, 40], [row], {0, 1}) == {0: 23, 1: 23}


@pytest.mark.parametrize(
    ("values", "hidden"),
    [([20, 30, 40], set()), ([3, 30, 40], {0, 1}), ([0, 30, 40], set()), ([3, 0, 40], {0, 2}), ([3, 4, 40], {0, 1, 2})],
)
def test_what_is_hidden_of_a_line(values, hidden):
    found = suppress_line(values, 10)
    assert found.small | found.others == hidden


def tables_of(cells, total):
    """All tables of so many cells and rows."""
    for ends in combinations(range(total + cells - 1), cells - 1):
        yield [after - before - 1 for before, after in pairwise([-1, *ends, total + cells - 1])]


@pytest.mark.parametrize(
    ("cells", "total", "least"),
    [
        (3, 28, 10),
        (4, 14, 4),
        (5, 11, 3),
        pytest.param(4, 33, 10, marks=pytest.mark.long),
        pytest.param(5, 18, 4, marks=pytest.mark.long),
    ],
)
def test_who_reruns_the_rule_on_each_line_that_fits_finds_no_small_count(cells, total, least):
    alike = defaultdict(list)
    for values in tables_of(cells, total):
        found = suppress_line(values, least)
        gone = found.small | found.others
        if found.protected:
            alike[tuple(-1 if at in gone else count for at, count in enumerate(values))].append(values)
    assert len(alike) > 1
    for lines in alike.values():
        for at, counts in enumerate(zip(*lines, strict=True)):
            assert not 0 < counts[0] < least or len(set(counts)) > 1, (lines, at)


def test_a_line_that_no_other_looks_like_is_hidden_whole():
    """Of 10, 9, 9 the nines alone were hidden: of 8 and 10 the 8 and a 10 would have been, so these are nines."""
    assert suppress_line([10, 9, 9], 10).others == {0}
    assert suppress_line([10, 9, 9, 0, 0], 10).others == {0, 3, 4}


def test_cells_that_are_hidden_last_are_hidden_only_where_no_others_do():
    assert suppress_line([900, 3, 20, 0], 10, last=[0]).others == {2}
    assert suppress_line([900, 3, 0, 0], 10, last=[0]).others >= {0}


def test_hiding_a_cell_in_zeros_does_not_hide_it():
    """With zeros as the only others, the shift keeps nothing above 0: larger cells must go, too."""
    found = suppress_grid([[3, 0, 50], [0, 60, 70], [80, 90, 20]], 10)
    values, equations = table([[3, 0, 50], [0, 60, 70], [80, 90, 20]])
    assert intervals(values, equations, found.small | found.others)[0] >= 10


def test_a_table_whose_margins_alone_betray_it_is_withheld():
    assert not suppress_grid([[3, 9], [2, 1]], 10).protected
