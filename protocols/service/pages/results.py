"""A session's result as tables: findings by their form, sums as numbers in lines, anything else as it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ...reporting import tables
from ...reporting.page import facts
from ...reporting.tables import Grid
from ...reporting.words import many
from ...statistics.facts import finding_of
from ...statistics.finding import Finding
from ...statistics.grids import WORDS, grids_of, name_of, number, rule_of, rules_of
from .frame import names

_PER_LINE = 8
_LEFT_OUT = {"version", "kind", "levels", "query", "results", "survivors", "sums", "policy", "sites", "records"}
"""What of a result has a place of its own, or is for machines."""


def result_tables(result: str) -> str:
    """Return the HTML of a result.

    Args:
        result: JSON, as a session's view has it.
    """
    try:
        found = json.loads(result)
    except ValueError:
        return "<p>The result cannot be read here.</p>"
    if not isinstance(found, Mapping):
        return _list("result", found) if isinstance(found, list) else f"<p>{escape(_text(found))}</p>"
    return "".join(_parts(found))


def _parts(found: Mapping[str, Any]) -> Iterator[str]:
    results = found.get("results")
    if isinstance(results, list):
        records = found.get("records")
        of = "how many records is hidden" if records is None else many(records, "record")
        yield f"<p><b>{many(found.get('sites', 0), 'site')}, {escape(of)}</b> in the sum.</p>"
        yield from _findings(results)
    sums = found.get("sums")
    if isinstance(sums, Mapping):
        for name, values in sums.items():
            yield f"<h3>{escape(str(name))}</h3>{_list(str(name), values)}"
    survivors = found.get("survivors")
    if isinstance(survivors, list):
        yield f"<h3>In the sum: {len(survivors):,}</h3>{names(map(str, survivors))}"
    rest = {key: value for key, value in found.items() if key not in _LEFT_OUT and value not in (None, [], {})}
    if rest:
        yield facts({key.replace("_", " "): _text(value) for key, value in rest.items()})


def _findings(results: Sequence[Any]) -> Iterator[str]:
    findings = [finding for each in results if (finding := finding_of(each)) is not None]
    singles = [each for each in findings if not isinstance(each.value, Mapping)]
    if singles:
        yield tables.html(Grid(("", "value", "error", "95 % interval", "n"), tuple(map(_row, singles))), "Numbers")
    for finding in findings:
        if isinstance(finding.value, Mapping):
            title = f"{finding.statistic} of {name_of(finding)}"
            of = f' <small class="dim">of {finding.n:,} records</small>' if finding.n is not None else ""
            yield f"<h3>{escape(title)}{of}</h3>"
            grids = _grids(finding)
            yield _all_hidden(finding, grids) or "".join(tables.html(grid, title) for grid in grids)
    hidden = {rule for each in findings for rule in rules_of(each.suppressed)}
    if hidden:
        yield "<h3>What is hidden, and why</h3>"
        yield facts({rule: WORDS.get(rule, "by a rule of the release") for rule in sorted(hidden)})


def _all_hidden(finding: Finding, grids: Sequence[Grid]) -> str:
    """Return a sentence where nothing but names would stand in tables; empty otherwise."""
    if any(cell for grid in grids for row in grid.rows for cell in row[1:]):
        return ""
    rules = ", ".join(sorted(set(rules_of(finding.suppressed))))
    return f'<p class="dim">All of it is hidden{f": {escape(rules)}" if rules else ""}.</p>'


def _row(finding: Finding) -> tuple[str, ...]:
    name = f"{finding.statistic} of {name_of(finding)}"
    n = "" if finding.n is None else f"{finding.n:,}"
    if finding.value is None:
        return name, rule_of(finding), "", "", n
    ends = "" if finding.interval is None else f"{finding.interval[0]:.5g} to {finding.interval[1]:.5g}"
    return name, number(finding.value), f"{float(finding.error):.2g}" if finding.error else "0", ends, n


def _grids(finding: Finding) -> list[Grid]:
    try:
        return grids_of(finding.value, finding.reason)
    except (KeyError, TypeError, ValueError, IndexError):  # a form that a later release gives
        return [Grid((), tuple((key, _text(each)) for key, each in finding.value.items()))]


def _list(name: str, values: Any) -> str:
    """Return numbers in lines, each line with the place of its first."""
    if not isinstance(values, list) or not values:
        return f"<p>{escape(_text(values))}</p>"
    cells = [_text(each) for each in values]
    if len(cells) <= _PER_LINE:
        return tables.html(Grid(("", *map(str, range(len(cells)))), (("value", *cells),)), name)
    rows = []
    for start in range(0, len(cells), _PER_LINE):
        line = cells[start : start + _PER_LINE]
        rows.append((f"{start}", *line, *[""] * (_PER_LINE - len(line))))
    return tables.html(Grid(("from", *(f"+{place}" for place in range(_PER_LINE))), tuple(rows)), name)


def _text(value: Any) -> str:
    match value:
        case bool() | None:
            return {True: "yes", False: "no", None: "none"}[value]
        case int() | float():
            return number(value)
        case Mapping():
            return ", ".join(f"{key}: {_text(each)}" for key, each in value.items())
        case list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
