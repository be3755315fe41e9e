"""A desk with its store, and members who take part in its sessions within one event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from protocols.core.machine import Participant, Receipt
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.client import Client
from protocols.masking.policy import ClientPolicy
from protocols.service.deadlines import Deadlines
from protocols.service.desk import Desk
from protocols.service.jobs import summing
from protocols.service.sessions import SessionSpec
from protocols.service.store import Store
from protocols.service.views import Outcome, SessionView
from secagg.errors import SecAggError
from secagg.signatures import Identity

COUNT = 7
LENGTH = 5
NAMES = Participants(f"site-{number}" for number in range(1, COUNT + 1))
IDENTITIES = {name: Identity(bytes([number]) * 32) for number, name in enumerate(NAMES, 1)}
WITH_KEYS = Participants({name: own.public_bytes for name, own in IDENTITIES.items()})
VALUES = {name: np.array([1 << (4 * at), at, 0, 7, 1]) for at, name in enumerate(NAMES)}
"""The first number tells whose values are in a sum, and how often."""


def model(adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER) -> ThreatModel:
    return ThreatModel(COUNT, 0.15, 0.3 if adversary is Adversary.CURIOUS_SERVER else 0.15, adversary)


def sum_of_seven(adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER, **more: Any) -> SessionSpec:
    participants = WITH_KEYS if adversary.needs_identities else NAMES
    vectors = (IntegerVector("v", LENGTH, max_value=1 << 28),)
    more.setdefault("deadlines", Deadlines(60))
    return summing("a sum of seven", vectors, model(adversary), participants, **more)


def client(name: str, adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER) -> Client:
    if not adversary.needs_identities:
        return Client(policy=ClientPolicy.permissive(), threads=1)
    return Client(policy=ClientPolicy.permissive(), identity=IDENTITIES[name], participants=WITH_KEYS, threads=1)


def total(names: Collection[str]) -> list[int]:
    return list(map(int, sum((VALUES[name] for name in names), np.zeros(LENGTH, dtype=np.int64))))


def but_one_in(phase: str) -> Deadlines:
    """All but one are enough in a phase; in the others everybody is awaited, or a race would choose who is left out."""
    return Deadlines(60, phases={str(phase): Deadlines(60, quorum=COUNT - 1)})


@asynccontextmanager
async def running(store: Store, **settings: Any) -> AsyncIterator[Desk]:
    """A desk that runs sessions; it stops at the end."""
    desk = Desk(store, **{"poll": 0.02, "workers": 2} | settings)
    task = asyncio.create_task(desk.run())
    try:
        yield desk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        desk.close()


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[Desk]:
    """A desk with a store of its own."""
    store = Store(folder / "service.db", create=True)
    try:
        async with running(store, **settings) as desk:
            yield desk
    finally:
        store.close()


async def nothing(name: str, phase: str) -> None:
    """Wait for nothing."""


@dataclass
class Members:
    """Members of one session.

    Attributes:
        join: name -> the party.
        values: name -> what it contributes.
        silent: phase -> who vanishes in it.
        bend: name, phase and answer -> what is sent instead, one after another.
        before: name and phase, awaited before anything is sent.
        outcomes: (name, phase) -> what came of what was sent.
        ends: name -> the phase of its last letter.
    """

    desk: Desk
    join: Callable[[str], Participant]
    values: Callable[[str], Any] = lambda name: {"v": VALUES[name]}
    silent: Mapping[str, Collection[str]] = field(default_factory=dict)
    bend: Callable[[str, str, bytes], list[bytes]] = lambda name, phase, answer: [answer]
    before: Callable[[str, str], Awaitable[None]] = nothing
    outcomes: dict[tuple[str, str], list[Outcome]] = field(default_factory=dict)
    ends: dict[str, str] = field(default_factory=dict)
    errors: dict[str, SecAggError] = field(default_factory=dict)

    async def take_part(self, name: str, session: str) -> None:
        party, after = self.join(name), 0
        while True:
            letter = await self.desk.next_letter(name, after, 10)
            if letter is None:
                continue
            after = letter.sequence
            if letter.session != session:
                continue
            if not letter.body:
                self.ends[name] = letter.phase
                return
            if name in self.silent.get(letter.phase, ()):
                return
            try:
                answer = await asyncio.to_thread(party.respond, letter.body, self.values(name))
            except SecAggError as error:
                self.errors[name] = error
                await self.desk.refuse(name, session, type(error).__name__, str(error))
                continue
            await self.before(name, letter.phase)
            for sent in self.bend(name, letter.phase, answer) if answer else ():
                outcome = await self.desk.deliver(name, session, sent)
                self.outcomes.setdefault((name, letter.phase), []).append(outcome)

    async def play(self, spec: SessionSpec, session: str | None = None) -> SessionView:
        """Run a session to its end, everyone included."""
        opened = session or await self.desk.open(spec)
        async with asyncio.timeout(60):
            await asyncio.gather(*(self.take_part(name, opened) for name in spec.names))
            return await self.desk.wait(opened)


async def result_of(desk: Desk, session: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(await desk.result(None, session))
    return facts


def accepted(outcomes: list[Outcome]) -> list[Receipt | None]:
    return [outcome.receipt for outcome in outcomes]
