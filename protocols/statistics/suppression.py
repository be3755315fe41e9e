"""Which cells of a table are hidden, so that nobody computes a small one from those that are shown.

Cells are unknowns; what is known of them (a row adds up to its margin, all to the number of rows) are identities. A
hidden cell is protected if a shift of hidden cells alone, along a vector of the identities' kernel, keeps every cell at
0 or above and moves this one far enough: then tables with other numbers there look the same. The kernel is computed by
elimination in exact numbers, and every shift is a proof; cells are hidden until there is one for each.

Who knows this rule knows more: which cells it would have hidden of another table. So each hidden cell must also have
two values in tables of which the rule hides the same. Else all cells are hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

Identity = Mapping[int, int]
"""Unknown -> its coefficient, of a sum that is known."""
Vector = dict[int, Any]
_BASES = 4
_MAX_RUNS = 300
"""How many tables are looked at before a table counts as one that tells something."""


def kernel(identities: Sequence[Identity], hidden: Sequence[int]) -> list[Vector]:
    """Return a basis of the shifts of hidden unknowns that no identity notices.

    Args:
        identities: sums that are known.
        hidden: the unknowns that may move; the first ones become pivots, which are in many vectors.
    """
    order = {unknown: at for at, unknown in enumerate(hidden)}
    rows: dict[int, Vector] = {}
    for identity in identities:
        row: Vector = {unknown: factor for unknown, factor in identity.items() if unknown in order}
        for pivot in [unknown for unknown in row if unknown in rows]:
            _subtract(row, rows[pivot], row[pivot])
        if not row:
            continue
        pivot = min(row, key=order.__getitem__)
        scale = row[pivot]
        if scale != 1:
            row = {at: -factor if scale == -1 else Fraction(factor) / scale for at, factor in row.items()}
        for other in rows.values():
            if pivot in other:
                _subtract(other, row, other[pivot])
        rows[pivot] = row
    basis = {unknown: {unknown: 1} for unknown in hidden if unknown not in rows}
    for pivot, row in rows.items():
        for unknown, factor in row.items():
            if unknown != pivot:
                basis[unknown][pivot] = -factor
    return list(basis.values())


def _subtract(row: Vector, other: Vector, times: Any) -> None:
    for unknown, factor in other.items():
        left = row.get(unknown, 0) - times * factor
        if left:
            row[unknown] = left
        else:
            row.pop(unknown, None)


def widths(values: Sequence[int], identities: Sequence[Identity], hidden: Collection[int]) -> dict[int, Any]:
    """Return, for each hidden unknown, how wide an interval it is shown to be in by one shift: 0 if by none."""
    order = sorted(hidden, key=lambda unknown: (-values[unknown], unknown))
    found: dict[int, Any] = dict.fromkeys(order, 0)
    for shift in kernel(identities, order):
        up = [Fraction(values[at]) / -factor for at, factor in shift.items() if factor < 0]
        down = [Fraction(values[at]) / factor for at, factor in shift.items() if factor > 0]
        if not up or not down:  # no bound on one side: the sum of these is not known
            reach: Any = float("inf")
        else:
            reach = min(up) + min(down)
        for at, factor in shift.items():
            found[at] = max(found[at], reach * abs(factor))
    return found


def reach(values: Sequence[int], identities: Sequence[Identity], hidden: Collection[int], unknown: int) -> Any:
    """Return how wide an interval a hidden unknown is shown to be in by several shifts, one after the other.

    Each shift goes as far as no cell falls below 0, so that every step is a table that looks the same.
    """
    others = sorted(set(hidden) - {unknown}, key=lambda at: (-values[at], at))
    shifts = [shift for shift in kernel(identities, [unknown, *others]) if unknown in shift]
    ends = []
    for sign in (1, -1):
        now = {at: Fraction(values[at]) for at in hidden}
        for shift in shifts:
            along = sign if shift[unknown] > 0 else -sign
            limits = [now[at] / -(along * factor) for at, factor in shift.items() if along * factor < 0]
            if not limits:
                return float("inf")
            for at, factor in shift.items():
                now[at] += along * factor * min(limits)
        ends.append(now[unknown])
    return ends[0] - ends[1]


@dataclass(frozen=True)
class Hidden:
    """What is hidden.

    Attributes:
        small: cells from 1 to below the least.
        others: cells that would betray one of those.
        protected: whether every hidden cell could as well be another number. If not, although all cells are hidden:
            the margins alone betray some.
    """

    small: frozenset[int]
    others: frozenset[int]
    protected: bool


def suppress(
    values: Sequence[int],
    identities: Sequence[Identity],
    least: int,
    *,
    fixed: Collection[int] = (),
    hidden: Collection[int] = (),
    last: Collection[int] = (),
    besides: Callable[[Sequence[int]], Any] = lambda values: None,
) -> Hidden:
    """Return which unknowns to hide.

    Args:
        values: what the unknowns are, from 0.
        identities: what is known of sums of them.
        least: cells from 1 to below this are small. Among the tables that fit what is shown, each is within an interval
            of at least this width, other hidden cells within one of at least 1. Among those of which the rule hides the
            same, each hidden cell has at least two values, unless all cells are hidden; the interval may be narrower.
        fixed: unknowns of which it is settled elsewhere whether they are hidden.
        hidden: those of them that are.
        last: cells that are hidden only where no others do.
        besides: from values to what else is told of them, such as which of the fixed ones are hidden.
    """
    cells = [at for at in range(len(values)) if at not in set(fixed)]
    found = _first_found(values, identities, least, cells, hidden, last)
    if not found.small or not found.protected:
        return found
    gone, told = found.small | found.others, besides(values)

    def looks_the_same(other: Sequence[int]) -> bool:
        again = _first_found(other, identities, least, cells, hidden, last)
        return again.protected and again.small | again.others == gone and besides(other) == told

    if any(
        _all_move(values, gone, list(_shifts(identities, movable)), least, looks_the_same)
        for movable in (gone, gone | set(hidden))
    ):
        return found
    return Hidden(found.small, frozenset(cells) - found.small, True)


def _all_move(
    values: Sequence[int],
    gone: Collection[int],
    shifts: Sequence[Mapping[int, int]],
    far: int,
    looks_the_same: Callable[[Sequence[int]], bool],
) -> bool:
    """Tell whether every hidden cell has two values in tables that are reached by shifts, and all look the same.

    Who knows the rule runs it on each table that fits, and keeps those of which it hides the same. Each of the tables
    that are reached reaches the others, so that the answer is the same for all of them.
    """
    still, seen, queue = set(gone), {tuple(values)}, [tuple(values)]
    runs = 0
    for once in (True, False):  # first what moves something new, from here; then everything, from everywhere
        for table in queue:
            for shift in shifts:
                for times in (way * step for step in range(1, far + 1) for way in (1, -1)):
                    if once and still.isdisjoint(shift):
                        break
                    other = tuple(value + times * shift.get(at, 0) for at, value in enumerate(table))
                    if min(other) < 0 or other in seen:
                        continue
                    runs += 1
                    if looks_the_same(other):
                        still -= shift.keys()
                        seen.add(other)
                        queue.append(other)
                    if not still:
                        return True
                    if runs == _MAX_RUNS:
                        return False
            if once:
                break
    return False


def _shifts(identities: Sequence[Identity], movable: Collection[int]) -> Iterator[dict[int, int]]:
    """Give some shifts in whole numbers, the same ones for all tables of which the same is hidden."""
    for number in range(_BASES):
        places = sorted(((at + 1) * 7919**number % 10007, at) for at in movable)  # other pivots each time
        order = [at for _, at in places]
        basis = kernel(identities, order)
        mixed: Vector = {}
        for place, vector in enumerate(basis):
            _subtract(mixed, vector, -1 if place >> number & 1 else 1)
        for shift in (*basis, mixed):
            scale = lcm(*(Fraction(factor).denominator for factor in shift.values()))
            yield {at: int(factor * scale) for at, factor in shift.items()}


def _first_found(
    values: Sequence[int],
    identities: Sequence[Identity],
    least: int,
    cells: Sequence[int],
    hidden: Collection[int],
    last: Collection[int],
) -> Hidden:
    """Return what to hide from those who do not know how it was chosen."""
    small = frozenset(at for at in cells if 0 < values[at] < least)
    gone = set(small) | set(hidden)
    having = [list(identity) for identity in identities]
    where: dict[int, list[int]] = {}
    for number, members in enumerate(having):
        for at in members:
            where.setdefault(at, []).append(number)
    while gone:
        found = widths(values, identities, gone)
        weak = []
        for at in sorted(gone):
            need = least if 0 < values[at] < least else 1
            if found[at] < need:
                found[at] = reach(values, identities, gone, at)
            if found[at] < need:
                weak.append(at)
        if not weak:
            return Hidden(small, frozenset(gone - small - set(hidden)), True)
        more = set[int]()
        alone = [at for at in weak if _alone(at, having, where, gone)]
        for at in alone or weak[:1]:  # one at a time, where it is not plain what is missing
            if more and not _alone(at, having, where, gone | more):
                continue
            pick = _another(at, values, having, where, gone | more, cells, last, least - found[at])
            more |= set() if pick is None else {pick}
        if not more:
            shown = [at for at in cells if at not in gone]
            if not shown:
                return Hidden(small, frozenset(gone - small - set(hidden)), False)
            more = {min(shown, key=lambda at: (values[at] == 0, at in last, values[at], at))}
        gone |= more
    return Hidden(frozenset(), frozenset(), True)


def _alone(at: int, having: list[list[int]], where: dict[int, list[int]], gone: set[int]) -> list[int]:
    """Return the identities in which nothing else is hidden."""
    return [one for one in where.get(at, []) if not any(other in gone for other in having[one] if other != at)]


def _another(
    at: int,
    values: Sequence[int],
    having: list[list[int]],
    where: dict[int, list[int]],
    gone: set[int],
    cells: Sequence[int],
    last: Collection[int],
    need: Any,
) -> int | None:
    """Return the cell that hides another one best: beside hidden ones, large enough, and no larger than it must be."""
    alone = _alone(at, having, where, gone)
    open_to = set(cells)
    beside = {
        other for one in alone or where.get(at, []) for other in having[one] if other in open_to and other not in gone
    }

    def cost(other: int) -> tuple[Any, ...]:
        lonely = sum(not any(third in gone for third in having[one]) for one in where[other])
        return (values[other] == 0, other in last, lonely, values[other] < need, values[other], other)

    return min(beside, key=cost, default=None)


def suppress_line(values: Sequence[int], least: int, last: Collection[int] = ()) -> Hidden:
    """Return what to hide of cells whose sum is known."""
    return suppress(values, [dict.fromkeys(range(len(values)), 1)], least, last=last)


def suppress_grid(
    counts: Sequence[Sequence[int]],
    least: int,
    *,
    hidden_rows: Collection[int] = (),
    hidden_columns: Collection[int] = (),
    last_columns: Collection[int] = (),
) -> Hidden:
    """Return what to hide of a table whose margins are known, but for those that are hidden themselves.

    Args:
        counts: rows of cells.
        least: as for `suppress`.
        hidden_rows: margins of rows that are hidden.
        hidden_columns: those of columns.
        last_columns: cells of these columns are hidden only where no others do.

    Returns:
        Cells, numbered along the rows.
    """
    values, identities = table_of(counts)
    height, width = len(counts), len(counts[0])
    rows, columns = height * width, height * width + height

    def lines(values: Sequence[int]) -> list[frozenset[int]]:
        found = (
            suppress_line(values[rows:columns], least),
            suppress_line(values[columns:], least, last_columns),
        )
        return [line.small | line.others for line in found]

    return suppress(
        values,
        identities,
        least,
        fixed=range(rows, len(values)),
        hidden={rows + i for i in hidden_rows} | {columns + j for j in hidden_columns},
        last={i * width + j for i in range(height) for j in last_columns},
        besides=lines,
    )


def table_of(counts: Sequence[Sequence[int]]) -> tuple[list[int], list[dict[int, int]]]:
    """Return the unknowns of a table (cells along the rows, margins of rows, of columns), and their identities."""
    height, width = len(counts), len(counts[0])
    values = [count for row in counts for count in row]
    values += [sum(row) for row in counts] + [sum(column) for column in zip(*counts, strict=True)]
    rows, columns = height * width, height * width + height
    identities: list[dict[int, int]] = []
    for i in range(height):
        identities.append({i * width + j: 1 for j in range(width)} | {rows + i: -1})
    for j in range(width):
        identities.append({i * width + j: 1 for i in range(height)} | {columns + j: -1})
    identities += [{rows + i: 1 for i in range(height)}, {columns + j: 1 for j in range(width)}]
    return values, identities


def determined(identities: Sequence[Identity], hidden: Collection[int]) -> list[int]:
    """Return the hidden unknowns that no shift moves: what is shown tells them."""
    moved = {at for shift in kernel(identities, sorted(hidden)) for at in shift}
    return sorted(set(hidden) - moved)
