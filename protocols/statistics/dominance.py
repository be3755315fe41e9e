"""Whether one row makes nearly all of a sum, so that the sum is that row's value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from .chosen import Mask
from .columns import Number
from .families.generalized import Model
from .families.moments import POWERS
from .families.registry import once
from .kinds import SHAPES, Kind, Role
from .query import Query, Statistic
from .rows import Table

Floats = npt.NDArray[np.float64]


def greatest_share(query: Query, table: Table, chosen: Mask, least: int) -> float:
    """Return the greatest share that one row has in a sum that a site gives, from 0 to 1.

    Looked at is every sum of powers, and of products of two columns, over each cell of at least `least` rows; and
    the sum of variances in a step of a Poisson regression, of which steep coefficients leave few rows. (Those of a
    logistic one are bounded, and the release gate knows how many rows they take.) What a row contributes is measured
    from the near bounds (x - lo) and from the far ones (hi - x): whoever knows the number of rows has the one sum from
    the other. A sum of zeros has no share. Nor is a sum looked at that is a count, because each value in it is one of
    both bounds, as in a column of 0 and 1: it tells no value.

    Args:
        query: what is asked.
        table: with its n rows.
        chosen: (n,), which of them the query selects.
        least: a cell of fewer rows is a matter of the release gate, which knows how many it has at all sites.
    """
    group = np.zeros(len(chosen), dtype=np.int64) if query.group_by is None else table.codes[query.group_by]
    found = 0.0
    for one in once(query.statistics):
        roles = zip(one.columns, SHAPES[one.kind].roles(one.columns), strict=True)
        numeric = [query.number(name) for name, role in roles if role is Role.NUMBER]
        if one.kind is Kind.MISSING or not numeric:
            continue
        cells, within = group, chosen
        for column in numeric:
            values = table.numbers[column.name]
            within = within & (values >= column.lo) & (values <= column.hi)
        for name in one.columns:
            if name in table.codes:
                cells = cells * query.levels(name).cells + table.codes[name]
        if one.kind is Kind.POISSON:
            variances = _means(query, one, table, within)
            found = max(found, _share(variances, np.zeros(len(variances), dtype=np.int64), least))
        _, cells = np.unique(cells[within], return_inverse=True)
        for summed in _products(numeric, table, within, POWERS.get(one.kind, 2)):
            found = max(found, _share(summed, cells, least))
    return found


def _means(query: Query, one: Statistic, table: Table, within: Mask) -> Floats:
    """Return the mean of each complete row's count at a step's coefficients, which is its variance."""
    model, (name, *predictors) = Model(query, one), one.columns
    complete = within & (table.numbers[name] == np.floor(table.numbers[name]))
    values = [table.numbers[predictor][complete] for predictor in predictors]
    means: Floats = model.at(model.units.scaled(values, int(np.count_nonzero(complete))))[1]
    return means


def _products(columns: Sequence[Number], table: Table, rows: Mask, highest: int) -> Iterator[Floats]:
    """Yield what each of these rows contributes: to powers of each column, to products of each two."""
    ends = []
    for column in columns:
        values = table.numbers[column.name][rows]
        spread = column.hi - column.lo
        ends.append(((values - column.lo) / spread, (column.hi - values) / spread))
    counts = [bool(((near == 0) | (far == 0)).all()) for near, far in ends]
    for pair, count in zip(ends, counts, strict=True):
        if not count:
            yield from (end**power for end, power in product(pair, range(1, highest + 1)))
    for (i, first), (j, second) in combinations(enumerate(ends), 2):
        if not (counts[i] and counts[j]):
            yield from (a * b for a, b in product(first, second))


def _share(contributions: Floats, cells: npt.NDArray[np.int64], least: int) -> float:
    """Return the greatest share of one row in the sum over its cell."""
    rows, sums = np.bincount(cells, minlength=1), np.bincount(cells, contributions, minlength=1)
    most = np.zeros(len(sums))
    np.maximum.at(most, cells, contributions)
    counted = (rows >= least) & (sums > 0)
    return float((most[counted] / sums[counted]).max(initial=0))
