"""The desk: all that HTTP, pages and operators ask of a service. Its methods wait without blocking the event loop.

A desk is a face of a store. Several processes may have one each: every one takes answers in and gives letters out, and
whichever holds a session's lease runs it (`Desk.run`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dp.errors import DpError
from secagg.errors import ParameterError
from secagg.prg import cpu_count

from ..core.listener import Transition
from .deliveries import Delivery, Standing, everyone
from .errors import NoResultError, ServiceError, StoreError, UnknownSessionError
from .jobs import prepared
from .jobsteps import JOB_SECONDS, Rounds
from .paying import Purse
from .running import KEEP_SECONDS, MORE_SELDOM, Runner
from .sessions import SessionSpec
from .showing import session_shown, sessions_shown
from .store import Store
from .tables import CONTENTS, SESSIONS, WITH_CONTENTS
from .taking import Taking
from .together import Together
from .views import Letter, MemberView, Outcome, ServiceView, SessionView, State, WaitingView
from .waiting import Letters, Poll

if TYPE_CHECKING:
    from dp.ledger import Ledger

STORE_THREADS = 6
MOST_TERMS_AT_ONCE = 64
LEASE_SECONDS = 10.0
PARTING_SECONDS = 5.0
"""For which a session is a process's own without renewal."""

Observe = Callable[[str, Transition], None]
"""Told of every transition of a session that this process runs: the session's id in hex, and what happened."""


async def _nobody() -> tuple[Any, ...]:
    return ()


class Desk:
    """All that is asked of a service.

    Args:
        store: where everything is kept; closed by whoever opened it.
        ledger: pays for private sessions.
        observe: told of transitions, from threads; what it raises is dropped.
        members: returns who has enrolled, for `view`.
        invited: returns who was invited and has not enrolled, the same.
        jobs: name -> a job. All processes of one store should be given the same ones.
        job_seconds: in which a job must return; one that does not has ended (`JobDeadlineError`).
        workers: threads for computing; as many as there are processors when None.
        patience: seconds for which `deliver` waits for an answer to be looked at.
        lease: seconds for which a session is a process's own without renewal.
        poll: seconds between looks for what other processes have written.
        told: hears why sessions wait for the store, in sentences that may name its place; each once a minute at most.
        standing: whose answers are not let in, such as those of members that were revoked in the meantime.
    """

    def __init__(
        self,
        store: Store,
        *,
        ledger: Ledger | None = None,
        observe: Observe = lambda session, transition: None,
        members: Callable[[], Awaitable[tuple[MemberView, ...]]] = _nobody,
        invited: Callable[[], Awaitable[tuple[str, ...]]] = _nobody,
        jobs: Mapping[str, Rounds] | None = None,
        job_seconds: float = JOB_SECONDS,
        workers: int | None = None,
        patience: float = 5.0,
        lease: float = LEASE_SECONDS,
        poll: float = 0.2,
        told: Callable[[str], None] = lambda text: None,
        standing: Standing = everyone,
    ) -> None:
        self.store = store
        self._purse = None if ledger is None else Purse(ledger)
        self._members, self._invited = members, invited
        self.jobs: dict[str, Rounds] = dict(jobs or {})
        """By name; more may be added while sessions run."""
        self._poll = poll
        threads = workers or cpu_count()
        # Apart, so that what computes for long does not keep leases from being renewed.
        self._reading = ThreadPoolExecutor(STORE_THREADS, "store")
        self._computing = ThreadPoolExecutor(threads, "compute")
        self.waiting: dict[str, WaitingView] = {}
        """Sessions that are yet to begin, for `view`, by any name."""
        self._ended = asyncio.Event()
        self._letters = Letters(store, self._call, poll)
        self._terms: Together[str, bytes] = Together(self._call, self._kept_terms, MOST_TERMS_AT_ONCE)
        self._taking = Taking(store, self._call, patience, poll, self._let_in, standing)
        self._runner = Runner(
            store,
            self._call,
            self._computing,
            threads,
            self._purse,
            observe,
            self.jobs,
            job_seconds,
            lease,
            poll,
            self._taking.resolve,
            self._letters.wake,
            self._taking.bodies,
            self._ended.set,
            told,
        )

    async def open(self, spec: SessionSpec) -> str:
        """Begin a session; return its id in hex once it is durable. Whoever runs the desk begins to ask.

        Raises:
            ParameterError: a private session, and this desk has no ledger; or Paillier parameters that were used.
            StoreError: it could not be kept.
        """
        if spec.payment is not None and self._purse is None:
            raise ParameterError("a private session is paid from a budget: give the desk a ledger")
        new = await asyncio.get_running_loop().run_in_executor(self._computing, prepared, spec)
        await self._call(self.store.add, new)
        self._told({new.session})
        return new.session

    async def next_letter(self, member: str, after: int, wait: float, poll: Poll | None = None) -> Letter | None:
        """Return a member's first letter after a sequence number, as soon as there is one; None if there was none.

        Letters of a phase that is over are not given out any more, but for those that are relayed. The last letter of a
        session has an empty body: its phase is "completed" or "aborted".

        Args:
            member: who asks.
            after: the sequence number of the last letter that it has handled; 0 at first.
            wait: seconds.
            poll: by which the question may be given up; there is no letter then.

        Raises:
            StoreError: the store cannot be read.
        """
        return await self._letters.next(member, after, wait, poll)

    async def parted(self, seconds: float = PARTING_SECONDS) -> bool:
        """Return once everyone who has asked this desk for letters was given its last one, or after so many seconds.

        A service that ended before would leave members, which were about to ask how a session ended, trying again.

        Returns:
            whether all were: who vanished is awaited in vain.
        """
        return await self._letters.all_given(seconds)

    async def deliver(
        self,
        member: str,
        session: str,
        body: bytes,
        *,
        nonce: bytes | None = None,
        sha256: bytes | None = None,
        key: bytes | None = None,
    ) -> Outcome:
        """Keep an answer, and return what came of it; no receipt and no error where nobody looked at it yet.

        Args:
            member: who sent it, as the transport has authenticated it.
            session: in hex.
            body: the message.
            nonce: of the request, at most 64 bytes: noted with the answer, once for each member.
            sha256: of the body, where it is known.
            key: by which the request was signed: whether it serves is asked as the answer is let in (`standing`).

        Raises:
            UnknownSessionError: there is no such session.
            NotInvitedError: the member has no part in it.
            ReplayedRequestError: the nonce was used before; the answer is not kept.
            StoreError: it could not be kept; repeating it is safe.
        """
        return await self._taking.deliver(Delivery(member, session, bytes(body), nonce, sha256, key))

    async def refuse(self, member: str, session: str, kind: str, text: str) -> None:
        """Note that a member will not take part, and why: it is no longer awaited. Only the first refusal counts.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`.
        """
        await self._call(self.store.refuse, member, session, kind, text)
        self._told({session})

    async def terms(self, member: str, session: str) -> bytes:
        """Return what is asked in a session; `sessions.read_terms` reads it.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`; a session whose last letter is not kept any
                more is unknown to members, who would wait for it for ever.
        """
        await self._call(self.store.part_of, member, session)
        return await self._terms.ask(session)

    async def result(self, member: str | None, session: str) -> bytes:
        """Return a session's result as JSON; None for a member is the operator.

        Raises:
            UnknownSessionError, NotInvitedError, StoreError: as `deliver`.
            NoResultError: it has none, or none for this member; the text says which.
        """
        if member is not None:
            await self._call(self.store.part_of, member, session)
        row = await self._call(self.store.row, session, CONTENTS.c.result, SESSIONS.c.error, SESSIONS.c.to_members)
        if member is not None and not row.to_members:
            raise NoResultError("the session's result is for its operator alone")
        if row.result is None:
            raise NoResultError(f"the session failed: {row.error}" if row.error else "the session has not ended yet")
        return bytes(row.result)

    async def wait(self, session: str) -> SessionView:
        """Return a session once it has ended, with a result or without one."""
        while True:
            self._ended.clear()
            row = await self._call(self.store.row, session, SESSIONS.c.state)
            if row.state != State.RUNNING:
                return await self.session_view(session)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MORE_SELDOM * self._poll):
                    await self._ended.wait()

    async def cancel(self, session: str, reason: str = "") -> None:
        """End a session without a result, unless it has ended. What was paid for it stays paid once it was revealed.

        Raises:
            UnknownSessionError, StoreError: as `deliver`.
        """
        self._letters.wake(await self._call(self.store.cancel, session, reason))
        self._ended.set()
        self._told({session})

    async def view(self) -> ServiceView:
        """Return all that is shown, sessions that run first. Raises StoreError: store or ledger cannot be read."""
        waiting = tuple(self.waiting.values())  # before sessions, or one that is opened now would be in neither
        try:
            budgets = () if self._purse is None else await self._call(self._purse.budgets)
        except DpError as error:
            raise StoreError(f"the ledger cannot be read: {error}") from None
        await self._runner.write()
        shown, counts = await self._call(sessions_shown, self.store)
        return ServiceView(shown, await self._members(), budgets, waiting, await self._invited(), counts)

    async def session_view(self, session: str) -> SessionView:
        """Return one session. Raises UnknownSessionError, StoreError: as `deliver`."""
        await self._runner.write()
        shown: SessionView = await self._call(session_shown, self.store, session)
        return shown

    async def run(self) -> None:
        """Run sessions, those of processes that died included, until cancelled; then leave them to others."""
        await self._runner.run()

    def close(self) -> None:
        """End the desk's threads, from its event loop or after it. Its store stays open."""
        self._letters.close()
        self._terms.close()
        self._taking.close()
        for executor in (self._reading, self._computing):
            executor.shutdown(cancel_futures=True)

    def _kept_terms(self, sessions: Sequence[str]) -> list[bytes | ServiceError]:
        """Return what is asked in each session, or why that cannot be said."""
        query = sa.select(SESSIONS.c.id, SESSIONS.c.ended, CONTENTS.c.terms).select_from(WITH_CONTENTS)
        with self.store.read() as connection:
            rows = {row.id: row for row in connection.execute(query.where(SESSIONS.c.id.in_(sessions)))}
            since = self.store.now(connection) - KEEP_SECONDS
        found: list[bytes | ServiceError] = []
        for session in sessions:
            if session not in rows:
                found.append(UnknownSessionError(f"there is no session {session}"))
            elif (rows[session].ended or since) < since:
                text = f"session {session} has ended, and its last letter is not kept any more"
                found.append(UnknownSessionError(text))
            else:
                found.append(bytes(rows[session].terms))
        return found

    def _told(self, sessions: set[str]) -> None:
        self._runner.told(sessions)

    def _let_in(self, sessions: set[str]) -> None:
        self._runner.let_in(sessions)

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._reading, function, *arguments)
