"""Beginnings of texts as columns: `code|3` holds the first three characters of `code`, and levels are those.

A site has them without saying so, unless one of its own columns is called so. Counts by two lengths of one column tell
of few rows when they are subtracted, so a query has one of them, and a site takes one for all queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from secagg.errors import EncodingError

from .columns import MAX_NAME, Levels

_MARK = "|"
_LENGTHS = frozenset(map(str, range(1, MAX_NAME + 1)))


def beginning(column: str, length: int) -> str:
    """Return the name of the column that holds the first characters of a column's texts."""
    return f"{column}{_MARK}{length}"


def base_of(name: str) -> tuple[str, int | None]:
    """Return which column a name is the beginnings of, and how many characters of it; the name itself, and None."""
    base, _, length = name.rpartition(_MARK)
    return (base, int(length)) if base and length in _LENGTHS else (name, None)


def base_in(columns: Iterable[str], name: str) -> str:
    """Return the column of a table that a name is read from: the name itself where the table has it."""
    return name if name in columns else base_of(name)[0]


def with_beginnings(columns: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a table's columns, and those of these names that are beginnings of its texts.

    Raises:
        EncodingError: beginnings of what has no texts.
    """
    found = dict(columns)
    for name in names:
        base, length = base_of(name)
        if name not in columns and base in columns:
            texts = _texts(columns[base])
            found[name] = np.array([None if value is None else str(value)[:length] for value in texts], dtype=object)
    return found


def beginnings_of(column: Levels, length: int) -> Levels:
    """Return the column of the beginnings of a column's levels, each once, in order."""
    levels = dict.fromkeys(level[:length] for level in column.levels)
    return Levels(beginning(column.name, length), tuple(levels))


def _texts(values: Any) -> Sequence[Any]:
    """Return a column of texts as a list; raise EncodingError where it is none."""
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "UO" or isinstance(values, np.ma.MaskedArray):
        raise EncodingError("only a one-dimensional array of texts has beginnings")
    texts: list[Any] = array.tolist()
    return texts
