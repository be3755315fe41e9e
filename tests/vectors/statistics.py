"""The vectors of SPEC sections 40 to 43: queries as bytes, a site's limbs, totals of sums, and what tables betray."""

from __future__ import annotations

from functools import partial
from typing import Any

from protocols.audit.replay.statistics_operations import OPERATIONS
from protocols.statistics.suppression import suppress_grid, suppress_line

from .cases import Case, case_of

_case = partial(case_of, OPERATIONS)

AGE = ["number", "age", (0.0).hex(), (120.0).hex(), 16, [float(edge).hex() for edge in (0, 18, 40, 65, 120)]]
MASS = ["number", "mass", (30.0).hex(), (200.5).hex(), 32, []]
SEX, WARD = ["levels", "sex", ["f", "m"]], ["levels", "ward", ["a", "b", "c"]]
STATE = ["levels", "state", ["event", "censored"]]
FALLS = ["number", "falls", (0.0).hex(), (9.0).hex(), 16, []]
RANKS = [["number", name, (1.0).hex(), (2.0).hex(), 8, []] for name in ("first", "second")]
VALUES: dict[str, Any] = {
    "age": "0 17.5 18 39.99 40 65 120 -1 121 nan 60 60.0009155 119 3 77",
    "mass": "30 200.5 29 300 nan 70 81.25 64 55 90 120 45.5 99 101 60",
    "sex": ["f", "m", "", None, "x", "f", "m", "f", "f", "m", "m", "f", "f", "m", "f"],
    "ward": ["a", "b", "c", "a", "b", "c", "d", "", "a", "b", "c", "a", "a", "a", "b"],
}
VALUES |= {
    "state": ["event", "censored", "event", "", "censored"] * 3,
    "falls": "0 3 1 9 2.5 0 nan 4 1 1 0 2 10 5 1",
    "first": "1 2 1 2 2 1 nan 1 2 1 1.5 2 1 1 2",
    "second": "2 1 2 2 1 2 1 2 1 2 1.5 1 2 2 1",
}
for _name in ("age", "mass", "falls", "first", "second"):
    VALUES[_name] = [float(value).hex() for value in VALUES[_name].split()]


def query(*statistics: Any, where: Any = (), group_by: str | None = None, **rest: Any) -> Case:
    given = {
        "dataset": "hospitals",
        "columns": [AGE, MASS, SEX, WARD, STATE, FALLS, *RANKS],
        "statistics": list(statistics),
    }
    return given | {"where": list(where), "group_by": group_by, "max_rows": 1_000_000, "cells": []} | rest


def one(kind: str, *columns: str, parameters: Any = ()) -> list[Any]:
    return [kind, list(columns), [float(value).hex() for value in parameters]]


QUERIES = {
    "a count": query(one("count")),
    "moments, which share their sums": query(one("mean", "age"), one("skewness", "age"), one("missing", "age")),
    "a pair": query(one("correlation", "age", "mass"), one("variance", "mass"), max_rows=(1 << 40) - 1),
    "bins": query(one("histogram", "age"), one("quantiles", "age", parameters=(0.25, 0.5)), one("median", "age")),
    "a table": query(one("table", "sex", "ward"), where=[["sex", "ne", "m"], ["mass", "known", None]]),
    "tests": query(
        one("frequencies", "ward"),
        one("top", "ward", parameters=(2,)),
        one("association", "sex", "ward"),
        one("mantel-haenszel", "sex", "state", "ward"),
        one("t-test", "age", "sex"),
        one("anova", "mass", "ward"),
    ),
    "regressions": query(
        one("linear", "mass", "age"),
        one("ridge", "mass", "age", parameters=(0.5,)),
        one("logistic", "state", "age", "mass", parameters=(0, 0, 0)),
        one("poisson", "falls", "age", parameters=(0.25, 0.0078125)),
    ),
    "two regressions of the same columns, of which one takes counts alone": query(
        one("poisson", "falls", "age", parameters=(0.25, 0.0078125)), one("linear", "falls", "age")
    ),
    "a step from elsewhere": query(one("logistic", "state", "age", "mass", parameters=(0.5, -0.01, 0.002))),
    "survival and scores": query(one("survival", "age", "state", "ward"), one("auc", "age", "state")),
    "votes": query(
        one("approval", "sex", "state"),
        one("borda", "first", "second"),
        one("consensus", "sex", parameters=(0.5,)),
        one("weighted", "sex", "ward", parameters=(1, 0, 2.5)),
    ),
    "beginnings of texts": query(
        one("top", "state|2", parameters=(1,)),
        one("table", "state|2", "ward"),
        columns=[WARD, ["levels", "state|2", ["ev", "ce"]]],
    ),
    "two of five groups": query(
        one("variance", "age"), one("histogram", "age"), group_by="ward", cells=["a", "(missing)"]
    ),
    "groups": query(one("mean", "age"), one("ecdf", "age"), group_by="sex", where=[["age", "ge", [(18.0).hex()]]]),
}


def cases() -> list[Case]:
    """All cases, in order."""
    found = []
    for name, given in QUERIES.items():
        found.append(_case(name, "query", given))
        text = found[-1]["output"]["bytes"]
        found.append(_case(name, "read_query", {"bytes": text}))
        limbs = _case(name, "site_limbs", {"query": text, "rows": 15, "columns": VALUES})
        sums = [3 * limb for limb in limbs["output"]]
        found += [limbs, _case(name, "join_limbs", {"query": text, "sums": sums, "sites": 3})]
    first = found[0]["output"]["bytes"]
    found.append(_case("no rows", "site_limbs", {"query": first, "rows": 0, "columns": {}}))
    found.append(_case("more rows than sites have", "join_limbs", {"query": first, "sums": [2_000_001], "sites": 2}))
    for name, given in _refused():
        found.append(_case(name, "query", given))
    for name, data in (("a byte too many", first + "00"), ("a byte too few", first[:-2]), ("no bytes", "")):
        found.append(_case(name, "read_query", {"bytes": data}))
    long_form = first.replace("ce000f4240", "cf00000000000f4240")  # max_rows in eight bytes
    found.append(_case("a number in a longer form", "read_query", {"bytes": long_form}))
    return found + list(_tables())


_TWO = [SEX, ["levels", "sex|1", ["f"]]]


def _refused() -> list[tuple[str, Case]]:
    upside_down = ["number", "age", (1.0).hex(), (0.0).hex(), 16, []]
    return [
        ("no statistics", query()),
        ("a minimum", query(one("min", "age"))),
        ("a column that is not declared", query(one("mean", "height"))),
        ("the mean of levels", query(one("mean", "sex"))),
        ("bounds upside down", query(one("mean", "age"), columns=[upside_down])),
        ("quantiles without edges", query(one("quantiles", "mass", parameters=(0.5,)))),
        ("a statistic twice", query(one("count"), one("count"))),
        ("a t-test of three levels", query(one("t-test", "age", "ward"))),
        ("a regression on nothing", query(one("linear", "mass"))),
        ("no penalty", query(one("ridge", "mass", "age", parameters=(0,)))),
        ("a coefficient too few", query(one("logistic", "state", "age", parameters=(0,)))),
        ("coefficients that ran away", query(one("poisson", "falls", "age", parameters=(0, 1)))),
        ("a step at two places", query(*(one("consensus", "sex", parameters=(at,)) for at in (0.5, 0.75)))),
        ("survival without edges", query(one("survival", "mass", "state"))),
        ("a weight too few", query(one("weighted", "sex", "ward", parameters=(1, 2)))),
        ("a negative weight", query(one("weighted", "sex", "ward", parameters=(1, 2, -1)))),
        ("weights of nothing", query(one("weighted", "sex", "ward", parameters=(0, 0, 0)))),
        (
            "a column at two lengths",
            query(one("frequencies", "sex"), one("top", "sex|1", parameters=(1,)), columns=_TWO),
        ),
        ("half a level", query(one("top", "ward", parameters=(1.5,)))),
        ("parameters of none", query(one("mean", "age", parameters=(1,)))),
        ("cells out of order", query(one("count"), group_by="ward", cells=["c", "a"])),
        ("cells without groups", query(one("count"), cells=["a"])),
        ("all cells by name", query(one("count"), group_by="sex", cells=["f", "m", "(other)", "(missing)"])),
        ("a table by groups", query(one("table", "sex", "ward"), group_by="sex")),
        ("a level that is not public", query(one("count"), where=[["sex", "eq", "x"]])),
        ("levels in an order", query(one("count"), where=[["sex", "lt", "f"]])),
        ("room for no rows", query(one("count"), max_rows=0)),
    ]


def _tables() -> list[Case]:
    found = []
    tables = (
        [[3, 20, 30], [40, 50, 60], [70, 80, 90]],
        [[1, 0, 55], [12, 9, 0], [30, 33, 2]],
        [[15, 2], [4, 27], [31, 8]],
    )
    for number, counts in enumerate(tables, 1):
        size, height = len(counts) * len(counts[0]), len(counts)
        rows = suppress_line([sum(row) for row in counts], 10)
        columns = suppress_line([sum(column) for column in zip(*counts, strict=True)], 10)
        lines = rows.small | rows.others, columns.small | columns.others
        cells = suppress_grid(counts, 10, hidden_rows=lines[0], hidden_columns=lines[1])
        hidden = {*cells.small, *cells.others}
        hidden |= {size + at for at in lines[0]} | {size + height + at for at in lines[1]}
        found.append(_case(f"table {number}", "determined", {"counts": counts, "hidden": sorted(hidden)}))
        bare = sorted(cells.small)[:1]
        found.append(_case(f"table {number}, one cell alone", "determined", {"counts": counts, "hidden": bare}))
    return found
