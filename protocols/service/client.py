"""The loop of a member: take letters, answer them, survive restarts; refuse what its policy refuses, and say so.

An answer is on the disk before it leaves, so that a process that starts again sends the same bytes. Everything that
computes runs in threads. Sessions go on side by side; the letters of one are handled one after another.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secagg.errors import ContradictoryRequest, EncodingError, SecAggError

from ..core.framing import printable
from ..core.machine import Participant
from ..core.participants import Participants
from ..masking.policy import ClientPolicy
from ..masking.warming import warm_up
from ..statistics.site import Site
from .connection import MAX_ANSWER_BYTES, Connection, RequestRefusedError
from .consents import Consenting, Did, What
from .forgetting import LOOK_SECONDS, forget_gone
from .kept import Folder, Kept, NoRoomError
from .parties import Answers, InputsError, MaskingParty, Party, changed_nothing, check_session, inputs_for
from .sessions import Terms, read_terms
from .views import Letter

MAX_SIDE_BY_SIDE = 32
MOST_WAITING = 8
"""So many letters of a session wait to be answered; then none are fetched, whatever the service has. Nor are any where
those of all sessions take as many bytes as one may."""
WAIT_SECONDS = 20.0
LINGER_SECONDS = 20.0
"""So long the question for letters waits for an answer that is being made, to be sent with it."""
_ENDING = frozenset({"revoked", "stranger", "not-signed", "taken-over", "wire-version", "misdirected", "certificate"})
"""Kinds of refusal that end all: others are of one session."""


@dataclass(frozen=True)
class Ended:
    """A session that is over for this member.

    Attributes:
        session: its id, in hex.
        title: what its operator calls it; empty where its terms were not read.
        phase: "completed" or "aborted"; "refused" by this member, or "excluded" since the service refused its answer;
            "forgotten" where its end was never heard of.
        reason: why; the service has the same sentence.
        own: of a refusal, what is for this member alone: it may quote its values, and nobody else has it.
    """

    session: str
    title: str
    phase: str
    reason: str = ""
    own: str = field(default="", repr=False)


class _RefusedError(Exception):
    """The member refuses a session: kind and sentence for the service, and what is for the member alone."""

    def __init__(self, kind: str, reason: str, own: str = "") -> None:
        super().__init__(reason)
        self.kind, self.reason, self.own = kind, reason, own


async def take_part(
    connection: Connection,
    name: str,
    answers: Answers,
    *,
    state: Path,
    policy: ClientPolicy | None = None,
    participants: Participants | None = None,
    party: Party | None = None,
    consents: Consenting | None = None,
    sessions: int | None = None,
    warm: bool = True,
    told: Callable[[Ended], None] = lambda ended: None,
    clock: Callable[[], float] = time.time,
) -> list[Ended]:
    """Take part in sessions until cancelled, or until so many have ended; return what became of them.

    Args:
        connection: of a member.
        name: the member's.
        answers: kind of session -> what it gives.
        state: a folder of this member's, for its owner alone, kept as long as the member takes part. Never restore an
            older copy of it.
        policy: what is demanded of masking sessions; a site's own where queries are answered by one, and
            `ClientPolicy()` otherwise, when None.
        participants: public keys of all, for malicious-server sessions.
        party: plays another role than a masking client, instead of the two before.
        consents: consent, and a record of what was asked and given.
        sessions: so many; without end when None.
        warm: load compiled loops first, in a thread.
        told: is called with each session that is over for this member.
        clock: seconds since 1970, by which sessions are forgotten that have stood still for too long.

    Raises:
        RequestRefusedError: the service serves this member no more; the text says why.
        ServiceUnavailableError: for as long as the connection has patience.
        ParameterError: the folder cannot be used.
        StateError: what it holds was damaged.
    """
    if policy is None and isinstance(site := answers.get("statistics"), Site):
        policy = site.policy.client_policy
    party = party or MaskingParty(name, policy, connection.identity, participants)
    with await asyncio.to_thread(Folder, state) as folder:
        loop = _Loop(connection, answers, party, folder, consents, told, clock)
        if warm:
            await asyncio.to_thread(warm_up)
        return await loop.run(sessions)


class _Loop:
    """Letters of all sessions, each session's in order."""

    def __init__(
        self,
        connection: Connection,
        answers: Answers,
        party: Party,
        folder: Folder,
        consents: Consenting | None,
        told: Callable[[Ended], None],
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._once, self._clock = party.once, clock
        self._told = told
        self._rest = (connection, self._send, answers, party, folder, consents)
        self._sessions: dict[str, _Session] = {}
        self._queues: dict[str, deque[Letter]] = {}
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._unhandled: set[int] = set()
        self._last = 0
        self._ended: list[Ended] = []
        self._coming: asyncio.Task[Letter | None] | None = None
        self._exchanging = False
        self._lingering = 0.0

    async def run(self, sessions: int | None) -> list[Ended]:
        """Take letters until so many sessions have ended."""
        self._last = await asyncio.to_thread(lambda: self._folder.sequence)
        looking = asyncio.create_task(self._look(0.0))
        try:
            while sessions is None or len(self._ended) < sessions:
                seconds = self._ask()
                coming = [] if self._coming is None else [self._coming]
                waiting: set[asyncio.Task[Any]] = {*self._tasks, looking, *coming}
                done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for task in done & self._tasks.keys():
                    await self._finish(task)
                if looking in done:
                    looking.result()
                    looking = asyncio.create_task(self._look(LOOK_SECONDS))
                if self._coming in done:
                    letter, self._coming = self._coming.result(), None
                    if letter is not None:
                        self._take(letter)
            return self._ended
        finally:
            tasks = [*self._tasks, looking, *([] if self._coming is None else [self._coming])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, after: float) -> None:
        """Forget sessions whose end this member has not heard of."""
        await asyncio.sleep(after)
        gone = await forget_gone(self._connection, self._folder, self._queues.__contains__, self._once, self._clock)
        for session, why in gone.items():
            self._sessions.pop(session, None)
            ended = Ended(session, "", "forgotten", why)
            self._ended.append(ended)
            self._told(ended)

    def _ask(self) -> float | None:
        """Ask for letters, if there is room and no answer does; return in how many seconds that may be, if not."""
        most = max(map(len, self._queues.values()), default=0)
        size = sum(len(each.body) + len(each.terms) for queue in self._queues.values() for each in queue)
        full = len(self._queues) >= MAX_SIDE_BY_SIDE or most >= MOST_WAITING or size >= MAX_ANSWER_BYTES
        if self._coming is not None or self._exchanging or full:
            return None
        left = self._lingering - asyncio.get_running_loop().time()
        if self._tasks and left > 0:
            return left
        self._coming = asyncio.create_task(self._connection.next_letter(self._last, WAIT_SECONDS))
        return None

    async def _send(self, session: str, answer: bytes, allowed: Callable[[], Awaitable[None]]) -> None:
        """Send an answer, and take the letter that follows from the same request, unless letters are asked for."""
        if self._coming is not None or self._exchanging or len(self._tasks) > 1:
            await self._connection.exchange(session, answer, None, 0.0, allowed)
            return
        self._exchanging = True
        try:
            _, letter = await self._connection.exchange(session, answer, self._last, WAIT_SECONDS, allowed)
        finally:
            self._exchanging = False
        if letter is not None:
            self._take(letter)

    def _take(self, letter: Letter) -> None:
        self._last = letter.sequence
        self._unhandled.add(letter.sequence)
        self._queues.setdefault(letter.session, deque()).append(letter)
        self._next(letter.session)

    def _next(self, session: str) -> None:
        """Begin with the next letter of a session, unless one is being handled."""
        if session not in self._tasks.values() and self._queues.get(session):
            letter = self._queues[session][0]
            if not self._tasks:
                self._lingering = asyncio.get_running_loop().time() + LINGER_SECONDS
            self._tasks[asyncio.create_task(self._handle(letter))] = session

    async def _handle(self, letter: Letter) -> None:
        found = self._sessions.get(letter.session)
        if found is None:
            found = self._sessions[letter.session] = _Session(letter.session, *self._rest)
        ended = await found.handle(letter)
        if ended is not None:
            self._ended.append(ended)
            self._told(ended)

    async def _finish(self, task: asyncio.Task[None]) -> None:
        session = self._tasks.pop(task)
        task.result()
        letter = self._queues[session].popleft()
        self._unhandled.discard(letter.sequence)
        if not letter.body:  # before it is noted that all was handled, or a crash in between would keep secrets
            await asyncio.to_thread(self._folder.forget, session, once=self._once)
            self._sessions.pop(session, None)
        await asyncio.to_thread(self._folder.handled, min(self._unhandled, default=self._last + 1) - 1)
        if not self._queues[session]:
            del self._queues[session]
        self._next(session)


class _Session:
    """One session of this member."""

    def __init__(
        self,
        session: str,
        connection: Connection,
        send: Callable[[str, bytes, Callable[[], Awaitable[None]]], Awaitable[None]],
        answers: Answers,
        party: Party,
        folder: Folder,
        consents: Consenting | None,
    ) -> None:
        self._session = session
        self._connection = connection
        self._send = send
        self._answers = answers
        self._party = party
        self._folder = folder
        self._consents = consents
        self._terms: Terms | None = None
        self._participant: Participant | None = None
        self._kept: Kept | None = None
        self._read = False

    async def handle(self, letter: Letter) -> Ended | None:
        """Answer a letter; return the session if that is over for this member now."""
        if not self._read:
            self._kept = await asyncio.to_thread(self._folder.session, self._session)
            self._read = True
        if self._kept is not None and letter.sequence <= self._kept.sequence:
            return None  # handled before a restart
        over = self._kept is not None and self._kept.over
        if not letter.body:
            return None if over else await self._end(letter)
        if self._kept is not None and over and self._kept.sequence:
            return None  # what it had to say, it has said
        try:
            if over:  # as `Folder.forget` leaves it
                raise _RefusedError(
                    ContradictoryRequest.__name__,
                    "this member took part in this session before, and does so once: begin a new one; Paillier "
                    "parameters serve one session each (secagg paillier round)",
                )
            terms, participant = await self._ready(letter.terms)
            answer = await self._answer(letter, terms, participant)
            if answer:
                await self._give(letter, answer, terms)
                participant.delivered()
            await self._keep(letter.sequence)
        except _RefusedError as refused:
            return await self._refuse(letter, refused)
        except RequestRefusedError as error:
            if error.kind in _ENDING:
                raise
            await self._note(What.ENDED, "excluded")
            return await self._over(letter, "excluded", str(error))
        return None

    async def _give(self, letter: Letter, answer: bytes, terms: Terms) -> None:
        """Send an answer until it is answered, with consent to each try. It is given from the first try on.

        What a service says of it later decides nothing: one that keeps an answer may say that it does not.
        """
        noted = False

        async def allowed() -> None:
            nonlocal noted
            await self._agree(terms)
            if not noted:
                await self._note(What.ANSWERED, letter.phase, num_bytes=len(answer))
                noted = True

        await self._send(self._session, answer, allowed)

    async def _end(self, letter: Letter) -> Ended:
        await self._note(What.ENDED, letter.phase)
        return Ended(self._session, self._terms.title if self._terms else "", letter.phase)

    async def _answer(self, letter: Letter, terms: Terms, participant: Participant) -> bytes:
        """Return the answer, once it is on the disk; empty if there is none to send."""
        try:
            inputs = inputs_for(self._answers, terms)
            await self._note(What.ASKED, letter.phase)
            await self._agree(terms)
            self._party.check(participant, terms)
            answer = await asyncio.to_thread(participant.respond, letter.body, inputs)
            self._party.check(participant, terms)
            await asyncio.to_thread(self._party.count, participant, self._session, self._folder)
        except InputsError as error:
            own = str(error.__cause__ or "")
            raise _RefusedError("InputsError", f"the inputs could not be made: {error}", own) from None
        except EncodingError as error:  # whose text may quote a value
            told = "the inputs do not fit what is asked: names, lengths or bounds; the member was told which"
            raise _RefusedError("EncodingError", told, str(error)) from None
        except SecAggError as error:
            if changed_nothing(error, participant):
                return b""  # it is for another time, or another process has answered it
            raise _RefusedError(type(error).__name__, str(error)) from None
        if answer:
            await self._keep(self._kept.sequence if self._kept else 0)
        return answer

    async def _ready(self, given: bytes) -> tuple[Terms, Participant]:
        """Return what is asked, as the disk has it or a letter gave it, and the participant, as the disk has it."""
        if self._terms is None or self._participant is None:
            try:
                kept = await asyncio.to_thread(self._folder.terms, self._session)
                written = kept or given or await self._connection.terms(self._session)
                self._terms = await asyncio.to_thread(read_terms, written)
                check_session(self._session, self._terms)
                if not kept:
                    await asyncio.to_thread(self._folder.keep_terms, self._session, written)
                if self._kept is not None and self._kept.dump:
                    self._participant = await asyncio.to_thread(self._party.restore, self._kept.dump, self._terms)
                else:
                    self._participant = await asyncio.to_thread(self._party.begin, self._terms)
            except RequestRefusedError:
                raise
            except SecAggError as error:
                raise _RefusedError(type(error).__name__, str(error)) from None
        return self._terms, self._participant

    async def _keep(self, sequence: int, *, over: bool = False) -> None:
        dump = b"" if over or self._participant is None else await asyncio.to_thread(self._participant.dump)
        self._kept = Kept(sequence, over, dump)
        try:
            await asyncio.to_thread(self._folder.keep, self._session, self._kept)
        except NoRoomError as error:
            raise _RefusedError(type(error).__name__, str(error)) from None

    async def _refuse(self, letter: Letter, refused: _RefusedError) -> Ended:
        """Tell the service that this member does not take part, and forget the session's secrets."""
        kind, reason = refused.kind, printable(refused.reason)
        try:
            await self._connection.refuse(self._session, kind, reason)
        except RequestRefusedError as error:
            if error.kind in _ENDING:
                raise
        await self._note(What.REFUSED, letter.phase, reason=f"{kind}: {reason}")
        return await self._over(letter, "refused", f"{kind}: {reason}", refused.own)

    async def _over(self, letter: Letter, phase: str, reason: str, own: str = "") -> Ended:
        title = self._terms.title if self._terms else ""
        self._participant = self._terms = None
        await self._keep(letter.sequence, over=True)
        await asyncio.to_thread(self._folder.keep_terms, self._session, b"")  # it is listed, for `forget_gone`
        return Ended(self._session, title, phase, reason, own)

    async def _agree(self, terms: Terms) -> None:
        if self._consents is not None:
            objection = await asyncio.to_thread(self._consents.objection, self._session, terms)
            if objection:
                raise _RefusedError("consent-withdrawn", objection)

    async def _note(self, what: What, phase: str, **more: Any) -> None:
        if self._consents is not None:
            title, kind = (self._terms.title, str(self._terms.kind)) if self._terms else ("", "")
            await asyncio.to_thread(self._consents.note, Did(what, self._session, title, kind, phase, **more))
