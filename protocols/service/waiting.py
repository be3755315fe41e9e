"""Letters on their way out: members wait for theirs, whichever process writes them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from .errors import ServiceError
from .store import Store
from .taking import Call
from .together import Together
from .views import Letter

MOST_AT_ONCE = 64


class Letters:
    """Gives letters out.

    Args:
        store: where they are kept.
        call: runs what blocks.
        poll: seconds between looks for what other processes have written.
    """

    def __init__(self, store: Store, call: Call, poll: float) -> None:
        self._store, self._call, self._poll = store, call, poll
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._seen: int | None = None
        self._first: Together[tuple[str, int], Letter | None] = Together(call, store.letters, MOST_AT_ONCE)
        self._watching: asyncio.Task[None] | None = None

    async def next(self, member: str, after: int, seconds: float) -> Letter | None:
        """Return a member's first letter after a number, as soon as there is one; None if there was none in time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            event = asyncio.Event()
            self._waiting[member].add(event)
            try:
                letter = await self._first.ask((member, after))
                left = until - loop.time()
                if letter is not None or left <= 0:
                    return letter
                if self._watching is None or self._watching.done():
                    self._watching = loop.create_task(self._watch())
                try:
                    async with asyncio.timeout(left):
                        await event.wait()
                except TimeoutError:
                    return None
            finally:
                self._waiting[member].discard(event)
                if not self._waiting[member]:
                    del self._waiting[member]

    def wake(self, members: Iterable[str]) -> None:
        """Let members look, since there may be something for them."""
        for member in members:
            for event in self._waiting.get(member, ()):
                event.set()

    def close(self) -> None:
        """Stop looking."""
        self._first.close()
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._poll)
            try:
                last: int = await self._call(self._store.last_letter)
                if last != self._seen:
                    after = -1 if self._seen is None else self._seen
                    self.wake(await self._call(self._store.addressees, after))
                    self._seen = last
            except ServiceError:
                continue  # the store may be back when they look
        self._seen = None  # what is written while nobody waits is found by whoever waits next
