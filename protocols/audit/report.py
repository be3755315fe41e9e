"""The report: one JSON file for machines, and one HTML file that needs nothing else, for people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from itertools import groupby
from pathlib import Path

from secagg.errors import MissingDependencyError

from ..core.files import write_whole
from ..core.numbers import spelled_up
from ..reporting import page
from . import plots
from .outcome import Figure, Outcome, Plot, Status
from .runner import Audit, Verdict, all_checks, versions

_DIGEST = re.compile("[0-9a-f]{64}")
JSON_NAME, HTML_NAME = "audit.json", "audit.html"

_GROUPS = {
    "vectors": ("Known answers", "The committed vectors, and values that others have published."),
    "replay": (
        "Replayed sessions",
        "With recorded randomness: every byte of every message, every refusal, and other endings.",
    ),
    "primitives": ("Primitives", "Properties, each tried with many simulated examples."),
    "sessions": ("Whole sessions", "Every message through bytes, with dropouts and tampering."),
    "equivocation": (
        "A server that equivocates",
        "It tells clients different lists of survivors, reconstructs secrets from the shares that it gets, and takes "
        "the masks off. The control runs the attack where nothing is promised; it must succeed there.",
    ),
    "freshness": (
        "Freshness",
        "Keys, seeds, nonces, coefficients, roundings and noise are drawn as in use. They must be distinct, of full "
        "length, and without pattern. The control is strings that are slightly wrong; they must be rejected.",
    ),
    "noise": (
        "Noise",
        "Chi-squared, Kolmogorov-Smirnov, symmetry, tails and repetition, of many values and of few; variance of one "
        "client's share; rounding without bias. The control is noise that is slightly wrong; "
        "it must be rejected.",
    ),
    "epsilon": (
        "Privacy claims",
        "Lower bounds on epsilon from many releases on two neighbouring inputs. A bound above the claim refutes it; "
        "one below proves nothing. The control has three tenths of the noise; it must be refuted.",
    ),
    "private": ("Private rounds", "What dropouts leave of the noise, what clients refuse, counts and rotations."),
    "ledger": (
        "Privacy ledger",
        "Spending in a race, accounts computed once more, and changes behind the ledger's back.",
    ),
    "paillier": ("Paillier summation", "Sums under encryption, and their opening by a committee."),
    "statistics": ("Statistics", "Answers of sites, what a site refuses after others, and which counts are shown."),
    "groups": ("Groups", "Who is in which, what their sums come to, and what a rule makes of spoilt ones."),
    "misuse": (
        "Misuse",
        "What callers do without thinking: done right, or refused by an error that names it.",
    ),
}

_STYLE = """
.verdict { border-left: .5rem solid; padding: .8rem 1.2rem; background: var(--panel); }
.verdict strong { font-size: 1.3rem; display: block; }
.verdict.passed { border-color: var(--good); } .verdict.passed strong { color: var(--good); }
.verdict.failed { border-color: var(--bad); } .verdict.failed strong { color: var(--bad); }
.verdict.incomplete { border-color: var(--idle); } .verdict.incomplete strong { color: var(--idle); }
td.status { white-space: nowrap; font-weight: 600; width: 5.5rem; }
td.name { width: 12rem; } td.seconds { text-align: right; white-space: nowrap; color: var(--dim); width: 4.5rem; }
.passed-mark { color: var(--good); } .failed-mark { color: var(--bad); } .idle-mark { color: var(--idle); }
.reason { color: var(--bad); } .idle-reason { color: var(--idle); }
.figures { color: var(--dim); font-size: .87rem; }
.figures span { margin-right: 1.1em; display: inline-block; }
"""

_MARKS = {
    Status.PASSED: ("passed-mark", "✓ passed"),
    Status.FAILED: ("failed-mark", "✗ failed"),
    Status.NOT_RUN: ("idle-mark", "· not run"),
    Status.ERROR: ("idle-mark", "! could not run"),
}


def write(audit: Audit, folder: Path) -> tuple[Path, Path]:
    """Write both files into a folder, which is made if it is not there; return (HTML, JSON).

    Raises:
        OSError: they cannot be written; a file that was there is as it was, or whole and new.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html_path, json_path = folder / HTML_NAME, folder / JSON_NAME
    write_whole(json_path, json.dumps(audit.facts(), indent=2) + "\n")
    write_whole(html_path, html(audit))
    return html_path, json_path


def html(audit: Audit) -> str:
    """Return the page: verdict, every check with its figures, plots, and how to have it all again."""
    groups = "".join(_group(name, list(of)) for name, of in groupby(audit.outcomes, lambda done: done.check.group))
    title = f"secagg {versions()['secagg']}: audit {audit.verdict}"
    body = f"<h1>Audit of secagg {escape(versions()['secagg'])}</h1>\n{_verdict(audit)}\n{groups}\n{_conditions(audit)}"
    return page.document(title, body, _STYLE)


def summary(audit: Audit) -> str:
    """Return one sentence: how many checks passed, failed, did not run, could not run and were not asked for."""
    passed = audit.count(Status.PASSED)
    parts = [f"{passed} check{'' if passed == 1 else 's'} passed"]
    words = {Status.FAILED: "failed", Status.NOT_RUN: "did not run", Status.ERROR: "could not run"}
    parts += [f"{audit.count(status)} {word}" for status, word in words.items() if audit.count(status)]
    parts += [f"of {len(all_checks())} that there are"] if audit.only else []
    return ", ".join(parts)


def headline(audit: Audit) -> str:
    """Return the verdict in a word or few: what it does without is part of it."""
    if audit.verdict is Verdict.INCOMPLETE:
        return "no verdict"
    if not audit.passed:
        return str(audit.verdict)
    without = ", ".join(name if "/" in name else name.capitalize() for name in audit.without)
    return f"{audit.verdict}{', of a part' if audit.only else ''}{f', without {without}' if without else ''}"


def _verdict(audit: Audit) -> str:
    failed = [done for done in audit.outcomes if done.status in (Status.FAILED, Status.ERROR)]
    head = headline(audit)
    listed = "".join(
        f"<li><code>{escape(done.check.key)}</code> {escape(done.reason)}{_again(done)}</li>" for done in failed
    )
    return (
        f'<div class="verdict {audit.verdict}"><strong>{escape(head[0].upper() + head[1:])}</strong>'
        f"{escape(summary(audit))}, in {audit.seconds:.0f} s. A library without fault fails this audit with a "
        f"probability of at most {spelled_up(audit.false_alarm, 2)}. What passes is not proven: it was not refuted."
        f"{f'<ul>{listed}</ul>' if listed else ''}</div>"
    )


def _again(done: Outcome) -> str:
    return f"<br>Again: <code>{escape(done.again)}</code>{done.check.caveat}" if done.again else ""


def _group(name: str, outcomes: list[Outcome]) -> str:
    title, about = _GROUPS.get(name, (name, ""))
    rows = "".join(map(_row, outcomes))
    pictures = _pictures(plot for outcome in outcomes for plot in outcome.plots)
    return (
        f'<section><h2>{escape(title)}</h2><p class="about">{escape(about)}</p>\n<table><tr><th>verdict</th>'
        f"<th>check</th><th>what holds if it passes, and what was measured</th><th>time</th></tr>\n{rows}</table>\n"
        f"{pictures}</section>\n"
    )


def _row(outcome: Outcome) -> str:
    mark, word = _MARKS[outcome.status]
    reason = ""
    if outcome.reason:
        kind = "reason" if outcome.status is Status.FAILED else "idle-reason"
        reason = f'<div class="{kind}">{escape(outcome.reason)}</div>'
    figures = dict(outcome.figures)
    if outcome.check.false_alarm:
        figures["false alarms"] = spelled_up(outcome.check.false_alarm, 2)
    shown = "".join(f"<span>{escape(name)}: {escape(_number(value))}</span>" for name, value in figures.items())
    return (
        f'<tr><td class="status {mark}">{word}</td><td class="name"><code>{escape(outcome.check.name)}</code></td>'
        f'<td>{escape(outcome.check.claim)}{reason}<div class="figures">{shown}</div></td>'
        f'<td class="seconds">{outcome.seconds:.1f} s</td></tr>\n'
    )


def _number(value: Figure) -> str:
    if isinstance(value, str):
        return f"{value[:12]}…" if _DIGEST.fullmatch(value) else value  # whole in the JSON
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _pictures(drawn: Iterable[Plot]) -> str:
    pictures = []
    for plot in drawn:
        try:
            pictures.append(page.picture(plot.title, plots.svg(plot)))
        except MissingDependencyError as missing:
            return f'<p class="about">{escape(str(missing))}</p>'
    return f'<div class="plots">{"".join(pictures)}</div>' if pictures else ""


def _conditions(audit: Audit) -> str:
    facts = {
        "started": audit.started.isoformat(sep=" ", timespec="seconds"),
        "seed of all that is simulated": str(audit.seed),
        "examples a property": f"{audit.examples:,}",
        "samples a statistical check": f"{audit.samples:,}",
    } | versions()
    again = f"secagg audit --seed {audit.seed} --examples {audit.examples} --samples {audit.samples}"
    again += "".join(f" --only {name}" for name in audit.only)
    return (
        f'<section><h2>How to have it again</h2><p class="about"><code>{again}</code> simulates all of it again but '
        "for what the operating system draws: noise, and keys where their freshness is under check.</p>"
        f"{page.facts(facts)}</section>"
    )
