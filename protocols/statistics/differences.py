"""What two answers tell when one is subtracted from the other: cells that differ by few rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .partitions import Cells, Codes, Partition


def least_apart(earlier: Iterable[Sequence[Partition]], new: Sequence[Partition], least: int) -> int:
    """Return by how few rows a cell of an answer differs from one of an earlier answer.

    Both cells have at least `least` rows. Cells count against each other where both count rows and the answers select
    other rows, or where both sum the same column. A difference that is made of whole cells of one of both answers is
    that answer's own, as if its margins had been asked for with it: the release gate takes margins to be known.

    Args:
        earlier: the partitions of each earlier answer, the selected rows first.
        new: those of the new one, over the same rows or more.
        least: how many rows are no longer few.

    Returns:
        From 1 to least - 1; 0 where no cells differ by so few.
    """
    nearest = least
    length = len(new[0].codes)
    for old in earlier:
        same_rows = np.array_equal(widened(old[0].codes, length), new[0].codes)
        for before in old:
            codes = widened(before.codes, length)
            for after in new:
                counted = not before.columns and not after.columns and not same_rows
                if counted or set(before.columns) & set(after.columns):
                    nearest = min(nearest, _least_apart(codes, after.codes, least) or least)
    return nearest % least


def same(first: Sequence[Partition], second: Sequence[Partition]) -> bool:
    """Return whether two answers, the second over the same rows or more, are sums over the same cells."""
    length = len(second[0].codes)
    return len(first) == len(second) and all(
        one.columns == other.columns and np.array_equal(widened(one.codes, length), other.codes)
        for one, other in zip(first, second, strict=True)
    )


def widened(codes: Codes, length: int) -> Codes:
    """Return codes of so many rows: later ones are in no cell."""
    return np.concatenate([codes, np.zeros(length - len(codes), dtype=np.uint32)])


def _least_apart(first: Codes, second: Codes, least: int) -> int:
    """Return the fewest rows, from 1, by which two large cells of two partitions differ; 0 where that is `least`."""
    width = int(second.max(initial=0)) + 1
    both = first.astype(np.int64) * width + second
    cross, counts = _counted(both, (int(first.max(initial=0)) + 1) * width)
    i, j = cross // width, cross % width
    of_first, of_second = (np.bincount(codes, minlength=1) for codes in (first, second))
    # A cell is made of whole cells of the other partition if each of those that it meets is within it.
    whole_first = np.ones(len(of_first), dtype=np.bool_)
    whole_first[i[(j == 0) | (counts < of_second[j])]] = False
    whole_second = np.ones(len(of_second), dtype=np.bool_)
    whole_second[j[(i == 0) | (counts < of_first[i])]] = False
    apart = of_first[i] + of_second[j] - 2 * counts
    told = (i > 0) & (j > 0) & (of_first[i] >= least) & (of_second[j] >= least) & (apart > 0) & (apart < least)
    told &= ~(whole_first[i] | whole_second[j])
    return int(apart[told].min(initial=least)) % least


def _counted(values: Cells, most: int) -> tuple[Cells, Cells]:
    """Return the values below `most` that occur, and how often."""
    if most <= 4 * len(values) + 1024:
        counts = np.bincount(values, minlength=most)
        found = np.flatnonzero(counts)
        return found, counts[found]
    return np.unique(values, return_counts=True)
