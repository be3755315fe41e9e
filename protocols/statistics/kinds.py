"""What can be asked: the kinds of statistics, and which columns and parameters each has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from secagg.errors import ParameterError

Key = tuple[str | int, ...]
"""What a total is of, as SPEC section 41.2 lists them: `("rows", group)`, `("power", column, k, group)` and so on.
The group is 0 without groups."""


class Kind(StrEnum):
    """Which statistic."""

    COUNT = "count"
    MISSING = "missing"
    MEAN = "mean"
    VARIANCE = "variance"
    DEVIATION = "deviation"
    SKEWNESS = "skewness"
    COVARIANCE = "covariance"
    CORRELATION = "correlation"
    HISTOGRAM = "histogram"
    ECDF = "ecdf"
    QUANTILES = "quantiles"
    MEDIAN = "median"
    FREQUENCIES = "frequencies"
    TOP = "top"
    TABLE = "table"
    ASSOCIATION = "association"
    MANTEL_HAENSZEL = "mantel-haenszel"
    T_TEST = "t-test"
    ANOVA = "anova"
    LINEAR = "linear"
    RIDGE = "ridge"
    LOGISTIC = "logistic"
    POISSON = "poisson"
    SURVIVAL = "survival"
    AUC = "auc"
    WEIGHTED = "weighted"
    APPROVAL = "approval"
    BORDA = "borda"
    CONSENSUS = "consensus"


class Role(StrEnum):
    """What a column must be."""

    NUMBER = "numbers"
    EDGES = "numbers with edges"
    LEVELS = "levels"
    TWO = "two levels"


class Parameters(StrEnum):
    """What numbers go with a kind."""

    NONE = "none"
    QUANTILES = "quantiles in (0, 1), ascending"
    PENALTY = "a penalty above 0"
    COEFFICIENTS = "the intercept, then a coefficient for each predictor"
    SHARE = "a share in [0, 1]"
    HOW_MANY = "a whole number from 1"
    WEIGHTS = "a weight from 0 for each level of the last column, not all 0"


@dataclass(frozen=True)
class Shape:
    """What a kind is asked of.

    Attributes:
        columns: the role of each column, in order.
        more: the role of further columns. None: there are none.
        at_least, at_most: how many of those there are.
        parameters: what numbers go with it.
        grouped: whether it is given by groups.
    """

    columns: tuple[Role, ...] = ()
    more: Role | None = None
    at_least: int = 0
    at_most: int = 0
    parameters: Parameters = Parameters.NONE
    grouped: bool = False

    def roles(self, columns: tuple[str, ...]) -> tuple[Role, ...]:
        """Return the role of each column; raise ParameterError where there are too many or too few."""
        least, most = len(self.columns) + self.at_least, len(self.columns) + self.at_most
        if not least <= len(columns) <= most or len(set(columns)) != len(columns):
            count = f"{least}" if least == most else f"{least} to {most}"
            raise ParameterError(f"{count} distinct columns are needed, not {len(columns)}: {columns!r:.200}")
        further = len(columns) - len(self.columns)
        return self.columns + ((self.more,) * further if self.more else ())


NAMES = {
    Parameters.QUANTILES: "quantiles",
    Parameters.PENALTY: "penalty",
    Parameters.COEFFICIENTS: "coefficients",
    Parameters.SHARE: "share",
    Parameters.HOW_MANY: "most",
    Parameters.WEIGHTS: "weights",
}
"""By which name people give them; `penalty`, `share` and `most` are one number."""
MANY = 100
"""The most predictors, candidates and the like."""
_NUMBER = Shape((Role.NUMBER,), grouped=True)
_BINS = Shape((Role.EDGES,), grouped=True)
_PAIR = Shape((Role.NUMBER, Role.NUMBER))
_COUNTS = Shape((Role.LEVELS, Role.LEVELS))
SHAPES: dict[Kind, Shape] = {
    Kind.COUNT: Shape(grouped=True),
    Kind.MISSING: _NUMBER,
    Kind.MEAN: _NUMBER,
    Kind.VARIANCE: _NUMBER,
    Kind.DEVIATION: _NUMBER,
    Kind.SKEWNESS: _NUMBER,
    Kind.COVARIANCE: _PAIR,
    Kind.CORRELATION: _PAIR,
    Kind.HISTOGRAM: _BINS,
    Kind.ECDF: _BINS,
    Kind.QUANTILES: Shape((Role.EDGES,), parameters=Parameters.QUANTILES, grouped=True),
    Kind.MEDIAN: _BINS,
    Kind.FREQUENCIES: Shape((Role.LEVELS,)),
    Kind.TOP: Shape((Role.LEVELS,), parameters=Parameters.HOW_MANY),
    Kind.TABLE: _COUNTS,
    Kind.ASSOCIATION: _COUNTS,
    Kind.MANTEL_HAENSZEL: Shape((Role.TWO, Role.TWO, Role.LEVELS)),
    Kind.T_TEST: Shape((Role.NUMBER, Role.TWO)),
    Kind.ANOVA: Shape((Role.NUMBER, Role.LEVELS)),
    Kind.LINEAR: Shape((Role.NUMBER,), Role.NUMBER, 1, MANY),
    Kind.RIDGE: Shape((Role.NUMBER,), Role.NUMBER, 1, MANY, Parameters.PENALTY),
    Kind.LOGISTIC: Shape((Role.TWO,), Role.NUMBER, 1, MANY, Parameters.COEFFICIENTS),
    Kind.POISSON: Shape((Role.NUMBER,), Role.NUMBER, 1, MANY, Parameters.COEFFICIENTS),
    Kind.SURVIVAL: Shape((Role.EDGES, Role.TWO), Role.LEVELS, 0, 1),
    Kind.AUC: Shape((Role.EDGES, Role.TWO)),
    Kind.WEIGHTED: Shape((Role.LEVELS, Role.LEVELS), parameters=Parameters.WEIGHTS),
    Kind.APPROVAL: Shape((Role.LEVELS,), Role.LEVELS, 0, MANY),
    Kind.BORDA: Shape((Role.NUMBER, Role.NUMBER), Role.NUMBER, 0, MANY),
    Kind.CONSENSUS: Shape((Role.TWO,), parameters=Parameters.SHARE),
}
"""SPEC section 40.1 has this table."""
PAIRS = (Kind.COVARIANCE, Kind.CORRELATION)
BINNED = (Kind.HISTOGRAM, Kind.ECDF, Kind.QUANTILES, Kind.MEDIAN)
_INSTEAD = {
    name: f"an exact {name}imum is one person's value: ask for `quantiles` near the end, or a `histogram`"
    for name in ("min", "max")
}


def kind_of(name: Any) -> Kind:
    """Return the statistic of this name; raise ParameterError, for min and max with what to ask instead."""
    try:
        return Kind(name)
    except ValueError:
        pass
    raise ParameterError(_INSTEAD.get(str(name), f"no statistic is called {name!r:.60}: there are {', '.join(Kind)}"))


def parameters_of(kind: Kind, given: Mapping[str, Any]) -> tuple[float, ...]:
    """Return what goes with a kind, from numbers by name; raise ParameterError for a name that is not the kind's."""
    wanted = SHAPES[kind].parameters
    for name in given:
        if name != NAMES.get(wanted):
            with_it = f"it has {NAMES[wanted]}, {wanted}" if wanted in NAMES else "it has no parameters"
            raise ParameterError(f"{name} is given with {kind}, but {with_it}")
    found: list[float] = []
    for value in given.values():
        found += value if isinstance(value, list | tuple) else [value]
    return tuple(found)
