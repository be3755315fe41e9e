"""What `secagg stats` shows: facts for machines, and tables of 80 columns for people."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..simulation.queried import QueriedSites
from ..statistics.estimates.estimate import upwards
from ..statistics.finding import Finding


def stats_facts(asked: QueriedSites, levels_read: list[str]) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    answer, costs = asked.answer, list(asked.report.clients.values())
    return {
        "sites": answer.sites,
        "records": answer.records,
        "exact": asked.exact,
        "query": answer.digest.hex(),
        "refused": dict(asked.refused),
        "levels_from_data": levels_read,
        "policy": dict(vars(answer.policy)),
        "results": [_facts(finding) for finding in answer.findings],
        "seconds": asked.report.wall_seconds,
        "bytes": {"site_sent_max": max(cost.sent_bytes for cost in costs)},
    }


def _facts(finding: Finding) -> dict[str, Any]:
    error = finding.error
    facts = {
        "statistic": str(finding.statistic),
        "columns": list(finding.columns),
        "group": finding.group,
        "value": _plain(finding.value),
        "error": upwards(error) if isinstance(error, Fraction) else error,
        "n": finding.n,
        "suppressed": _plain(finding.suppressed),
    }
    return facts | ({"interval": list(finding.interval)} if finding.interval else {})


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def show_stats(asked: QueriedSites) -> None:
    """Print an answer for people."""
    answer, console = asked.answer, Console()
    records = "records hidden" if answer.records is None else f"{answer.records:,} records"
    exactly = "equal to the pooled data's" if asked.exact else "NOT THE POOLED DATA'S"
    console.print(Text(f"{answer.sites} sites, {records}; all sums are {exactly}"))
    for name, reason in asked.refused.items():
        console.print(Text(f"  {name} refused: {reason}"))
    numbers = [finding for finding in answer.findings if not isinstance(finding.value, dict)]
    if numbers:
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for name in ("statistic", "of", "value", "error", "n"):
            table.add_column(name, justify="left" if name in ("statistic", "of") else "right", overflow="fold")
        for finding in numbers:
            error = "" if not finding.error else f"{float(finding.error):.2g}"
            shown = _number(finding.value) if finding.value is not None else _rule(finding.suppressed)
            n = "" if finding.n is None else f"{finding.n:,}"
            table.add_row(str(finding.statistic), Text(_name(finding)), shown, error, n)
        console.print(table)
    for finding in answer.findings:
        if isinstance(finding.value, dict):
            console.print(Text(f"\n{finding.statistic} of {_name(finding)}"))
            console.print(_detail(finding.value))
    if any(isinstance(finding.suppressed, dict) for finding in answer.findings):
        console.print(Text("\n* hidden: a small cell, or what would betray one"))


def _name(finding: Finding) -> str:
    name = ", ".join(finding.columns) or "rows"
    return name if finding.group is None else f"{name} | {finding.group}"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{float(value):.8g}"


def _rule(rule: Any) -> Text:
    return Text("undefined" if rule == "undefined" else f"hidden: {rule}")


def _count(value: Any) -> str:
    return "*" if value is None else f"{value:,}"


def _detail(value: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2), pad_edge=False, show_header="rows" in value)
    if "rows" in value:
        table.add_column("")
        for name in (*value["columns"], "all"):
            table.add_column(Text(name), justify="right")
        for name, row, total in zip(value["rows"], value["counts"], value["row_totals"], strict=True):
            table.add_row(Text(name), *map(_count, row), _count(total))
        table.add_row("all", *map(_count, value["column_totals"]), "")
        return table
    table.add_column()
    table.add_column(justify="right")
    if "counts" in value:
        edges = value["edges"]
        table.add_row("below", _count(value["below"]))
        for low, high, count in zip(edges, edges[1:], value["counts"], strict=False):
            table.add_row(Text(f"[{low:g}, {high:g})"), _count(count))
        table.add_row("above", _count(value["above"]))
        table.add_row("missing", _count(value["missing"]))
    elif "shares" in value:
        for edge, share in zip(value["edges"], value["shares"], strict=True):
            table.add_row(f"below {edge:g}", "*" if share is None else f"{float(share):.6f}")
    elif "brackets" in value:
        for quantile, (low, high) in zip(value["quantiles"], value["brackets"], strict=True):
            ends = (
                "below all edges" if low is None else f"{low:g}",
                "above all edges" if high is None else f"{high:g}",
            )
            table.add_row(f"{quantile:g}", Text(" to ".join(ends)))
    else:
        for name, count in value.items():
            table.add_row(Text(name), _count(count))
    return table
