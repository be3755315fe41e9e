"""From rows of the store to what is shown. Everything here blocks; it is called in threads."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, case, func, select

from .deliveries import check_id
from .errors import DamagedStoreError, UnknownSessionError
from .store import Store, read_names
from .tables import INBOX, PHASES, REFUSALS, SESSIONS
from .views import PhaseView, SessionView, State

MOST_SESSIONS = 50
MOST_SHOWN = 100
"""Numbers of one list of a result that a view shows; `result` has all of them."""
_COLUMNS = [column for column in SESSIONS.c if column.name != "orders"]


def sessions_shown(store: Store, most: int = MOST_SESSIONS) -> tuple[tuple[SessionView, ...], dict[State, int]]:
    """Return so many sessions, those that run first, then the newest; and how many there are in each state."""
    runs = case((SESSIONS.c.state == State.RUNNING.value, 0), else_=1)
    with store.read() as connection:
        rows = connection.execute(select(*_COLUMNS).order_by(runs, SESSIONS.c.created.desc()).limit(most)).all()
        counts = dict.fromkeys(State, 0)
        for state, count in connection.execute(select(SESSIONS.c.state, func.count()).group_by(SESSIONS.c.state)):
            if state in counts:
                counts[State(state)] = count
        return _views(connection, rows), counts


def session_shown(store: Store, session: str) -> SessionView:
    """Return one session; raise UnknownSessionError where there is none."""
    check_id(session)
    with store.read() as connection:
        rows = connection.execute(select(*_COLUMNS).where(SESSIONS.c.id == session)).all()
        if not rows:
            raise UnknownSessionError(f"there is no session {session}")
        return _views(connection, rows)[0]


def _views(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[SessionView, ...]:
    ids = [row.id for row in rows]
    phases: dict[str, list[PhaseView]] = defaultdict(list)
    found = connection.execute(
        select(PHASES).where(PHASES.c.session.in_(ids)).order_by(PHASES.c.session, PHASES.c.phase)
    )
    answered = _answered(connection, [row.id for row in rows if row.state == State.RUNNING])
    ended = {row.id for row in rows if row.state != State.RUNNING}
    for phase in found.all():
        phases[phase.session].append(_phase(phase, answered, phase.session in ended))
    refused: dict[str, dict[str, str]] = defaultdict(dict)
    for refusal in connection.execute(select(REFUSALS).where(REFUSALS.c.session.in_(ids))).all():
        refused[refusal.session][refusal.member] = f"{refusal.kind}: {refusal.reason}"
    return tuple(_view(row, phases[row.id], refused[row.id]) for row in rows)


def _answered(connection: Connection, running: Iterable[str]) -> dict[tuple[str, int], tuple[set[str], int]]:
    """Return who has answered in open phases, and with how many bytes."""
    rows = connection.execute(
        select(INBOX.c.session, INBOX.c.phase, INBOX.c.sender, func.sum(INBOX.c.size))
        .where(INBOX.c.session.in_(list(running)), INBOX.c.outcome == "accepted")
        .group_by(INBOX.c.session, INBOX.c.phase, INBOX.c.sender)
    ).all()
    found: dict[tuple[str, int], tuple[set[str], int]] = {}
    for session, phase, sender, size in rows:
        names, total = found.get((session, phase), (set(), 0))
        found[session, phase] = (names | {sender}, total + int(size))
    return found


def _names(text: str, ended: bool) -> tuple[str, ...]:
    """Return names that a session keeps; none where they are damaged and it has ended, perhaps by that."""
    try:
        return read_names(text)
    except DamagedStoreError:
        if ended:
            return ()
        raise


def _phase(row: Row[Any], open_ones: dict[tuple[str, int], tuple[set[str], int]], ended: bool) -> PhaseView:
    names, size = open_ones.get((row.session, row.phase), (set(), 0))
    return PhaseView(
        row.name,
        _names(row.asked, ended),
        tuple(sorted(names)) if row.closed is None else _names(row.answered, ended),
        row.needed,
        row.opened,
        row.deadline,
        row.closed,
        size if row.closed is None else row.bytes,
    )


def _view(row: Row[Any], phases: Sequence[PhaseView], refused: dict[str, str]) -> SessionView:
    try:
        state = State(row.state)
        excluded = msgspec.json.decode(row.excluded, type=dict[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise DamagedStoreError("a session of the store is no session; restore it from a backup") from None
    return SessionView(
        row.id,
        row.title,
        row.protocol,
        row.adversary,
        state,
        _names(row.names, state is not State.RUNNING),
        tuple(phases),
        excluded,
        refused,
        row.created,
        row.ended,
        row.error,
        row.reason,
        row.shown,
    )


def shown(result: bytes) -> str:
    """Return a result as views have it: long lists of numbers are cut short."""
    return json.dumps(_cut(json.loads(result)))


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    if isinstance(value, list):
        if len(value) > MOST_SHOWN and all(isinstance(each, int | float) for each in value):
            return [*value[:MOST_SHOWN], f"and {len(value) - MOST_SHOWN} more"]
        return [_cut(each) for each in value]
    return value
