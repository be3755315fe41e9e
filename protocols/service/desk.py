"""The desk: all that HTTP, pages and operators ask of a service. Its methods wait without blocking the event loop.

A desk is a face of a store. Several processes may have one each: every one takes answers in and gives letters out, and
whichever holds a session's lease runs it (`Desk.run`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.listener import Transition
from .sessions import SessionSpec
from .views import Letter, MemberView, Outcome, ServiceView, SessionView

if TYPE_CHECKING:
    from dp.ledger import Ledger

    from .store import Store

Observe = Callable[[str, Transition], None]
"""Told of every transition of a session that this process runs: the session's id in hex, and what happened."""


@dataclass(frozen=True)
class Ended:
    """A session of a job that has a result: what its job's next session may follow from.

    Attributes:
        session: its id, in hex.
        number: of the session in its job, from 0.
        result: as in the session's JSON, decoded.
    """

    session: str
    number: int
    result: Mapping[str, Any]


Rounds = Callable[[Ended | None], SessionSpec | None]
"""A job: gets the session before, or None at first, and returns the next; None ends it. It is called in a thread, and
again after a crash, by whichever process runs next: what it returns must follow from what it is given."""


class Desk:
    """All that is asked of a service.

    Args:
        store: where everything is kept; closed by whoever opened it.
        ledger: pays for private sessions.
        observe: told of transitions, from threads.
        members: returns who has enrolled, for `view`.
        jobs: name -> a job. All processes of one store should be given the same ones.
        workers: threads for computing; as many as there are processors when None.
        patience: seconds for which `deliver` waits for an answer to be looked at.
        lease: seconds for which a session is a process's own without renewal.
        poll: seconds between looks for what other processes have written.
    """

    def __init__(
        self,
        store: Store,
        *,
        ledger: Ledger | None = None,
        observe: Observe = lambda session, transition: None,
        members: Callable[[], Awaitable[tuple[MemberView, ...]]] | None = None,
        jobs: Mapping[str, Rounds] | None = None,
        workers: int | None = None,
        patience: float = 5.0,
        lease: float = 10.0,
        poll: float = 0.2,
    ) -> None:
        raise NotImplementedError

    async def open(self, spec: SessionSpec) -> str:
        """Begin a session; return its id in hex once it is durable. Whoever runs the desk begins to ask.

        Raises:
            StoreError: it could not be kept.
        """
        raise NotImplementedError

    async def next_letter(self, member: str, after: int, wait: float) -> Letter | None:
        """Return a member's first letter after a sequence number, as soon as there is one; None if there was none.

        The last letter of a session has an empty body: its phase is "completed" or "aborted".

        Args:
            member: who asks.
            after: the sequence number of the last letter that it has handled; 0 at first.
            wait: seconds.

        Raises:
            StoreError: the store cannot be read.
        """
        raise NotImplementedError

    async def deliver(self, member: str, session: str, body: bytes, *, nonce: bytes | None = None) -> Outcome:
        """Keep an answer, and return what came of it; no receipt and no error where nobody looked at it yet.

        Args:
            member: who sent it, as the transport has authenticated it.
            session: in hex.
            body: the message.
            nonce: of the request: noted with the answer, once for each member.

        Raises:
            UnknownSessionError: there is no such session.
            NotInvitedError: the member has no part in it.
            ReplayedRequestError: the nonce was used before; the answer is not kept.
            StoreError: it could not be kept; repeating it is safe.
        """
        raise NotImplementedError

    async def refuse(self, member: str, session: str, kind: str, text: str) -> None:
        """Note that a member will not take part, and why: it is no longer awaited. Only the first refusal counts.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`.
        """
        raise NotImplementedError

    async def terms(self, member: str, session: str) -> bytes:
        """Return what is asked in a session; `sessions.read_terms` reads it.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`.
        """
        raise NotImplementedError

    async def result(self, member: str | None, session: str) -> bytes:
        """Return a session's result as JSON; None for a member is the operator.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`.
            NoResultError: it has none, or none for this member; the text says which.
        """
        raise NotImplementedError

    async def wait(self, session: str) -> SessionView:
        """Return a session once it has ended, with a result or without one."""
        raise NotImplementedError

    async def cancel(self, session: str, reason: str = "") -> None:
        """End a session without a result, unless it has ended. What was paid for it stays paid once it was revealed.

        Raises:
            UnknownSessionError, StoreError: as `deliver`.
        """
        raise NotImplementedError

    async def view(self) -> ServiceView:
        """Return all that is shown, the newest sessions first."""
        raise NotImplementedError

    async def session_view(self, session: str) -> SessionView:
        """Return one session. Raises UnknownSessionError, StoreError: as `deliver`."""
        raise NotImplementedError

    async def run(self) -> None:
        """Run sessions, those of processes that died included, until cancelled; then leave them to others."""
        raise NotImplementedError
