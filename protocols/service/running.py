"""Running sessions: those that this process holds a lease of, each as a task, until somebody cancels it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from dp.errors import DpError, LedgerBusyError, LedgerStorageError
from secagg.errors import SecAggError

from ..core.listener import Listener, PhaseOpened, SessionEnded, Transition
from ..masking.config import RoundConfig
from .driver import Driver, Turn
from .errors import DamagedStoreError, LostLeaseError, StoreError
from .jobs import Work, read_orders, taken_up
from .jobsteps import JobSteps, Rounds
from .mailbox import StoreMailbox
from .owning import Lease, Loaded, Owner
from .paying import Purse
from .store import Store
from .taking import Call
from .views import Outcome

MOST_SESSIONS = 64
"""So many sessions one process runs at a time; others wait, or are run by others."""
MORE_SELDOM = 5
"""So many times as seldom as for answers is looked for sessions that other processes have opened, left or ended."""
CLEAR_SECONDS = 60.0
PAUSE_SECONDS = 5.0
"""So long a session is left alone that this process could not run, such as without its ledger."""
KEEP_SECONDS = 7 * 24 * 3600.0
"""So long the last letters of a session that has ended are there for members that were away."""


class Runner:
    """Runs sessions of a store.

    Args:
        store: of the sessions.
        call: runs what blocks.
        executor: for computing.
        threads: of one session's computing.
        purse: pays for private sessions.
        observe: hears transitions, with the session's id in hex.
        jobs: by name.
        job_seconds: in which each of them must return.
        lease: seconds for which a session is this process's without renewal.
        poll: seconds between looks.
        resolve: called with what came of answers.
        wake: called with who has letters.
        bodies: number in the inbox -> an answer, of those that this process has in its memory.
        ended: called when a session is over that this process ran.
        told: hears why the store cannot be used, each sentence once in `CLEAR_SECONDS`.
    """

    def __init__(
        self,
        store: Store,
        call: Call,
        executor: Executor,
        threads: int,
        purse: Purse | None,
        observe: Callable[[str, Transition], None],
        jobs: Mapping[str, Rounds],
        job_seconds: float,
        lease: float,
        poll: float,
        resolve: Callable[[Mapping[int, Outcome]], None],
        wake: Callable[[Iterable[str]], None],
        bodies: Mapping[int, bytes],
        ended: Callable[[], None],
        told: Callable[[str], None],
    ) -> None:
        self.owner = Owner(store, lease)
        self.call, self.poll, self.resolve, self.wake, self.bodies = call, poll, resolve, wake, bodies
        self._store, self._executor, self._threads, self._ended = store, executor, threads, ended
        self._purse, self._observe, self._lease_seconds = purse, observe, lease
        self._jobs, self._steps = jobs, JobSteps(store, jobs, job_seconds, self._job_told)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driving: dict[Lease, asyncio.Task[None]] = {}
        self._mailboxes: dict[str, StoreMailbox] = {}
        self._paused: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._look = asyncio.Event()
        self._told, self._said = told, set[str]()

    def listener(self, session: str) -> Listener:
        """Return what is told of a session's transitions."""

        def heard(transition: Transition) -> None:
            with suppress(Exception):  # who only listens ends no session
                self._observe(session, transition)

        return heard

    def told(self, sessions: Iterable[str]) -> None:
        """Hear that sessions were opened, or that something else has happened in them."""
        self._look.set()
        self.let_in(sessions)

    async def write(self) -> None:
        """Have written down what came of answers so far, for whoever reads it from the store."""
        for mailbox in list(self._mailboxes.values()):
            with suppress(LostLeaseError, StoreError):  # its own task hears of that
                await mailbox.write()

    def let_in(self, sessions: Iterable[str]) -> None:
        """Hear that answers were let into sessions."""
        for session in sessions:
            if session in self._mailboxes:
                self._mailboxes[session].changed.set()

    async def run(self) -> None:
        """Run sessions until cancelled; then leave them to others."""
        loop = self._loop = asyncio.get_running_loop()
        cleared = loop.time()
        renewing = loop.create_task(self._keep())
        try:
            while True:
                self._look.clear()
                if loop.time() - cleared >= CLEAR_SECONDS:
                    cleared = loop.time()
                    self._said.clear()
                    await self._tried(self._clear)
                await self._tried(self._settle)
                await self._tried(self._follow)
                await self._tried(self._claim)
                with suppress(TimeoutError):
                    async with asyncio.timeout(MORE_SELDOM * self.poll):
                        await self._look.wait()
        finally:
            renewing.cancel()
            await self._leave()

    async def _keep(self) -> None:
        """Prolong leases, whatever else waits for the store."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            await self._tried(self._renew)

    async def conclude(self, lease: Lease, phase: int, work: Work, turn: Turn) -> None:
        """End a session: commit what it cost, keep what is kept of its result, and tell.

        Raises:
            StoreError: the store or the ledger cannot be used now; the session can still end so.
        """
        result: bytes | None = None
        error: Exception | None = turn.error
        if error is None:
            try:
                result = await self._work(lambda: self._concluded(lease, work, turn.result))
            except (LedgerBusyError, LedgerStorageError) as failure:
                raise StoreError(str(failure)) from None
            except (SecAggError, DpError) as failure:
                error = failure
        await self.call(self.owner.end, lease, phase, turn, result, error)
        self.wake(work.terms.participants)
        self._look.set()

    def _concluded(self, lease: Lease, work: Work, result: Any) -> bytes:
        payment, config = work.orders.payment, work.terms.proposed
        kept = work.kept(result)
        if payment is not None and isinstance(config, RoundConfig):
            self._ledger().commit(lease.session, payment, config, result.survivors)
        return kept

    def _ledger(self) -> Purse:
        if self._purse is None:
            raise StoreError("this process has no ledger for private sessions; give the desk one")
        return self._purse

    async def _follow(self) -> None:
        if self._jobs:
            await self.call(self._steps.follow)

    def _job_told(self) -> None:
        """Look at once: a job, in its thread, has opened a session or has ended."""
        with suppress(RuntimeError):  # the loop has ended
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._look.set)

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step; what the store does not allow now is tried at the next look, and keeps nothing else waiting."""
        try:
            await step()
        except StoreError as error:
            self._say(error)

    def _say(self, error: StoreError) -> None:
        if (sentence := str(error)) not in self._said:
            self._said.add(sentence)
            with suppress(Exception):  # such as a standard error that was closed
                self._told(f"the store or the ledger cannot be used, and is tried again: {sentence}")

    async def _clear(self) -> None:
        await self.call(self._store.clear, KEEP_SECONDS)

    async def _claim(self) -> None:
        loop = asyncio.get_running_loop()
        self._paused = {session: until for session, until in self._paused.items() if until > loop.time()}
        most = MOST_SESSIONS - len(self._driving)
        if most <= 0:
            return
        besides = [*self._paused, *(lease.session for lease in self._driving)]
        for lease in await self.call(self.owner.claim, most, besides):
            self._driving[lease] = loop.create_task(self._drive(lease))

    async def _renew(self) -> None:
        held = list(self._driving)
        own = await self.call(self.owner.renew, held) if held else set()
        for lease in held:
            task = self._driving.get(lease)
            if lease.session not in own and task is not None and not task.cancelling():
                task.cancel()  # it has ended, or another process runs it

    async def _drive(self, lease: Lease) -> None:
        """Run a session as far as this process can."""
        try:
            await self._session(lease)
        except LostLeaseError:
            pass
        except DamagedStoreError as error:  # what is kept of this session will not mend
            await self._fail(lease, error)
        except StoreError as error:
            await self._pause(lease, error)
        except (SecAggError, DpError) as error:
            await self._fail(lease, error)
        except Exception as error:  # a fault of ours, whose text may hold anything
            await self._fail(lease, RuntimeError(f"an internal error: {type(error).__name__}"))
        finally:
            mailbox = self._mailboxes.pop(lease.session, None)
            try:
                await self._tell_end(lease, 0 if mailbox is None else mailbox.survivors)
            finally:
                self._driving.pop(lease, None)
                self._look.set()
                self._ended()

    async def _tell_end(self, lease: Lease, survivors: int) -> None:
        """Tell that a session has ended if the store says so, and how: an operator may have ended it, elsewhere."""
        with suppress(StoreError):
            end = await self.call(self.owner.ended, lease)
            if end is not None:
                error, reason = end
                self.listener(lease.session)(SessionEnded(survivors if error is None else 0, error, reason))

    async def _session(self, lease: Lease) -> None:
        loaded: Loaded = await self.call(self.owner.load, lease)
        deadline = time.monotonic() + loaded.seconds_left
        hears = self.listener(lease.session)
        replaying = [True]  # what an owner before heard is not told again

        def listener(transition: Transition) -> None:
            if not replaying[0] and not isinstance(transition, SessionEnded):  # which is so once the store says so
                hears(transition)

        work = await self._work(lambda: taken_up(loaded, listener, self._threads))
        mailbox = self._mailboxes[lease.session] = StoreMailbox(self, lease, loaded, work)
        driver = Driver(
            work.coordinator,
            mailbox,
            work.orders.deadlines,
            executor=self._executor,
            deadline=deadline if loaded.begun else None,
            needed=work.needed,
        )
        if loaded.begun:
            while arrivals := await mailbox.noted():
                await driver.receive(arrivals, noted=True)
        elif work.orders.payment is not None:
            await self._reserve(lease, work)
        if not loaded.begun:
            hears(PhaseOpened(str(work.coordinator.phase), work.coordinator.num_awaited))
        replaying[0] = False
        mailbox.restart()
        try:
            await driver.run(begun=loaded.begun, closing=loaded.closing)
        except (LostLeaseError, StoreError):
            raise
        except SecAggError as error:
            if not work.coordinator.ended:
                raise
            del error  # the session has ended by it, and its mailbox has kept it

    async def _reserve(self, lease: Lease, work: Work) -> None:
        payment, config = work.orders.payment, work.terms.proposed
        if payment is None or not isinstance(config, RoundConfig):
            return
        await self.call(self.owner.hold, lease)
        purse = self._ledger()
        try:
            await self._work(lambda: purse.reserve(lease.session, payment, config, work.terms.participants))
        except (LedgerBusyError, LedgerStorageError) as failure:
            raise StoreError(str(failure)) from None

    async def _settle(self) -> None:
        """Release what sessions had reserved that ended before they were revealed.

        A reservation may come after the end: its thread runs on when its session is cancelled or taken away. So where
        the ledger knows of none, it is asked again, for as long as an ended session's letters are kept.
        """
        if self._purse is None:
            return
        now = asyncio.get_running_loop().time()
        owing = await self.call(self.owner.owing)
        self._asked = {each.session: self._asked[each.session] for each in owing if each.session in self._asked}
        for each in owing:
            if self._asked.get(each.session, now) > now:
                continue
            self._asked[each.session] = now + max(PAUSE_SECONDS, each.seconds_ago / 4)  # ever more seldom
            try:
                payment = read_orders(each.orders).payment
                settled = payment is None or each.revealed
                if payment is not None and not each.revealed:
                    settled = await self.call(self._purse.release, each.session, payment)
            except (DpError, StoreError):
                continue  # it stays reserved, and counts as spent
            if settled or each.seconds_ago > KEEP_SECONDS:
                await self.call(self.owner.settled, each.session)

    async def _fail(self, lease: Lease, error: Exception) -> None:
        """End a session that nobody can run."""
        try:
            self.wake(await self.call(self.owner.fail, lease, error))
        except LostLeaseError:
            pass
        except StoreError as failure:
            await self._pause(lease, failure)

    async def _pause(self, lease: Lease, error: StoreError) -> None:
        self._say(error)
        self._paused[lease.session] = asyncio.get_running_loop().time() + PAUSE_SECONDS
        with suppress(StoreError):
            await self.call(self.owner.leave, lease)

    async def _leave(self) -> None:
        """Stop, and give sessions to whoever wants them."""
        self._steps.close()
        driving = dict(self._driving)
        for task in driving.values():
            task.cancel()
        await asyncio.gather(*driving.values(), return_exceptions=True)
        for lease in driving:
            with suppress(StoreError):
                await self.call(self.owner.leave, lease)

    async def _work(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)
