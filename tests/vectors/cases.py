"""One case of a file of vectors: an operation, its input, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from secagg.errors import SecAggError

Case = dict[str, Any]


def case_of(operations: Mapping[str, Callable[[Any], Any]], name: str, operation: str, given: Case) -> Case:
    case = {"name": name, "operation": operation, "input": given}
    try:
        return case | {"output": operations[operation](given)}
    except SecAggError as error:
        return case | {"error": type(error).__name__}
