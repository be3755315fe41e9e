"""Tables in files: Parquet, and what a value is as a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from secagg.errors import ParameterError

MISSING = ("", "NA", "NaN", "nan", "null", "None")
PARQUET = ".parquet"


def read_parquet(path: Path) -> Mapping[str, Sequence[Any]]:
    """Return column -> values, None for null; raise ParameterError for no Parquet file, or without pyarrow."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ParameterError("Parquet files need pyarrow: in a checkout of secagg, pip install '.[parquet]'") from None
    try:
        with path.open("rb") as file:
            table = parquet.ParquetFile(file).read()
    except arrow.ArrowException as error:
        raise ParameterError(f"{path} is no Parquet file: {error}") from None
    if len(set(table.column_names)) != len(table.column_names):
        raise ParameterError(f"{path} needs columns of distinct names")
    return {name: table.column(name).to_pylist() for name in table.column_names}


def level(value: Any) -> str:
    """Return a value as a level, written as CSV files have it; "" for missing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers beside nulls are often kept as floats
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "" if text in MISSING else text
