"""Tests and measures of association from tables of exact counts.

Counts are whole, so rounding of inputs leaves no error: what is returned is off by the last bits of a float alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from secagg.errors import EstimateError, ParameterError

from .estimate import Interval, normal_quantile
from .significance import Test, chi_squared_tail

Table = Sequence[Sequence[int]]
"""Counts by row and column: at least 2 x 2, none negative, all rows of one length."""


@dataclass(frozen=True, slots=True)
class OddsRatio:
    """An odds ratio and its interval."""

    value: float
    interval: Interval


def chi_squared(table: Table) -> Test:
    """Pearson's test of independence, without a correction for continuity.

    Raises:
        ParameterError: not a table.
        EstimateError: a row or a column without records (`empty-margin`).
    """
    rows, columns, n = _margins(table)
    # sum (O - E)^2 / E = n (sum O^2 / (row column) - 1), in rationals.
    cells = ((count, rows[i] * columns[j]) for i, line in enumerate(table) for j, count in enumerate(line))
    share = sum(Fraction(count**2, product) for count, product in cells)
    return _tested(float(n * (share - 1)), table)


def g_test(table: Table) -> Test:
    """The likelihood-ratio test of independence; raises as `chi_squared`."""
    rows, columns, n = _margins(table)
    cells = ((count, Fraction(rows[i] * columns[j], n)) for i, line in enumerate(table) for j, count in enumerate(line))
    # Observed and expected have one sum, so O log(O / E) - O + E may stand for O log(O / E): no term is negative.
    return _tested(2 * math.fsum(float(expected) * _surprise(count / expected - 1) for count, expected in cells), table)


def cramers_v(table: Table) -> float:
    """Cramer's V, from 0 (independent) to 1, without a correction for bias; raises as `chi_squared`."""
    _, _, n = _margins(table)
    return math.sqrt(chi_squared(table).statistic / (n * (min(len(table), len(table[0])) - 1)))


def odds_ratio(table: Table, confidence: float = 0.95) -> OddsRatio:
    """The odds ratio of a 2 x 2 table, with Woolf's interval.

    Raises:
        ParameterError: not a 2 x 2 table, or a confidence that is not between 0 and 1.
        EstimateError: a count is 0 (`zero-cell`).
    """
    (a, b), (c, d) = _two_by_two(table)
    if not min(a, b, c, d):
        raise EstimateError("an odds ratio needs records in all four cells", reason="zero-cell")
    value = a * d / (b * c)
    reach = normal_quantile(confidence) * math.sqrt(Fraction(1, a) + Fraction(1, b) + Fraction(1, c) + Fraction(1, d))
    return OddsRatio(value, _around(value, reach, confidence))


def mantel_haenszel(strata: Sequence[Table], *, continuity: bool = False) -> Test:
    """The Cochran-Mantel-Haenszel test that odds ratios are 1 in 2 x 2 tables, one a stratum.

    Args:
        strata: the tables. Strata with fewer than two records say nothing and are left out.
        continuity: draw the difference half a record towards 0 where it is half a record at least, as R's
            `mantelhaen.test` does unless told otherwise; a smaller one stays as it is.

    Raises:
        ParameterError: a stratum is not a 2 x 2 table.
        EstimateError: no stratum has two rows and two columns with records (`empty-margin`).
    """
    difference = variance = Fraction(0)
    for table in strata:
        (a, b), (c, d) = _two_by_two(table)
        n = a + b + c + d
        if n > 1:
            difference += a - Fraction((a + b) * (a + c), n)
            variance += Fraction((a + b) * (c + d) * (a + c) * (b + d), n * n * (n - 1))
    if not variance:
        raise EstimateError("no stratum has two rows and two columns with records", reason="empty-margin")
    distance = abs(difference)
    if continuity and distance >= Fraction(1, 2):
        distance -= Fraction(1, 2)
    statistic = float(distance**2 / variance)
    return Test(statistic, (1,), chi_squared_tail(statistic, 1))


def common_odds_ratio(strata: Sequence[Table], confidence: float = 0.95) -> OddsRatio:
    """The common odds ratio of Mantel and Haenszel, with the interval of Robins, Breslow and Greenland (1986).

    Raises:
        ParameterError: a stratum is not a 2 x 2 table, or a confidence that is not between 0 and 1.
        EstimateError: the ratio is 0 or infinite (`zero-cell`).
    """
    r = s = pr = ps_qr = qs = Fraction(0)
    for table in strata:
        (a, b), (c, d) = _two_by_two(table)
        n = a + b + c + d
        if n:
            agree, differ = Fraction(a * d, n), Fraction(b * c, n)
            p, q = Fraction(a + d, n), Fraction(b + c, n)
            r, s = r + agree, s + differ
            pr, ps_qr, qs = pr + p * agree, ps_qr + p * differ + q * agree, qs + q * differ
    if not r or not s:
        raise EstimateError("the common odds ratio is 0 or infinite", reason="zero-cell")
    deviation = math.sqrt(pr / (2 * r * r) + ps_qr / (2 * r * s) + qs / (2 * s * s))
    value = float(r / s)
    return OddsRatio(value, _around(value, normal_quantile(confidence) * deviation, confidence))


def _around(value: float, reach: float, confidence: float) -> Interval:
    return Interval(value * math.exp(-reach), value * math.exp(reach), confidence)


def _tested(statistic: float, table: Table) -> Test:
    degrees = (len(table) - 1) * (len(table[0]) - 1)
    return Test(statistic, (degrees,), chi_squared_tail(statistic, degrees))


def _margins(table: Table) -> tuple[list[int], list[int], int]:
    """Return the sums of rows and of columns, and of all; raise as `chi_squared`."""
    if len(table) < 2 or len(table[0]) < 2 or any(len(line) != len(table[0]) for line in table):
        raise ParameterError("a table has at least two rows and two columns, and rows of one length")
    if min(min(line) for line in table) < 0:
        raise ParameterError("counts are not negative")
    rows, columns = [sum(line) for line in table], [sum(column) for column in zip(*table, strict=True)]
    if not all(rows) or not all(columns):
        raise EstimateError("a row or a column has no records: leave it out", reason="empty-margin")
    return rows, columns, sum(rows)


def _two_by_two(table: Table) -> Table:
    if len(table) != 2 or any(len(line) != 2 or min(line) < 0 for line in table):
        raise ParameterError("a 2 x 2 table has two rows of two counts, none negative")
    return table


def _surprise(excess: Fraction) -> float:
    """Return r log r - r + 1 for r = 1 + excess, to the last bits of a float, however small the excess."""
    if excess == -1:
        return 1.0
    x = float(excess)
    if abs(x) > 1 / 64:
        return (1 + x) * math.log1p(x) - x
    return math.fsum((-x) ** power / (power * (power - 1)) for power in range(2, 12))
