"""What several answers tell together of few rows is found: by random shifts in the code, by ranks here."""

import itertools

import numpy as np
import pytest

from protocols.statistics import combinations
from protocols.statistics.combinations import coarsened, laid_open, systems
from protocols.statistics.differences import least_apart
from protocols.statistics.partitions import Partition


def codes(*cells):
    return np.array(cells, dtype=np.uint32)


def numbered(values):
    """Cells numbered from 1, in which 0 stays none."""
    found = np.zeros(len(values), dtype=np.uint32)
    for at, value in enumerate(np.unique(values[values > 0]), 1):
        found[values == value] = at
    return found


def by_ranks(partitions, least):
    """The fewest rows of one atom, or of the sum or difference of two, that is in the span of all cells."""
    cells = np.array([part == at for part in partitions for at in range(1, part.max() + 1)], dtype=float)
    atoms, sizes = np.unique(cells[:, cells.any(axis=0)], axis=1, return_counts=True)
    rank = np.linalg.matrix_rank(atoms)
    unit = np.eye(len(sizes))
    wanted = [(sizes[a], unit[a]) for a in range(len(sizes))]
    for a, b in itertools.combinations(range(len(sizes)), 2):
        wanted += [(sizes[a] + sizes[b], unit[a] + sign * unit[b]) for sign in (1, -1)]
    found = [size for size, row in wanted if size < least and np.linalg.matrix_rank(np.vstack([atoms, row])) == rank]
    return min(found, default=0)


def test_what_random_cells_tell_of_few_rows_is_what_ranks_say():
    rng, told = np.random.default_rng(3), 0
    for _ in range(150):
        rows, least = rng.integers(8, 25), int(rng.integers(2, 6))
        count = rng.integers(2, 6)
        given = [numbered(rng.integers(0, rng.integers(2, 4), rows)) for _ in range(count)]
        found = laid_open(given, least)
        assert found == by_ranks(given, least)
        told += found > 0
    assert 30 < told < 120


def test_three_selections_that_tell_one_row_and_differ_by_many_in_pairs():
    """A general tracker: all of both halves, each half with one row more, and each pair is far apart."""
    rows = np.arange(101)
    half, other = codes(*(rows <= 50)), codes(*(rows >= 50))
    assert laid_open([half, other], 10) == 0
    assert laid_open([half, other, codes(*(rows >= 0))], 10) == 1


def test_atoms_beyond_one_piece_of_the_matrix_are_looked_at(monkeypatch):
    monkeypatch.setattr(combinations, "_CHUNK", 3)
    rng = np.random.default_rng(5)
    values = rng.integers(0, 40, (2, 400))
    given = [codes(*((values[0] < at) & (values[1] < at + 7))) for at in range(1, 33, 4)]
    assert laid_open(given, 5) == by_ranks(given, 5)
    rows = np.arange(101)
    assert laid_open([codes(*(rows <= 50)), codes(*(rows >= 50)), codes(*(rows >= 0))], 10) == 1


def test_a_row_that_a_sample_of_the_atoms_does_not_hold_is_found():
    """Twelve sets and a thousand atoms: one set is the sum of two others, but for one row."""
    rng = np.random.default_rng(8)
    part = rng.integers(0, 3, 20_000)
    given = [codes(*(rng.random(20_000) < 0.5)) for _ in range(9)] + [codes(*(part == 1)), codes(*(part == 2))]
    assert laid_open(given, 10) == 0
    given = [np.append(each, np.uint32(0)) for each in given]
    assert laid_open([*given, codes(*(part > 0), 1)], 10) == 1


def test_too_many_sets_are_not_looked_at_and_no_silent_yes():
    given = [codes(*(np.arange(2000) < at)) for at in range(1, combinations.MAX_SETS + 2)]
    with pytest.raises(ValueError, match="1000 sets"):
        laid_open(given, 1)
    assert laid_open(given[:1] * 3000, 10) == 0  # the same one


def test_small_cells_are_put_together():
    assert coarsened(codes(0, 1, 1, 1, 2, 2, 3, 4), 2).tolist() == [0, 1, 1, 1, 2, 2, 3, 3]
    assert coarsened(codes(0, 1, 1, 1, 2, 2, 3), 2).tolist() == [0, 1, 1, 1, 2, 2, 2]
    assert coarsened(codes(1, 2, 3), 9).tolist() == [0, 0, 0]


def test_sets_of_other_columns_are_not_combined():
    rows = np.arange(101)
    everyone, half = codes(*(rows >= 0)), codes(*(rows <= 50))
    earlier = [[Partition((), everyone), Partition(("age",), half)]]
    new = [Partition((), everyone), Partition(("age",), everyone), Partition(("mass",), half)]
    selections, ages, masses = systems(earlier, new, 10)
    assert [part.sum() for part in selections] == [101, 101]
    assert [part.sum() for part in ages] == [51, 101]
    assert [part.sum() for part in masses] == [51]


@pytest.mark.parametrize(
    ("old", "new", "apart"),
    [
        ([1] * 20, [1] * 19 + [0], 1),  # one row fewer
        ([1] * 19 + [0], [1] * 20, 1),
        ([1] * 20, [1] * 20, 0),
        ([1] * 20, [1] * 10 + [0] * 10, 0),
        ([1] * 20 + [2] * 20, [0] * 20 + [1] * 18 + [0] * 2, 2),  # a group, and a filter that is short of it
        ([1] * 20 + [2] * 20, [1] * 18 + [2] * 22, 2),
        ([1] * 20, [1] * 18 + [2] * 2, 0),  # two rows are a cell of the second answer, whose margin this is
        ([1] * 18 + [2] * 2, [1] * 20, 0),
        ([1] * 18 + [2] * 2, [1] * 19 + [0], 1),
        ([1] * 4 + [0] * 16, [1] * 3 + [0] * 17, 0),  # few rows at this site: the release gate's
        ([0] * 20, [1] * 20, 0),
    ],
)
def test_cells_that_differ_by_few(old, new, apart):
    assert least_apart([[Partition((), codes(*old))]], [Partition((), codes(*new))], 10) == apart
    # Sums of a column are compared whether or not the same rows were selected; those of two columns are not.
    everyone = Partition((), codes(*[1] * len(old)))
    summed = [everyone, Partition(("age",), codes(*new))]
    assert least_apart([[everyone, Partition(("age", "mass"), codes(*old))]], summed, 10) == apart
    assert least_apart([[everyone, Partition(("mass",), codes(*old))]], summed, 10) == 0


def test_cells_in_great_number_are_compared_too():
    many = np.arange(1, 5001, dtype=np.uint32)
    old = np.concatenate([np.repeat(many, 2), codes(0)])
    assert least_apart([[Partition((), old)]], [Partition((), np.roll(old, 1))], 2) == 0
    old, new = (np.concatenate([codes(first, *[1] * 19), many]) for first in (1, 0))
    assert least_apart([[Partition((), old)]], [Partition((), new)], 10) == 1
