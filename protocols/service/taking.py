"""Answers on their way into the store: many at once become one commit, and senders learn the outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from ..core.machine import Receipt
from .deliveries import Delivery, Kept, Standing, Taken, everyone
from .errors import ServiceError
from .store import Store
from .views import Outcome

MOST_AT_ONCE = 256
MOST_BYTES_AT_ONCE = 32 << 20
GATHER_SECONDS = 0.1
"""So long after some answers were let in, others wait for more: a commit of many takes little more than of one."""
MOST_WAITING_BYTES = 256 << 20
"""Of answers on their way; who has more waits until there is room."""


class Call(Protocol):
    """Runs what blocks in a thread."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Return what the function returns."""


class Taking:
    """Lets answers in.

    Args:
        store: where they are kept.
        call: runs what blocks.
        patience: seconds for which an answer waits to be looked at.
        poll: seconds between looks for what other processes made of them.
        told: called with the sessions into which something new was let.
        standing: whose answers are not let in.
    """

    def __init__(
        self,
        store: Store,
        call: Call,
        patience: float,
        poll: float,
        told: Callable[[set[str]], None],
        standing: Standing = everyone,
    ) -> None:
        self._store, self._call, self._told, self._standing = store, call, told, standing
        self._patience, self._poll = patience, poll
        self._queue: deque[tuple[Delivery, asyncio.Future[Taken]]] = deque()
        self._bytes = 0
        self._wanting = 0
        self._next_commit = 0.0
        self._room = asyncio.Condition()
        self._awaited: dict[int, asyncio.Future[Outcome]] = {}
        self.bodies: dict[int, bytes] = {}
        """Number in the inbox -> an answer whose sender waits here: who looks at it need not read it from the store."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Let an answer in, and return what came of it; no receipt where nobody looked at it in time."""
        size = len(delivery.body)
        if self._wanting or not self._fits(size):
            self._wanting += 1
            try:
                async with self._room:
                    await self._room.wait_for(lambda: self._fits(size))
            finally:
                self._wanting -= 1
        self._bytes += size
        try:
            taken: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
            self._queue.append((delivery, taken))
            self._start("flush", self._flush)
            found = await taken
        finally:
            self._bytes -= size
            if self._wanting:
                async with self._room:
                    self._room.notify_all()
        if isinstance(found, ServiceError):
            raise found
        if isinstance(found, Outcome):
            return found
        if found.new:
            self.bodies[found.key] = delivery.body
        try:
            outcome = found.outcome or await self._looked_at(found.key)
        finally:
            self.bodies.pop(found.key, None)
        if not found.new and outcome.receipt is Receipt.ACCEPTED:
            return Outcome(Receipt.DUPLICATE)
        return outcome

    def _fits(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= MOST_WAITING_BYTES

    def resolve(self, outcomes: Mapping[int, Outcome]) -> None:
        """Tell senders that wait here what came of their answers."""
        for key, outcome in outcomes.items():
            waiting = self._awaited.pop(key, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)

    def close(self) -> None:
        """Stop what looks for outcomes."""
        for task in self._tasks.values():
            task.cancel()

    async def _looked_at(self, key: int) -> Outcome:
        waiting = self._waiting_for(key)
        self._start("watch", self._watch)
        await asyncio.wait((waiting,), timeout=self._patience)
        return waiting.result() if waiting.done() else Outcome(None)

    def _waiting_for(self, key: int) -> asyncio.Future[Outcome]:
        if key not in self._awaited:
            self._awaited[key] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(2 * self._patience + self._poll, self._awaited.pop, key, None)
        return self._awaited[key]

    def _start(self, name: str, work: Callable[[], Any]) -> None:
        """Begin a task that ends by itself when nothing is left to do, unless it runs."""
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.get_running_loop().create_task(work())

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            pause = self._next_commit - loop.time()
            if pause > 0 and len(self._queue) < MOST_AT_ONCE:
                await asyncio.sleep(pause)
            batch: list[tuple[Delivery, asyncio.Future[Taken]]] = []
            size = 0
            while self._queue and len(batch) < MOST_AT_ONCE:
                size += len(self._queue[0][0].body)
                if batch and size > MOST_BYTES_AT_ONCE:
                    break
                batch.append(self._queue.popleft())
            try:
                found: list[Taken] = await self._call(
                    self._store.take, [delivery for delivery, _ in batch], self._standing
                )
            except Exception as error:  # whatever it is, it is theirs who wait
                for _, taken in batch:
                    if not taken.done():
                        taken.set_exception(error)
                continue
            self._next_commit = loop.time() + GATHER_SECONDS
            fresh = set()
            for (delivery, taken), each in zip(batch, found, strict=True):
                if isinstance(each, Kept) and each.outcome is None:
                    self._waiting_for(each.key)  # before its owner can have looked at it
                    fresh.add(delivery.session)
                if not taken.done():  # its sender may have gone
                    taken.set_result(each)
            self._told(fresh)

    async def _watch(self) -> None:
        while self._awaited:
            await asyncio.sleep(self._poll)
            if self._awaited:
                try:
                    self.resolve(await self._call(self._store.outcomes, list(self._awaited)))
                except ServiceError:
                    continue  # the store may be back before patience ends
