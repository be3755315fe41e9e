"""Running sessions: those that this process holds a lease of, each as a task, until somebody cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any

from dp.errors import DpError, LedgerBusyError, LedgerStorageError
from secagg.errors import SecAggError

from ..core.listener import Listener, PhaseOpened, Transition, ignore
from ..masking.config import RoundConfig
from .driver import Arrival, Driver, Seen, Turn
from .errors import LostLeaseError, StoreError
from .jobs import Work, read_orders, taken_up
from .jobsteps import JobSteps, Rounds
from .owning import Lease, Loaded, Owner
from .paying import Purse
from .store import Store
from .taking import Call
from .views import Outcome

MOST_SESSIONS = 64
"""So many sessions one process runs at a time; others wait, or are run by others."""
CLEAR_SECONDS = 60.0
PAUSE_SECONDS = 5.0
"""So long a session is left alone that this process could not run, such as without its ledger."""
KEEP_SECONDS = 7 * 24 * 3600.0
"""So long the last letters of a session that has ended are there for members that were away."""


class StoreMailbox:
    """A `driver.Mailbox` whose letters and answers are durable."""

    def __init__(self, runner: Runner, lease: Lease, loaded: Loaded, work: Work) -> None:
        self.refused: frozenset[str] = frozenset()
        self.changed = asyncio.Event()
        self._runner, self._lease, self._work = runner, lease, work
        self._names = loaded.names
        self._phase, self._name = loaded.phase, str(work.coordinator.phase)
        self._begun = loaded.begun
        self._after = 0

    async def noted(self) -> Sequence[Arrival]:
        """Return answers that an owner before had looked at; none when there are no more."""
        return self._read(
            await self._runner.call(
                lambda: self._runner.owner.answers(self._lease, self._phase, self._after, noted=True)
            )
        )

    def restart(self) -> None:
        """Read from the beginning of the phase again."""
        self._after = 0

    async def take(self, seconds: float) -> Sequence[Arrival]:
        """Return answers that nobody has looked at."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            self.changed.clear()
            found, refused = await self._runner.call(self._runner.owner.look, self._lease, self._phase, self._after)
            arrivals = self._read(found)
            left = until - loop.time()
            if arrivals or refused != self.refused or left <= 0:
                self.refused = refused
                return arrivals
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, self._runner.poll)):
                    await self.changed.wait()

    async def note(self, seen: Sequence[Seen], excluded: Mapping[str, str]) -> None:
        """Write down what came of answers, and tell who waits."""
        await self._runner.call(self._runner.owner.note, self._lease, self._phase, self._name, seen, excluded)
        self._runner.resolve({each.arrival.key: each.outcome for each in seen})
        self._runner.wake({name for each in seen for name in each.relay_to})

    async def shut(self) -> None:
        """Let nothing more into the phase."""
        await self._runner.call(self._runner.owner.shut, self._lease)

    async def turn(self, turn: Turn) -> None:
        """Write down what the phase has come to; letters are there from then on."""
        if turn.ended:
            await self._runner.conclude(self._lease, self._phase, self._work, turn)
        else:
            phase = self._phase + 1 if self._begun else 0
            needed = self._work.needed(turn.phase)
            await self._runner.call(self._runner.owner.turn, self._lease, phase, turn, needed)
            self._phase, self._name, self._begun, self._after = phase, turn.phase, True, 0
        self._runner.wake(self._names)

    def _read(self, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        if arrivals:
            self._after = arrivals[-1].key
        return arrivals


class Runner:
    """Runs sessions of a store.

    Args:
        store: of the sessions.
        call: runs what blocks.
        executor: for computing.
        threads: of one session's computing.
        purse: pays for private sessions.
        observe: hears transitions, with the session's id in hex.
        jobs: by name, and `job_seconds` in which each must return.
        job_seconds: the same.
        lease: seconds for which a session is this process's without renewal.
        poll: seconds between looks.
        resolve: called with what came of answers.
        wake: called with who has letters.
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
    ) -> None:
        self.owner = Owner(store, lease)
        self.call, self.poll, self.resolve, self.wake = call, poll, resolve, wake
        self._store, self._executor, self._threads = store, executor, threads
        self._purse, self._observe, self._lease_seconds = purse, observe, lease
        self._jobs, self._steps = jobs, JobSteps(store, jobs, job_seconds, self._job_told)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driving: dict[Lease, asyncio.Task[None]] = {}
        self._mailboxes: dict[str, StoreMailbox] = {}
        self._paused: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._look = asyncio.Event()

    def listener(self, session: str) -> Listener:
        """Return what a coordinator tells of its transitions."""

        def heard(transition: Transition) -> None:
            with suppress(Exception):  # who only listens ends no session
                self._observe(session, transition)

        return heard

    def told(self, sessions: Iterable[str]) -> None:
        """Hear that something new was let into sessions, or that sessions were opened."""
        self._look.set()
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
                    await self._tried(self._clear)
                await self._tried(self._settle)
                await self._tried(self._follow)
                await self._tried(self._claim)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.poll):
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
        with suppress(StoreError):
            await step()

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
            if lease.session not in own and lease in self._driving:
                self._driving[lease].cancel()  # it has ended, or another process runs it

    async def _drive(self, lease: Lease) -> None:
        """Run a session as far as this process can."""
        try:
            await self._session(lease)
        except LostLeaseError:
            pass
        except StoreError:
            await self._pause(lease)
        except (SecAggError, DpError) as error:
            await self._fail(lease, error)
        except Exception as error:  # a fault of ours, whose text may hold anything
            await self._fail(lease, RuntimeError(f"an internal error: {type(error).__name__}"))
        finally:
            self._mailboxes.pop(lease.session, None)
            self._driving.pop(lease, None)
            self._look.set()

    async def _session(self, lease: Lease) -> None:
        loaded: Loaded = await self.call(self.owner.load, lease)
        hears = self.listener(lease.session)
        replaying = [True]  # what an owner before heard is not told again

        def listener(transition: Transition) -> None:
            (ignore if replaying[0] else hears)(transition)

        work = await self._work(lambda: taken_up(loaded, listener, self._threads))
        mailbox = self._mailboxes[lease.session] = StoreMailbox(self, lease, loaded, work)
        driver = Driver(
            work.coordinator,
            mailbox,
            work.orders.deadlines,
            executor=self._executor,
            threads=self._threads,
            deadline=loaded.deadline if loaded.begun else None,
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
        with suppress(LostLeaseError, StoreError):
            self.wake(await self.call(self.owner.fail, lease, error))

    async def _pause(self, lease: Lease) -> None:
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
