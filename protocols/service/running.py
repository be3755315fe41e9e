"""Running sessions: those that this process holds a lease of, each as a task, until somebody cancels it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
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
MORE_SELDOM = 5
"""So many times as seldom as for answers is looked for sessions that other processes have opened, left or ended."""
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
        self._next_look = 0.0
        self._unwritten: list[Seen] = []
        self._excluded: Mapping[str, str] = {}
        self._write_at = 0.0
        self._writing = asyncio.Lock()

    async def noted(self) -> Sequence[Arrival]:
        """Return answers that an owner before had looked at; none when there are no more."""
        return self._read(
            await self._runner.call(
                lambda: self._runner.owner.answers(self._lease, self._phase, self._after, noted=True)
            )
        )

    def restart(self) -> None:
        """Read from the beginning of the phase again."""
        self._after, self._next_look = 0, 0.0

    async def take(self, seconds: float) -> Sequence[Arrival]:
        """Return answers that nobody has looked at."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            if self._unwritten and loop.time() >= self._write_at:
                await self.write()
            # What is let in here is told. What other processes let in, and refusals there, are seen now and then.
            until_look = min(self._next_look, until)
            pause = min(until_look, self._write_at if self._unwritten else until_look) - loop.time()
            if pause > 0 and not self.changed.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self.changed.wait()
                if not self.changed.is_set() and loop.time() < until_look:
                    continue
            self.changed.clear()
            found, more, refused = await self._runner.call(
                self._runner.owner.look, self._lease, self._phase, self._after, self._runner.bodies
            )
            arrivals = self._read(found)
            self._next_look = loop.time() + (0.0 if more else self._runner.poll)
            if arrivals or refused != self.refused or until <= loop.time():
                self.refused = refused
                return arrivals

    async def note(self, seen: Sequence[Seen], excluded: Mapping[str, str]) -> None:
        """Tell who waits what came of answers, and write it down: soon, or at once where something must be relayed.

        The answers themselves are durable, and whoever takes the session over comes to the same of them.
        """
        loop = asyncio.get_running_loop()
        if not self._unwritten:
            self._write_at = loop.time() + self._runner.poll
        # Bodies are needed where they are relayed alone.
        self._unwritten += [
            each if each.relay_to else replace(each, arrival=replace(each.arrival, body=b"")) for each in seen
        ]
        self._excluded = excluded
        relayed = {name for each in seen for name in each.relay_to}
        if relayed:
            await self.write()
        self._runner.resolve({each.arrival.key: each.outcome for each in seen})
        self._runner.wake(relayed)

    async def write(self) -> None:
        """Write down what came of answers, if that is not done yet."""
        async with self._writing:
            seen = list(self._unwritten)
            if seen:
                owner = self._runner.owner
                await self._runner.call(owner.note, self._lease, self._phase, self._name, seen, self._excluded)
                del self._unwritten[: len(seen)]

    async def shut(self) -> None:
        """Let nothing more into the phase."""
        await self._runner.call(self._runner.owner.shut, self._lease)

    async def turn(self, turn: Turn) -> None:
        """Write down what the phase has come to; letters are there from then on."""
        await self.write()
        if turn.ended:
            await self._runner.conclude(self._lease, self._phase, self._work, turn)
        else:
            phase = self._phase + 1 if self._begun else 0
            needed = self._work.needed(turn.phase)
            await self._runner.call(self._runner.owner.turn, self._lease, phase, turn, needed)
            self._phase, self._name, self._begun = phase, turn.phase, True
            self.restart()
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
        jobs: by name.
        job_seconds: in which each of them must return.
        lease: seconds for which a session is this process's without renewal.
        poll: seconds between looks.
        resolve: called with what came of answers.
        wake: called with who has letters.
        bodies: number in the inbox -> an answer, of those that this process has in its memory.
        ended: called when a session is over that this process ran.
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

    def listener(self, session: str) -> Listener:
        """Return what a coordinator tells of its transitions."""

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
            self._ended()

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
