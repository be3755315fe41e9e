"""The comparison table as text: what the terminal, the Markdown page and the HTML page all show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .findings import Ratio, Rival, Row, number
from .parts import PARTS
from .results import Results

HEADINGS = ("capability", "ours", "peer", "ours is better by", "limit", "ours / limit")
ABOUT = (
    "Better by: how many times less time or fewer bytes ours takes than the peer, or how many times faster it goes. "
    "Ours / limit: how many times as much as nothing but the work that cannot be avoided. Medians of ratios that were "
    "taken within a turn; in brackets, their range, where there was more than one turn. A number such as [1] refers to "
    "what must be known of a figure, beneath the table."
)
BRIEF = (
    "better: how many times less time or fewer bytes than the peer; / limit: how many times as much as nothing but the "
    "work that cannot be avoided. --report DIR writes the peers' figures, the limits and the ranges."
)
_BRIEF_HEADINGS = ("", "ours", "better", "than", "/ limit")

_SECONDS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
_BYTES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def amount(value: float, unit: str) -> str:
    """Return a figure in a unit that suits it."""
    for name, steps in (("s", _SECONDS), ("bytes", _BYTES)):
        if unit == name:
            for step, size in steps:
                if abs(value) >= size:
                    return f"{number(value / size)} {step}"
            return f"{number(value / 1e-6)} µs" if name == "s" else f"{number(value)} bytes"
    return f"{number(value)} {unit}"


def ratio(of: Ratio | None) -> str:
    """Return a ratio with its range."""
    if of is None:
        return "—"
    text = f"{number(of.median)}x"
    return text if of.lowest == of.highest else f"{text} ({number(of.lowest)} to {number(of.highest)})"


def cells(row: Row, notes: Sequence[str] = ()) -> tuple[str, str, str, str, str, str]:
    """Return a row's cells under HEADINGS; `notes` are those that figures refer to by number, see `noted`."""
    return (
        row.capability,
        "—" if row.ours is None else amount(row.ours, row.unit),
        _rival(row.peer, row.unit, notes),
        ratio(row.peer.ratio if row.peer else None),
        _rival(row.limit, row.unit, notes),
        ratio(row.limit.ratio if row.limit else None),
    )


def brief(results: Results, width: int) -> list[str]:
    """Return the table for a terminal of few columns: a line a row beneath what rows have in common, no peer's figure.

    What a row is of stands on a line of its own where it does not fit beside the figures.
    """
    notes = noted(results)
    shared = Counter(row.capability.rpartition(": ")[0] for row in results.rows)
    table: list[tuple[str, Sequence[str]]] = [("", _BRIEF_HEADINGS)]
    for row in results.rows:
        group, _, what = row.capability.rpartition(": ")
        if shared[group] == 1 or not group:
            group, what = row.capability, ""
        peer = "—" if row.peer is None else row.peer.name + mark(row.peer, notes)
        ours, _, better, _, over = cells(row)[1:]
        above = over.partition(" (")[0] + (mark(row.limit, notes) if row.limit else "")
        table.append((group, (f"  {what}".rstrip(), ours, better.partition(" (")[0], peer, above)))
    widths = [max(len(figures[column]) for _, figures in table) for column in range(len(_BRIEF_HEADINGS))]
    widths[0] = max(2, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines, last = [], ""
    for group, (what, *figures) in table:
        if group != last:
            lines.append(group)
            last = group
        fits = len(what) <= widths[0]
        lines += [] if fits else [what]
        line = zip((what if fits else "", *figures), widths, strict=True)
        lines.append("  ".join(text.ljust(room) for text, room in line).rstrip())
    return lines


def noted(results: Results) -> list[str]:
    """Return what must be known of single figures: what is scaled or measured once; numbered from 1 in the table."""
    rivals = [rival for row in results.rows for rival in (row.peer, row.limit) if rival is not None]
    return list(dict.fromkeys(_note(rival) for rival in rivals if rival.value is not None and rival.note))


def mark(rival: Rival, notes: Sequence[str]) -> str:
    """Return the number of a rival's note as it stands behind the figure; empty if there is none."""
    return f" [{notes.index(_note(rival)) + 1}]" if rival.value is not None and _note(rival) in notes else ""


def remarks(results: Results) -> list[str]:
    """Return what must be known of the table: what is scaled or measured once, what is absent, what failed."""
    said = [f"[{number}] {note}" for number, note in enumerate(noted(results), 1)]
    if results.scale != "full" and (left := [part.name for part in PARTS if not part.seconds[True]]):
        said += [f"left out of quick comparisons: {', '.join(left)}"]
    said += [f"not to be had here: {absent}" for absent in results.absent]
    said += [f"{part.name} failed, and is left out: {part.failure.splitlines()[0]}" for part in results.failed]
    return list(dict.fromkeys(said))


def head(results: Results) -> dict[str, str]:
    """Return what was measured on what, when."""
    starts = sorted(part.started for part in results.parts)
    when = " ".join(starts[0][:16].split("T")) + " UTC" if starts else "never"
    if starts and starts[-1][:13] != starts[0][:13]:
        when += " to " + " ".join(starts[-1][:16].split("T")) + " UTC"
    known = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    facts = dict(results.machine)
    facts["load before"] = _load(results)
    facts["versions"] = known
    if results.commit:
        facts["commit"] = results.commit
    facts["measured"] = f"{when}, {sum(part.seconds for part in results.parts) / 60:.1f} minutes"
    facts["sizes"] = "full" if results.scale == "full" else "quick: smaller sizes, fewer turns"
    return facts


def _load(results: Results) -> str:
    """Return the load averages before the first part; where others met another load, also the range over all."""
    loads = [part.load for part in results.parts]
    if not loads:
        return "unknown"
    ones = sorted((load.split()[0] for load in loads if load != "unknown"), key=float)
    return loads[0] if len(set(ones)) < 2 else f"{loads[0]}; over all parts {ones[0]} to {ones[-1]} in a minute"


def _note(rival: Rival) -> str:
    return f"{rival.name}: {rival.note}"


def _rival(rival: Rival | None, unit: str, notes: Sequence[str]) -> str:
    if rival is None:
        return "—"
    figure = "not to be had" if rival.value is None else amount(rival.value, unit)
    return f"{rival.name}: {figure}{mark(rival, notes)}"
