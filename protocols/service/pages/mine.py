"""A participant's own page: what was asked of it, what it gave, and what it does not take part in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...reporting.words import many, moment, size_of
from ..consents import Asked, Matter, OptOut
from .frame import Reader, badge, framed, listing
from .phases import titled


@dataclass(frozen=True)
class Standing:
    """What a participant's page shows.

    Attributes:
        name: of the participant.
        service: where it takes part.
        asked: the newest sessions, newest first.
        out: what it has opted out of.
        trouble: why opt-outs cannot be read; empty if they can. Then nothing is answered.
    """

    name: str
    service: str
    asked: tuple[Asked, ...]
    out: tuple[OptOut, ...]
    trouble: str = ""


def participant_page(standing: Standing, reader: Reader) -> str:
    """Return the page."""
    matters = sorted({matter for each in standing.asked for matter in each.matters}, key=lambda each: each.whole)
    body = [
        f"<h1>{escape(standing.name)}</h1>",
        f'<p class="lead">takes part at {escape(standing.service)}. '
        "This page is on this machine alone, and shows names and sizes, never values.</p>",
        _verdict(standing),
        "<h2>What you take part in</h2>",
        _matters(matters, standing.out, reader),
        _out(standing.out, reader),
        "<h2>What was asked, and what you gave</h2>",
        _asked(standing.asked),
        _about(),
    ]
    status = f"{many(len(standing.asked), 'session')} asked, {many(len(standing.out), 'opt-out')} in force."
    return framed(standing.name, "".join(body), reader, status=status, here="/")


def _verdict(standing: Standing) -> str:
    if standing.trouble:
        return (
            '<div class="card verdict was-bad"><strong>Nothing is answered</strong>'
            f"<p>{escape(standing.trouble)}</p></div>"
        )
    if any(not each.matter for each in standing.out):
        return '<div class="card verdict"><strong>You have opted out of everything</strong></div>'
    gave = many(sum(each.handed_in for each in standing.asked), "session has", "sessions have")
    return (
        f'<div class="card verdict was-good"><strong>{gave} values of yours</strong>'
        f"<p>They left under masks, or encrypted: nobody has read them.</p></div>"
    )


def _form(action: str, matter: str, purpose: str, words: str, *, danger: bool) -> str:
    kind = ' class="danger"' if danger else ""
    return (
        f'<form method="post" action="{action}"><input type="hidden" name="matter" value="{escape(matter)}">'
        f'<input type="hidden" name="purpose" value="{escape(purpose)}"><button{kind}>{escape(words)}</button></form>'
    )


def _matters(matters: Sequence[Matter], out: Sequence[OptOut], reader: Reader) -> str:
    """Return each data set with its purpose, and whether this participant answers for it."""
    rows = []
    for matter in matters:
        covering = [each for each in out if each.covers(matter)]
        if not covering:
            state = badge("you take part", "good")
            button = _form("/opt-out", matter.name, matter.purpose, f"Opt out of {matter.whole}", danger=True)
        else:
            state, button = badge("opted out", "idle"), ""
        rows.append((escape(matter.name), escape(matter.purpose or "any"), state, button if reader.signed_in else ""))
    head = ("Data set or vector", "Purpose", "Consent", "Change")
    table = listing(head, rows, "Consent by data set and purpose") if rows else "<p>Nothing was asked yet.</p>"
    if not reader.signed_in:
        how = (
            "Sign in with your token to opt out." if reader.may_sign_in else "There is no token, so nothing is changed."
        )
        return f'{table}<p class="dim">{how}</p>'
    everything = (
        "" if any(not each.matter for each in out) else _form("/opt-out", "", "", "Opt out of everything", danger=True)
    )
    return f'{table}<h3>Opt out</h3><p class="about">It counts before your next answer, and outlives a restart.</p>' + (
        everything
        + '<form class="line" method="post" action="/opt-out"><div><label for="matter">Data set or vector</label>'
        '<input id="matter" name="matter" required maxlength="500"></div><div><label for="purpose">Purpose, or empty '
        'for all</label><input id="purpose" name="purpose" maxlength="500"></div>'
        '<button class="danger">Opt out</button></form>'
    )


def _out(out: Sequence[OptOut], reader: Reader) -> str:
    if not out:
        return ""
    rows = [
        (
            escape(str(each)),
            moment(each.at),
            _form("/opt-in", each.matter, each.purpose, f"Take part again in {each}", danger=False)
            if reader.signed_in
            else "",
        )
        for each in out
    ]
    return f"<h3>Opted out of</h3>{listing(('What', 'Since', 'Change'), rows, 'Opt-outs in force')}"


def _asked(asked: Sequence[Asked]) -> str:
    if not asked:
        return '<p class="dim">Nothing yet.</p>'
    return "".join(map(_session, asked))


def _session(asked: Asked) -> str:
    if asked.refused:
        state = badge("refused", "idle")
    elif asked.ended:
        state = badge(asked.ended, "good" if asked.ended == "completed" else "bad")
    else:
        state = badge("running", "live")
    if asked.kind == "statistics":
        what = "; ".join(each.whole for each in asked.matters[:20])
        sums = many(sum(length for _, length in asked.vectors), "sum")
        rows = [
            ("Data set", what),
            *((kind.capitalize(), of) for kind, of in asked.question),
            ("Computed", f"{sums} over rows, on this machine: no row leaves it"),
        ]
    else:
        vectors = ", ".join(f"{name} ({many(length, 'number')})" for name, length in asked.vectors[:20])
        if len(asked.vectors) > 20:
            vectors += f", and {len(asked.vectors) - 20:,} more"
        rows = [("Asked for", asked.kind), ("Vectors", vectors)]
    sent = sum(size for _, size in asked.given)
    if asked.handed_in:
        gave = f"your values under masks, {size_of(sent)} in {many(len(asked.given), 'answer')}"
    elif asked.given:
        gave = f"no values; {size_of(sent)} of keys and shares in {many(len(asked.given), 'answer')}"
    else:
        gave = "nothing"
    if asked.ended and not asked.kind:
        rows = [("Session", asked.session), ("Asked for", "nothing: it ended before that")]
    rows.append(("You gave", gave))
    if asked.refused:
        rows.append(("Refused", asked.refused))
    rows.append(("Begun", moment(asked.at)))
    phases = ", ".join(f"{titled(phase)} {size_of(size)}" for phase, size in asked.given)
    rows += [("Answers", phases)] if phases else []
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows if text)
    title = escape(asked.title or "a session without a title")
    return f'<section class="card"><div class="row"><h3>{title}</h3>{state}</div><dl>{told}</dl></section>'


def _about() -> str:
    return (
        '<h2>What opting out does</h2><p class="about">From the next answer on, this participant refuses and tells the '
        "service that it does. A session in which your values were not handed in goes on without you. Where they were, "
        "they are part of a sum and cannot be taken out: what is refused then are the shares that help to open it.</p>"
    )
