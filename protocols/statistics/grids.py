"""Findings as tables of texts, for a terminal and for a page: laid out by the form of the value, whatever its kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from ..reporting.tables import Grid
from .finding import Finding
from .release import ReleasePolicy

WORDS = {
    "sites": "fewer sites are in the sum, or on one side, than are asked for",
    "records": "fewer records are in the sum than are asked for, or than the least count that is shown",
    "cell": "a count from 1 to below the least that is shown, or what would betray one",
    "complementary": "beside what is shown it would tell of few rows",
    "together": "it shares a column with another statistic: ask for it in a question of its own",
    "table": "the margins of its table bound some such count too closely",
    "parameters": "too few records for so many coefficients",
    "undefined": "nothing is hidden: these data have no such number",
}
"""Rule -> what it says, in words."""
_NAMED = ("levels", "candidates")
_COUNTED = ("counts", "approvals", "points")


def gate_in_words(policy: ReleasePolicy) -> str:
    """Return what an analyst is shown, in two sentences."""
    small = (
        f"Counts from 1 to {policy.min_cell - 1} are hidden, and what would betray one of them by subtraction."
        if policy.min_cell > 1
        else "No count is too small to be shown."
    )
    return f"At least {policy.min_sites} sites and {policy.least_records} records, or nothing is shown. {small}"


def name_of(finding: Finding) -> str:
    """Return what a finding is of: columns and group."""
    name = ", ".join(finding.columns) or "rows"
    return name if finding.group is None else f"{name} | {finding.group}"


def rule_of(finding: Finding) -> str:
    """Return why there is no value, in a word or two."""
    if finding.suppressed == "undefined":
        return f"undefined: {finding.reason}" if finding.reason else "undefined"
    return f"hidden: {finding.suppressed}"


def rules_of(suppressed: Any) -> Iterator[str]:
    """Return the rules that hide something of a finding, from its `suppressed`; some perhaps more than once."""
    if isinstance(suppressed, Mapping):
        for each in suppressed.values():
            yield from rules_of(each)
    elif suppressed:
        yield str(suppressed)


def number(value: Any) -> str:
    """Return a number as text, of about eight digits."""
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{float(value):.8g}"


def count(value: Any) -> str | None:
    """Return a count as text; None where it is hidden."""
    return None if value is None else f"{value:,}"


def grids_of(value: Mapping[str, Any], reason: str | Mapping[str, str] | None = None) -> list[Grid]:
    """Return the tables of a finding of several parts, from its value and the reason why parts have none."""
    if isinstance(reason, Mapping):
        value = {**value, **{name: f"undefined: {why}" for name, why in reason.items()}}
    named = named_counts(value)
    rows: list[tuple[str | None, ...]]
    match value:
        case {"rows": _, "columns": _, "counts": _}:
            return [_table(value)]
        case {"times": _, "curves": curves}:
            return [*_curves(curves), *_rest({key: value[key] for key in value.keys() - {"times", "curves"}})]
        case {"edges": edges, "counts": counts}:
            bins = zip(pairwise(edges), counts, strict=True)
            rows = [("below", count(value["below"])), *((f"[{low:g}, {high:g})", count(n)) for (low, high), n in bins)]
            rows += [(outside, count(value[outside])) for outside in ("above", "missing")]
        case {"edges": edges, "shares": shares}:
            pairs = zip(edges, shares, strict=True)
            rows = [(f"below {edge:g}", None if share is None else f"{float(share):.6f}") for edge, share in pairs]
        case {"quantiles": quantiles, "brackets": brackets}:
            rows = [(f"{q:g}", bracket(*ends)) for q, ends in zip(quantiles, brackets, strict=True)]
        case {"levels": names, "votes": votes, "weightless": weightless}:
            each = zip(names, votes, strict=True)
            rows = [*((name, None if vote is None else number(vote)) for name, vote in each)]
            rows.append(("rows without a weight", count(weightless)))
        case _ if named is not None:
            rows = [(name, count(n)) for name, n in named]
        case _:
            return _rest(value)
    return [Grid((), tuple(rows))]


def named_counts(value: Mapping[str, Any]) -> list[tuple[str, int | None]] | None:
    """Return names and counts where a value is nothing else, None where it is."""
    lists = [next((value[key] for key in keys if key in value), None) for keys in (_NAMED, _COUNTED)]
    if len(value) == 2 and lists[0] is not None and lists[1] is not None:
        return list(zip(*lists, strict=True))
    if value and all(each is None or (isinstance(each, int) and not isinstance(each, bool)) for each in value.values()):
        return list(value.items())
    return None


def bracket(low: float | None, high: float | None) -> str:
    """Return two edges in words."""
    return f"{'below all edges' if low is None else f'{low:g}'} to {'above all edges' if high is None else f'{high:g}'}"


def _table(value: Mapping[str, Any]) -> Grid:
    rows = [
        (name, *map(count, row), count(total))
        for name, row, total in zip(value["rows"], value["counts"], value["row_totals"], strict=True)
    ]
    most = max([n for row in value["counts"] for n in row if n] or [1])
    heat = [(None, *(None if n is None else n / most for n in row), None) for row in value["counts"]]
    totals = ("all", *map(count, value["column_totals"]), "")
    return Grid(("", *value["columns"], "all"), (*rows, totals), (*heat, (None,) * len(totals)))


def _curves(curves: Sequence[Mapping[str, Any]]) -> Iterator[Grid]:
    head = ("group", "records", "beyond", "median")
    rows = [
        (str(curve["group"] or "all"), count(curve["n"]), count(curve["beyond"]), _part(curve["median"]))
        for curve in curves
    ]
    yield Grid(head, tuple(rows))
    for curve in curves:
        points = [
            (
                f"{point['time']:g}",
                f"{float(point['survival']):.4f}",
                "" if point["interval"] is None else _ends(point["interval"], 4),
                count(point["at_risk"]),
            )
            for point in curve["points"]
        ]
        head = ("time" if curve["group"] is None else f"{curve['group']}: time", "share", "95 % interval", "at risk")
        yield Grid(head, tuple(points))


def _rest(value: Mapping[str, Any]) -> list[Grid]:
    """Lay out a value of parts: lines of numbers first, then a table for each list or dict of parts of one form."""
    facts: list[tuple[str | None, ...]] = []
    grids: list[Grid] = []
    for key, each in value.items():
        if key == "next":  # what machines ask from; the coefficients are there
            continue
        name = key.replace("_", " ")
        parts = [{"": at} | part for at, part in each.items()] if _parts(each) else each
        if isinstance(parts, list) and parts and all(isinstance(part, Mapping) for part in parts):
            head = list(dict.fromkeys(one for part in parts for one in part))
            rows = tuple(tuple(_entry(one, part.get(one, "")) for one in head) for part in parts)
            grids.append(Grid(tuple("p" if one == "test" else one.replace("_", " ") for one in head), rows))
        elif isinstance(each, Mapping) and not each.keys() & {"value", "statistic"}:
            facts += [(f"{name}: {inner.replace('_', ' ')}", _part(part)) for inner, part in each.items()]
        else:
            facts.append((name, _part(each)))
    return ([Grid((), tuple(facts))] if facts else []) + grids


def _parts(value: Any) -> bool:
    """Tell whether these are names with parts of one form, as the means of groups are."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(part, Mapping) and "n" in part and "value" in part for part in value.values())
    )


def _part(value: Any) -> str:
    """Return a part in one line."""
    match value:
        case None:
            text = "none"
        case {"statistic": statistic, "degrees": degrees, "p": p}:
            text = f"{float(statistic):.5g}, df {', '.join(f'{each:.5g}' for each in degrees)}, p = {float(p):.3g}"
        case {"value": inner, "interval": interval}:
            text = f"{number(inner)} ({_ends(interval)})"
        case {"value": inner}:
            text = number(inner)
        case [float(), float()]:
            text = _ends(value)
        case list() | tuple():
            text = ", ".join(map(_part, value))
        case Mapping():
            text = ", ".join(f"{key} {_part(each)}" for key, each in value.items())
        case _:
            text = number(value)
    return text


def _entry(name: str, value: Any) -> str:
    """Return a part as an entry of a table, in few digits: there is more in the JSON."""
    if name == "test" and isinstance(value, Mapping):
        return f"{float(value['p']):.3g}"
    if name == "error":
        return f"{math.inf if value is None else float(value):.2g}"
    if name == "interval" and value:
        return _ends(value, 4)
    if isinstance(value, Mapping):
        return f"{float(value['value']):.4g}"
    return f"{float(value):.6g}" if isinstance(value, float | Fraction) else _part(value)


def _ends(interval: Sequence[float | None], digits: int = 5) -> str:
    ends = zip(interval, (-math.inf, math.inf), strict=True)
    return " to ".join(f"{beyond if end is None else float(end):.{digits}g}" for end, beyond in ends)
