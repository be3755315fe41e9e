"""What an analyst gets with noise: each statistic with an interval that holds the pooled rows' own value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dp.sensitivity import Adjacency, Unit
from secagg.errors import ParameterError

from ...masking.result import RoundResult
from ..kinds import BINNED, PAIRS, Key, Kind
from ..query import Query, Statistic
from .features import STATUSES, middle_and_half
from .intervals import CONFIDENCE, Doubt, Floats, Noisy, Z, ratio, smooth, within
from .plan import NoisyPlan, NoisyTotals


@dataclass(frozen=True)
class PrivateFinding:
    """One statistic with noise, of all rows or of one group of them.

    Attributes:
        statistic, columns: as asked.
        group: the cell of `group_by`; None without groups.
        value: a `Noisy`; for `missing`, `histogram`, `ecdf`, `quantiles`, `median` and `table` a dict of what SPEC
            section 46 lists.
        n: of how many rows, with noise.
    """

    statistic: Kind
    columns: tuple[str, ...]
    group: str | None
    value: Any
    n: Noisy


@dataclass(frozen=True)
class PrivateAnswer:
    """What comes of a question with noise.

    Attributes:
        digest: of the question.
        sites: how many are in the sum.
        epsilon, delta, unit, adjacency: what the answer tells of one unit, at most: all of it, together.
        confidence: of every single interval, over the noise; not of all of them together.
        findings: in the order of the query's statistics, groups within each.
        totals: what all findings follow from. Whatever else is computed from them costs nothing.
    """

    digest: bytes
    sites: int
    epsilon: float
    delta: float
    unit: Unit
    adjacency: Adjacency
    confidence: float
    findings: tuple[PrivateFinding, ...]
    totals: NoisyTotals

    def regression(self, response: str, predictors: Sequence[str]) -> Mapping[str, Noisy]:
        """Return the least squares fit over the rows in which every column of a pair is there.

        Args:
            response: a column.
            predictors: others, distinct.

        Returns:
            "" for the intercept, and each predictor's name -> its coefficient. Noise comes from the totals, not from
            sampling: these are intervals for the fit to the pooled rows.

        Raises:
            ParameterError: the correlation of two of these columns was not asked.
        """
        return _Findings(self.totals).regression(response, tuple(predictors))


def private_answer(plan: NoisyPlan, result: RoundResult) -> PrivateAnswer:
    """Return what follows from a session's noisy sum.

    Raises:
        ParameterError: the session was about another question.
    """
    question, totals = plan.question, plan.decode(result)
    return PrivateAnswer(
        question.digest,
        len(result.survivors),
        question.epsilon,
        question.delta,
        question.unit,
        question.adjacency,
        CONFIDENCE,
        tuple(_Findings(totals).all()),
        totals,
    )


class _Findings:
    """Every statistic of every group."""

    def __init__(self, totals: NoisyTotals) -> None:
        self.totals, self.query = totals, totals.features.query

    def all(self) -> Iterator[PrivateFinding]:
        query: Query = self.query
        groups = [None] if query.group_by is None else list(query.levels(query.group_by).names)
        for one in query.statistics:
            for at, group in enumerate(groups):
                value, n = self._of(one, at)
                yield PrivateFinding(one.kind, one.columns, group, value, n)

    def _of(self, one: Statistic, group: int) -> tuple[Any, Noisy]:
        if one.kind is Kind.COUNT:
            found = self._count(("rows",), group, 0)
            return found, found
        if one.kind in PAIRS:
            return self._pair(one.kind, *one.columns), self._count(("complete",), 0, 0)
        if one.kind is Kind.TABLE:
            return self._table(*one.columns)
        (name,) = one.columns
        if one.kind in BINNED:
            return self._binned(one, name, group)
        if one.kind is Kind.MISSING:
            cells = self._counts(("status", name), group)
            return dict(zip(STATUSES, cells, strict=True)), self._sum(("status", name), group)
        n = self._count(("status", name), group, 0)
        return (self._mean(name, group) if one.kind is Kind.MEAN else self._spread(one.kind, name, group)), n

    def _counts(self, block: Key, group: int) -> list[Noisy]:
        values, deviation = self.totals.cells(block, group)
        return [_count(float(value), deviation) for value in values]

    def _count(self, block: Key, group: int, cell: int) -> Noisy:
        return self._counts(block, group)[cell]

    def _sum(self, block: Key, group: int, cells: slice = slice(None)) -> Noisy:
        values, deviation = self.totals.cells(block, group)
        return _count(float(values[cells].sum()), deviation * math.sqrt(len(values[cells])))

    def _mean(self, name: str, group: int) -> Noisy:
        (total,), of_total = self.totals.cells(("power", name, 1), group)
        counts, of_count = self.totals.cells(("status", name), group)
        found = ratio(float(total), float(counts[0]), (of_total**2, of_count**2, 0.0), -1.0, 1.0)
        middle, half = middle_and_half(self.query.number(name))
        return found.moved(half, middle)

    def _spread(self, kind: Kind, name: str, group: int) -> Noisy:
        blocks: list[Key] = [("status", name), ("power", name, 1), ("power", name, 2)]
        (value,), (reach,) = self._smooth(_variance, blocks, group)
        _, half = middle_and_half(self.query.number(name))
        # What is shared out over the range has at most the variance of its ends, but for n / (n - 1).
        found = within(float(value), float(reach), 0.0, 2.0).moved(half**2)
        if kind is Kind.VARIANCE:
            return found
        root = None if found.value is None else math.sqrt(max(0.0, found.value))
        return Noisy(root, math.sqrt(found.low), math.sqrt(found.high), found.doubt)

    def _pair(self, kind: Kind, first: str, second: str) -> Noisy:
        product: Key = ("product", *sorted((first, second)))
        blocks: list[Key] = [("complete",), ("sum", first), ("sum", second), product]
        if kind is Kind.COVARIANCE:
            (value,), (reach,) = self._smooth(_covariance, blocks, 0)
            halves = [middle_and_half(self.query.number(name))[1] for name in (first, second)]
            return within(float(value), float(reach), -2.0, 2.0).moved(halves[0] * halves[1])
        (value,), (reach,) = self._smooth(_correlation, [*blocks, ("square", first), ("square", second)], 0)
        return within(float(value), float(reach), -1.0, 1.0)

    def _smooth(self, function: Any, blocks: Sequence[Key], group: int) -> tuple[Floats, Floats]:
        """Apply a function to the first cell of each block."""
        at = [self.totals.at(block, group).start for block in blocks]
        return smooth(function, self.totals.values[at], self.totals.deviations[at])

    def _table(self, first: str, second: str) -> tuple[Any, Noisy]:
        a, b = self.query.levels(first), self.query.levels(second)
        block: Key = ("cell", first, second)
        cells = self._counts(block, 0)
        rows = [self._sum(block, 0, slice(i * b.cells, (i + 1) * b.cells)) for i in range(a.cells)]
        columns = [self._sum(block, 0, slice(j, None, b.cells)) for j in range(b.cells)]
        value = {
            "rows": list(a.names),
            "columns": list(b.names),
            "counts": [cells[i * b.cells : (i + 1) * b.cells] for i in range(a.cells)],
            "row_totals": rows,
            "column_totals": columns,
        }
        return value, self._sum(block, 0)

    def _binned(self, one: Statistic, name: str, group: int) -> tuple[Any, Noisy]:
        edges, block = self.query.number(name).edges, ("bin", name)
        if one.kind is Kind.HISTOGRAM:
            below, *bins, above, missing = self._counts(block, group)
            value = {"edges": list(edges), "counts": bins, "below": below, "above": above, "missing": missing}
            return value, self._sum(block, group)
        n = self._sum(block, group, slice(0, -1))
        values, deviation = self.totals.cells(block, group)
        if one.kind is Kind.ECDF:
            shares = [_share(values[:-1], at, deviation) for at in range(1, len(edges) + 1)]
            return {"edges": list(edges), "shares": shares}, n
        quantiles = one.parameters or (0.5,)
        brackets = [noisy_bracket(edges, values[:-1], deviation, each) for each in quantiles]
        return {"quantiles": list(quantiles), "brackets": brackets}, n

    def regression(self, response: str, predictors: tuple[str, ...]) -> dict[str, Noisy]:
        columns = (*predictors, response)
        pairs = [(i, j) for i in range(len(columns)) for j in range(i)]
        blocks: list[Key] = [("complete",), *(("sum", name) for name in columns)]
        blocks += [("square", name) for name in columns]
        blocks += [("product", *sorted((columns[i], columns[j]))) for i, j in pairs]
        if not predictors or len(set(columns)) < len(columns) or not set(blocks) <= self.totals.features.uses.keys():
            raise ParameterError(
                f"a regression of {columns} needs the correlation of each two of them, asked in the same question"
            )

        scaled = [middle_and_half(self.query.number(name)) for name in columns]
        middle, half = scaled[-1]
        # u_y = c + sum of b u_x, with u = (x - middle) / half; the intercept at x = 0 needs all of them.
        turn = np.zeros((len(columns), len(columns)))
        turn[0, 0] = half
        for at, (of_middle, of_half) in enumerate(scaled[:-1], 1):
            turn[at, at] = half / of_half
            turn[0, at] = -half * of_middle / of_half

        def turned(totals: Floats) -> Floats:
            return np.asarray(turn @ _least_squares(totals, len(columns), pairs))

        values, reaches = self._smooth(turned, blocks, 0)
        values[0] += middle
        found = [within(float(v), float(r), -math.inf, math.inf) for v, r in zip(values, reaches, strict=True)]
        return dict(zip(("", *predictors), found, strict=True))


def noisy_bracket(edges: Sequence[float], counts: Floats, deviation: float, quantile: float) -> dict[str, Any]:
    """Return two edges with numpy's default quantile of the pooled rows between them, at `CONFIDENCE`.

    With A rows below an edge, of n, the quantile is at least this edge if A <= q (n - 1), and at most if A - 1 >=
    q (n - 1): both are about A - q n, whose noise is known, and both become false, or true, from one edge on. So edges
    are tried one after the other, each by a one-sided test, and the first that does not pass ends it. Only the first
    that is false can bring an error about, whatever the number of edges: each end errs as one test does.

    Args:
        edges: ascending.
        counts: with noise: below the first edge, between each two, above the last one; (len(edges) + 1,).
        deviation: of each count's noise.
        quantile: in (0, 1).

    Returns:
        `low`, `high`: None for an end beyond the edges; `doubt` where both are.
    """
    n, m = float(counts.sum()), len(counts)
    below = np.cumsum(counts)[:-1]
    number = np.arange(1, m)
    distance = below - quantile * n
    reach = Z * deviation * np.sqrt(number * (1 - quantile) ** 2 + (m - number) * quantile**2)
    at_least = distance + reach <= -quantile
    at_most = distance - reach >= 1 - quantile
    first = int(np.argmin(at_least)) if not at_least.all() else len(edges)
    last = int(np.argmin(at_most[::-1])) if not at_most.all() else len(edges)
    low = edges[first - 1] if first else None
    high = edges[len(edges) - last] if last else None
    return {"low": low, "high": high, "doubt": Doubt.TOO_NOISY if low is None and high is None else None}


def _count(value: float, deviation: float) -> Noisy:
    """Return a count. One below 0 is none, but stays what it is, so that sums of counts are right."""
    return within(value, Z * deviation, 0.0, math.inf)


def _share(counts: Floats, below: int, deviation: float) -> Noisy:
    """Return the share of the first so many cells in all of them."""
    variance = deviation**2
    variances = variance * below, variance * len(counts), variance * below
    return ratio(float(counts[:below].sum()), float(counts.sum()), variances, 0.0, 1.0)


def _variance(totals: Floats) -> Floats:
    n, u, t = totals
    return np.array([((t + n) / 2 - u * u / n) / (n - 1) if n > 1 else math.nan])


def _covariance(totals: Floats) -> Floats:
    n, u, v, uv = totals
    return np.array([(uv - u * v / n) / (n - 1) if n > 1 else math.nan])


def _correlation(totals: Floats) -> Floats:
    n, u, v, uv, t_u, t_v = totals
    if n <= 1:
        return np.array([math.nan])
    squares = ((t_u + n) / 2 - u * u / n) * ((t_v + n) / 2 - v * v / n)
    return np.array([(uv - u * v / n) / math.sqrt(squares) if (t_u + n) / 2 > u * u / n and squares > 0 else math.nan])


def _least_squares(totals: Floats, width: int, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the intercept and slopes of the last of `width` centred columns; NaN where the design is not definite."""
    n, sums, squares = totals[0], totals[1 : width + 1], totals[width + 1 : 2 * width + 1]
    nothing = np.full(width, math.nan)
    if n <= width:
        return nothing
    products = np.diag((squares + n) / 2 - sums**2 / n)
    for (i, j), total in zip(pairs, totals[2 * width + 1 :], strict=True):
        products[i, j] = products[j, i] = total - sums[i] * sums[j] / n
    try:
        np.linalg.cholesky(products[:-1, :-1])
    except np.linalg.LinAlgError:
        return nothing
    slopes = np.linalg.solve(products[:-1, :-1], products[:-1, -1])
    return np.concatenate([[(sums[-1] - sums[:-1] @ slopes) / n], slopes])
