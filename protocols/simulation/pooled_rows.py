"""Totals of pooled rows, by other code than the sites': row by row, in rationals and Python's own functions."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..statistics.beginnings import with_beginnings
from ..statistics.columns import Levels, Number
from ..statistics.families.generalized import UNIT_BITS, Model
from ..statistics.families.pairs import PRODUCTS
from ..statistics.kinds import Key, Kind
from ..statistics.plan import Plan
from ..statistics.query import Operator, Query, Statistic
from ..statistics.site import Site

Row = Mapping[str, Any]


def pooled(plan: Plan, sites: Sequence[Site]) -> dict[Key, int]:
    """Return the totals of all rows of some sites."""
    rows = _Pool(plan)
    names = sorted(plan.query.used)
    for site in sites:
        present, rows_present = site.present()
        present = with_beginnings(present, names)
        columns = [np.asarray(present[name]).tolist() for name in names]
        for values in zip(*columns, strict=True) if names else [()] * len(rows_present):
            rows.add(dict(zip(names, values, strict=True)))
        rows.end_site()
    return {key: rows.counter[key] for key in plan.totals}


class _Pool:
    """Totals to which rows are added one by one."""

    def __init__(self, plan: Plan) -> None:
        self.query, self.counter = plan.query, Counter[Key]()
        self.levels: dict[tuple[str, float], tuple[str, int]] = {}
        keys = plan.totals
        self.counted = dict.fromkeys(str(key[1]) for key in keys if key[0] == "valid")
        self.powers = dict.fromkeys((str(key[1]), int(key[2])) for key in keys if key[0] == "power")
        self.binned = dict.fromkeys(str(key[1]) for key in keys if key[0] == "bin")
        self.pairs = dict.fromkeys((str(key[1]), str(key[2])) for key in keys if key[0] == "both")
        self.crossed = dict.fromkeys(key[1 : 1 + len(key) // 2] for key in keys if key[0] == "cell")
        terms = {
            Kind.T_TEST: self._by,
            Kind.ANOVA: self._by,
            Kind.LINEAR: self._products,
            Kind.RIDGE: self._products,
            Kind.LOGISTIC: self._steps,
            Kind.POISSON: self._steps,
            Kind.BORDA: self._ranks,
        }
        added = {(terms[one.kind], one.columns): one for one in self.query.statistics if one.kind in terms}
        self.terms = [(term, one) for (term, _), one in added.items()]
        self.models = {one: Model(plan.query, one) for term, one in self.terms if term == self._steps}
        self.votes = [one for one in self.query.statistics if one.kind is Kind.CONSENSUS]
        self.here = Counter[tuple[str, int]]()

    def add(self, row: Row) -> None:
        query, counter = self.query, self.counter
        group = self._group(row)
        met = all(_meets(query, row, where.column, where.operator, where.constant) for where in query.where)
        if group is None or not met:
            return
        counter["rows", group] += 1
        for name in self.counted:
            counter[self._level(name, row)[0], name, group] += 1
        for name, power in self.powers:
            status, level = self._level(name, row)
            counter["power", name, power, group] += level**power if status == "valid" else 0
        for name in self.binned:
            at = _bin(query.number(name).edges, row[name])
            if at is not None:
                counter["bin", name, at, group] += 1
        for first, second in self.pairs:
            (status, x), (other, y) = self._level(first, row), self._level(second, row)
            if status == other == "valid":
                counter["both", first, second] += 1
                for i, j in PRODUCTS:
                    counter["product", first, second, i, j] += x**i * y**j
        for names in self.crossed:
            counter["cell", *names, *(self._place(str(name), row) for name in names)] += 1
        for term, one in self.terms:
            for key, amount in term(one, row):
                counter[key] += amount
        for one in self.votes:
            (name,) = one.columns
            self.here[name, _cell(query.levels(name), row[name])] += 1

    def _group(self, row: Row) -> int | None:
        """Return the row's group, None for one that is not summed."""
        if self.query.group_by is None:
            return 0
        levels = self.query.levels(self.query.group_by)
        name = levels.names[_cell(levels, row[self.query.group_by])]
        return self.query.groups.index(name) if name in self.query.groups else None

    def end_site(self) -> None:
        """Count the site itself, where sites are counted."""
        for one in self.votes:
            (name,) = one.columns
            first, second = self.here[name, 0], self.here[name, 1]
            if first + second:
                self.counter["speaks", name] += 1
                self.counter["agrees", name] += Fraction(first, first + second) >= Fraction(one.parameters[0])
        self.here.clear()

    def _place(self, name: str, row: Row) -> int:
        column = self.query.column(name)
        if isinstance(column, Levels):
            return _cell(column, row[name])
        return len(column.edges) + 1 if math.isnan(row[name]) else bisect_right(column.edges, row[name])

    def _by(self, one: Statistic, row: Row) -> Iterator[tuple[Key, int]]:
        name, by = one.columns
        status, level = self._level(name, row)
        cell = _cell(self.query.levels(by), row[by])
        for power in range(3) if status == "valid" else ():
            yield ("by", name, by, cell, power), level**power

    def _products(self, one: Statistic, row: Row) -> Iterator[tuple[Key, int]]:
        found = [self._level(name, row) for name in one.columns]
        if all(status == "valid" for status, _ in found):
            values = [1, *(level for _, level in found)]
            yield ("complete", *one.columns), 1
            for j, x in enumerate(values):
                for k, y in enumerate(values[j:], j):
                    yield ("term", *one.columns, j, k), x * y

    def _steps(self, one: Statistic, row: Row) -> Iterator[tuple[Key, int]]:
        model = self.models[one]
        name, *predictors = one.columns
        column = self.query.column(name)
        if isinstance(column, Levels):
            cell = _cell(column, row[name])
            known, response = cell < 2, float(cell == 0)
        else:
            known = self._level(name, row)[0] == "valid" and row[name] == math.floor(row[name])
            response = row[name]
        if not known or any(self._level(predictor, row)[0] != "valid" for predictor in predictors):
            return
        units = zip(predictors, model.units.centres[1:], model.units.exponents[1:], strict=True)
        u = [1.0, *((row[each] - c) / 2.0**e for each, c, e in units)]
        line = 0.0
        for beta, x in zip(model.beta, u, strict=True):
            line += beta * x
        # numpy's exponential, whose last bit may be another than that of Python's.
        small = float(np.exp(-abs(line)))
        mean = float(np.exp(line)) if isinstance(column, Number) else (1.0 if line >= 0 else small) / (1.0 + small)
        spread = mean if isinstance(column, Number) else small / (1.0 + small) ** 2
        unit = 2.0 ** (UNIT_BITS - model.bits)
        yield ("counted", *one.columns), 1
        for j, x in enumerate(u):
            yield ("slope", *one.columns, 0, j), round((response - mean) * x * unit) + (1 << UNIT_BITS)
            for k, y in enumerate(u[j:], j):
                yield ("curve", *one.columns, j, k), round(spread * x * y * unit) + (1 << UNIT_BITS)

    def _ranks(self, one: Statistic, row: Row) -> Iterator[tuple[Key, int]]:
        ranks = [row[name] for name in one.columns]
        if sorted(ranks) == list(range(1, len(ranks) + 1)):
            yield ("ballots", *one.columns), 1
            for at, rank in enumerate(ranks):
                yield ("ranks", *one.columns, at), int(rank)

    def _level(self, name: str, row: Row) -> tuple[str, int]:
        key = name, row[name]
        if key not in self.levels:
            self.levels[key] = _level(self.query.number(name), row[name])
        return self.levels[key]


def _level(column: Number, value: float) -> tuple[str, int]:
    if math.isnan(value):
        return "missing", 0
    if value < column.lo or value > column.hi:
        return "below" if value < column.lo else "above", 0
    exact = (Fraction(value) - Fraction(column.lo)) / (Fraction(column.hi) - Fraction(column.lo))
    return "valid", round(exact * column.top)


def _cell(column: Levels, value: Any) -> int:
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return len(column.levels) + 1
    return column.levels.index(str(value)) if str(value) in column.levels else len(column.levels)


def _bin(edges: Sequence[float], value: float) -> int | None:
    """Return how many edges a value has reached, but for one at the last edge, which is in the last bin."""
    if math.isnan(value):
        return None
    return len(edges) - 1 if value == edges[-1] else bisect_right(edges, value)


def _meets(query: Query, row: Row, name: str, operator: Operator, constant: Any) -> bool:
    column, value = query.column(name), row[name]
    if isinstance(column, Number):
        if operator is Operator.KNOWN:
            return bool(column.lo <= value <= column.hi)
        if math.isnan(value):
            return False
        below, same = bool(value < constant), bool(value == constant)
        return {
            Operator.EQUAL: same,
            Operator.NOT_EQUAL: not same,
            Operator.LESS: below,
            Operator.AT_MOST: below or same,
            Operator.GREATER: not (below or same),
            Operator.AT_LEAST: not below,
        }[operator]
    if value is None or value == "":
        return False
    if operator is Operator.KNOWN:
        return str(value) in column.levels
    return (str(value) == constant) is (operator is Operator.EQUAL)
