"""A site as its operator writes it down: a file in TOML that names table, policy and journal.

Errors name files and lines of the site's own, and so are for its log alone.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from secagg.errors import ParameterError

from .beginnings import base_in
from .columns import Levels
from .query_file import declared_column
from .site import Site, SitePolicy
from .table_files import MISSING, PARQUET, level, read_parquet

NUMBER, TEXT = "number", "text"
KEYS = ("dataset", "table", "journal", "ids", "columns", "policy")
_NEEDED = KEYS[:3]


def read_site(path: Path, *, table: Path | None = None, log: Callable[[str], None] = lambda text: None) -> Site:
    """Return the site that a file describes.

    Args:
        path: of a file in TOML: `dataset`, the name that queries must give; `table`, a CSV file in UTF-8 with a first
            line of names, or a Parquet file; `journal`, the file in which answers are noted; if wanted `ids`, the
            column by which rows are recognised; `[columns]`, name -> "number" or "text" of all that is read, or a table
            that declares it as a query must, `{lo = 0, hi = 120}` or `{levels = ["f", "m"]}`; `[policy]`, fields of
            `SitePolicy`, of which `columns` are all that are read unless stated. Paths are as seen from the file's
            folder.
        table: the table, instead of the one that the file names.
        log: is told why a query was refused, with figures that leave the site nowhere.

    Raises:
        ParameterError: a file cannot be read, or is not what it should be.
    """
    given = _toml(path)
    _known(given, KEYS, path)
    for key in _NEEDED:
        if key == "table" and table is not None:
            continue
        if not isinstance(given.get(key), str) or not given[key]:
            raise ParameterError(f"{path} needs {key}, a text")
    kinds, ids = given.get("columns", {}), given.get("ids")
    if not isinstance(ids, str | None):
        raise ParameterError(f"ids of {path} must be the name of a column")
    if not isinstance(kinds, dict):
        raise ParameterError(f"[columns] of {path} must be a table")
    schema = [declared_column(name, kind) for name, kind in kinds.items() if isinstance(kind, dict)]
    kinds |= {column.name: TEXT if isinstance(column, Levels) else NUMBER for column in schema}
    if not all(kind in (NUMBER, TEXT) for kind in kinds.values()):
        raise ParameterError(f"[columns] of {path} must say {NUMBER!r} or {TEXT!r} of each column, or declare it")
    folder = path.parent
    policy = _policy(given.get("policy", {}), kinds, path)
    columns, named = _table(folder / given["table"] if table is None else table, kinds, ids)
    return Site(
        columns,
        policy,
        given["dataset"],
        folder / given["journal"],
        ids=named,
        log=log,
        schema=schema,
    )


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Excel and Notepad put a mark in front
    except OSError as error:
        raise ParameterError(f"the site's file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ParameterError(f"the site's file {path} is no TOML: {str(error)!r:.200}") from None


def _known(given: Mapping[str, Any], keys: tuple[str, ...], where: Path | str) -> None:
    strange = sorted(set(given) - set(keys))
    if strange:
        raise ParameterError(f"{where} has no key {strange[0]!r:.60}: there are {', '.join(keys)}")


def _policy(demands: Any, kinds: Mapping[str, str], path: Path) -> SitePolicy:
    if not isinstance(demands, dict):
        raise ParameterError(f"[policy] of {path} must be a table")
    _known(demands, tuple(field.name for field in fields(SitePolicy)), f"[policy] of {path}")
    taken: dict[str, Any] = {"columns": list(kinds)} | demands
    try:
        taken |= {name: frozenset(value) for name, value in taken.items() if isinstance(value, list)}
        policy = SitePolicy(**taken)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"[policy] of {path}: {error}") from None
    for name in sorted(policy.columns | (policy.filters or frozenset())):
        if base_in(kinds, name) not in kinds:
            raise ParameterError(f"[policy] of {path} names {name!r:.60}, but [columns] does not")
    return policy


def _table(path: Path, kinds: Mapping[str, str], ids: str | None) -> tuple[dict[str, Any], list[str] | None]:
    """Return the columns, float64 with NaN or texts with "" for missing, and the ids."""
    header, *rows = _parquet_rows(path) if path.suffix == PARQUET else _csv_rows(path)
    wanted = [*kinds, *([] if ids is None else [ids])]
    if len(set(header)) != len(header) or not set(wanted) <= set(header):
        raise ParameterError(f"the first line of {path} must name {wanted}, and each column once")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ParameterError(f"{path}, row {line} has {len(row)} values, but there are {len(header)} columns")
    texts = {name: [row[header.index(name)] for row in rows] for name in wanted}
    columns = {name: _values(texts[name], kind, f"{path}, column {name!r}") for name, kind in kinds.items()}
    return columns, None if ids is None else texts[ids]


def _csv_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file, strict=True)) or [[]]
    except OSError as error:
        raise ParameterError(f"the table {path} cannot be read: {error.strerror}") from None
    except (csv.Error, ValueError) as error:
        raise ParameterError(f"the table {path} is no CSV file: {error}") from None


def _parquet_rows(path: Path) -> list[list[str]]:
    """Return names and rows as a CSV file would have them."""
    try:
        columns = read_parquet(path)
    except OSError as error:
        raise ParameterError(f"the table {path} cannot be read: {error.strerror}") from None
    return [list(columns), *([level(value) for value in row] for row in zip(*columns.values(), strict=True))]


def _values(texts: list[str], kind: str, where: str) -> Any:
    if kind == TEXT:
        return np.array(["" if text in MISSING else text for text in texts], dtype=object)
    values = np.empty(len(texts))
    for at, text in enumerate(texts):
        try:
            values[at] = float("nan") if text.strip() in MISSING else float(text)
        except ValueError:
            raise ParameterError(f"{where}, row {at + 2} is no number") from None
    return values
