"""One step of a logistic or a Poisson regression: gradient and information at public coefficients.

Each row's terms are rounded to whole units before they are added, so that the sums are exact, whatever the order of the
rows and wherever they are. A number x enters as u = (x - c) / 2^e, c the middle of its bounds, with the least e for
which |u| < 1 within them. Coefficients are asked for and told in the columns' own units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from secagg.errors import EstimateError, ParameterError

from ..chosen import Chosen
from ..columns import Levels, Number
from ..encoding import exact_sum
from ..estimates.generalized import interval, newton_step
from ..gate import Gate
from ..kinds import Key
from ..query import Query, Statistic
from .regression import INTERCEPT, Regression, complete_rows

UNIT_BITS = 40
"""A term is rounded to 2^-40 of the power of two that bounds it."""
_OFFSET = 1 << UNIT_BITS
MAX_LINE = 1000.0
"""The largest sum of absolute coefficients, in units of u; of Poisson's, means up to 2^MAX_MEAN_BITS."""
MAX_MEAN_BITS = 30


class Steps(Regression):
    """Sums of gradient and information, each row's term moved up by 2^UNIT_BITS units so that none is negative."""

    complete = "counted"  # of a Poisson regression: a linear one of the same columns takes responses that are no counts

    def totals(self, query: Query, one: Statistic) -> Iterator[tuple[Key, int]]:
        """Yield the complete rows, then gradient and information."""
        Model(query, one)  # refuses coefficients that ran away
        yield (self.complete, *one.columns), query.max_rows
        for key in _terms(one):
            yield key, query.max_rows * 2 * _OFFSET

    def count(self, rows: Chosen, one: Statistic) -> None:
        """Sum the rounded terms of complete rows."""
        model = Model(rows.query, one)
        name, *predictors = one.columns
        if isinstance(model.response, Levels):
            complete = (rows.codes[name] < 2) & complete_rows(rows, predictors)
            response = (rows.codes[name][complete] == 0).astype(np.float64)
        else:
            complete = complete_rows(rows, one.columns) & (rows.numbers[name] == np.floor(rows.numbers[name]))
            response = rows.numbers[name][complete]
        rows.found[self.complete, *one.columns] = len(response)
        u = model.units.scaled([rows.numbers[predictor][complete] for predictor in predictors], len(response))
        off, weight = model.at(u)
        off = response - off
        for key in _terms(one):
            j, k = map(int, key[-2:])
            term = off * u[k] if key[0] == "slope" else weight * u[j] * u[k]
            units = np.rint(np.ldexp(term, UNIT_BITS - model.bits)).astype(np.int64) + _OFFSET
            rows.found[key] = exact_sum((units, 1))

    def fitted(self, gate: Gate, one: Statistic, n: int) -> tuple[Any, Any]:
        """Return the coefficients after a step of Newton's from the query's."""
        return _stepped(gate, one, n)


class Units:
    """In which units predictors enter a step: x as u = (x - centre) / 2^exponent, whose size is below 1 within bounds.

    The centre is that of the bounds. So a constant is not nearly a predictor, as it would be of years of birth.

    Args:
        query: with the columns.
        columns: the response, then the predictors.

    Attributes:
        centres, exponents: of the intercept, 0 both; then of each predictor.
    """

    def __init__(self, query: Query, columns: Sequence[str]) -> None:
        predictors = [query.number(name) for name in columns[1:]]
        self.centres = [0.0, *(each.lo / 2 + each.hi / 2 for each in predictors)]
        reach = [max(each.hi - c, c - each.lo) for each, c in zip(predictors, self.centres[1:], strict=True)]
        self.exponents = [0, *(math.frexp(each)[1] for each in reach)]

    def of(self, parameters: Sequence[float]) -> list[float]:
        """Return an intercept and coefficients in these units, the intercept to the nearest float."""
        return list(map(float, self.exactly(parameters)))

    def exactly(self, parameters: Sequence[float]) -> list[Fraction]:
        """Return an intercept and coefficients in these units: what is moved to the centres is the intercept's."""
        slopes = [Fraction(b) * Fraction(2) ** e for b, e in zip(parameters, self.exponents, strict=True)]
        moved = sum((Fraction(b) * Fraction(c) for b, c in zip(parameters, self.centres, strict=True)), slopes[0])
        return [moved, *slopes[1:]]

    def length(self, parameters: Sequence[float]) -> float:
        """Return the sum of absolute coefficients in these units: the most that a line comes to within bounds."""
        return math.fsum(map(abs, self.of(parameters)))

    def scaled(self, values: Sequence[Any], n: int) -> list[Any]:
        """Return the constant and the predictors u, each (n,)."""
        units = zip(values, self.centres[1:], self.exponents[1:], strict=True)
        return [np.ones(n), *(np.ldexp(x - c, -e) for x, c, e in units)]

    def weights(self, at: int) -> list[Fraction]:
        """Return what coefficients in these units are to be multiplied by, to add up to one in the columns' own."""
        weights = [Fraction(0)] * len(self.exponents)
        weights[at] = Fraction(2) ** -self.exponents[at]
        if at == 0:
            for k, (c, e) in enumerate(zip(self.centres[1:], self.exponents[1:], strict=True), 1):
                weights[k] = -Fraction(c) * Fraction(2) ** -e
        return weights


class Model:
    """The public side of a step.

    Args:
        query: with the columns.
        one: the statistic, with the coefficients.

    Raises:
        ParameterError: coefficients so large that terms have no bound.
    """

    def __init__(self, query: Query, one: Statistic) -> None:
        self.response = query.column(one.columns[0])
        self.units = Units(query, one.columns)
        self.beta = self.units.of(one.parameters)
        self.line = math.fsum(map(abs, self.beta))
        self.bits = self._checked_bits()

    def _checked_bits(self) -> int:
        """Return the bits of the bound of a term."""
        if isinstance(self.response, Levels):
            if self.line > MAX_LINE:
                raise ParameterError("the coefficients admit odds beyond e^1000: they have run away")
            return 0
        if self.response.lo < 0:
            raise ParameterError(f"lo of {self.response.name!r} is below 0, but a Poisson regression is of counts")
        if self.line > MAX_MEAN_BITS * math.log(2):
            raise ParameterError("the coefficients admit means beyond 2^30: they have run away")
        return math.frexp(self.response.hi + math.exp(self.line))[1]

    def at(self, u: list[Any]) -> tuple[Any, Any]:
        """Return the expected response of each row, and its variance."""
        line = np.zeros(len(u[0]))
        for beta, column in zip(self.beta, u, strict=True):
            line = line + beta * column
        if isinstance(self.response, Number):
            mean = np.exp(line)
            return mean, mean
        small = np.exp(-np.abs(line))  # never overflows
        return np.where(line >= 0, 1, small) / (1 + small), small / (1 + small) ** 2

    @cached_property
    def unit(self) -> Fraction:
        """What one unit of a term is."""
        return Fraction(2) ** (self.bits - UNIT_BITS)

    @property
    def rounding(self) -> Fraction:
        """The most by which one row's term is off: half a unit, and what floats lose on the way."""
        floats = (len(self.beta) + 8) * (self.line + 8) * 2.0**-52
        return self.unit / 2 + Fraction(floats) * Fraction(2) ** self.bits


def _terms(one: Statistic) -> Iterator[Key]:
    """Yield the keys of the gradient, with 0 before the coefficient's number, then of the information."""
    for j in range(len(one.columns)):
        yield ("slope", *one.columns, 0, j)
    for j, k in combinations_with_replacement(range(len(one.columns)), 2):
        yield ("curve", *one.columns, j, k)


def _stepped(gate: Gate, one: Statistic, n: int) -> tuple[Any, Any]:
    model = Model(gate.query, one)
    sums = {key: (gate.totals[key] - n * _OFFSET) * model.unit for key in _terms(one)}
    size = range(len(one.columns))
    # No row's variance is above 1/4, so that at least min_cell rows are behind the intercept's information.
    if isinstance(model.response, Levels) and 4 * sums["curve", *one.columns, 0, 0] < gate.policy.min_cell > 1:
        raise EstimateError("the coefficients are too steep: few rows decide", reason="no-convergence")
    most = n * (Fraction(2) ** model.bits if model.bits else Fraction(1))
    least = n if not model.bits else most
    gate.check(*(abs(value) <= (least if key[0] == "slope" else most) for key, value in sums.items()))
    step = newton_step(
        model.units.exactly(one.parameters),
        [sums["slope", *one.columns, 0, j] for j in size],
        [[sums["curve", *one.columns, min(j, k), max(j, k)] for k in size] for j in size],
        n * model.rounding,
    )
    coefficients: list[dict[str, Any]] = []
    after: list[float] = []
    for at, name in enumerate((INTERCEPT, *one.columns[1:])):
        found, spread = step.combined(model.units.weights(at))
        value = float(found.value)
        after.append(value)
        ends = interval(value, spread)
        coefficients.append(
            {
                "name": name,
                "value": value,
                "error": found.error,
                "standard_error": spread,
                "interval": [ends.low, ends.high],
            }
        )
    if any(each["error"] > each["standard_error"] for each in coefficients):
        raise EstimateError("the coefficients are too steep: few rows decide", reason="no-convergence")
    worst = max(each["error"] for each in coefficients)
    return {"coefficients": coefficients, "decrement": step.decrement, "next": after}, worst
