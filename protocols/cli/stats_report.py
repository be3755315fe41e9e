"""An answer as one HTML page that needs nothing else: what was asked, of whom, what is hidden, and pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from secagg.errors import MissingDependencyError

from ..reporting import charts, page, tables
from ..reporting.charts import Line, Reach
from ..reporting.tables import Grid
from ..reporting.words import size_of
from ..simulation.queried import QueriedSites
from ..statistics.answer import Answer
from ..statistics.columns import Levels
from ..statistics.estimates.significance import t_quantile
from ..statistics.finding import Finding
from ..statistics.grids import WORDS, bracket, gate_in_words, grids_of, name_of, named_counts, number, rule_of
from ..statistics.kinds import Kind
from ..statistics.query import Query
from ..statistics.query_words import query_words

_MOST_NAMED = 12
_MOST_ROWS = 40
"""A forest plot of more rows is not looked at: the table has them."""
_MOST_PAIRS = 15
"""More correlations are a matrix."""
_MOST_BESIDE = 4
"""Columns of a table beside a picture."""
_STYLE = f"""{page.DARK}
.verdict {{ border-left: .5rem solid var(--good); padding: .8rem 1.2rem; background: var(--panel); }}
.verdict.wrong {{ border-color: var(--bad); }} .verdict strong {{ font-size: 1.2rem; display: block; }}
.shown {{ display: grid; grid-template-columns: minmax(0, 34rem) minmax(0, 1fr); gap: .5rem 2rem; align-items: start; }}
h3 {{ font-size: 1rem; margin: 1.6rem 0 .4rem; overflow-wrap: anywhere; }}
figure {{ margin: 0; }} figcaption, .told {{ color: var(--dim); font-size: .87rem; margin: .2rem 0 .6rem; }}
@media (max-width: 45rem) {{ .shown {{ grid-template-columns: minmax(0, 1fr); }} }}
{tables.STYLE}{charts.STYLE}"""


def report_page(query: Query, asked: QueriedSites, levels_read: Sequence[str] = ()) -> str:
    """Return the page. It tells what the analyst is told, and no site's own number.

    Args:
        query: what was asked.
        asked: what came of it.
        levels_read: columns whose levels were taken from the data.
    """
    answer = asked.answer
    singles = [finding for finding in answer.findings if not isinstance(finding.value, Mapping)]
    parts = [
        f"<h1>Statistics of {escape(query.dataset)}</h1>",
        _verdict(asked),
        _section(
            "What was asked",
            page.facts(_asked(query))
            + "<h3>Columns, as they were declared</h3>"
            + page.facts(_columns(query, levels_read)),
        ),
        _section("What is hidden, and why", _hidden(answer)),
        _section("Numbers", _about(_ERRORS) + tables.html(_numbers(singles)) + "".join(_plots(answer)))
        if singles
        else "",
    ]
    for finding in answer.findings:
        if isinstance(finding.value, Mapping):
            title = f"{finding.statistic} of {name_of(finding)}"
            parts.append(_shown(title, _picture(finding, title), grids_of(finding.value, finding.reason), finding.n))
    parts.append(_section("What it cost, and what is seen of whom", page.facts(_costs(asked)) + _about(_SERVER)))
    return page.document(f"Statistics of {query.dataset}", "\n".join(parts), _STYLE)


_ERRORS = (
    "The error is what rounding of values before they were added has left: the rows as they are have a value at most "
    "that far away. It says nothing about chance. An interval does: 95 of 100 such intervals hold what a much larger "
    "sample would give. For means it is Student's, where a deviation or a variance was asked beside them."
)
_SERVER = (
    "No site's table and no site's sum left it: each added its numbers under masks that cancel in the sum alone. "
    "Whoever runs the server sees the sums as they are, small counts included. What is hidden here is hidden from who "
    "reads this page."
)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _about(text: str) -> str:
    return f'<p class="about">{escape(text)}</p>'


def _verdict(asked: QueriedSites) -> str:
    answer = asked.answer
    records = "how many records is hidden" if answer.records is None else f"{answer.records:,} records"
    exactly = "Every sum is that of the pooled rows." if asked.exact else "THE SUMS ARE NOT THOSE OF THE POOLED ROWS."
    gone = len(asked.report.participants) - answer.sites
    vanished = f" {gone} more vanished on the way." if gone else ""
    refused = "".join(f"<li>{escape(name)} refused: {escape(why)}</li>" for name, why in asked.refused.items())
    return (
        f'<div class="verdict{"" if asked.exact else " wrong"}"><strong>{answer.sites} sites, {records}</strong>'
        f"{exactly}{vanished}{f'<ul>{refused}</ul>' if refused else ''}</div>"
    )


def _asked(query: Query) -> dict[str, str]:
    return query_words(query) | {"digest of the question": query.digest.hex()}


def _columns(query: Query, levels_read: Sequence[str]) -> dict[str, str]:
    found = {}
    for column in query.columns:
        if isinstance(column, Levels):
            read = " (read from the files)" if column.name in levels_read else ""
            found[column.name] = f"levels {', '.join(column.levels)}{read}"
        else:
            bins = (
                f", and {len(column.edges) - 1} bins from {column.edges[0]:g} to {column.edges[-1]:g}"
                if column.edges
                else ""
            )
            found[column.name] = f"{column.lo:g} to {column.hi:g}, in {column.bits} bits{bins}"
    return found


def _hidden(answer: Answer) -> str:
    found = Counter[str]()
    for finding in answer.findings:
        rules = finding.suppressed.values() if isinstance(finding.suppressed, Mapping) else [finding.suppressed]
        found.update(str(each) for each in rules if each is not None)
    lines = (
        f"<li><b>{escape(each)}</b>, in {n:,} places: {escape(WORDS.get(each, ''))}</li>" for each, n in found.items()
    )
    return _about(gate_in_words(answer.policy)) + (
        f"<ul>{''.join(lines)}</ul>" if found else _about("Here nothing had to be hidden.")
    )


def _numbers(findings: Sequence[Finding]) -> Grid:
    rows = []
    for finding in findings:
        ends = interval_of(finding, findings)
        shown = (
            (rule_of(finding), "", "")
            if finding.value is None
            else (
                number(finding.value),
                f"{float(finding.error):.2g}" if finding.error else "0",
                "" if ends is None else f"{ends[0]:.5g} to {ends[1]:.5g}",
            )
        )
        n = "" if finding.n is None else f"{finding.n:,}"
        rows.append((f"{finding.statistic} of {name_of(finding)}", *shown, n))
    return Grid(("", "value", "error", "95 % interval", "n"), tuple(rows))


def interval_of(finding: Finding, among: Sequence[Finding]) -> tuple[float, float] | None:
    """Return a finding's interval; of a mean Student's, if the deviation or variance of the same rows is told, too."""
    if finding.interval is not None or finding.statistic is not Kind.MEAN or finding.value is None:
        return finding.interval
    for other in among:
        same = (other.columns, other.group, other.n) == (finding.columns, finding.group, finding.n)
        if same and other.statistic in (Kind.DEVIATION, Kind.VARIANCE) and other.value is not None:
            n, spread = finding.n or 0, float(other.value)
            variance = spread if other.statistic is Kind.VARIANCE else spread**2
            try:
                reach = t_quantile(0.95, n - 1) * math.sqrt(variance / n)
            except MissingDependencyError:
                return None
            return float(finding.value) - reach, float(finding.value) + reach
    return None


def _plots(answer: Answer) -> Iterator[str]:
    """Draw what is given by groups, and correlations, each kind on one axis."""
    plain = [finding for finding in answer.findings if not isinstance(finding.value, Mapping)]
    for (kind, columns), found in groupby(plain, lambda one: (one.statistic, () if _alike(one) else one.columns)):
        findings = [finding for finding in found if finding.group is not None or _alike(finding)]
        if len(findings) > _MOST_PAIRS and _alike(findings[0]):
            yield _matrix(findings)
            continue
        if not 2 <= len(findings) <= _MOST_ROWS:
            continue
        title = f"{kind} of {', '.join(columns) or ('pairs' if _alike(findings[0]) else 'rows')}"
        names = [", ".join(one.columns) if one.group is None else one.group for one in findings]
        if all(one.value is None or isinstance(one.value, int) for one in findings):
            rows = [(name, one.value) for name, one in zip(names, findings, strict=True)]
            yield _shown(title, charts.bars(title, "Rows.", rows), [], None)
            continue
        reaches = []
        for name, one in zip(names, findings, strict=True):
            low, high = interval_of(one, plain) or (None, None)
            value = None if one.value is None else float(one.value)
            reaches.append(Reach(name, value, low, high, rule_of(one) if value is None else _short(value, low, high)))
        told = "Points and 95 % intervals." if any(row.low is not None for row in reaches) else "Points."
        yield _shown(title, charts.forest(title, told, reaches, ", ".join(columns) or str(kind)), [], None)


def _matrix(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(name for one in findings for name in one.columns))
    values = {
        (first, second): None if one.value is None else float(one.value)
        for one in findings
        for first, second in [one.columns]
    }
    told = "Each pair by its shade, from 0 to 1, and in the other colour below 0; what is dashed is hidden."
    return _shown("correlation of pairs", charts.matrix("correlation of pairs", told, names, values), [], None)


def _alike(finding: Finding) -> bool:
    """Tell whether numbers of several columns share an axis."""
    return finding.statistic is Kind.CORRELATION


def _short(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} ({low:.4g} to {high:.4g})"


def _picture(finding: Finding, title: str) -> str:
    """Draw a value of several parts by its form, whatever its kind; nothing where no picture fits."""
    unit = finding.columns[0] if finding.columns else ""
    value: Mapping[str, Any] = finding.value
    named, drawn = named_counts(value), ""
    match value:
        case {"edges": edges, "counts": counts}:
            gone = sum(each is None for each in counts)
            told = f"Rows in {len(counts)} bins." + (
                f" {gone} are hidden: dashed, whatever their height." if gone else ""
            )
            drawn = charts.histogram(title, told, edges, counts, unit)
        case {"edges": edges, "shares": shares}:
            told = "At each edge the share of rows below it; between two edges it is between theirs."
            line = Line("", edges, [None if share is None else float(share) for share in shares])
            drawn = charts.curves(title, told, [line], unit, "share below")
        case {"times": _, "curves": found}:
            lines = [_curve(each) for each in found if each["points"]]
            told = "The share without an event, with a band at 95 %."
            drawn = charts.curves(title, told, lines, unit, "share left") if lines else ""
        case {"quantiles": quantiles, "brackets": brackets}:
            rows = [
                Reach(f"{q:g}", None, low, high, bracket(low, high))
                for q, (low, high) in zip(quantiles, brackets, strict=True)
            ]
            drawn = charts.forest(title, "Each quantile is within its bracket.", rows, unit)
        case {"coefficients": coefficients}:
            rows = [_reach(each["name"], each) for each in coefficients[1:]]  # the intercept has another scale
            drawn = charts.forest(title, "Coefficients but the intercept.", rows, "coefficient")
        case {"student": {"difference": _}, "welch": {"difference": _}}:
            rows = [_reach(test, value[test]["difference"] | value[test]) for test in ("student", "welch")]
            drawn = charts.forest(title, "The difference of both means, first less second.", rows, unit)
        case _ if named is not None and len(named) <= _MOST_ROWS:
            drawn = charts.bars(title, "Rows. What is dashed is hidden." if None in dict(named).values() else "", named)
    return drawn


def _reach(name: str, part: Mapping[str, Any]) -> Reach:
    low, high = map(float, part["interval"]) if part.get("interval") else (None, None)
    value = float(part["value"])
    return Reach(name, value, low, high, _short(value, low, high))


def _curve(of: Mapping[str, Any]) -> Line:
    points = of["points"]
    bands = [point["interval"] or (point["survival"], point["survival"]) for point in points]
    return Line(
        of["group"] or "all",
        [min(0.0, points[0]["time"]), *(point["time"] for point in points)],
        [1.0, *(float(point["survival"]) for point in points)],
        [1.0, *(float(low) for low, _ in bands)],
        [1.0, *(float(high) for _, high in bands)],
    )


def _shown(title: str, figure: str, grids: Sequence[Grid], n: int | None) -> str:
    told = f'<p class="told">of {n:,} records</p>' if n is not None else ""
    laid = "".join(map(tables.html, grids))
    beside = figure and all(len(grid.rows[0]) <= _MOST_BESIDE for grid in grids if grid.rows)
    inner = f'<div class="shown">{figure}<div>{laid}</div></div>' if beside else figure + laid
    return f"<section><h3>{escape(title)}</h3>{told}{inner}</section>"


def _costs(asked: QueriedSites) -> dict[str, str]:
    many = len(asked.reports)
    return {
        "sessions": f"{many}",
        "a site sends": f"at most {size_of(asked.most_sent)}",
        "everyone, on one machine": f"{asked.seconds:.2f} s",
        "session" if many == 1 else "last session": asked.reports[-1].session_id.hex(),
    }
