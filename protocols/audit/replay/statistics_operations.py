"""What an operation of the vectors of statistics is: from a case's input, as it stands in JSON, to its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...statistics.beginnings import with_beginnings
from ...statistics.columns import Column, Levels, Number
from ...statistics.kinds import kind_of
from ...statistics.plan import Plan
from ...statistics.query import Operator, Query, Statistic, Where, read_query
from ...statistics.rows import Table
from ...statistics.suppression import determined, table_of

Case = dict[str, Any]


def _column(given: list[Any]) -> Column:
    if given[0] == "levels":
        return Levels(given[1], tuple(given[2]))
    lo, hi, *edges = map(float.fromhex, (given[2], given[3], *given[5]))
    return Number(given[1], lo, hi, given[4], tuple(edges))


def _where(given: list[Any]) -> Where:
    constant = given[2]
    return Where(given[0], Operator(given[1]), float.fromhex(constant[0]) if isinstance(constant, list) else constant)


def _query(given: Case) -> Case:
    statistics = [
        Statistic(kind_of(kind), tuple(names), tuple(map(float.fromhex, q))) for kind, names, q in given["statistics"]
    ]
    query = Query(
        given["dataset"],
        tuple(map(_column, given["columns"])),
        tuple(statistics),
        tuple(map(_where, given["where"])),
        given["group_by"],
        given["max_rows"],
        tuple(given["cells"]),
    )
    return {"bytes": query.encoded.hex(), "digest": query.digest.hex(), "lanes": Plan(query).lanes}


def _limbs(given: Case) -> list[int]:
    query = read_query(bytes.fromhex(given["query"]))
    columns = {
        name: np.array(list(map(float.fromhex, values)))
        if any(isinstance(column, Number) and column.name == name for column in query.columns)
        else np.array(values, dtype=object)
        for name, values in given["columns"].items()
    }
    plan, table = Plan(query), Table(query, with_beginnings(columns, query.used))
    limbs: list[int] = plan.encode(table.totals(plan, table.selected(given["rows"])))[plan.name].tolist()
    return limbs


def _determined(given: Case) -> list[int]:
    _, identities = table_of(given["counts"])
    return determined(identities, given["hidden"])


OPERATIONS: dict[str, Callable[[Case], Any]] = {
    "query": _query,
    "read_query": lambda g: read_query(bytes.fromhex(g["bytes"])).digest.hex(),
    "site_limbs": _limbs,
    "join_limbs": lambda g: list(Plan(read_query(bytes.fromhex(g["query"]))).join(g["sums"], g["sites"]).values()),
    "determined": _determined,
}
