"""The comparison table for terminals, and the report: REPORT.md, pictures beside it, and report.json for machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from protocols.core.files import write_whole
from secagg.errors import MissingDependencyError

from . import plots
from .findings import Finding, Results, Rival, Row, number
from .parts import PARTS

MARKDOWN, FOLDER, JSON = "REPORT.md", "report", "report.json"
HEADINGS = ("capability", "ours", "peer", "ours is better by", "limit", "ours / limit")
ABOUT = (
    "Contenders took turns on one machine: take ratios from here, not seconds. Better by: how many times less time or "
    "fewer bytes ours takes than the peer, or how many times faster it goes. Ours / limit: how many times as much as "
    "nothing but the work that cannot be avoided. Medians of ratios that were taken within a turn; in brackets, their "
    "range, where there was more than one turn. A number such as [1] refers to what must be known of a figure, beneath "
    "the table."
)
BRIEF = (
    "better: how many times less time or fewer bytes than the peer; / limit: how many times as much as nothing but the "
    "work that cannot be avoided. --report DIR writes the peers' figures, the limits and the ranges."
)
_BRIEF_HEADINGS = ("", "ours", "better", "than", "/ limit")
_STEPS = {
    "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)),
    "bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)),
}


def amount(value: float, unit: str) -> str:
    """Return a figure in a unit that suits it."""
    steps = _STEPS.get(unit, ((unit, 1.0),))
    name, size = next((step for step in steps if abs(value) >= step[1]), steps[-1])
    return f"{number(value if size == 1 else value / size)} {name}"


def cells(row: Row, notes: Sequence[str] = ()) -> tuple[str, str, str, str, str, str]:
    """Return a row's cells under HEADINGS; `notes` are those that figures refer to by number, see `noted`."""

    def rival(of: Rival | None) -> tuple[str, str]:
        if of is None:
            return "—", "—"
        figure = "not to be had" if of.value is None else amount(of.value, row.unit)
        return f"{of.name}: {figure}{_mark(of, notes)}", str(of.ratio or "—")

    ours = "—" if row.ours is None else amount(row.ours, row.unit)
    return (row.capability, ours, *rival(row.peer), *rival(row.limit))


def brief(results: Results) -> list[str]:
    """Return the table for a terminal, without rivals' figures: what a row is of, and beneath it what was measured."""
    rows = [_BRIEF_HEADINGS]
    for row in results.rows:
        marks = [_mark(rival, noted(results)) if rival else "" for rival in (row.peer, row.limit)]
        _, ours, _, better, _, over = (text.partition(" (")[0] for text in cells(row))
        rows.append((row.capability, ours, better, (row.peer.name if row.peer else "—") + marks[0], over + marks[1]))
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[1:]]
    lines = []
    for what, *figures in rows:
        aligned = "  ".join(text.ljust(width) for text, width in zip(figures, widths, strict=True))
        lines += [what, f"    {aligned}".rstrip()]
    return lines[1:]


def noted(results: Results) -> list[str]:
    """Return what must be known of single figures: what is scaled or measured once; numbered from 1 in the table."""
    return list(dict.fromkeys(_note(rival) for rival in results.rivals if rival.value is not None and rival.note))


def remarks(results: Results) -> list[str]:
    """Return what must be known of the table: what is scaled or measured once, what is absent, what failed."""
    said = [f"[{number}] {note}" for number, note in enumerate(noted(results), 1)]
    if results.scale == "quick":
        said.append(f"left out of quick comparisons: {', '.join(part.name for part in PARTS if not part.quick)}")
    said += [f"not to be had here: {_note(rival)}" for rival in results.rivals if rival.value is None]
    said += [f"{part.name} failed, and is left out: {part.failure.splitlines()[0]}" for part in results.failed]
    return list(dict.fromkeys(said))


def head(results: Results) -> dict[str, str]:
    """Return what was measured on what, when."""
    starts = sorted(part.started[:16].replace("T", " ") for part in results.parts)
    minutes = sum(part.seconds for part in results.parts) / 60
    return results.machine | {
        "load before": "; ".join(f"{part.name} {part.load}" for part in results.parts),
        "measured": f"{starts[0]} to {starts[-1]} UTC, {minutes:.1f} minutes" if starts else "never",
        "sizes": results.scale,
    }


def markdown(results: Results, pictures: dict[str, bytes]) -> str:
    """Return the page; pictures are files of the folder beside it."""
    lines = ["# How secagg compares", ""]
    lines += [f"- {name}: {value}" for name, value in head(results).items()]
    lines += ["", "## Compared", "", ABOUT, ""]
    lines += [_cells(HEADINGS), "|---|--:|---|--:|---|--:|"]
    lines += [_cells(cells(row, noted(results))) for row in results.rows]
    lines += ["", *(f"- {_escape(remark)}" for remark in remarks(results))]
    if results.curves:
        lines += ["", "## Over clients, length and dropouts", ""]
        lines += [
            f"![{_escape(f'{curve.up} over {curve.across}: {curve.title}')}]({FOLDER}/{curve.name}.svg)"
            for curve in results.curves
            if curve.name in pictures
        ]
        lines += [] if pictures else ["Plots need matplotlib: pip install '.[plots]'"]
    lines += ["", "## Figure by figure", ""]
    lines += [section(finding) for finding in results.findings]
    return "\n".join(lines).rstrip() + "\n"


def section(finding: Finding) -> str:
    """Return one finding in Markdown."""
    asked = any(line.asked for line in finding.lines)
    lines = [f"### {finding.title}", ""]
    lines += [_cells(("", "measured (range over turns)", "asked", "")[: 4 if asked else 2])]
    lines += ["|---|--:|---|---|" if asked else "|---|--:|"]
    for line in finding.lines:
        lines.append(_cells((line.what, line.figure, line.asked, line.verdict)[: 4 if asked else 2]))
    return "\n".join([*lines, "", *(f"- {_escape(note)}" for note in finding.notes)]).rstrip() + "\n"


def write(results: Results, folder: Path) -> Path:
    """Write REPORT.md, and beside it a folder `report` with report.json and pictures; return the path of REPORT.md.

    Raises:
        OSError: they cannot be written.
    """
    beside = folder / FOLDER
    beside.mkdir(parents=True, exist_ok=True)
    try:
        pictures = {curve.name: plots.svg(curve) for curve in results.curves}
    except MissingDependencyError:
        pictures = {}
    for name, svg in pictures.items():
        write_whole(beside / f"{name}.svg", svg)
    write_whole(beside / JSON, json.dumps(asdict(results), indent=2) + "\n")
    write_whole(folder / MARKDOWN, markdown(results, pictures))
    return folder / MARKDOWN


def earlier(folder: Path, results: Results) -> Results:
    """Return what the folder's report holds of the same code, machine and scale, to be added to; else `results`."""
    try:
        kept = msgspec.json.decode((folder / FOLDER / JSON).read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError):
        return results
    known = results.machine["commit"] != "unknown" and "-dirty" not in results.machine["commit"]
    return kept if known and (kept.scale, kept.machine) == (results.scale, results.machine) else results


def _note(rival: Rival) -> str:
    return f"{rival.name}: {rival.note}"


def _mark(rival: Rival, notes: Sequence[str]) -> str:
    """Return the number of a rival's note as it stands behind the figure; empty if there is none."""
    return f" [{notes.index(_note(rival)) + 1}]" if rival.value is not None and _note(rival) in notes else ""


def _cells(texts: Sequence[str]) -> str:
    return "| " + " | ".join(map(_escape, texts)) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
