"""The vectors of SPEC section 46: questions as bytes, what a row adds, brackets, ratios; which groups are named."""

from __future__ import annotations

from functools import partial
from typing import Any

from protocols.audit.replay.noisy_statistics import OPERATIONS
from protocols.audit.replay.statistics_operations import OPERATIONS as EXACT

from .cases import Case, case_of
from .statistics import QUERIES, one, query

_case = partial(case_of, OPERATIONS)

ROWS: dict[str, Any] = {
    "inside": {"age": 45.0, "mass": 100.0, "sex": "m", "ward": "b"},
    "at the bounds": {"age": 120.0, "mass": 30.0, "sex": "f", "ward": "a"},
    "in the middle": {"age": 60.0, "mass": 115.25, "sex": "x", "ward": ""},
    "outside": {"age": -1.0, "mass": 300.0, "sex": "", "ward": "z"},
    "missing": {"age": float("nan"), "mass": float("nan"), "sex": None, "ward": None},
}
ALL = query(
    *(one(kind, "age") for kind in ("missing", "mean", "variance", "deviation", "histogram", "median")),
    *(one("count"), one("covariance", "mass", "age"), one("correlation", "age", "mass"), one("table", "sex", "ward")),
)
GROUPED = query(one("count"), one("deviation", "age"), one("ecdf", "age"), group_by="ward")
FILTERED = query(one("mean", "age"), where=[["sex", "eq", "m"]])
PRICE = {"epsilon": (1.0).hex(), "delta": (1e-6).hex(), "unit": "record", "adjacency": "add-remove"}


def cases() -> list[Case]:
    """All cases, in order."""
    found = []
    asked = {"all of it": ALL, "by groups": GROUPED, "filtered": FILTERED}
    texts = {name: EXACT["query"](given)["bytes"] for name, given in asked.items()}
    for name, text in texts.items():
        found.append(_case(name, "question", {"query": text} | PRICE))
        found.append(_case(name, "read_question", {"bytes": found[-1]["output"]["bytes"]}))
        for kind, row in ROWS.items():
            given = {column: value.hex() if isinstance(value, float) else value for column, value in row.items()}
            used = [column for column in given if column == "age" or name == "all of it" or column in _also(name)]
            found.append(_case(f"{name}, {kind}", "noisy_row", {"query": text, "row": {c: given[c] for c in used}}))
    first, written = texts["filtered"], found[0]["output"]["bytes"]
    for name, changed in (
        ("for clients", {"unit": "client"}),
        ("dearer", {"epsilon": (2.5).hex()}),
        ("for what is replaced", {"adjacency": "replace-one"}),
        ("another unit", {"unit": "row"}),
        ("for nothing", {"epsilon": (0.0).hex()}),
        ("a delta of one", {"delta": (1.0).hex()}),
    ):
        found.append(_case(name, "question", {"query": first} | PRICE | changed))
    skewed = EXACT["query"](QUERIES["moments, which share their sums"])["bytes"]
    found.append(_case("a skewness", "question", {"query": skewed} | PRICE))
    for name, data in (("a byte too many", written + "00"), ("a byte too few", written[:-2]), ("a query", first)):
        found.append(_case(name, "read_question", {"bytes": data}))
    return found + _numbers()


def _also(name: str) -> tuple[str, ...]:
    return ("ward",) if name == "by groups" else ("sex",)


def _numbers() -> list[Case]:
    found = []
    counts = [float(count).hex() for count in (2, 31, 120, 55, -4)]
    for quantile in (0.1, 0.5, 0.95):
        for deviation in (0.5, 6.0, 90.0):
            given = {"edges": [float(edge).hex() for edge in (0, 10, 20, 30)], "counts": counts}
            given |= {"deviation": deviation.hex(), "quantile": quantile.hex()}
            found.append(_case(f"{quantile} at noise of {deviation}", "noisy_bracket", given))
    for totals in ((30.0, 100.0, 9.0, 16.0, 4.0), (-3.5, 60.0, 4.0, 4.0, 0.0), (5.0, 7.0, 1.0, 16.0, 0.0)):
        found.append(_case(f"{totals}", "noisy_ratio", {"totals": [value.hex() for value in totals]}))
    for epsilon, delta in ((1.0, 1e-5), (0.1, 1e-6), (3.0, 0.01)):
        given = {"epsilon": epsilon.hex(), "delta": delta.hex(), "counts": [0, 1, 2, 5, 10, 11, 12, 22, 80, 1000]}
        found.append(_case(f"{epsilon}, {delta}", "keep_probability", given))
    return found
