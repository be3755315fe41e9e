"""A mailbox in memory: sessions of one process, without a store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

from ..core.machine import Receipt
from .driver import Arrival, Seen, Turn
from .views import Letter, Outcome

MAX_WAITING_BYTES = 256 << 20
"""So many bytes of answers may wait to be looked at; who has more waits until there is room."""


class Post:
    """Carries letters and answers of one session within an event loop; a `driver.Mailbox`.

    Args:
        session: a name for its letters.
        max_waiting_bytes: of answers that nobody has looked at; one answer is always let in.
    """

    def __init__(self, session: str = "", *, max_waiting_bytes: int = MAX_WAITING_BYTES) -> None:
        self._session = session
        self._most = max_waiting_bytes
        self._waiting: list[Arrival] = []
        self._outcomes: dict[int, asyncio.Future[Outcome]] = {}
        self._letters: defaultdict[str, list[Letter]] = defaultdict(list)
        self._refused: set[str] = set()
        self._count = 0
        self._phase = ""
        self._late = self._ended = False
        self._changed = asyncio.Condition()

    @property
    def refused(self) -> frozenset[str]:
        """Who has said that it will not take part."""
        return frozenset(self._refused)

    async def deliver(self, sender: str, body: bytes) -> Outcome:
        """Hand in an answer; return what came of it, as soon as it was looked at."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended or not self._waiting or self._room(len(body)))
            if self._late or self._ended:
                return Outcome(Receipt.LATE)
            self._count += 1
            arrival = Arrival(self._count, sender, body)
            outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            self._waiting.append(arrival)
            self._outcomes[arrival.key] = outcome
            self._changed.notify_all()
        return await outcome

    async def next_letter(self, member: str, after: int = 0) -> Letter:
        """Return a participant's first letter after a sequence number, once there is one.

        The last one has an empty body: its phase says how the session ended.
        """
        async with self._changed:
            while True:
                for letter in self._letters[member]:
                    if letter.sequence > after:
                        return letter
                if self._ended:
                    return Letter(self._session, after + 1, self._phase, b"")
                await self._changed.wait()

    async def refuse(self, member: str) -> None:
        """Note that a participant will not take part: it is no longer awaited."""
        async with self._changed:
            self._refused.add(member)
            self._changed.notify_all()

    async def take(self, seconds: float) -> Sequence[Arrival]:
        """Return what waits to be looked at."""
        refused = len(self._refused)
        async with self._changed:
            if seconds > 0:
                try:
                    async with asyncio.timeout(seconds):
                        await self._changed.wait_for(lambda: self._waiting or len(self._refused) > refused)
                except TimeoutError:
                    pass
            taken, self._waiting = self._waiting, []
            self._changed.notify_all()
        return taken

    async def note(self, seen: Sequence[Seen], excluded: Mapping[str, str]) -> None:
        """Tell senders, and send on what must be relayed."""
        async with self._changed:
            for each in seen:
                for name in sorted(each.relay_to):
                    self._send(name, each.arrival.body)
                outcome = self._outcomes.pop(each.arrival.key)
                if not outcome.done():  # its sender may have gone
                    outcome.set_result(each.outcome)
            self._changed.notify_all()

    async def shut(self) -> None:
        """Let nothing more in."""
        async with self._changed:
            self._late = True

    async def turn(self, turn: Turn) -> None:
        """Send a phase's letters."""
        async with self._changed:
            self._late, self._ended, self._phase = False, turn.ended, turn.phase
            for name, body in turn.letters.items():
                self._send(name, body)
            self._changed.notify_all()

    def _send(self, name: str, body: bytes) -> None:
        self._count += 1
        self._letters[name].append(Letter(self._session, self._count, self._phase, body))

    def _room(self, size: int) -> bool:
        return sum(len(each.body) for each in self._waiting) + size <= self._most
