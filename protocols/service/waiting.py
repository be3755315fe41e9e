"""Letters on their way out: members wait for theirs, whichever process writes them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

from .errors import ServiceError
from .store import Store
from .taking import Call
from .together import Together
from .views import Letter

MOST_AT_ONCE = 64
_UNKNOWN = 1 << 63


class Poll:
    """A member's question for its next letter, which may be told to give up."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self.over = False

    def give_up(self) -> None:
        """Let whoever waits have no letter."""
        self.over = True
        self.woken.set()


class Letters:
    """Gives letters out.

    Args:
        store: where they are kept.
        call: runs what blocks.
        poll: seconds between looks for what other processes have written.
    """

    def __init__(self, store: Store, call: Call, poll: float) -> None:
        self._store, self._call, self._poll = store, call, poll
        self._waiting: defaultdict[str, set[Poll]] = defaultdict(set)
        self._seen: int | None = None
        self._none_after: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._looks = 0
        self._first: Together[tuple[str, int], tuple[Letter | None, bool]] = Together(call, store.letters, MOST_AT_ONCE)
        self._watching: asyncio.Task[None] | None = None

    async def next(self, member: str, after: int, seconds: float, poll: Poll | None = None) -> Letter | None:
        """Return a member's first letter after a number, as soon as there is one; None if there was none in time.

        None, too, if `poll` was given up.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        poll = poll or Poll()
        self._given[member] = max(after, self._given.get(member, 0))
        self._waiting[member].add(poll)
        try:
            while not poll.over:
                poll.woken.clear()
                left = until - loop.time()
                if left <= 0 or self._may_have(member, after):
                    letter = await self._look(member, after)
                    left = until - loop.time()
                    if letter is not None:
                        self._given[member] = max(letter.sequence, self._given[member])
                    if letter is not None or left <= 0:
                        return letter
                if self._watching is None or self._watching.done():
                    self._watching = loop.create_task(self._watch())
                try:
                    async with asyncio.timeout(left):
                        await poll.woken.wait()
                except TimeoutError:
                    return None
            return None
        finally:
            self._waiting[member].discard(poll)
            if not self._waiting[member]:
                del self._waiting[member]

    def wake(self, members: Iterable[str]) -> None:
        """Let members look, since there may be something for them."""
        for member in members:
            self._none_after[member] = _UNKNOWN
            for poll in self._waiting.get(member, ()):
                poll.woken.set()

    async def all_given(self, seconds: float) -> bool:
        """Return once everyone who has asked here was given its last letter; False if that takes longer."""
        until = asyncio.get_running_loop().time() + seconds
        while True:
            with suppress(ServiceError):  # the store may be back at the next look
                last: dict[str, int] = await self._call(self._store.addressees, 0)
                if all(last.get(member, 0) <= given for member, given in self._given.items()):
                    return True
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(self._poll)

    def close(self) -> None:
        """Stop looking."""
        self._first.close()
        if self._watching is not None:
            self._watching.cancel()

    def _may_have(self, member: str, after: int) -> bool:
        """Tell whether there may be a letter: there is none if a look found none, and nothing was heard since.

        The first look of the watch hears of everyone who has letters.
        """
        return self._seen is None or self._none_after.get(member, 0) > after

    def _has_seen(self, member: str, newest: int) -> bool:
        """Tell whether a look of before came to this letter, and found none after it."""
        return newest <= self._none_after.get(member, -1) < _UNKNOWN

    async def _look(self, member: str, after: int) -> Letter | None:
        self._looks += 1
        mark = self._none_after[member] = _UNKNOWN + self._looks  # what is heard of meanwhile takes it away
        letter, more = await self._first.ask((member, after))
        if not more and self._none_after.get(member) == mark:
            self._none_after[member] = after if letter is None else letter.sequence
        return letter

    async def _watch(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._poll)
                try:
                    last: int = await self._call(self._store.last_letter)
                    if last != self._seen:
                        after = -1 if self._seen is None else self._seen
                        found: dict[str, int] = await self._call(self._store.addressees, after)
                        self.wake(member for member, newest in found.items() if not self._has_seen(member, newest))
                        self._seen = last
                except ServiceError:
                    continue  # the store may be back when they look
        finally:  # what is written while nobody waits is found by whoever waits next
            self._seen = None
            self._none_after.clear()
