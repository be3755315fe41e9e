"""Sites' tables from CSV and Parquet files: a file a site, its name without the ending the site's."""

from __future__ import annotations

import csv
import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secagg.errors import ParameterError

from ..statistics.beginnings import base_in, base_of
from ..statistics.columns import Number
from ..statistics.query import Query
from ..statistics.table_files import MISSING, PARQUET, level, read_parquet

Columns = Mapping[str, Sequence[Any]]
"""Of CSV texts; of Parquet what is in the file, None for null."""


def read_tables(pattern: str) -> dict[str, Columns]:
    """Return name of a site -> column -> values, as they stand in the files.

    Raises:
        ParameterError: no file, two of one name, one without a header, or with rows of another length; or
            one is Parquet, and pyarrow is not installed.
    """
    tables: dict[str, Columns] = {}
    for path in map(Path, sorted(glob.glob(pattern))):  # noqa: PTH207 - what people write may be absolute
        if path.stem in tables:
            raise ParameterError(f"two files are called {path.stem}: a file's name is its site's")
        tables[path.stem] = read_parquet(path) if path.suffix == PARQUET else _csv(path)
    if not tables:
        raise ParameterError(f"--data is {pattern!r}, but there is no such file")
    return tables


def _csv(path: Path) -> Columns:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no CSV file: {error}") from None
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise ParameterError(f"{path} needs a first line with the names of its columns, each once")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ParameterError(f"{path}, line {number} has {len(row)} values, but there are {len(rows[0])} columns")
    return {name: [row[at] for row in rows[1:]] for at, name in enumerate(rows[0])}


def lacking(tables: Mapping[str, Columns], names: frozenset[str]) -> dict[str, str]:
    """Return name of a site that lacks columns -> which, and which there are.

    Raises:
        ParameterError: a column is in no file.
    """
    everywhere = list(dict.fromkeys(name for columns in tables.values() for name in columns))
    for name in sorted(base_in(everywhere, name) for name in names):
        if name not in everywhere:
            raise ParameterError(f"no file has a column {name!r}: there are {', '.join(map(repr, everywhere))}")
    return {
        site: f"{site} has no column {', '.join(map(repr, gone))}: there are {', '.join(map(repr, columns))}"
        for site, columns in tables.items()
        if (gone := sorted({base_in(columns, name) for name in names} - columns.keys()))
    }


def columns_of(site: str, given: Columns, query: Query) -> dict[str, Any]:
    """Return a site's columns as a query reads them: float64 with NaN, or texts with "" for missing.

    Raises:
        ParameterError: a value is no number where one is needed; the text names site, column and row, not the value.
    """
    columns: dict[str, Any] = {}
    for column in query.columns:
        name = base_in(given, column.name)
        if name not in given:
            continue  # the site will refuse
        values = given[name]
        if isinstance(column, Number):
            numbers = [_number(value, site, name, at) for at, value in enumerate(values)]
            columns[name] = np.array(numbers, dtype=np.float64)
        else:
            columns[name] = np.array([level(value) for value in values], dtype=object)
    return columns


def row_numbers(given: Columns) -> list[str]:
    """Return the numbers of a table's rows, as ids."""
    return [str(at) for at in range(len(next(iter(given.values()), [])))]


def _number(value: Any, site: str, column: str, at: int) -> float:
    if value is None or (isinstance(value, str) and value.strip() in MISSING):
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ParameterError(f"{site}, column {column!r}, row {at + 1} is no number") from None


def levels_of(name: str, tables: Mapping[str, Columns]) -> tuple[str, ...]:
    """Return the levels that a column, or the beginnings of one, has in any of the files, in order."""
    found = set[str]()
    for columns in tables.values():
        read = base_in(columns, name)
        length = None if read == name else base_of(name)[1]
        found |= {level(value)[:length] for value in columns.get(read, ())}
    return tuple(sorted(found - {""}))
