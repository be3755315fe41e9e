"""What an operation of the vectors of noisy statistics is: from a case's input, as it stands in JSON, to its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dp.partition_selection import PartitionSelection

from ...statistics.columns import Number
from ...statistics.private.answer import noisy_bracket
from ...statistics.private.features import Features
from ...statistics.private.intervals import ratio
from ...statistics.private.question import PrivateQuestion, read_question
from ...statistics.query import read_query
from ...statistics.rows import Table

Case = dict[str, Any]


def _question(given: Case) -> Case:
    epsilon, delta = float.fromhex(given["epsilon"]), float.fromhex(given["delta"])
    query = read_query(bytes.fromhex(given["query"]))
    question = PrivateQuestion(query, epsilon, delta, given["unit"], given["adjacency"])
    features = Features(query)
    return {
        "bytes": question.encoded.hex(),
        "name": question.name,
        "totals": features.length,
        "uses": list(features.uses.values()),
    }


def _row(given: Case) -> Case:
    query = read_query(bytes.fromhex(given["query"]))
    columns = {
        name: np.array([float.fromhex(value)]) if isinstance(query.column(name), Number) else np.array([value], object)
        for name, value in given["row"].items()
    }
    features, table = Features(query), Table(query, columns)
    total = features.rows(table, table.selected(1)).sum()
    return {str(at): float(total[at]).hex() for at in np.flatnonzero(total)}


def _bracket(given: Case) -> list[str | None]:
    edges, counts = (list(map(float.fromhex, given[name])) for name in ("edges", "counts"))
    found = noisy_bracket(edges, np.array(counts), float.fromhex(given["deviation"]), float.fromhex(given["quantile"]))
    return [None if found[end] is None else found[end].hex() for end in ("low", "high")]


def _ratio(given: Case) -> Case:
    top, bottom, of_top, of_bottom, both = (float.fromhex(value) for value in given["totals"])
    found = ratio(top, bottom, (of_top, of_bottom, both), -math.inf, math.inf)
    return {"low": found.low.hex(), "high": found.high.hex()}


def _kept(given: Case) -> Case:
    rule = PartitionSelection(float.fromhex(given["epsilon"]), float.fromhex(given["delta"]))
    return {str(count): float(rule.keep_probability(count)).hex() for count in given["counts"]}


OPERATIONS: dict[str, Callable[[Case], Any]] = {
    "question": _question,
    "read_question": lambda given: read_question(bytes.fromhex(given["bytes"])).name,
    "noisy_row": _row,
    "noisy_bracket": _bracket,
    "noisy_ratio": _ratio,
    "keep_probability": _kept,
}
