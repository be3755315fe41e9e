"""The durable mailbox of a session that a process runs: answers come from the store, what came of them goes there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from .driver import Arrival, Seen, Turn
from .jobs import Work
from .owning import Lease, Loaded, Owner
from .taking import Call
from .views import Outcome


class Runs(Protocol):
    """What a mailbox needs of the `running.Runner` that runs its session."""

    owner: Owner
    call: Call
    poll: float
    resolve: Callable[[Mapping[int, Outcome]], None]
    wake: Callable[[Iterable[str]], None]
    bodies: Mapping[int, bytes]

    async def conclude(self, lease: Lease, phase: int, work: Work, turn: Turn) -> None:
        """End the session."""


class StoreMailbox:
    """A `driver.Mailbox` whose letters and answers are durable."""

    def __init__(self, runner: Runs, lease: Lease, loaded: Loaded, work: Work) -> None:
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
        self.survivors = 0

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
            self.survivors = 0 if turn.result is None else len(turn.result.survivors)
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
