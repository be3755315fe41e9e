"""What `secagg stats` shows: facts for machines, and tables of 80 columns for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..reporting.tables import Grid
from ..simulation.queried import QueriedSites
from ..statistics.facts import answer_facts
from ..statistics.finding import Finding
from ..statistics.grids import WORDS, grids_of, name_of, number, rule_of, rules_of
from .tables import print_lines

_MANY = 5
"""Columns that stand closer, so that 80 characters hold them."""


def stats_facts(asked: QueriedSites, levels_read: list[str]) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    answer = asked.answer
    return {
        **answer_facts(answer),
        "exact": asked.exact,
        "refused": dict(asked.refused),
        "levels_from_data": levels_read,
        "sessions": len(asked.reports),
        "seconds": asked.seconds,
        "bytes": {"site_sent_max": asked.most_sent},
    }


def show_stats(asked: QueriedSites) -> None:
    """Print an answer for people."""
    answer, console = asked.answer, Console()
    records = "records hidden" if answer.records is None else f"{answer.records:,} records"
    exactly = "equal to the pooled data's" if asked.exact else "NOT THE POOLED DATA'S"
    console.print(Text(f"{answer.sites} sites, {records}; all sums are {exactly}"))
    for name, reason in asked.refused.items():
        console.print(Text(f"  {name} refused: {reason}"))
    if show_findings(answer.findings, console):
        console.print(Text("\n* hidden: a small cell, or what would betray one"))
    show_rules([each for each in answer.findings if each.value is None], console)


def show_findings(findings: Sequence[Finding], console: Console) -> bool:
    """Print findings for people; tell whether cells of tables are hidden."""
    numbers = [finding for finding in findings if not isinstance(finding.value, Mapping)]
    if numbers:
        table = Table(box=None, padding=(0, 2), pad_edge=False)
        for name in ("statistic", "of", "value", "error", "n"):
            table.add_column(name, justify="left" if name in ("statistic", "of") else "right", overflow="fold")
        for finding in numbers:
            error = "" if not finding.error else f"{float(finding.error):.2g}"
            shown = number(finding.value) if finding.value is not None else rule_of(finding)
            n = "" if finding.n is None else f"{finding.n:,}"
            table.add_row(str(finding.statistic), Text(name_of(finding)), Text(shown), error, n)
        console.print(table)
    gone = False
    for finding in findings:
        if isinstance(finding.value, Mapping):
            console.print(Text(f"\n{finding.statistic} of {name_of(finding)}"))
            for grid in grids_of(finding.value, finding.reason):
                gone = gone or any(None in row for row in grid.rows)
                console.print(_table(grid))
    return gone


def show_rules(findings: Sequence[Finding], console: Console) -> None:
    """Say in words what each rule means that hides something of these findings."""
    for rule in sorted({rule for each in findings for rule in rules_of(each.suppressed)} - {"undefined"}):
        print_lines(f"hidden: {rule}: {WORDS.get(rule, 'by a rule of the release')}", console, "", "  ")


def _table(grid: Grid) -> Table:
    width = len(grid.rows[0]) if grid.rows else len(grid.head)
    table = Table(box=None, padding=(0, 2 if width < _MANY else 1), pad_edge=False, show_header=bool(grid.head))
    for at in range(width):
        name = Text(grid.head[at]) if grid.head else ""
        table.add_column(name, justify="right" if at else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text("*" if text is None else text) for text in row))
    return table
