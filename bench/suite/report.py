"""The report: Markdown with pictures beside it, one HTML page that needs nothing else, and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from protocols.reporting import page
from secagg.errors import MissingDependencyError

from . import plots, tables
from .findings import Finding, Rival
from .parts import chosen
from .results import Results

MARKDOWN, FOLDER = "REPORT.md", "report"
_STYLE = """
table.compared td:first-child { min-width: 15rem; } table.compared small { white-space: nowrap; }
table.compared td:nth-child(n+2) { font-variant-numeric: tabular-nums; }
table.compared td:nth-child(2), table.compared td.better { font-weight: 600; white-space: nowrap; }
td.better { color: var(--good); } td.worse { color: var(--bad); }
td small { color: var(--dim); font-weight: 400; display: block; }
.absent { color: var(--idle); }
ul.about { color: var(--dim); padding-left: 1.2rem; max-width: 56rem; }
details { border-top: 1px solid var(--line); padding: .5rem 0; }
summary { cursor: pointer; font-weight: 600; }
details table { width: auto; min-width: 40rem; }
"""
_CLAIM = "How it compares: secagg"


def write(results: Results, folder: Path) -> list[Path]:
    """Write REPORT.md, and beside it a folder `report` with pictures, report.html and report.json; return the paths.

    Raises:
        OSError: they cannot be written.
    """
    beside = folder / FOLDER
    beside.mkdir(parents=True, exist_ok=True)
    written = [folder / MARKDOWN, beside / "report.html", beside / "report.json"]
    pictures = draw(results)
    for path, text in zip(
        written,
        (markdown(results, pictures), html(results, pictures), json.dumps(results.facts(), indent=2) + "\n"),
        strict=True,
    ):
        path.write_text(text, encoding="utf-8")
    for name, svg in pictures.items():
        path = beside / f"{name}.svg"
        path.write_bytes(svg)
        written.append(path)
    return written


def draw(results: Results) -> dict[str, bytes]:
    """Return curve's name -> picture; nothing without matplotlib."""
    try:
        return {curve.name: plots.svg(curve) for curve in results.curves}
    except MissingDependencyError:
        return {}


def markdown(results: Results, pictures: dict[str, bytes]) -> str:
    """Return the page for repositories; pictures are files of the folder beside it."""
    lines = [f"# {_CLAIM} {results.versions['secagg']}", "", _again(results), ""]
    lines += [f"- {name}: {value}" for name, value in tables.head(results).items()]
    lines += ["", "## Compared", "", tables.ABOUT, ""]
    lines += ["| " + " | ".join(tables.HEADINGS) + " |", "|---|--:|---|--:|---|--:|"]
    notes = tables.noted(results)
    lines += ["| " + " | ".join(map(_escape, tables.cells(row, notes))) + " |" for row in results.rows]
    lines += ["", *(f"- {_escape(remark)}" for remark in tables.remarks(results))]
    if pictures:
        titles = _titles(results)
        lines += ["", "## Over clients, length and dropouts", ""]
        lines += [f"![{_escape(titles[name])}]({FOLDER}/{name}.svg)" for name in pictures]
    lines += ["", "## Figure by figure", ""]
    lines += [_section(finding) for finding in results.findings]
    return "\n".join(lines).rstrip() + "\n"


def html(results: Results, pictures: dict[str, bytes]) -> str:
    """Return the page for people."""
    title = f"{_CLAIM} {results.versions['secagg']}"
    titles = _titles(results)
    drawn = "".join(page.picture(titles[name], svg) for name, svg in pictures.items())
    missing = "" if pictures or not results.curves else '<p class="about">plots need matplotlib</p>'
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="about">{_code(_again(results))}</p>',
        page.facts(tables.head(results)),
        f'<section><h2>Compared</h2><p class="about">{escape(tables.ABOUT)}</p>{_table(results)}{_remarks(results)}'
        "</section>",
        f'<section><h2>Over clients, length and dropouts</h2>{missing}<div class="plots">{drawn}</div></section>'
        if results.curves
        else "",
        f"<section><h2>Figure by figure</h2>{''.join(map(_details, results.findings))}</section>",
    ]
    return page.document(title, "\n".join(parts), _STYLE)


def _again(results: Results) -> str:
    quick = results.scale == "quick"
    measured = [part.name for part in results.parts]
    options = " --quick" if quick else ""
    if measured != [part.name for part in chosen((), quick=quick)]:
        options += "".join(f" --only {name}" for name in measured)
    return (
        f"Made by `python -m bench.suite{options}`, from a source checkout. Contenders took turns on one machine; take "
        "ratios from here, not seconds."
    )


def _titles(results: Results) -> dict[str, str]:
    """Return curve's name -> what it shows, for those who cannot see it; titles alone are not distinct."""
    return {curve.name: f"{curve.up} over {curve.across}: {curve.title}" for curve in results.curves}


def _code(text: str) -> str:
    """Return text as HTML, with what stands between backticks as code."""
    words = escape(text).split("`")
    return "".join(f"<code>{word}</code>" if number % 2 else word for number, word in enumerate(words))


def _table(results: Results) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in tables.HEADINGS)
    notes = tables.noted(results)
    body = []
    for row in results.rows:
        what, ours, _, better, _, over = map(escape, tables.cells(row))
        gain = row.peer.ratio.median if row.peer and row.peer.ratio else None
        kind = "idle" if gain is None else "better" if gain >= 1 else "worse"
        body.append(
            f"<tr><td>{what}</td><td>{ours}</td><td>{_rival(row.peer, row.unit, notes)}</td>"
            f'<td class="{kind}">{_small(better)}</td><td>{_rival(row.limit, row.unit, notes)}</td>'
            f"<td>{_small(over)}</td></tr>\n"
        )
    return f'<table class="compared"><tr>{head}</tr>\n{"".join(body)}</table>'


def _rival(rival: Rival | None, unit: str, notes: Sequence[str]) -> str:
    """Put who it is beneath the figure."""
    if rival is None:
        return "—"
    if rival.value is None:
        return f'<span class="absent">not to be had</span><small>{escape(rival.name)}</small>'
    figure = tables.amount(rival.value, unit) + tables.mark(rival, notes)
    return f"{figure}<small>{escape(rival.name)}</small>"


def _small(ratio: str) -> str:
    """Put the range of a ratio on a line of its own."""
    median, bracket, spread = ratio.partition(" (")
    return f"{median}<small>{spread.removesuffix(')')}</small>" if bracket else median


def _remarks(results: Results) -> str:
    items = "".join(f"<li>{escape(remark)}</li>" for remark in tables.remarks(results))
    return f'<ul class="about">{items}</ul>' if items else ""


def _section(finding: Finding) -> str:
    """One finding in Markdown, a level below the page's own sections; its letter means nothing here."""
    return "### " + finding.markdown().removeprefix(f"## {finding.letter}. ")


def _details(finding: Finding) -> str:
    rows = "".join(
        f"<tr><td>{escape(line.what)}</td><td>{escape(line.figure)}</td><td>{escape(line.asked)}</td>"
        f"<td>{escape(line.verdict)}</td></tr>"
        for line in finding.lines
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in finding.notes)
    return (
        f"<details><summary>{escape(finding.title)}</summary><table>{rows}</table>"
        f'<ul class="about">{notes}</ul></details>\n'
    )


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
