"""A group's session in one process, its server and its simulated clients, that goes on in another from its dump."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from secagg.errors import EncodingError, PeerError, SecAggError, StateError, ThresholdError
from secagg.signatures import Identity

from ..core import dumps
from ..core.machine import GivenInputs
from ..core.participants import Participants
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.policy import ClientPolicy
from ..masking.server import Server
from ..simulation.driver import Cost, Session
from ..simulation.masked import SimulationReport


@dataclass(frozen=True)
class GroupTask:
    """What a group's session is about.

    Attributes:
        place: of the group, from 0.
        members: of it, without identities: where sessions need them, they are made with it.
        config: of its session.
        policy: of its clients.
        silent: phase -> who vanishes before it answers in it.
    """

    place: int
    members: tuple[str, ...]
    config: RoundConfig
    policy: ClientPolicy
    silent: Mapping[str, tuple[str, ...]]


class _State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """All of a group. Clients are not kept when they are done."""

    place: int
    server: bytes
    clients: dict[str, bytes]
    identities: dict[str, bytes]
    costs: dict[str, Cost]
    server_seconds: float
    server_processor_seconds: float
    phase_seconds: dict[str, float]
    wall_seconds: float
    failure: str

    def __repr__(self) -> str:  # clients' memories are secret
        return f"_State(place={self.place})"


class GroupRun:
    """A group's session, taken phase by phase.

    What its clients say leaves this process in dumps alone. So of several processes that were given the same dump, one
    counts and nobody has heard of the others, although clients of theirs have answered under the same masks.

    Args:
        task: what it is about.
        inputs: name -> a client's inputs, the same each time.
    """

    def __init__(self, task: GroupTask, inputs: Callable[[str], GivenInputs]) -> None:
        self._task = task
        adversary = task.config.threat_model.adversary
        self._identities = {name: Identity.generate() for name in task.members} if adversary.needs_identities else {}
        known = Participants({name: own.public_bytes for name, own in self._identities.items()} or task.members)
        self._wall_seconds, self._failure = 0.0, ""
        self._session = self._driven(Server(task.config, known, threads=1), inputs)

    @property
    def phase(self) -> str:
        """Which phase comes next, or how the session ended."""
        return str(self._session.coordinator.phase)

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to do."""
        return bool(self._session.coordinator.ended)

    def step(self) -> None:
        """Take one phase from its first message to its end. A session that ends without a sum remembers why."""
        started = time.perf_counter()
        try:
            self._session.step(self._task.silent.get(self.phase, ()))
        except (ThresholdError, PeerError, EncodingError) as error:
            self._failure = f"{type(error).__name__}: {error}"
        self._wall_seconds += time.perf_counter() - started

    def dump(self) -> bytes:
        """Return all that is needed to go on in another process; as secret as what the clients hold."""
        clients = {} if self.ended else {name: own.dump() for name, own in self._session.participants.items()}
        return dumps.encode_state(
            _State(
                self._task.place,
                self._session.coordinator.dump(),
                clients,
                {} if self.ended else {name: own.private_bytes for name, own in self._identities.items()},
                dict(self._session.costs),
                self._session.coordinator_seconds,
                self._session.coordinator_processor_seconds,
                self._session.phase_seconds,
                self._wall_seconds,
                self._failure,
            )
        )

    @classmethod
    def load(cls, task: GroupTask, inputs: Callable[[str], GivenInputs], dumped: bytes) -> GroupRun:
        """Restore what `dump` returned; the other arguments as on construction.

        Raises:
            StateError: the bytes are no dump of this version, were damaged, or are another group's.
        """
        state = _read(task, dumped)
        run = cls.__new__(cls)
        run._task = task
        run._identities = {name: Identity(own) for name, own in state.identities.items()}
        run._wall_seconds, run._failure = state.wall_seconds, state.failure
        run._session = run._driven(Server.load(state.server, threads=1), inputs)
        for name, client in state.clients.items():
            run._session.participants[name] = Client.load(client, **run._party(name))
        run._session.costs = defaultdict(Cost, state.costs)
        run._session.coordinator_seconds = state.server_seconds
        run._session.coordinator_processor_seconds = state.server_processor_seconds
        run._session.phase_seconds = state.phase_seconds
        return run

    def _driven(self, server: Server, inputs: Callable[[str], GivenInputs]) -> Session[Server, Client]:
        known = server.participants
        self._known = known if known.keys else None
        return Session(server, lambda name: Client(policy=self._task.policy, **self._party(name)), inputs)

    def _party(self, name: str) -> dict[str, Any]:
        return {"identity": self._identities.get(name), "participants": self._known, "threads": 1}


def has_ended(task: GroupTask, dumped: bytes) -> bool:
    """Return whether a dump is of a session that is over; raise StateError as `GroupRun.load` does."""
    return Server.load(_read(task, dumped).server).ended


def outcome(task: GroupTask, dumped: bytes) -> SimulationReport | SecAggError:
    """Return what a session has come to, or why it has no sum.

    Args:
        task: what it was about.
        dumped: of a session that is over.

    Raises:
        StateError: as `GroupRun.load`; or the session is not over.
    """
    state = _read(task, dumped)
    if state.failure:
        return SecAggError(f"group {task.place}: {state.failure}")
    server = Server.load(state.server)
    return SimulationReport(
        server.result,
        server.session_id,
        server.graph,
        server.participants,
        state.costs,
        state.server_seconds,
        state.server_processor_seconds,
        state.wall_seconds,
        state.phase_seconds,
        1,
        (),
        0,
    )


def _read(task: GroupTask, dumped: bytes) -> _State:
    state = dumps.decode_state(dumped, _State)
    if state.place != task.place:
        raise StateError(f"the dump is of group {state.place}, not of group {task.place}")
    return state
