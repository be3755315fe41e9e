"""The operator's pages: all sessions, one session, all members. Pure functions from views to HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape

from ...core.numbers import spelled_down, spelled_up
from ...masking.messages import VERSION
from ...reporting.page import facts
from ...reporting.words import duration, many, moment, size_of
from ..views import BudgetView, MemberView, ServiceView, SessionView, State, WaitingView
from .frame import Reader, badge, bar, framed, listing, names
from .phases import absent, answer_bar, in_words, missing, open_phase, phase_line, standing, titled
from .results import result_tables

LINKS = (("Sessions", "/"), ("Members", "/members"))
TONES = {State.RUNNING: "live", State.COMPLETED: "good", State.FAILED: "bad"}
_NO_PHASE = {State.RUNNING: "The first phase has not begun."}
_NO_PHASE |= dict.fromkeys((State.COMPLETED, State.FAILED), "Nobody was asked for anything.")
_MOST_AWAITED = 12
_NEARLY = 0.8


def overview(view: ServiceView, reader: Reader) -> str:
    """Return the page of all sessions, with budgets and how many members there are."""
    running = [each for each in view.sessions if each.state is State.RUNNING]
    ended = [each for each in view.sessions if each.state is not State.RUNNING]
    counts = Counter(view.counts)
    able = [each for each in view.members if not each.revoked]
    tiles = {
        "Running": counts[State.RUNNING],
        "Completed": counts[State.COMPLETED],
        "Without a result": counts[State.FAILED],
        "Members": len(able),
    }
    body = [
        "<h1>Sessions</h1>",
        f'<dl class="tiles">{"".join(f"<div><dt>{name}</dt><dd>{n:,}</dd></div>" for name, n in tiles.items())}</dl>',
        _to_upgrade(able),
        "<h2>Running</h2>",
        f'<div class="cards">{"".join(_card(each, reader.now) for each in running)}</div>'
        if running
        else '<p class="dim">No session runs now.</p>',
    ]
    if view.waiting:
        body += [
            "<h2>Waiting for members</h2>",
            f'<div class="cards">{"".join(_waiting(each, view) for each in view.waiting)}</div>',
        ]
    if view.budgets:
        body += ["<h2>Privacy budgets</h2>", f'<div class="cards">{"".join(map(_budget, view.budgets))}</div>']
    body += ["<h2>Ended</h2>", _ended(ended)]
    status = f"{many(counts[State.RUNNING], 'session')} running, {counts[State.COMPLETED]:,} completed."
    return framed("Sessions", "".join(body), reader, status=status, links=LINKS, here="/")


def session_page(session: SessionView, reader: Reader, *, show_result: bool) -> str:
    """Return the page of one session.

    Args:
        session: what is known of it.
        reader: who looks.
        show_result: whether the result may be shown to whoever looks.
    """
    lasted = (session.ended or reader.now) - session.created
    about = {
        "session": session.session,
        "protocol": f"{session.protocol}, withstands a {session.adversary.replace('-server', ' server')}"
        if session.adversary
        else session.protocol,
        "invited": many(len(session.participants), "participant"),
        "begun": moment(session.created),
        "lasted" if session.ended else "running for": duration(lasted),
        "received": size_of(sum(phase.received_bytes for phase in session.phases)),
    }
    body = [
        f"<h1>{escape(session.title)}</h1>",
        _verdict(session, reader.now),
        _result(session, reader, show_result),
        '<h2>Phases</h2><p class="about">The line across a bar is how many answers the phase needs.</p>',
        phase_line(session, reader.now) if session.phases else f'<p class="dim">{_NO_PHASE[session.state]}</p>',
        _out(session),
        "<h2>About this session</h2>",
        facts(about),
        f'<details id="invited"><summary>Who was invited</summary>{names(session.participants, 1000)}</details>',
        _cancelling(session, reader),
    ]
    return framed(
        session.title,
        "".join(body),
        reader,
        status=in_words(session, reader.now),
        links=LINKS,
        here=f"/sessions/{session.session}",
        live=session.state is State.RUNNING,
    )


def members_page(members: tuple[MemberView, ...], reader: Reader) -> str:
    """Return the page of everyone who has enrolled."""
    rows = [
        (
            escape(each.name),
            _standing(each),
            "never" if each.seen is None else f"{duration(reader.now - each.seen)} ago",
            f"<code>{escape(each.fingerprint)}</code>",
        )
        for each in members
    ]
    able = [each for each in members if not each.revoked]
    table = listing(("Name", "Standing", "Last asked", "Fingerprint of the key"), rows, "Members")
    body = (
        '<h1>Members</h1><p class="lead">Who has enrolled by invitation. Compare a fingerprint by another way, such as '
        f"the telephone, before you trust it.</p>{_to_upgrade(able)}{table if rows else '<p>Nobody yet.</p>'}"
    )
    status = f"{many(len(able), 'member')}."
    return framed("Members", body, reader, status=status, links=LINKS, here="/members")


def refusal_page(title: str, sentence: str, reader: Reader, links: Iterable[tuple[str, str]] = LINKS) -> str:
    """Return a page for what cannot be shown or done."""
    body = f'<h1>{escape(title)}</h1><p>{escape(sentence)}</p><p><a href="/">Back to the first page</a></p>'
    return framed(title, body, reader, status="", links=links, live=False)


def _old(member: MemberView) -> bool:
    return member.wire is not None and member.wire != VERSION


def _standing(member: MemberView) -> str:
    if member.revoked:
        return badge("revoked", "bad")
    if _old(member):
        return badge(f"to upgrade: speaks wire version {member.wire}, not {VERSION}", "idle")
    return badge("not seen yet", "dim") if member.seen is None else badge("can take part", "good")


def _to_upgrade(able: list[MemberView]) -> str:
    old = [each.name for each in able if _old(each)]
    if not old:
        return ""
    return (
        f'<div class="card verdict"><strong>{many(len(old), "member")} to upgrade</strong>'
        f"<p>They speak another wire version than {VERSION}, and are not invited until they have upgraded.</p>"
        f"{names(old)}</div>"
    )


def _link(session: SessionView) -> str:
    return f'<a href="/sessions/{escape(session.session)}">{escape(session.title)}</a>'


def _card(session: SessionView, now: float) -> str:
    phase = open_phase(session)
    left = absent(session)
    gone = f'<p class="idle">{left}</p>' if left else ""
    if phase is None:
        return f'<div class="card"><h3>{_link(session)}</h3><p class="dim">between two phases</p>{gone}</div>'
    seconds = phase.deadline - now
    awaited = names(phase.awaited, _MOST_AWAITED)
    return (
        f'<div class="card"><div class="row"><h3>{_link(session)}</h3>{badge(titled(phase.name), "live")}</div>'
        f"{answer_bar(phase, 'live')}<p>{standing(phase)}</p>"
        f'<p class="dim">{f"{duration(seconds)} left at most" if seconds > 0 else "closing"}'
        f"{' · awaited:' if awaited else ''}</p>{awaited}{gone}</div>"
    )


def _waiting(waiting: WaitingView, view: ServiceView) -> str:
    told = f"{waiting.able:,} of {waiting.needed:,} members can take part"
    groups = "".join(
        f'<p class="dim">{what}:</p>{names(who, _MOST_AWAITED)}'
        for what, who in _gathering(waiting, view).items()
        if who
    )
    return (
        f'<div class="card"><h3>{escape(waiting.title)}</h3>{bar(waiting.able / waiting.needed, "live", told)}'
        f"<p><b>{waiting.able:,} of {waiting.needed:,}</b> members can take part</p>{groups}</div>"
    )


def _gathering(waiting: WaitingView, view: ServiceView) -> dict[str, list[str]]:
    """Return how those stand who may take part, of those who were named if some were: standing -> names."""
    wanted = [each for each in view.members if not waiting.names or each.name in waiting.names]
    able = [each for each in wanted if not each.revoked and not _old(each)]
    found = {
        "enrolled": [each.name for each in able if each.seen is not None],
        "enrolled, and not seen yet": [each.name for each in able if each.seen is None],
        "to upgrade first": [each.name for each in wanted if _old(each) and not each.revoked],
        "revoked": [each.name for each in wanted if each.revoked and each.name in {*waiting.missing} - {*view.invited}],
        "invited, and not enrolled yet": [each for each in view.invited if not waiting.names or each in waiting.names],
    }
    known = {name for who in found.values() for name in who}
    return found | {"missing, and not invited": [each for each in waiting.missing if each not in known]}


def _ended(sessions: list[SessionView]) -> str:
    if not sessions:
        return '<p class="dim">None yet.</p>'
    rows = []
    for each in sessions:
        how = badge(each.state, TONES[each.state])
        why = f' <span class="dim">{escape(each.error)}</span>' if each.error else ""
        ended = each.ended or each.created
        left = absent(each)
        rows.append(
            (
                _link(each),
                how + why,
                f"{escape(each.protocol)}, {len(each.participants):,} invited{f', {left}' if left else ''}",
                f'<time datetime="{moment(ended)[:10]}">{moment(ended)}</time>',
                duration(ended - each.created),
            )
        )
    return listing(("Session", "How it ended", "Of whom", "Ended", "Lasted"), rows, "Sessions that have ended")


def _verdict(session: SessionView, now: float) -> str:
    tone = TONES[session.state]
    said = in_words(session, now)
    reason = f"<p>{escape(session.reason)}</p>" if session.reason else ""
    inner = f"{badge(session.state, tone)} <strong>{escape(said)}</strong>{reason}"
    return f'<div class="card verdict was-{tone}">{inner}</div>'


def _out(session: SessionView) -> str:
    """Return who is out, and why: what was bad, what was refused, who has vanished."""
    found = {name: (badge("excluded", "bad"), why) for name, why in session.excluded.items()}
    found |= {name: (badge("refused", "idle"), why) for name, why in session.refused.items() if name not in found}
    found |= {
        name: (badge("missing", "dim"), f"no answer in phase {titled(phase)}")
        for name, phase in missing(session).items()
    }
    if not found:
        return ""
    rows = [(escape(name), mark, escape(why)) for name, (mark, why) in sorted(found.items())]
    return f"<h2>Out, and why</h2>{listing(('Who', 'How', 'Why'), rows, 'Who is out')}"


def _result(session: SessionView, reader: Reader, show: bool) -> str:
    if session.state is not State.COMPLETED:
        return ""
    if show:
        return f"<h2>Result</h2>{result_tables(session.result)}"
    how = "Sign in to see it." if reader.may_sign_in else "The service was started without an operator's token."
    return f'<h2>Result</h2><p class="dim">The result is for those whom the terms name. {how}</p>'


def _cancelling(session: SessionView, reader: Reader) -> str:
    if not reader.signed_in or session.state is not State.RUNNING:
        return ""
    return (
        '<h2>End it</h2><p class="about">Nobody learns a sum. What a private session has reserved of its budget stays '
        "spent once inputs were asked for.</p>"
        f'<form class="line" method="post" action="/sessions/{escape(session.session)}/cancel">'
        '<div><label for="reason">Reason, which everyone sees here</label>'
        '<input id="reason" name="reason" maxlength="200" size="40"></div>'
        '<button class="danger">End this session without a result</button></form>'
    )


def _budget(budget: BudgetView) -> str:
    share = budget.spent / budget.epsilon if budget.epsilon else 1.0
    tone = "bad" if share >= 1 else "idle" if share >= _NEARLY else "good"
    left = max(0.0, budget.epsilon - budget.spent)
    spent = spelled_up(budget.spent, 3)
    told = f"{spent} of epsilon {budget.epsilon:.3g} spent"
    return (
        f'<div class="card"><h3>{escape(budget.subject)}</h3>{bar(share, tone, told)}'
        f'<div class="row"><span><b>{spent}</b> of epsilon {budget.epsilon:.3g} spent or reserved</span>'
        f'<span class="{tone}">{spelled_down(left, 3)} left</span></div><p class="dim">delta {budget.delta:g}</p></div>'
    )
