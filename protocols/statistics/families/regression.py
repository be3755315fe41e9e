"""Linear and ridge regression, from sums of products over the rows that have every number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from secagg.errors import EstimateError

from ..chosen import Chosen
from ..encoding import exact_sum
from ..estimates.regression import LinearFit, Sums, linear, ridge
from ..finding import Finding
from ..gate import Gate
from ..kinds import Key, Kind
from ..query import Query, Statistic
from ..rules import Rule
from .family import Family, estimated, hidden, part, tested

INTERCEPT = "(intercept)"


class Regression(Family):
    """A fit over complete rows: shown where their number is, and where they are enough for so many coefficients."""

    complete = "complete"
    """What its total of complete rows is called: a family that takes other rows for complete calls it otherwise."""

    @abstractmethod
    def fitted(self, gate: Gate, one: Statistic, n: int) -> tuple[Any, Any]:
        """Return the value and the largest error, from sums over n rows."""

    def decide(self, gate: Gate, one: Statistic) -> None:
        """Hide the number of complete rows if it is small, few are incomplete, or others tell of incomplete ones."""
        key: Key = (self.complete, *one.columns)
        complete = gate.values[key]
        left_out = gate.values["rows", 0] - complete
        if gate.small([complete, left_out]):
            gate.hide(key, Rule.CELL)
        elif gate.together(one, left_out):
            gate.hide(key, Rule.TOGETHER)

    def findings(self, gate: Gate, one: Statistic) -> Iterator[Finding]:
        """Yield the one finding."""
        key: Key = (self.complete, *one.columns)
        n = gate.shown(key)
        if n is None:
            yield hidden(one, gate.hidden[key])
        elif not gate.enough(n, len(one.columns)):
            yield hidden(one, Rule.PARAMETERS, n)
        else:
            yield estimated(one, n, lambda: self.fitted(gate, one, n))


class LeastSquares(Regression):
    """Sums of products of any two columns; column 0 is the constant 1."""

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the complete rows, and their sums of products."""
        yield (self.complete, *one.columns), query.max_rows
        tops = [1, *(query.number(name).top for name in one.columns)]
        for j, k in _pairs(one.columns):
            yield ("term", *one.columns, j, k), query.max_rows * tops[j] * tops[k]

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum products of levels."""
        complete = complete_rows(rows, one.columns)
        rows.found[self.complete, *one.columns] = int(np.count_nonzero(complete))
        levels = [rows.levels(name)[complete] for name in one.columns]
        levels.insert(0, np.ones(np.count_nonzero(complete), dtype=np.int64))
        for j, k in _pairs(one.columns):
            rows.found["term", *one.columns, j, k] = exact_sum((levels[j], 1), (levels[k], 1))

    def fitted(self, gate: Gate, one: Statistic, n: int) -> tuple[Any, Any]:
        """Return the coefficients."""
        return _fitted(gate, one, n)


def _pairs(columns: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield pairs of columns, the constant first; the constant with itself is the number of complete rows."""
    pairs = combinations_with_replacement(range(len(columns) + 1), 2)
    next(pairs)
    return pairs


def complete_rows(rows: Chosen, columns: Sequence[str]) -> np.typing.NDArray[np.bool_]:
    """Return which rows have a valid number in every column."""
    complete = np.ones(len(rows.group), dtype=np.bool_)
    for name in columns:
        complete &= rows.within(name)
    return complete


def _fitted(gate: Gate, one: Statistic, n: int) -> tuple[Any, Any]:
    order = [*range(2, len(one.columns) + 1), 1]  # the response last
    columns = [gate.query.number(one.columns[at - 1]) for at in order]

    def term(j: int, k: int) -> int:
        return gate.totals["term", *one.columns, min(j, k), max(j, k)]

    tops = [1, *(gate.query.number(name).top for name in one.columns)]
    gate.check(
        *(term(0, j) <= n * tops[j] for j in order),
        *(term(j, k) <= min(tops[k] * term(0, j), tops[j] * term(0, k)) for j in order for k in order),
    )
    sums = Sums(
        n,
        tuple(term(0, j) for j in order),
        tuple(tuple(term(j, k) for k in order) for j in order),
        tuple(Fraction(column.lo) for column in columns),
        tuple(column.step for column in columns),
    )
    names = (INTERCEPT, *one.columns[1:])
    if one.kind is Kind.RIDGE:
        found = ridge(sums, Fraction(one.parameters[0]))
        coefficients = [{"name": name} | part(each) for name, each in zip(names, found, strict=True)]
        return {"coefficients": coefficients}, max(each.error for each in found)
    fit = linear(sums)
    value = {
        "coefficients": [_coefficient(name, fit, at) for at, name in enumerate(names)],
        "deviation": part(fit.deviation),
        "r_squared": part(fit.r_squared),
        "degrees": fit.degrees,
    }
    return value, max(each.error for each in fit.coefficients)


def _coefficient(name: str, fit: LinearFit, at: int) -> dict[str, Any]:
    interval = fit.interval(at)
    found = {"name": name} | part(fit.coefficients[at])
    found |= {"standard_error": part(fit.standard_errors[at]), "interval": [interval.low, interval.high]}
    try:
        return found | {"test": tested(fit.test(at))}
    except EstimateError:  # no residuals: nothing to test
        return found
