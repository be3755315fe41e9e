"""The tables of a store. Times are seconds since 1970; ids of sessions are hexadecimal."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

FORMAT = 2
METADATA = MetaData()
_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts in no other type

HEAD = Table(
    "service_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("format", Integer, nullable=False),
)

SESSIONS = Table(
    "service_sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("title", Text, nullable=False),
    Column("protocol", String(16), nullable=False),
    Column("adversary", String(32), nullable=False),
    Column("to_members", Boolean, nullable=False),
    Column("max_bytes", BigInteger, nullable=False),
    Column("job", Text),
    Column("number", Integer),
    Column("followed", Boolean, nullable=False, default=False),
    Column("state", String(16), nullable=False),
    Column("phase", Integer, nullable=False, default=0),
    Column("begun", Boolean, nullable=False, default=False),
    Column("closing", Boolean, nullable=False, default=False),
    Column("revealed", Boolean, nullable=False, default=False),
    Column("held", Boolean, nullable=False, default=False),
    Column("deadline", Double, nullable=False, default=0.0),
    Column("owner", String(32)),
    Column("lease", Double, nullable=False, default=0.0),
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("created", Double, nullable=False),
    Column("ended", Double),
    Column("error", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("excluded", Text, nullable=False, default="{}"),
    Column("names", Text, nullable=False),
    Column("orders", Text, nullable=False),
    Column("shown", Text, nullable=False, default=""),
    UniqueConstraint("job", "number"),
    Index("service_sessions_by_state", "state", "lease"),
)
"""`orders` has deadlines, release policy and payment as JSON; `held` says that a ledger may hold a reservation of the
session, `shown` is the result with long lists cut short."""

CONTENTS = Table(
    "service_contents",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("terms", LargeBinary, nullable=False),
    Column("result", LargeBinary),
    Column("dump", LargeBinary, nullable=False),
)
"""What of a session is large, apart from what is read and written all the time: to come to a column, SQLite reads all
that stands before it in its row, and where one grows, it writes the whole row anew. `dump` is the coordinator's, as of
the beginning of the phase, empty once the session has ended."""
WITH_CONTENTS = SESSIONS.join(CONTENTS, CONTENTS.c.session == SESSIONS.c.id)

PHASES = Table(
    "service_phases",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("phase", Integer, primary_key=True, autoincrement=False),
    Column("name", String(32), nullable=False),
    Column("asked", Text, nullable=False),
    Column("answered", Text, nullable=False, default="[]"),
    Column("needed", Integer, nullable=False),
    Column("opened", Double, nullable=False),
    Column("deadline", Double, nullable=False),
    Column("closed", Double),
    Column("bytes", BigInteger, nullable=False, default=0),
)

LETTERS = Table(
    "service_letters",
    METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("member", Text, nullable=False),
    Column("session", String(64), nullable=False),
    Column("phase", Integer, nullable=False),
    Column("name", String(32), nullable=False),
    Column("relayed", Boolean, nullable=False, default=False),
    Column("body", LargeBinary, nullable=False),
    Index("service_letters_of_member", "member", "id"),
    Index("service_letters_of_session", "session", "phase"),
    sqlite_autoincrement=True,  # what was deleted gives its number to nobody
)

INBOX = Table(
    "service_inbox",
    METADATA,
    Column("id", _SERIAL, primary_key=True),
    Column("session", String(64), nullable=False),
    Column("phase", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("outcome", String(16)),
    Column("error", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    UniqueConstraint("session", "sender", "digest", "phase"),
    Index("service_inbox_of_phase", "session", "phase", "id"),
    sqlite_autoincrement=True,  # what was deleted gives its number to nobody
)
"""`outcome` is empty for a message that was refused, and NULL for one that nobody looked at."""

BODIES = Table(
    "service_bodies",
    METADATA,
    Column("answer", _SERIAL, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
"""Answers of open phases themselves, by the numbers that they have in the inbox; apart from it as `CONTENTS` are."""

REFUSALS = Table(
    "service_refusals",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("member", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
)

NONCES = Table(
    "service_nonces",
    METADATA,
    Column("member", Text, primary_key=True),
    Column("nonce", String(128), primary_key=True),
    Column("at", Double, nullable=False),
    Index("service_nonces_by_time", "at"),
)

JOBS = Table(
    "service_jobs",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("ended", Double),
    Column("error", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
)
