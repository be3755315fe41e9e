"""What is asked of the store for each answer and each letter, and at each look.

These statements are made once, and their parameters bound: to make one anew takes longer than to run it.
"""

from __future__ import annotations

from sqlalchemy import and_, bindparam, func, insert, or_, select, update

from .tables import BODIES, CONTENTS, INBOX, LETTERS, REFUSALS, SESSIONS
from .views import State

OPEN_SESSIONS = (
    select(SESSIONS.c.id, SESSIONS.c.state, SESSIONS.c.phase, SESSIONS.c.closing, SESSIONS.c.max_bytes)
    .where(SESSIONS.c.id.in_(bindparam("sessions", expanding=True)))
    .order_by(SESSIONS.c.id)
    .with_for_update()
)
ANSWERS_OF = (
    select(
        *(INBOX.c.id, INBOX.c.session, INBOX.c.phase, INBOX.c.sender, INBOX.c.digest),
        *(INBOX.c.outcome, INBOX.c.error, INBOX.c.reason),
    )
    .where(
        INBOX.c.session.in_(bindparam("sessions", expanding=True)),
        INBOX.c.sender.in_(bindparam("senders", expanding=True)),
    )
    .order_by(INBOX.c.phase)
)
LET_IN = insert(INBOX).returning(INBOX.c.id, sort_by_parameter_order=True)
KEEP_BODIES = insert(BODIES)
NAMES_OF = select(SESSIONS.c.names).where(SESSIONS.c.id == bindparam("session"))
OUTCOMES_OF = select(INBOX.c.id, INBOX.c.outcome, INBOX.c.error, INBOX.c.reason).where(
    INBOX.c.id.in_(bindparam("keys", expanding=True)), INBOX.c.outcome.is_not(None)
)
FIRST_LETTERS = (
    select(LETTERS.c.session, LETTERS.c.id, LETTERS.c.name, LETTERS.c.body, LETTERS.c.phase)
    .where(LETTERS.c.member == bindparam("of"), LETTERS.c.id > bindparam("after"))
    .order_by(LETTERS.c.id)
    .limit(2)
)
TERMS_OF = select(CONTENTS.c.session, CONTENTS.c.terms).where(
    CONTENTS.c.session.in_(bindparam("sessions", expanding=True))
)
LAST_LETTER = select(func.max(LETTERS.c.id))
ADDRESSEES = (
    select(LETTERS.c.member, func.max(LETTERS.c.id).label("last"))
    .where(LETTERS.c.id > bindparam("after"))
    .group_by(LETTERS.c.member)
)

FREE = and_(
    SESSIONS.c.state == State.RUNNING.value,
    or_(SESSIONS.c.owner.is_(None), SESSIONS.c.lease < bindparam("now")),
    SESSIONS.c.id.not_in(bindparam("besides", expanding=True)),
)
ANY_FREE = select(SESSIONS.c.id).where(FREE).limit(1)
FENCE = (
    select(SESSIONS.c.owner, SESSIONS.c.epoch, SESSIONS.c.state)
    .where(SESSIONS.c.id == bindparam("session"))
    .with_for_update()
)
REFUSED = select(REFUSALS.c.member).where(REFUSALS.c.session == bindparam("session"))
_OF_PHASE = (
    INBOX.c.session == bindparam("session"),
    INBOX.c.phase == bindparam("phase"),
    INBOX.c.id > bindparam("after"),
)
_LISTED = select(INBOX.c.id, INBOX.c.sender, INBOX.c.size).where(*_OF_PHASE).order_by(INBOX.c.id)
NOTED = _LISTED.where(INBOX.c.outcome.is_not(None)).limit(bindparam("most"))
UNSEEN = _LISTED.where(INBOX.c.outcome.is_(None)).limit(bindparam("most"))
BODIES_OF = select(BODIES.c.answer, BODIES.c.body).where(BODIES.c.answer.in_(bindparam("keys", expanding=True)))
NOTE = (
    update(INBOX)
    .where(INBOX.c.id == bindparam("key"))
    .values(outcome=bindparam("receipt"), error=bindparam("kind"), reason=bindparam("text"))
)
EXCLUDE = (
    update(SESSIONS)
    .where(SESSIONS.c.id == bindparam("of"), SESSIONS.c.excluded != bindparam("written"))
    .values(excluded=bindparam("written"))
)
WRITE_LETTERS = insert(LETTERS)
