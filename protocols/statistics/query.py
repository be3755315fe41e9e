"""An analyst's question: immutable, written in one way, and named by a digest that the session is bound to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from secagg.derivation import Label, digest
from secagg.errors import ParameterError

from ..core.numbers import whole
from .beginnings import base_of
from .columns import Column, Levels, Number, bound, text
from .kinds import SHAPES, Kind, Parameters, Role, kind_of, parameters_of

MAX_QUERY_BYTES = 1 << 20
MAX_ROWS = (1 << 40) - 1
MAX_PARTS = 10_000
"""Columns of a query, its statistics, and its conditions: each at most so many."""
Read = TypeVar("Read", bound=msgspec.Struct)


class Operator(StrEnum):
    """How a filter compares. No missing value meets any of them."""

    EQUAL = "eq"
    NOT_EQUAL = "ne"
    LESS = "lt"
    AT_MOST = "le"
    GREATER = "gt"
    AT_LEAST = "ge"
    KNOWN = "known"
    """The value is there: a number within its bounds, or one of the levels."""


class Where(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A condition on rows: column, operator, constant. Numbers are compared as they are, before any rounding.

    Attributes:
        column: its name, one of the query's columns.
        operator: of texts `eq`, `ne` and `known` alone.
        constant: a float, a level, or None for `known`.
    """

    column: str
    operator: Operator
    constant: float | str | None = None


class Statistic(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One thing that is asked.

    Attributes:
        kind: which.
        columns: as many, and of such a role, as the kind's shape in `SHAPES` says; a response before its predictors.
        parameters: numbers that the shape asks for, such as quantiles, or coefficients to take a step from.
    """

    kind: Kind
    columns: tuple[str, ...] = ()
    parameters: tuple[float, ...] = ()


class Query(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, dict=True):
    """What is asked of a data set.

    Attributes:
        dataset: its name; sites hold it against their own.
        columns: what the query reads, with public bounds, edges and levels.
        statistics: what is asked, each once.
        where: conditions that a row must meet, all of them.
        group_by: a column of levels; everything is then given for each of its cells. None for none. Only with kinds
            whose shape says `grouped`.
        max_rows: the most rows that a site may have; sums have room for so many.
        cells: the cells of `group_by` that are summed, in their order; all when empty. Rows of others are not counted.

    Raises:
        ParameterError: a value is out of range, or the parts do not fit together; the text names the remedy.
    """

    dataset: str
    columns: tuple[Column, ...]
    statistics: tuple[Statistic, ...]
    where: tuple[Where, ...] = ()
    group_by: str | None = None
    max_rows: int = (1 << 20) - 1
    cells: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field, and that the parts fit together."""
        fix = msgspec.structs.force_setattr
        text(self.dataset, "dataset")
        fix(self, "max_rows", whole(self.max_rows, "max_rows", 1, MAX_ROWS))
        for name in ("columns", "statistics", "where", "cells"):
            fix(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) > MAX_PARTS:
                raise ParameterError(
                    f"a query has at most {MAX_PARTS} {name}, not {len(getattr(self, name))}: ask less"
                )
        if not all(isinstance(column, Column) for column in self.columns):
            raise ParameterError("columns must be a tuple of Number and Levels")
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ParameterError("a column is declared twice: once is enough, with all its edges")
        if not self.statistics:
            raise ParameterError("a query has one statistic at least: ask something")
        fix(self, "statistics", tuple(map(self._checked, self.statistics)))
        fix(self, "where", tuple(map(self._condition, self.where)))
        if len(set(self.statistics)) != len(self.statistics):
            raise ParameterError("a statistic is asked twice: once is enough")
        public = [
            (one.kind, one.columns)
            for one in self.statistics
            if SHAPES[one.kind].parameters in (Parameters.COEFFICIENTS, Parameters.SHARE)
        ]
        if len(set(public)) != len(public):
            raise ParameterError("a statistic is asked at two sets of parameters: ask in two queries")
        if self.group_by is not None:
            self.levels(self.group_by)
            apart = [str(one.kind) for one in self.statistics if not SHAPES[one.kind].grouped]
            if apart:
                raise ParameterError(f"{apart[0]} is not given by groups: ask without group_by, with a filter")
        names = () if self.group_by is None else self.levels(self.group_by).names
        if self.cells != tuple(name for name in names if name in self.cells) or self.cells == names != ():
            raise ParameterError("cells must be some of group_by's, each once and in order; for all of them, none")
        texts = [column.name for column in self.columns if isinstance(column, Levels) and column.name in self.used]
        twice = [name for name, count in Counter(base_of(each)[0] for each in texts).items() if count > 1]
        if twice:
            raise ParameterError(
                f"{twice[0]!r} and its beginnings, or two of these, are in one query: ask for one length"
            )
        if len(self.encoded) > MAX_QUERY_BYTES:
            raise ParameterError(f"the query takes {len(self.encoded)} bytes, but may take {MAX_QUERY_BYTES}: ask less")

    def _checked(self, one: Statistic) -> Statistic:
        """Return the statistic with the types that it is written in, or say why there is none."""
        if not isinstance(one, Statistic):
            raise ParameterError(f"a statistic is a {type(one).__name__}, but must be a Statistic")
        kind, columns = kind_of(one.kind), tuple(one.columns)
        if not all(isinstance(name, str) for name in columns):
            raise ParameterError(f"columns of {kind} must be names: {columns!r:.200}")
        shape = SHAPES[kind]
        try:
            roles = shape.roles(columns)
        except ParameterError as error:
            raise ParameterError(f"{kind}: {error}") from None
        for name, role in zip(columns, roles, strict=True):
            if role in (Role.NUMBER, Role.EDGES):
                if role is Role.EDGES and not self.number(name).edges:
                    raise ParameterError(f"{kind} of {name!r} needs public edges: give them with the column")
                self.number(name)
            elif role is Role.TWO and len(self.levels(name).levels) != 2:
                raise ParameterError(f"{kind} needs two levels of {name!r}, not {len(self.levels(name).levels)}")
            else:
                self.levels(name)
        many = len(self.levels(columns[-1]).levels) if shape.parameters is Parameters.WEIGHTS else len(columns)
        return Statistic(kind, columns, _parameters(kind, shape.parameters, one.parameters, many))

    def _condition(self, one: Where) -> Where:
        if not isinstance(one, Where):
            raise ParameterError(f"a condition is a {type(one).__name__}, but must be a Where")
        try:
            operator = Operator(one.operator)
        except ValueError:
            raise ParameterError(
                f"an operator is {one.operator!r:.60}, but must be one of {', '.join(Operator)}"
            ) from None
        column, constant = self.column(one.column), one.constant
        if operator is Operator.KNOWN:
            if constant is not None:
                raise ParameterError("`known` compares with nothing: leave the constant out")
        elif isinstance(column, Number):
            constant = bound(constant, f"the constant that {one.column!r} is compared with")
        elif operator not in (Operator.EQUAL, Operator.NOT_EQUAL) or constant not in column.levels:
            raise ParameterError(f"{one.column!r} is compared by eq or ne with one of its public levels")
        return Where(one.column, operator, constant)

    def changed(self, **fields: Any) -> Query:
        """Return the query with other fields, checked anew: older msgspec's `replace` checks nothing."""
        return Query(**{name: getattr(self, name) for name in self.__struct_fields__} | fields)

    def column(self, name: str) -> Column:
        """Return a declared column; raise ParameterError where there is none."""
        column = self._declared.get(name) if isinstance(name, str) else None
        if column is None:
            raise ParameterError(f"no column {name!r:.60} is declared: give its bounds or levels")
        return column

    @cached_property
    def _declared(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def number(self, name: str) -> Number:
        """Return a declared column of numbers; raise ParameterError where there is none."""
        column = self.column(name)
        if not isinstance(column, Number):
            raise ParameterError(f"{name!r} has levels, but numbers are needed")
        return column

    def levels(self, name: str) -> Levels:
        """Return a declared column of levels; raise ParameterError where there is none."""
        column = self.column(name)
        if not isinstance(column, Levels):
            raise ParameterError(f"{name!r} has numbers, but public levels are needed")
        return column

    @property
    def groups(self) -> tuple[str | None, ...]:
        """The cells of `group_by` that are summed, by name; one that is called None without groups."""
        return (None,) if self.group_by is None else self.cells or self.levels(self.group_by).names

    @cached_property
    def used(self) -> frozenset[str]:
        """The names of the columns that the query reads."""
        named = {name for one in self.statistics for name in one.columns} | {one.column for one in self.where}
        return frozenset(named | ({self.group_by} if self.group_by is not None else set()))

    @cached_property
    def encoded(self) -> bytes:
        """The query in MessagePack, as it can be written in one way."""
        return msgspec.msgpack.encode(self)

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that name the query: STATISTICS_QUERY of SPEC section 3."""
        return digest(Label.STATISTICS_QUERY, self.encoded)


def read_query(data: bytes) -> Query:
    """Return the query that was written as these bytes.

    Raises:
        ParameterError: too long, no query, or not written as it would be written here.
    """
    return read_written(data, Query, "query")


def read_written(data: bytes, kind: type[Read], what: str) -> Read:
    """Return what these bytes are in MessagePack; raise ParameterError unless it would be written so here."""
    if len(data) > MAX_QUERY_BYTES:
        raise ParameterError(f"the {what} takes {len(data)} bytes, but may take {MAX_QUERY_BYTES}")
    try:
        found = msgspec.msgpack.decode(data, type=kind)
    except ParameterError:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        raise ParameterError(f"these bytes are no {what}") from None
    if msgspec.msgpack.encode(found) != data:
        raise ParameterError(f"these bytes are a {what} that is written in another way")
    return found


def asked(kind: Kind | str, *columns: str, **parameters: Sequence[float] | float) -> Statistic:
    """Return one statistic: `asked("mean", "age")`, `asked("quantiles", "age", quantiles=(0.25, 0.75))`.

    Args:
        kind: which.
        columns: their names.
        parameters: the kind's own: `quantiles`, `penalty` (ridge), `coefficients` (logistic, poisson), `share`
            (consensus), `most` (top), `weights` (weighted).

    Raises:
        ParameterError: there is no such kind, or it has no such parameter.
    """
    found = kind_of(kind)
    return Statistic(found, columns, parameters_of(found, parameters))


def _parameters(kind: Kind, wanted: Parameters, given: Sequence[float], many: int) -> tuple[float, ...]:
    """Return what goes with a kind, as floats, `many` where it has several; raise ParameterError for anything else."""
    count = {Parameters.NONE: 0, Parameters.COEFFICIENTS: many, Parameters.WEIGHTS: many}.get(wanted, 1)
    if wanted is Parameters.QUANTILES and given:
        count = len(given)
    if len(given) != count:
        raise ParameterError(f"{kind} has {wanted} with it, not {len(given)} numbers")
    numbers = tuple(bound(value, f"a parameter of {kind}") for value in given)
    if wanted is Parameters.QUANTILES:
        fits = all(0 < value < 1 for value in numbers) and numbers == tuple(sorted(set(numbers)))
    elif wanted is Parameters.PENALTY:
        fits = numbers[0] > 0
    elif wanted is Parameters.SHARE:
        fits = 0 <= numbers[0] <= 1
    elif wanted is Parameters.WEIGHTS:
        fits = min(numbers) >= 0 < max(numbers)
    else:
        fits = wanted is not Parameters.HOW_MANY or (numbers[0] >= 1 and numbers[0] == int(numbers[0]))
    if not fits:
        raise ParameterError(f"{kind} has {wanted} with it, not {', '.join(f'{value:g}' for value in numbers)}")
    return numbers
