"""A query as people write it: TOML, of which every key is known and none is guessed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from secagg.errors import ParameterError

from .beginnings import base_of, beginnings_of
from .columns import Column, Levels, Number, even_edges
from .kinds import NAMES, kind_of, parameters_of
from .query import MAX_QUERY_BYTES, Query, Statistic, Where

_QUERY = ("dataset", "columns", "statistics", "where", "group_by", "max_rows")
_NUMBER = ("lo", "hi", "bits", "edges", "bins")


def query_from_toml(source: str) -> Query:
    """Return the query that a file asks.

    Raises:
        ParameterError: no TOML, an unknown or missing key, a value of another type, or what `Query` refuses.
    """
    if len(source) > MAX_QUERY_BYTES:
        raise ParameterError(f"the query has {len(source)} characters, but may have {MAX_QUERY_BYTES}")
    try:
        given = tomllib.loads(source)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ParameterError(f"the query is no TOML: {str(error)!r:.200}") from None
    _known(given, _QUERY, "the query")
    columns = _table(given.get("columns", {}), "columns")
    rest = {name: given[name] for name in ("group_by", "max_rows") if name in given}
    if not isinstance(rest.get("group_by", ""), str):
        raise ParameterError("group_by must be the name of a column")
    declared = {name: declared_column(name, _table(each, f"column {name!r:.60}")) for name, each in columns.items()}
    statistics = [_statistic(one) for one in _tables(_given(given, "statistics", "the query"), "statistics")]
    where = [_where(one) for one in _tables(given.get("where", []), "where")]
    read = [name for one in statistics for name in one.columns] + [one.column for one in where]
    for name in [*read, rest.get("group_by")]:
        if not isinstance(name, str) or name in declared:
            continue
        base, length = base_of(name)
        column = declared.get(base)
        if length is not None and isinstance(column, Levels):
            declared[name] = beginnings_of(column, length)
    return Query(
        dataset=_given(given, "dataset", "the query"),
        columns=tuple(declared.values()),
        statistics=tuple(statistics),
        where=tuple(where),
        **rest,
    )


def declared_column(name: str, given: Mapping[str, Any]) -> Column:
    """Return the column that a table of TOML declares: `levels`, or `lo` and `hi` with `bits`, and `edges` or `bins`.

    Raises:
        ParameterError: an unknown or missing key, a value of another type, or what `Number` and `Levels` refuse.
    """
    what = f"column {name!r:.60}"
    if "levels" in given:
        _known(given, ("levels",), what)
        return Levels(name, tuple(_list(given["levels"], what)))
    _known(given, _NUMBER, what)
    lo, hi = _given(given, "lo", what), _given(given, "hi", what)
    if "edges" in given and "bins" in given:
        raise ParameterError(f"{what} has edges and bins: give one of them")
    edges = even_edges(lo, hi, given["bins"]) if "bins" in given else tuple(_list(given.get("edges", []), what))
    return Number(name, lo, hi, given.get("bits", 16), edges)


def _statistic(given: Mapping[str, Any]) -> Statistic:
    _known(given, ("kind", "columns", *NAMES.values()), "a statistic")
    kind = kind_of(_given(given, "kind", "a statistic"))
    named = {name: given[name] for name in NAMES.values() if name in given}
    return Statistic(kind, tuple(_list(given.get("columns", []), "a statistic")), parameters_of(kind, named))


def _where(given: Mapping[str, Any]) -> Where:
    _known(given, ("column", "operator", "constant"), "a condition")
    column, operator = (_given(given, name, "a condition") for name in ("column", "operator"))
    return Where(column, operator, given.get("constant"))


def _known(given: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    unknown = sorted(set(given) - set(keys))
    if unknown:
        raise ParameterError(f"{what} has no key {unknown[0]!r:.60}: there are {', '.join(keys)}")


def _given(given: Mapping[str, Any], key: str, what: str) -> Any:
    if key not in given:
        raise ParameterError(f"{what} needs {key}")
    return given[key]


def _table(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise ParameterError(f"{what} must be a table")
    return given


def _tables(given: Any, what: str) -> list[Mapping[str, Any]]:
    return [_table(one, f"each of {what}") for one in _list(given, what)]


def _list(given: Any, what: str) -> list[Any]:
    if not isinstance(given, list):
        raise ParameterError(f"{what} has something that must be a list")
    return given
