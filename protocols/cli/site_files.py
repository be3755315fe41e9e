"""Sites' tables from CSV files: a file a site, its name without the ending the site's."""

from __future__ import annotations

import csv
import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secagg.errors import ParameterError

from ..statistics.columns import Number
from ..statistics.query import Query

MISSING = ("", "NA", "NaN", "nan", "null", "None")
Texts = Mapping[str, list[str]]


def read_tables(pattern: str) -> dict[str, Texts]:
    """Return name of a site -> column -> texts, as they stand in the files.

    Raises:
        ParameterError: no file, two of one name, one without a header, or with rows of another length.
    """
    tables: dict[str, Texts] = {}
    for path in map(Path, sorted(glob.glob(pattern))):  # noqa: PTH207 - what people write may be absolute
        if path.stem in tables:
            raise ParameterError(f"two files are called {path.stem}: a file's name is its site's")
        tables[path.stem] = _table(path)
    if not tables:
        raise ParameterError(f"--data is {pattern!r}, but there is no such file")
    return tables


def _table(path: Path) -> Texts:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParameterError(f"{path} is no CSV file: {error}") from None
    if not rows or len(set(rows[0])) != len(rows[0]):
        raise ParameterError(f"{path} needs a first line with the names of its columns, each once")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise ParameterError(f"{path}, line {number} has {len(row)} values, but there are {len(rows[0])} columns")
    return {name: [row[at] for row in rows[1:]] for at, name in enumerate(rows[0])}


def columns_of(name: str, texts: Texts, query: Query) -> dict[str, Any]:
    """Return a site's columns as a query reads them: float64 with NaN, or texts with "" for missing.

    Raises:
        ParameterError: a text is no number where one is needed; the text names site, column and line, not the value.
    """
    columns: dict[str, Any] = {}
    for column in query.columns:
        if column.name not in texts:
            continue  # the site will refuse
        values = texts[column.name]
        if isinstance(column, Number):
            columns[column.name] = np.array([_number(value, name, column.name, at) for at, value in enumerate(values)])
        else:
            columns[column.name] = np.array(["" if value in MISSING else value for value in values], dtype=object)
    return columns


def row_numbers(texts: Texts) -> list[str]:
    """Return the numbers of a table's rows, as ids."""
    return [str(at) for at in range(len(next(iter(texts.values()), [])))]


def _number(value: str, site: str, column: str, at: int) -> float:
    if value.strip() in MISSING:
        return float("nan")
    try:
        return float(value)
    except ValueError:
        raise ParameterError(f"{site}, column {column!r}, line {at + 2} is no number") from None


def levels_of(name: str, tables: Mapping[str, Texts]) -> tuple[str, ...]:
    """Return the levels that a column has in any of the files, in order."""
    found = {value for texts in tables.values() for value in texts.get(name, ()) if value not in MISSING}
    return tuple(sorted(found))
