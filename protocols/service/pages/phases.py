"""A session's phases: who was asked, who has answered, what is needed, and what follows."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from ...core.threat_model import Adversary
from ...masking.transitions import ServerPhase
from ...paillier.state import AggregatorPhase
from ...reporting.words import duration, size_of
from ..views import PhaseView, SessionView, State
from .frame import MOST_NAMES, bar, names

WORDS = {
    ServerPhase.ADVERTISE_KEYS: ("Keys", "each sends public keys for this session"),
    ServerPhase.SHARE_KEYS: ("Shares", "each deals shares of its secrets, encrypted, to its neighbours"),
    ServerPhase.ACCEPT_SHARES: ("Receipts", "each says whether the shares that it got are sound"),
    ServerPhase.MASKED_INPUT: ("Inputs", "each sends its values under masks"),
    ServerPhase.CONSISTENCY_CHECK: ("Agreement", "each signs who is in the sum, so that all agree"),
    ServerPhase.UNMASKING: ("Unmasking", "shares that take the masks off the sum"),
    AggregatorPhase.COMMITMENTS: ("Commitments", "contributors commit to their encrypted values"),
    AggregatorPhase.ENDORSEMENTS: ("Endorsements", "the committee signs who contributes"),
    AggregatorPhase.CONTRIBUTIONS: ("Contributions", "contributors send their encrypted values"),
    AggregatorPhase.OPENINGS: ("Openings", "the committee opens the sum"),
}
"""Phase -> its title, and what happens in it."""

_MASKING = (
    ServerPhase.ADVERTISE_KEYS,
    ServerPhase.SHARE_KEYS,
    ServerPhase.ACCEPT_SHARES,
    ServerPhase.MASKED_INPUT,
    ServerPhase.CONSISTENCY_CHECK,
    ServerPhase.UNMASKING,
)
_PAILLIER = (
    AggregatorPhase.COMMITMENTS,
    AggregatorPhase.ENDORSEMENTS,
    AggregatorPhase.CONTRIBUTIONS,
    AggregatorPhase.OPENINGS,
)


def titled(phase: str) -> str:
    """Return what a phase is called on a page; its own name where it is none that is known."""
    return WORDS[phase][0] if phase in WORDS else phase  # type: ignore[index]


def order(session: SessionView) -> tuple[str, ...]:
    """Return the phases that a session goes through, as far as they are known."""
    if session.protocol == "paillier":
        return _PAILLIER
    left_out = {ServerPhase.ACCEPT_SHARES} if session.adversary != Adversary.MALICIOUS_SERVER else set()
    if session.adversary == Adversary.CURIOUS_SERVER:
        left_out.add(ServerPhase.CONSISTENCY_CHECK)
    return tuple(phase for phase in _MASKING if phase not in left_out)


def open_phase(session: SessionView) -> PhaseView | None:
    """Return the phase that a running session collects answers for."""
    last = session.phases[-1] if session.phases else None
    return last if session.state is State.RUNNING and last is not None and last.closed is None else None


def phase_line(session: SessionView, now: float) -> str:
    """Return all phases one below another: those that were, the open one, those to come."""
    seen = {phase.name for phase in session.phases}
    broken = session.phases[-1] if session.state is State.FAILED and session.phases else None
    done = "".join(
        _phase(session, phase, now, first=place == 0, broken=phase is broken)
        for place, phase in enumerate(session.phases)
    )
    coming = (name for name in order(session) if name not in seen) if session.state is State.RUNNING else ()
    return f'<ol class="phases">{done}{"".join(map(_to_come, coming))}</ol>'


def _to_come(name: str) -> str:
    title, about = WORDS.get(name, (name, ""))  # type: ignore[call-overload]
    return f'<li><h3 class="dim">{escape(title)} <small>to come: {escape(about)}</small></h3></li>'


def _phase(session: SessionView, phase: PhaseView, now: float, *, first: bool, broken: bool) -> str:
    is_open = phase.closed is None and session.state is State.RUNNING
    tone = "bad" if broken else "live" if is_open else "good"
    about = WORDS[phase.name][1] if phase.name in WORDS else phase.name  # type: ignore[index]
    awaited, count = phase.awaited, len(phase.awaited)
    listed = ""
    if awaited and is_open:
        listed = f"<p><b>Awaited</b></p>{names(awaited)}"
    elif awaited:
        gone = f"{count:,} did not answer" if count != 1 else "1 did not answer"
        inner = names(awaited, most=10 * MOST_NAMES)
        listed = f'<details id="missing-{escape(phase.name)}"><summary>{gone}</summary>{inner}</details>'
    took = _time(session, phase, now)
    return (
        f'<li class="was-{tone}"{" aria-current=step" if is_open else ""}>'
        f'<div class="row"><h3>{escape(titled(phase.name))} <small class="dim">{escape(about)}</small></h3>'
        f'<span class="dim">{took}</span></div>{answer_bar(phase, tone)}'
        f'<div class="row"><span>{standing(phase)}</span><span class="dim">{size_of(phase.received_bytes)}</span></div>'
        f"{listed}</li>"
    )


def answer_bar(phase: PhaseView, tone: str) -> str:
    """Return how many of those asked have answered, with a line at how many are needed."""
    asked, answered = len(phase.asked), len(phase.answered)
    share = answered / asked if asked else 1.0
    colour = tone if tone != "live" or answered < phase.needed else "good"
    told = f"{answered:,} of {asked:,} have answered; {phase.needed:,} are needed"
    return bar(share, colour, told, phase.needed / asked if asked else None)


def standing(phase: PhaseView) -> str:
    """Return HTML that says how far a phase is from what it needs."""
    asked, answered = len(phase.asked), len(phase.answered)
    short = phase.needed - answered
    far = (
        f'<b class="{"bad" if phase.closed is not None else "idle"}">{short:,} short of the {phase.needed:,} needed</b>'
        if short > 0
        else f"{phase.needed:,} needed, {-short:,} to spare"
    )
    return f"<b>{answered:,} of {asked:,}</b> answered · {far}"


def _time(session: SessionView, phase: PhaseView, now: float) -> str:
    if phase.closed is not None:
        return f"took {duration(phase.closed - phase.opened)}"
    if session.state is not State.RUNNING:
        return f"ended after {duration((session.ended or now) - phase.opened)}"
    left = phase.deadline - now
    return f"{duration(left)} left at most" if left > 0 else "closing: its deadline has passed"


def in_words(session: SessionView, now: float) -> str:
    """Return how a session stands, in a sentence without names."""
    return " ".join(_said(session, now))


def _said(session: SessionView, now: float) -> Iterator[str]:
    if session.state is State.COMPLETED:
        yield f"Completed after {duration((session.ended or now) - session.created)}."
    elif session.state is State.FAILED:
        yield f"Ended without a result: {session.error}."
    elif (phase := open_phase(session)) is None:
        yield "Running."
    else:
        number, of = len(session.phases), max(len(session.phases), len(order(session)))
        yield f"Phase {number} of {of}, {titled(phase.name)}: {len(phase.answered):,} of {len(phase.asked):,} answered,"
        yield f"{phase.needed:,} needed."
    if session.state is State.RUNNING and (left := absent(session)):
        yield f"{left}."


def missing(session: SessionView) -> dict[str, str]:
    """Return name -> the first closed phase without its answer, of who was neither excluded nor has refused."""
    found: dict[str, str] = {}
    for phase in session.phases:
        if phase.closed is not None or session.state is not State.RUNNING:
            for name in phase.awaited:
                if name not in session.excluded and name not in session.refused:
                    found.setdefault(name, phase.name)
    return found


def absent(session: SessionView) -> str:
    """Return how many are out, and how many are missing; nothing where all are there."""
    counts = {"out": len({*session.excluded, *session.refused}), "missing": len(missing(session))}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
