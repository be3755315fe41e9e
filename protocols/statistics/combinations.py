"""What all answers tell together: whether some combination of their sums is a sum over few rows.

F. Y. Chin and G. Ozsoyoglu, Auditing and inference control in statistical databases, IEEE Transactions on Software
Engineering 8(6), 1982: a value is laid open where the indicator of its row is in the span of the indicators of the sets
that were summed over. Rows that are in the same sets are an *atom*. As in `suppression`, what shows that an atom is not
laid open is a shift: numbers on the atoms that every answered sum maps to 0, and that are not 0 on this atom. One
random shift serves all atoms at once.

Numbers are residues of a random prime of 31 bits. A shift that is not 0 on an atom proves that no combination whose
denominator the prime does not divide tells this atom. That is a minor of a matrix of 0 and 1, at most k^(k/2) for k
sets: of the 50 million primes that may be drawn, at most 166 divide it for 1000 sets. Where a shift is 0 on an atom by
chance (2^-90), an answer is refused for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from secagg.randomness import SYSTEM, below

from .differences import widened
from .partitions import Codes, Partition

MAX_SETS = 1000
"""Distinct sets of rows whose combinations are looked at: the work grows with their cube."""
SHIFTS = 3
_CHUNK = 1 << 13
Residues = npt.NDArray[np.int64]


def systems(answers: Sequence[Sequence[Partition]], new: Sequence[Partition], least: int) -> Iterator[list[Codes]]:
    """Yield the cells that are looked at together: all selections; and, for columns, all that they were summed over.

    A cell of fewer than `least` rows is a matter of the release gate, which knows how many it has at all sites. It is
    put together with the other small ones of its partition, and with the least of the large ones if they are few still.

    Args:
        answers: the partitions of each earlier answer, the selected rows first.
        new: those of the new one, over the same rows or more. Columns that it does not sum are left out.
        least: how many rows are no longer few.
    """
    length = len(new[0].codes)
    everything = [*answers, new]
    yield [widened(each[0].codes, length) for each in everything]
    for columns in dict.fromkeys(part.columns for part in new if part.columns):
        parts = [part for each in everything for part in each if part.columns == columns]
        yield [coarsened(widened(part.codes, length), least) for part in parts]


def coarsened(codes: Codes, least: int) -> Codes:
    """Return codes of cells of at least `least` rows, small ones put together; all 0 where there are too few rows."""
    sizes = np.bincount(codes, minlength=1)
    sizes[0] = 0
    large = np.flatnonzero(sizes >= least)
    rest = int(sizes[sizes < least].sum())
    name = np.full(len(sizes), len(large) + 1, dtype=np.uint32)
    name[0] = 0
    name[large] = np.arange(1, len(large) + 1)
    if 0 < rest < least:
        name[name == len(large) + 1] = name[large[np.argmin(sizes[large])]] if len(large) else 0
    return name[codes]


def laid_open(partitions: Iterable[Codes], least: int) -> int:
    """Return how many rows some combination of the sums over these cells is about, where they are few.

    Found are all single atoms, and all sums and differences of two, of fewer than `least` rows together.

    Args:
        partitions: codes (n,) of cells, 0 for rows in none.
        least: how many rows are no longer few.

    Returns:
        From 1 to least - 1; 0 where there is no such combination.

    Raises:
        ValueError: there are more than MAX_SETS distinct cells.
    """
    distinct = list({codes.tobytes(): codes for codes in partitions if codes.any()}.values())
    if count_sets(distinct) > MAX_SETS:
        raise ValueError(f"more than {MAX_SETS} sets of rows")
    if len(distinct) < 2:
        return 0
    table = np.stack(distinct, axis=1)
    table = np.ascontiguousarray(table[table.any(axis=1)])
    atoms, sizes = np.unique(table.view(np.dtype((np.void, table.strides[0]))).ravel(), return_counts=True)
    if sizes.min(initial=least) >= least:
        return 0
    members = atoms.view(np.uint32).reshape(len(atoms), -1)
    order = _random_order(len(members))
    return _least_told(_Sets(members[order]), sizes[order], least)


def count_sets(partitions: Iterable[Codes]) -> int:
    """Return how many cells these partitions have."""
    return sum(int(codes.max(initial=0)) for codes in partitions)


def _least_told(sets: _Sets, sizes: Residues, least: int) -> int:
    """Return the fewest rows of one atom, or of two, that are told; 0 where none are."""
    few = np.argsort(sizes, kind="stable")[: np.count_nonzero(sizes < least)]
    # A sample of the atoms does, unless some set differs from a combination of others in rare atoms alone.
    for some in (min(len(sizes), 4 * sets.count + 64), len(sizes), len(sizes)):
        prime = _prime()
        shift = sets.shift(some, prime)
        if shift is not None:
            break
    else:
        return 1  # twice by chance, 2^-40: refused for nothing
    keys, rows = shift[few], sizes[few]
    alone = rows[~keys.any(axis=1)].min(initial=least)
    # Of v and -v the one whose first entry is in the lower half: one name for the sum and the difference of two atoms.
    first = np.take_along_axis(keys, (keys != 0).argmax(axis=1)[:, None], axis=1)
    names = np.unique(np.where(2 * first > prime, (prime - keys) % prime, keys), axis=0, return_inverse=True)[1].ravel()
    place = np.argsort(names, kind="stable")  # equal ones side by side, the smallest atoms first
    equal = names[place][1:] == names[place][:-1]
    pairs = (rows[place][1:] + rows[place][:-1])[equal]
    return int(min(alone, pairs.min(initial=least))) % least


class _Sets:
    """Which atoms are in which sets: a matrix of 0 and 1.

    Args:
        members: (atoms, partitions), the cell of each atom in each partition.
    """

    def __init__(self, members: npt.NDArray[np.uint32]) -> None:
        widths = members.max(axis=0).astype(np.int64)
        self.count = int(widths.sum())
        self._in = np.zeros((self.count, len(members)), dtype=np.bool_)
        for codes, end, width in zip(members.T, np.cumsum(widths), widths, strict=True):
            at = np.flatnonzero(codes)
            self._in[end - width + codes[at].astype(np.int64) - 1, at] = True

    def _chunks(self, atoms: int) -> Iterator[tuple[slice, npt.NDArray[np.float64]]]:
        for start in range(0, atoms, _CHUNK):
            part = slice(start, min(start + _CHUNK, atoms))
            yield part, self._in[:, part].astype(np.float64)

    def shift(self, some: int, prime: int) -> Residues | None:
        """Return random shifts (atoms, SHIFTS) that no set notices, or None if these atoms are too few to find any.

        With random weights D on some atoms, G = M D M^T has the rank of M there, and u - D M^T y is a shift where
        G y = M u. Weighted atoms alone are moved to that end; it is checked that no set notices.
        """
        atoms = self._in.shape[1]
        weights = _residues((some,), prime)
        moved = _residues((atoms, SHIFTS), prime)
        gram = np.zeros((self.count, self.count), dtype=np.int64)
        for part, matrix in self._chunks(some):  # sums of 2^13 residues below 2^31: exact in float64
            gram = (gram + ((matrix * weights[part]) @ matrix.T).astype(np.int64)) % prime
        solved = _solution(gram, self._sums(moved, prime), prime)
        for part, matrix in self._chunks(some):
            back = (matrix.T @ solved).astype(np.int64) % prime
            moved[part] = (moved[part] - weights[part, None] * back) % prime
        return None if self._sums(moved, prime).any() else moved

    def _sums(self, values: Residues, prime: int) -> Residues:
        total = np.zeros((self.count, SHIFTS), dtype=np.int64)
        for part, matrix in self._chunks(len(values)):
            total = (total + (matrix @ values[part]).astype(np.int64)) % prime
        return total


def _solution(matrix: Residues, right: Residues, prime: int) -> Residues:
    """Return a solution of a square system modulo a prime, any one if there are many; no solution if there is none."""
    size = len(matrix)
    work = np.concatenate([matrix, right], axis=1)
    pivots: list[int] = []
    for column in range(size):
        row = len(pivots)
        rows = row + np.flatnonzero(work[row:, column])
        if not len(rows):
            continue
        work[[row, rows[0]]] = work[[rows[0], row]]
        work[row, column:] = work[row, column:] * pow(int(work[row, column]), -1, prime) % prime
        below_it = rows[1:]  # the row that was moved away has a 0 here
        factors = work[below_it, column, None]
        work[below_it, column:] = (work[below_it, column:] - factors * work[row, column:]) % prime
        pivots.append(column)
    solution = np.zeros(right.shape, dtype=np.int64)
    for row in range(len(pivots) - 1, -1, -1):
        column = pivots[row]
        known = work[row, column + 1 : size, None] * solution[column + 1 :] % prime
        solution[column] = (work[row, size:] - known.sum(axis=0)) % prime
    return solution


def _prime() -> int:
    """Return a random prime from 2^30 to 2^31."""
    divisors = np.arange(3, 1 << 16, 2)
    while True:
        candidate = (1 << 30) + below(1 << 30, SYSTEM) | 1
        if (candidate % divisors).all():
            return candidate


def _residues(shape: tuple[int, ...], prime: int) -> Residues:
    """Return uniform residues, but for 2^-33."""
    drawn = np.frombuffer(SYSTEM(8 * int(np.prod(shape))), dtype="<u8")
    return (drawn % np.uint64(prime)).astype(np.int64).reshape(shape)


def _random_order(count: int) -> npt.NDArray[np.int64]:
    """Return the numbers below `count` in random order, so that the first ones are a fair choice."""
    return np.argsort(np.frombuffer(SYSTEM(8 * count), dtype="<u8"), kind="stable")
