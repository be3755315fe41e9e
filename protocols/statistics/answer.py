"""What an analyst gets: each statistic with the error that rounding of the inputs leaves, or the rule that hides it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from secagg.errors import EncodingError, EstimateError, ParameterError

from ..masking.result import RoundResult
from .estimates.estimate import Estimate
from .estimates.moments import CoMoments, Moments
from .plan import PRODUCTS, Key, Plan
from .query import BINNED, MOMENTS, PAIRS, Kind, Statistic
from .release import Gate, ReleasePolicy, Rule


@dataclass(frozen=True)
class Finding:
    """One statistic, of all rows or of one group of them.

    Attributes:
        statistic, columns: as asked.
        group: the cell of `group_by`; None without groups.
        value: a Fraction where it is exact in the rounded data, a float where it is the root of one, an int for counts;
            for `histogram`, `ecdf`, `quantiles`, `median` and `table` a dict of what SPEC section 44 lists. None where
            it is hidden or undefined. Within a dict, what is hidden is None.
        error: the value of the data before rounding is at most this far away; None where there is no value.
        n: how many rows it is of; None where that is hidden.
        suppressed: the rule that hides the value; None where all is shown. For dicts: what is hidden -> the rule.
        interval: of `correlation`, Fisher's z interval at 95 %, drawn apart by the error; None where there is none.
    """

    statistic: Kind
    columns: tuple[str, ...]
    group: str | None
    value: Any
    error: Any
    n: int | None
    suppressed: Any = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Answer:
    """What comes of a query.

    Attributes:
        digest: of the query.
        sites: how many are in the sum.
        records: rows in the sum; None where fewer than the policy's least.
        findings: in the order of the query's statistics, groups within each.
        policy: what was shown.
    """

    digest: bytes
    sites: int
    records: int | None
    findings: tuple[Finding, ...]
    policy: ReleasePolicy


def answer_of(plan: Plan, result: RoundResult, policy: ReleasePolicy | None = None) -> Answer:
    """Return what an analyst is shown of a session's sum.

    Args:
        plan: of the query.
        result: of a session over `plan.vectors`.
        policy: `ReleasePolicy()` when None.

    Raises:
        ParameterError: the session was about another query.
        EncodingError: totals that no data have: some input was none.
    """
    return release(plan, plan.decode(result), len(result.survivors), policy)


def release(plan: Plan, totals: Mapping[Key, int], sites: int, policy: ReleasePolicy | None = None) -> Answer:
    """Return what an analyst is shown of totals over so many sites. Raises as `answer_of`."""
    policy = policy or ReleasePolicy()
    gate = Gate(plan, totals, policy)
    if any(value < 0 for value in gate.values.values()):
        raise EncodingError("the totals are of no data: some input was none")
    rule = Rule.SITES if sites < policy.min_sites else Rule.RECORDS if gate.records < policy.min_records else None
    try:
        findings = tuple(_withheld(plan, rule) if rule else _Findings(plan, gate).all())
    except ParameterError as error:
        raise EncodingError(f"the totals are of no data, some input was none: {error}") from None
    return Answer(plan.query.digest, sites, None if rule else gate.records, findings, policy)


def _groups(plan: Plan) -> list[str | None]:
    grouping = plan.query.group_by
    return [None] if grouping is None else list(plan.query.levels(grouping).names)


def _withheld(plan: Plan, rule: Rule) -> Iterator[Finding]:
    for one in plan.query.statistics:
        for group in _groups(plan):
            yield Finding(one.kind, one.columns, group, None, None, None, rule)


class _Findings:
    """Every statistic of every group, from what the gate shows."""

    def __init__(self, plan: Plan, gate: Gate) -> None:
        self.plan, self.query, self.gate, self.totals = plan, plan.query, gate, gate.totals

    def all(self) -> Iterator[Finding]:
        for one in self.query.statistics:
            for at, group in enumerate(_groups(self.plan)):
                value, error, n, suppressed = self._of(one, at)
                finding = Finding(one.kind, one.columns, group, value, error, n, suppressed)
                yield self._with_interval(finding) if one.kind is Kind.CORRELATION else finding

    def _of(self, one: Statistic, group: int) -> tuple[Any, Any, int | None, Any]:
        if one.kind is Kind.COUNT:
            return self._count(("rows", group), ("rows", group))
        if one.kind is Kind.MISSING:
            return self._missing(one.columns[0], group)
        if one.kind in MOMENTS:
            return self._moment(one.kind, one.columns[0], group)
        if one.kind in PAIRS:
            return self._pair(one.kind, *one.columns)
        if one.kind in BINNED:
            return self._binned(one, group)
        return self._table(*one.columns)

    def _count(self, key: Key, of: Key) -> tuple[Any, Any, int | None, Any]:
        value = self.gate.shown(key)
        return value, None if value is None else 0, self.gate.shown(of), self.gate.hidden.get(key)

    def _missing(self, name: str, group: int) -> tuple[Any, Any, int | None, Any]:
        keys: dict[str, Key] = {status: (status, name, group) for status in ("missing", "below", "above", "valid")}
        return self._cells(keys, ("rows", group))

    def _cells(self, keys: Mapping[str, Key], of: Key) -> tuple[Any, Any, int | None, Any]:
        value = {what: self.gate.shown(key) for what, key in keys.items()}
        return value, 0, self.gate.shown(of), self._rules(keys)

    def _rules(self, keys: Mapping[str, Key]) -> dict[str, Rule] | None:
        return {what: self.gate.hidden[key] for what, key in keys.items() if key in self.gate.hidden} or None

    def _moment(self, kind: Kind, name: str, group: int) -> tuple[Any, Any, int | None, Any]:
        key = ("valid", name, group)
        n = self.gate.shown(key)
        if n is None:
            return None, None, None, self.gate.hidden[key]
        column = self.query.number(name)
        sums = [self.totals["power", name, power, group] for power in range(1, MOMENTS[kind] + 1)]

        def compute() -> Estimate:
            if kind is Kind.MEAN:
                if n == 0:
                    raise EstimateError("there are no rows", reason="too-few-records")
                return Estimate(Fraction(column.lo) + column.step * Fraction(sums[0], n), column.step / 2)
            cubes = sums[2] if len(sums) > 2 else None
            moments = Moments(n, sums[0], sums[1], cubes, Fraction(column.lo), column.step)
            if kind is Kind.VARIANCE:
                return moments.variance()
            return moments.deviation if kind is Kind.DEVIATION else moments.skewness

        return self._estimated(compute, n)

    def _pair(self, kind: Kind, first: str, second: str) -> tuple[Any, Any, int | None, Any]:
        key = ("both", first, second)
        n = self.gate.shown(key)
        if n is None:
            return None, None, None, self.gate.hidden[key]

        def compute() -> Estimate:
            both = self._comoments(first, second, n)
            return both.covariance() if kind is Kind.COVARIANCE else both.correlation

        return self._estimated(compute, n)

    def _comoments(self, first: str, second: str, n: int) -> CoMoments:
        a, b = self.query.number(first), self.query.number(second)
        product = {power: self.totals["product", first, second, *power] for power in PRODUCTS}
        x = Moments(n, product[1, 0], product[2, 0], None, Fraction(a.lo), a.step)
        y = Moments(n, product[0, 1], product[0, 2], None, Fraction(b.lo), b.step)
        return CoMoments(x, y, product[1, 1])

    def _with_interval(self, finding: Finding) -> Finding:
        if finding.value is None or finding.n is None or finding.n < 4:
            return finding
        first, second = finding.columns
        found = self._comoments(first, second, finding.n).correlation_interval()
        return replace(finding, interval=(found.low, found.high))

    def _estimated(self, compute: Callable[[], Estimate], n: int) -> tuple[Any, Any, int | None, Any]:
        try:
            found = compute()
        except EstimateError:
            return None, None, n, Rule.UNDEFINED
        return found.value, found.error, n, None

    def _binned(self, one: Statistic, group: int) -> tuple[Any, Any, int | None, Any]:
        (name,) = one.columns
        edges, rows = self.query.number(name).edges, ("rows", group)
        bins: list[Key] = [("bin", name, at, group) for at in range(1, len(edges))]
        below, above = ("bin", name, 0, group), ("bin", name, len(edges), group)
        if one.kind is Kind.HISTOGRAM:
            labels = {f"bin {at}": key for at, key in enumerate(bins, 1)}
            outside: dict[str, Key] = {"below": below, "above": above, "missing": ("bin missing", name, group)}
            value = {"edges": list(edges), "counts": [self.gate.shown(key) for key in bins]}
            value |= {what: self.gate.shown(key) for what, key in outside.items()}
            return value, 0, self.gate.shown(rows), self._rules(labels | outside)
        known = self._cumulated([below, *bins, above], ("bin missing", name, group), rows)
        if known is None:
            hidden = self.gate.hidden
            return None, None, None, hidden.get(rows) or hidden.get(("bin missing", name, group)) or Rule.COMPLEMENTARY
        n, low, high = known
        if n == 0:
            return None, None, 0, Rule.UNDEFINED
        if one.kind is Kind.ECDF:
            shares = [Fraction(least, n) if least == most else None for least, most in zip(low, high, strict=True)]
            gone = {f"edge {at}": Rule.COMPLEMENTARY for at, share in enumerate(shares) if share is None}
            return {"edges": list(edges), "shares": shares}, 0, n, gone or None
        quantiles = one.quantiles or (0.5,)
        brackets = [bracket(edges, low, high, n, each) for each in quantiles]
        return {"quantiles": list(quantiles), "brackets": brackets}, 0, n, None

    def _cumulated(self, cells: list[Key], missing: Key, rows: Key) -> tuple[int, list[int], list[int]] | None:
        """Return how many rows have a number, and bounds on how many are below each edge: from what is shown alone."""
        total, absent = self.gate.shown(rows), self.gate.shown(missing)
        shown = [self.gate.shown(cell) for cell in cells]
        least = [count or 0 for count in shown]
        if total is not None and absent is not None:
            n = total - absent
        elif None not in shown:
            n = sum(least)
        else:
            return None
        low, high = [], []
        for at in range(1, len(cells)):
            before, after = sum(least[:at]), n - sum(least[at:])
            low.append(after if None not in shown[at:] else before)
            high.append(before if None not in shown[:at] else after)
        return n, low, high

    def _table(self, first: str, second: str) -> tuple[Any, Any, int | None, Any]:
        a, b = self.query.levels(first), self.query.levels(second)
        cells = [[("cell", first, second, i, j) for j in range(b.cells)] for i in range(a.cells)]
        rows, columns = ([("level", column.name, at) for at in range(column.cells)] for column in (a, b))
        value = {
            "rows": list(a.names),
            "columns": list(b.names),
            "counts": [[self.gate.shown(key) for key in row] for row in cells],
            "row_totals": [self.gate.shown(key) for key in rows],
            "column_totals": [self.gate.shown(key) for key in columns],
        }
        keys: dict[str, Key] = {
            f"{i}, {j}": key for i, row in zip(a.names, cells, strict=True) for j, key in zip(b.names, row, strict=True)
        }
        keys |= {f"{first} {name}": key for name, key in zip(a.names, rows, strict=True)}
        keys |= {f"{second} {name}": key for name, key in zip(b.names, columns, strict=True)}
        return value, 0, self.gate.shown(("rows", 0)), self._rules(keys)


def bracket(
    edges: Sequence[float], low: Sequence[int], high: Sequence[int], n: int, quantile: float
) -> tuple[float | None, float | None]:
    """Return two edges with the quantile between them; None for an end that is beyond the edges.

    The quantile is numpy's default, between the order statistics of the ranks around (n - 1) quantile, from 0.

    Args:
        edges: ascending.
        low: at least so many values are below each edge, those at the last edge counted as below it.
        high: at most so many.
        n: how many values there are.
        quantile: in (0, 1).
    """
    rank = Fraction(quantile) * (n - 1)
    lower, upper = math.floor(rank), math.ceil(rank)
    below = [edge for edge, most in zip(edges, high, strict=True) if most <= lower]
    above = [edge for edge, least in zip(edges, low, strict=True) if least > upper]
    return (below[-1] if below else None, above[0] if above else None)
