"""A query from the options of `secagg stats`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from secagg.errors import ParameterError

from ..statistics.beginnings import base_of, beginnings_of
from ..statistics.columns import Column, Levels, Number, even_edges
from ..statistics.kinds import SHAPES, Kind, Parameters, Role, kind_of
from ..statistics.query import Query, Statistic, Where
from .options import option

Many = list[str] | None
_OPERATORS = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
_FORMS = {"--bounds": "COL:LO:HI", "--histogram": "COL:LO:HI:BINS", "--edges": "COL:LO:HI:BINS"}
_PANEL = "The question"


def _option(text: str, metavar: str = "COL") -> Any:
    return option(text, metavar, _PANEL)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked; each option may stand several times."""

    count: Annotated[bool, typer.Option("--count", help="Rows.", rich_help_panel=_PANEL)] = False
    missing: Annotated[Many, _option("Missing and out of bounds.")] = None
    mean: Annotated[Many, _option("Mean.")] = None
    variance: Annotated[Many, _option("Variance, over n - 1.")] = None
    deviation: Annotated[Many, _option("Standard deviation.")] = None
    skewness: Annotated[Many, _option("Skewness.")] = None
    covariance: Annotated[Many, _option("Covariance.", "A,B")] = None
    correlation: Annotated[Many, _option("Pearson's correlation.", "A,B")] = None
    histogram: Annotated[Many, _option("Counts in bins of one width.", "COL:LO:HI:BINS")] = None
    ecdf: Annotated[Many, _option("Shares below each edge.")] = None
    quantiles: Annotated[Many, _option("Brackets of quantiles.", "COL:Q,Q")] = None
    median: Annotated[Many, _option("Bracket of the median.")] = None
    table: Annotated[Many, _option("Counts by two columns of levels.", "A,B")] = None
    ask: Annotated[Many, _option("Another kind: t-test:mass,sex.", "KIND:A,B[:P,P]")] = None
    bounds: Annotated[Many, _option("Public bounds of a column.", "COL:LO:HI")] = None
    edges: Annotated[Many, _option("Edges for ecdf, quantiles, median.", "COL:LO:HI:BINS")] = None
    levels: Annotated[Many, _option("Public levels of a column.", "COL:A,B")] = None
    group_by: Annotated[str | None, _option("Give all by the levels of a column.")] = None
    where: Annotated[Many, _option("Rows that meet a condition.", "'COL < 5'")] = None
    bits: Annotated[int, _option("Bits that a value is rounded to: 16.", "N")] = 16
    max_rows: Annotated[int, _option("Rows that a site may have: 1,048,575.", "N")] = (1 << 20) - 1

    def __bool__(self) -> bool:
        return any(getattr(self, one.name) for one in fields(self) if one.name not in ("bits", "max_rows"))

    def query(self, dataset: str, levels_of: Callable[[str], tuple[str, ...]]) -> Query:
        """Return the query that these options ask.

        Args:
            dataset: its name.
            levels_of: the levels of a column for which none are given.

        Raises:
            ParameterError: an option is not written as its help says, or a column lacks its bounds or edges.
        """
        statistics = self._statistics()
        roles = {(name, role) for one in statistics for name, role in _roles(one)}
        texts = {name for name, role in roles if role in (Role.LEVELS, Role.TWO)}
        ordered = {name for name, role in roles if role is Role.TWO}
        weighted = {one.columns[-1] for one in statistics if SHAPES[one.kind].parameters is Parameters.WEIGHTS}
        texts |= {self.group_by} if self.group_by else set()
        bounds = {name: tuple(_numbers(name, rest, "--bounds")) for name, rest in _by_column(self.bounds, "--bounds")}
        edges = self._edges(bounds)
        given = {name: tuple(rest.split(",")) for name, rest in _by_column(self.levels, "--levels")}
        conditions = [condition.split(maxsplit=2) for condition in self.where or ()]
        columns: dict[str, Column] = {}
        for name in sorted(texts | given.keys()):
            if name in ordered and name not in given:
                raise ParameterError(f"{name!r} needs two levels in order, an event first: give --levels {name}:A,B")
            if name in weighted and name not in given:
                raise ParameterError(f"{name!r} needs its levels in the order of the weights: give --levels {name}:A,B")
            base, length = base_of(name)
            if length is not None and name not in given and base in given:
                columns[name] = beginnings_of(Levels(base, given[base]), length)
            else:
                columns[name] = Levels(name, given.get(name) or levels_of(name))
        numeric = {name for one in statistics for name in one.columns} | {each[0] for each in conditions if each}
        for name in sorted(numeric - columns.keys()):
            if name not in bounds and name not in edges:
                raise ParameterError(f"{name!r} needs public bounds: give --bounds {name}:LO:HI")
            bins = edges.get(name, ())
            lo, hi = bounds.get(name) or (bins[0], bins[-1])
            columns[name] = Number(name, lo, hi, self.bits, bins)
        where = tuple(_condition(condition, columns) for condition in conditions)
        return Query(dataset, tuple(columns.values()), statistics, where, self.group_by, self.max_rows)

    def _statistics(self) -> tuple[Statistic, ...]:
        """Return what is asked."""
        found = [Statistic(Kind.COUNT)] if self.count else []
        for kind in Kind:
            for given in getattr(self, kind.replace("-", "_"), None) or () if kind is not Kind.COUNT else ():
                name, _, rest = given.partition(":")
                if kind in (Kind.COVARIANCE, Kind.CORRELATION, Kind.TABLE):
                    names = tuple(given.split(","))
                    if len(names) != 2:
                        raise ParameterError(f"--{kind} is {given!r}, but must be A,B")
                    found.append(Statistic(kind, names))
                elif kind is Kind.QUANTILES:
                    found.append(Statistic(kind, (name,), tuple(_floats(rest.split(","), "--quantiles"))))
                else:
                    found.append(Statistic(kind, (name,)))
        return (*found, *map(_asked, self.ask or ()))

    def _edges(self, bounds: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
        """Return the edges of each column that has some; where bounds alone are given, 32 bins between them."""
        edges: dict[str, tuple[float, ...]] = {}
        for named, given in (("--histogram", self.histogram), ("--edges", self.edges)):
            for name, rest in _by_column(given, named):
                lo, hi, bins = _numbers(name, rest, named)
                made = even_edges(lo, hi, int(bins) if bins == int(bins) else -1)
                if edges.setdefault(name, made) != made:
                    raise ParameterError(f"{name!r} has edges twice: one query has one set of edges a column")
        for given in (*(self.ecdf or ()), *(self.quantiles or ()), *(self.median or ())):
            name = given.partition(":")[0]
            if name not in edges and name in bounds:
                lo, hi = bounds[name]
                edges[name] = even_edges(lo, hi, 32)
        return edges


def _asked(given: str) -> Statistic:
    """Return the statistic of `KIND:A,B:P,P`; a regression by steps starts from zeros unless told otherwise."""
    name, _, rest = given.partition(":")
    names, colon, numbers = rest.partition(":")
    kind = kind_of(name)
    columns = tuple(names.split(",")) if names else ()
    parameters = tuple(_floats(numbers.split(","), "--ask")) if colon else ()
    if SHAPES[kind].parameters is Parameters.COEFFICIENTS and not colon:
        parameters = (0.0,) * len(columns)
    return Statistic(kind, columns, parameters)


def _roles(one: Statistic) -> list[tuple[str, Role]]:
    """Return what each column of a statistic must be."""
    return list(zip(one.columns, SHAPES[one.kind].roles(one.columns), strict=True))


def _by_column(given: Many, option: str) -> list[tuple[str, str]]:
    pairs = []
    for each in given or ():
        name, colon, rest = each.partition(":")
        if not colon:
            raise ParameterError(f"{option} is {each!r}, but must begin with COL:")
        pairs.append((name, rest))
    return pairs


def _numbers(name: str, text: str, option: str) -> list[float]:
    parts, form = text.split(":"), _FORMS[option]
    if len(parts) != form.count(":"):
        raise ParameterError(f"{option} is '{name}:{text}', but must be {form}: {form.count(':')} numbers of a column")
    return _floats(parts, option)


def _floats(parts: Sequence[str], option: str) -> list[float]:
    try:
        found = [float(part) for part in parts]
    except ValueError:
        raise ParameterError(f"{option} has {','.join(parts)!r}, but must have numbers") from None
    if not all(map(math.isfinite, found)):
        raise ParameterError(f"{option} has {','.join(parts)!r}, but must have finite numbers")
    return found


def _condition(words: list[str], columns: Mapping[str, Column]) -> Where:
    if len(words) == 2 and words[1] == "known":
        return Where(words[0], "known")  # type: ignore[arg-type]  # Query makes it an Operator
    if len(words) != 3 or words[1] not in _OPERATORS:
        raise ParameterError(
            f"--where is {' '.join(words)!r}, but must be 'COL OP VALUE', OP of {' '.join(_OPERATORS)}"
        )
    name, operator, text = words
    constant = text if isinstance(columns.get(name), Levels) else _floats([text], "--where")[0]
    return Where(name, _OPERATORS[operator], constant)  # type: ignore[arg-type]
