"""The comparison table as text: what the terminal, the Markdown page and the HTML page all show."""

from __future__ import annotations

from .findings import Ratio, Rival, Row, number
from .results import Results

HEADINGS = ("capability", "ours", "peer", "ours is better by", "physical limit", "ours / limit")
ABOUT = (
    "Better by: how many times less time or fewer bytes ours takes than the peer, or how many times faster it goes. "
    "Ours / limit: how many times as much as nothing but the work that cannot be avoided. Medians of ratios that were "
    "taken within a turn; in brackets, their range."
)

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


def cells(row: Row) -> tuple[str, str, str, str, str, str]:
    """Return a row's cells under HEADINGS."""
    return (
        row.capability,
        "—" if row.ours is None else amount(row.ours, row.unit),
        _rival(row.peer, row.unit),
        ratio(row.peer.ratio if row.peer else None),
        _rival(row.limit, row.unit),
        ratio(row.limit.ratio if row.limit else None),
    )


def remarks(results: Results) -> list[str]:
    """Return what must be known of the table: what is scaled or measured once, what is absent, what failed."""
    rivals = [rival for row in results.rows for rival in (row.peer, row.limit) if rival is not None]
    said = [f"{rival.name}: {rival.note}" for rival in rivals if rival.value is not None and rival.note]
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
    facts["load before"] = results.parts[0].load if results.parts else "unknown"
    facts["versions"] = known
    if results.commit:
        facts["commit"] = results.commit
    facts["measured"] = f"{when}, {sum(part.seconds for part in results.parts) / 60:.1f} minutes"
    facts["sizes"] = "full" if results.scale == "full" else "quick: smaller sizes, fewer turns"
    return facts


def _rival(rival: Rival | None, unit: str) -> str:
    if rival is None:
        return "—"
    return f"{rival.name}: {'not to be had' if rival.value is None else amount(rival.value, unit)}"
