"""Who may take part: enrolment by invitation, keys and their rotation, revocation.

A member is a name with one Ed25519 key. Requests name the key that signed them, so that nobody can send as somebody
else; a name follows from its key, never from what a request claims. A key that was replaced or revoked never serves
again, under any name.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from secagg.errors import AuthenticationFailed, ParameterError
from secagg.randomness import SYSTEM, RandomBytes
from secagg.signatures import check_public_key

from ..core.numbers import real
from ..core.participants import Participants
from ..masking.messages import VERSION
from .errors import ReplayedRequestError, ServiceError
from .signing import sha256
from .views import MemberView

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .deliveries import Delivery
    from .store import Store

TOKEN_BYTES = 32
MAX_INVITATION_SECONDS = 366 * 24 * 3600.0
FINGERPRINT_DIGITS = 16
_SEEN_SECONDS = 10.0
"""When members were last seen is written down at most so often, of all together."""

METADATA = sa.MetaData()
MEMBERS = sa.Table(
    "service_members",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("enrolled", sa.Double, nullable=False),
    sa.Column("revoked", sa.Boolean, nullable=False, default=False),
    sa.Column("seen", sa.Double),
    sa.Column("wire", sa.Integer),
)
INVITATIONS = sa.Table(
    "service_invitations",
    METADATA,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
)
FORMER_KEYS = sa.Table(
    "service_former_keys",
    METADATA,
    sa.Column("key", sa.LargeBinary(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)
_BY_KEY = sa.select(MEMBERS.c.key, MEMBERS.c.name, MEMBERS.c.revoked).where(
    MEMBERS.c.key.in_(sa.bindparam("keys", expanding=True))
)
_FORMER = sa.select(FORMER_KEYS.c.key).where(FORMER_KEYS.c.key.in_(sa.bindparam("keys", expanding=True)))


class UnknownMemberError(ServiceError, LookupError):
    """Nobody of this name, or with this key, is a member."""


class RevokedMemberError(ServiceError):
    """The key was revoked, or replaced by another."""


class EnrolmentError(ServiceError):
    """An invitation is not there, was used, has expired or is for another name; or the key cannot be taken."""


@dataclass(frozen=True)
class Member:
    """Who has signed a request.

    Attributes:
        name: as everyone knows it.
        key: public, 32 bytes.
    """

    name: str
    key: bytes


class Members:
    """The members of a service, in its store. All methods block: call them off the event loop.

    Args:
        store: where everything is kept.
        clock: seconds since 1970.
        random: where invitations come from.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time, random: RandomBytes = SYSTEM) -> None:
        self._store = store
        self._clock = clock
        self._random = random
        self._seen: dict[str, tuple[float, int]] = {}
        self._wires: dict[str, int] = {}
        self._written = -_SEEN_SECONDS
        self._seeing = threading.Lock()
        store.ensure(METADATA)

    def invite(self, name: str, *, seconds: float = 7 * 24 * 3600.0) -> str:
        """Return a token with which a name can be enrolled once, as `invite_all` does for many."""
        return self.invite_all([name], seconds=seconds)[name]

    def invite_all(self, names: Iterable[str], *, seconds: float = 7 * 24 * 3600.0) -> dict[str, str]:
        """Return name -> token with which it can be enrolled once: for all of these, or for none.

        Only digests are kept: give a token to nobody else. Earlier invitations for the names are void from now on.

        Args:
            names: each 1 to 200 bytes of printable text, once.
            seconds: for which they hold.

        Raises:
            ParameterError: no names of participants, or one is a member that was not revoked. Nobody was invited.
            StoreError: the store cannot be used.
        """
        wanted = list(names)
        Participants(wanted)
        lasting = real(seconds, "the seconds for which an invitation holds", 1, MAX_INVITATION_SECONDS)
        tokens = {name: self._random(TOKEN_BYTES) for name in wanted}
        with self._store.write() as connection:
            rows = connection.execute(sa.select(MEMBERS.c.name).where(sa.not_(MEMBERS.c.revoked)))
            taken = {row.name for row in rows} & tokens.keys()
            if taken:
                raise ParameterError(
                    f"{min(taken)!r} is a member already: to give it a key without its old one, revoke it"
                )
            now = self._clock()
            connection.execute(sa.delete(INVITATIONS).where(INVITATIONS.c.expires < now))
            for name, token in tokens.items():
                connection.execute(sa.delete(INVITATIONS).where(INVITATIONS.c.name == name))
                new = {"digest": sha256(token), "name": name, "expires": now + lasting}
                connection.execute(sa.insert(INVITATIONS).values(new))
        return {name: token.hex() for name, token in tokens.items()}

    def enrol(self, name: str, key: bytes, token: str) -> None:
        """Make a name a member with a key, and use up its invitation; the same once more changes nothing.

        Raises:
            EnrolmentError: the invitation was used, has expired or is for another name, or the key cannot be taken. The
                text tells these apart only as far as whoever has the token may know.
            StoreError: the store cannot be used.
        """
        digest = sha256(read_token(token))
        with self._store.write() as connection:
            if self._is(connection, name, key):
                return  # an answer that was lost on its way
            row = connection.execute(sa.select(INVITATIONS).where(INVITATIONS.c.digest == digest)).first()
            if row is None or row.name != name:
                raise EnrolmentError(
                    "there is no such invitation for this name: it was used, or never made; ask for a new one"
                )
            if row.expires < self._clock():
                raise EnrolmentError("the invitation has expired: ask for a new one")
            self._check_new(connection, key)
            former = connection.execute(sa.select(MEMBERS).where(MEMBERS.c.name == name)).first()
            if former is not None:  # revoked, or there would be no invitation
                connection.execute(sa.insert(FORMER_KEYS).values(key=former.key, name=name))
                connection.execute(sa.delete(MEMBERS).where(MEMBERS.c.name == name))
            connection.execute(sa.delete(INVITATIONS).where(INVITATIONS.c.digest == digest))
            connection.execute(sa.insert(MEMBERS).values(name=name, key=key, enrolled=self._clock(), revoked=False))

    def rotate(self, member: Member, new_key: bytes) -> None:
        """Replace a member's key by another, whose owner has signed the same request.

        Raises:
            EnrolmentError: the key cannot be taken.
            RevokedMemberError: it was revoked or replaced in the meantime.
            StoreError: the store cannot be used.
        """
        with self._store.write() as connection:
            self._check_new(connection, new_key)
            changed = connection.execute(
                sa.update(MEMBERS)
                .where(MEMBERS.c.name == member.name, MEMBERS.c.key == member.key, sa.not_(MEMBERS.c.revoked))
                .values(key=new_key)
            )
            if not changed.rowcount:
                raise RevokedMemberError("the key was revoked or replaced in the meantime")
            connection.execute(sa.insert(FORMER_KEYS).values(key=member.key, name=member.name))

    def revoke(self, name: str) -> None:
        """Let a member take part no more. Its sessions go on without it, as if it had vanished.

        Raises:
            UnknownMemberError: there is no such member.
            StoreError: the store cannot be used.
        """
        with self._store.write() as connection:
            connection.execute(sa.delete(INVITATIONS).where(INVITATIONS.c.name == name))
            changed = connection.execute(sa.update(MEMBERS).where(MEMBERS.c.name == name).values(revoked=True))
            if not changed.rowcount:
                raise UnknownMemberError(f"{name!r:.60} is no member")

    def by_key(self, key: bytes) -> Member:
        """Return whose key it is.

        Raises:
            UnknownMemberError: nobody's.
            RevokedMemberError: it was revoked or replaced.
            StoreError: the store cannot be used.
        """
        (found,) = self.by_keys([key])
        if isinstance(found, Exception):
            raise found
        return found

    def by_keys(self, keys: Sequence[bytes]) -> list[Member | ServiceError]:
        """Return for each key what `by_key` returns or raises, from one look at the store. Raises StoreError."""
        with self._store.read() as connection:
            return self._owners(connection, keys)

    def turned_away(self, connection: Connection, deliveries: Sequence[Delivery]) -> dict[int, ServiceError]:
        """Return whose answers are not let in, since the key that signed them serves nobody any more; a `Standing`."""
        keyed = [(at, each.key) for at, each in enumerate(deliveries) if each.key is not None]
        owners = self._owners(connection, [key for _, key in keyed])
        return {at: owner for (at, _), owner in zip(keyed, owners, strict=True) if isinstance(owner, ServiceError)}

    def _owners(self, connection: Connection, keys: Sequence[bytes]) -> list[Member | ServiceError]:
        wanted = list(set(keys))
        rows = connection.execute(_BY_KEY, {"keys": wanted}).all() if wanted else []
        known = {bytes(row.key): row for row in rows}
        others = [key for key in wanted if key not in known]
        former = set(map(bytes, connection.scalars(_FORMER, {"keys": others}))) if others else set()
        found: list[Member | ServiceError] = []
        for key in keys:
            if key in former:
                found.append(RevokedMemberError("the key that signed the request was replaced by another"))
            elif key not in known:
                text = "no member has the key that signed the request: enrol first, by an invitation"
                found.append(UnknownMemberError(text))
            elif known[key].revoked:
                found.append(RevokedMemberError("the key that signed the request was revoked"))
            else:
                found.append(Member(known[key].name, key))
        return found

    def use_nonce(self, signer: str, nonce: bytes) -> None:
        """Note that a request came; raise ReplayedRequestError if it came before."""
        with self._store.write() as connection:
            if not self._store.use_nonce(connection, signer, nonce):
                raise ReplayedRequestError("the request was served before: sign each one anew")

    def saw(self, name: str, wire: int) -> bool:
        """Note in memory that a member has asked, and its wire version; return whether `write_seen` is due."""
        now = self._clock()
        with self._seeing:
            known = self._wires.get(name, VERSION)
            self._wires[name] = wire
            self._seen[name] = now, wire
            return wire != known or time.monotonic() - self._written >= _SEEN_SECONDS

    def write_seen(self) -> None:
        """Write down who has asked, all at once."""
        with self._seeing:
            seen, self._seen, self._written = self._seen, {}, time.monotonic()
        if seen:
            rows = [{"who": name, "at": at, "spoken": wire} for name, (at, wire) in sorted(seen.items())]
            update = sa.update(MEMBERS).where(MEMBERS.c.name == sa.bindparam("who"))
            with self._store.write() as connection:
                connection.execute(update.values(seen=sa.bindparam("at"), wire=sa.bindparam("spoken")), rows)

    def views(self) -> tuple[MemberView, ...]:
        """Return everyone, by name."""
        with self._store.read() as connection:
            rows = connection.execute(sa.select(MEMBERS).order_by(MEMBERS.c.name)).all()
        return tuple(MemberView(row.name, fingerprint(row.key), row.seen, row.wire, bool(row.revoked)) for row in rows)

    def invited(self) -> dict[str, float]:
        """Return name -> until when its invitation holds, of those that were not used."""
        with self._store.read() as connection:
            rows = connection.execute(sa.select(INVITATIONS.c.name, INVITATIONS.c.expires)).all()
        now = self._clock()
        return {row.name: row.expires for row in sorted(rows, key=lambda row: row.name) if row.expires >= now}

    def participants(self, names: Iterable[str] | None = None) -> Participants:
        """Return members with their keys, for a session: these, or all that can take part.

        Raises:
            UnknownMemberError: one is no member, was revoked, or speaks another wire version.
            StoreError: the store cannot be used.
        """
        with self._store.read() as connection:
            rows = connection.execute(sa.select(MEMBERS).where(sa.not_(MEMBERS.c.revoked))).all()
        able = {row.name: bytes(row.key) for row in rows if row.wire in (None, VERSION)}
        if names is None:
            return Participants(able)
        wanted = list(names)
        for name in wanted:
            if name not in able:
                old = any(row.name == name for row in rows)
                raise UnknownMemberError(
                    f"{name!r:.60} speaks another wire version than {VERSION}: it must upgrade first"
                    if old
                    else f"{name!r:.60} is no member: invite it, or leave it out"
                )
        return Participants({name: able[name] for name in wanted})

    def _is(self, connection: sa.Connection, name: str, key: bytes) -> bool:
        row = connection.execute(sa.select(MEMBERS.c.key, MEMBERS.c.revoked).where(MEMBERS.c.name == name)).first()
        return row is not None and bytes(row.key) == key and not row.revoked

    def _check_new(self, connection: sa.Connection, key: bytes) -> None:
        """Raise EnrolmentError unless the key is sound, and was nobody's before."""
        try:
            check_public_key(key)
        except AuthenticationFailed as error:
            raise EnrolmentError(error.reason) from None
        for table in (MEMBERS, FORMER_KEYS):
            if connection.execute(sa.select(table.c.name).where(table.c.key == key)).first():
                raise EnrolmentError("the key is or was a member's: make a new one with `secagg keygen`")


def read_token(token: str) -> bytes:
    """Return what an invitation's digest is of; raise EnrolmentError where it cannot be one."""
    if not re.fullmatch(f"[0-9a-f]{{{2 * TOKEN_BYTES}}}", token):
        raise EnrolmentError(f"the invitation is no token of {2 * TOKEN_BYTES} hexadecimal digits")
    return bytes.fromhex(token)


def fingerprint(key: bytes) -> str:
    """Return what tells a public key from others, for people to compare."""
    return sha256(key).hex()[:FINGERPRINT_DIGITS]
