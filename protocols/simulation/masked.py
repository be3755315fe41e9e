"""A masked round with everyone on one machine and chosen dropouts: what commands, tests and benchmarks drive."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from secagg.prg import cpu_count
from secagg.signatures import Identity

from ..core.machine import GivenInputs
from ..core.numbers import whole
from ..core.participants import Participants
from ..core.threat_model import Adversary
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.graph import Graph
from ..masking.policy import ClientPolicy
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from .driver import Cost, Session
from .memory import own_peak_memory_bytes
from .workers import working

COLLECTED_PHASES = (
    ServerPhase.ADVERTISE_KEYS,
    ServerPhase.SHARE_KEYS,
    ServerPhase.ACCEPT_SHARES,
    ServerPhase.MASKED_INPUT,
    ServerPhase.CONSISTENCY_CHECK,
    ServerPhase.UNMASKING,
)


def collected_phases(adversary: Adversary) -> list[ServerPhase]:
    """Return the phases of a session against an adversary, in order."""
    absent = {ServerPhase.ACCEPT_SHARES: not adversary.needs_identities}
    absent[ServerPhase.CONSISTENCY_CHECK] = not adversary.may_equivocate
    return [phase for phase in COLLECTED_PHASES if not absent.get(phase)]


@dataclass(frozen=True)
class SimulationReport:
    """What a simulated round gave and what it cost.

    Attributes:
        result: what the server learned.
        session_id: of the session.
        graph: who is whose neighbour.
        participants: everyone who was invited.
        clients: name -> what it cost.
        server_seconds: wall-clock time in the server's code, bytes to messages included.
        server_processor_seconds: of processors, in the same code.
        wall_seconds: wall-clock time of the whole round, simulated data included.
        phase_seconds: phase -> wall-clock time.
        workers: how many processes the clients lived in.
        sources: what was asked for inputs, as it is when all is over: one for each of these processes.
        peak_memory_bytes: of this process and the workers, each at its own peak; what they share counts in each.
    """

    result: RoundResult
    session_id: bytes
    graph: Graph
    participants: Participants
    clients: Mapping[str, Cost]
    server_seconds: float
    server_processor_seconds: float
    wall_seconds: float
    phase_seconds: Mapping[str, float]
    workers: int
    sources: Sequence[Any]
    peak_memory_bytes: int


class Clients:
    """The clients that live in one process. What they have before a session is made there and stays there.

    Args:
        config: what the round is about.
        policy: of every client.
        inputs: name -> a client's inputs.
    """

    def __init__(self, config: RoundConfig, policy: ClientPolicy, inputs: Callable[[str], GivenInputs]) -> None:
        self.config, self.policy, self.inputs = config, policy, inputs
        self._identities: dict[str, Identity] = {}
        self._everyone: Participants | None = None

    def prepare(self) -> None:
        """Load what is slow to load."""
        warm_up(self.config)

    def settle(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Make the clients' identities, if the session is one that needs them; return the public keys."""
        if self.config.threat_model.adversary.needs_identities:
            self._identities = {name: Identity.generate() for name in names}
        return {name: own.public_bytes for name, own in self._identities.items()}

    def meet(self, everyone: Participants) -> None:
        """Learn who takes part, as a client does before a session that needs identities."""
        self._everyone = everyone if everyone.keys else None

    def join(self, name: str) -> Client:
        """Return the client, which is now sent something for the first time."""
        own = self._identities.get(name)
        return Client(policy=self.policy, identity=own, participants=self._everyone, threads=1)


@dataclass
class Simulation:
    """One session with all its parties.

    Args:
        config: what the round is about.
        inputs: name -> a client's inputs; drawn when they are needed, so that they need not be kept, and the same ones
            each time.
        drops: phase -> the clients that vanish before they answer in it.
        policy: of every client; by default they take what is proposed.
        on_progress: called with the phase, how many clients have been through it, and out of how many.
        threads: for clients side by side; as many as there are processors when None.
        workers: processes for clients. 1 is this one, on threads; of more, each has a single thread, and is sent
            `inputs` by pickling. All then load compiled loops first, this process as well.
        participants: their names; numbered when None.
        make_server: config and participants -> the server, where it is not the default one.
    """

    config: RoundConfig
    inputs: Callable[[str], GivenInputs]
    drops: Mapping[ServerPhase, Collection[str]] = field(default_factory=dict)
    policy: ClientPolicy = field(default_factory=ClientPolicy.permissive)
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None
    threads: int | None = None
    workers: int = 1
    participants: Participants | None = None
    make_server: Callable[[RoundConfig, Participants], Server] = Server

    def run(self) -> SimulationReport:
        """Run the round to its end.

        Raises:
            ParameterError: no such number of workers, or inputs that cannot be sent to them.
            SecAggError: the round ended without a sum; which error says why. LostWorkerError: a worker ended.
        """
        count = whole(self.workers, "workers", 1)
        start = time.perf_counter()
        names = Participants.numbered(self.config.num_clients) if self.participants is None else self.participants
        clients = Clients(self.config, self.policy, self.inputs)
        count = min(count, len(names))
        with working(clients, count) if count > 1 else nullcontext() as workers:
            place = workers or clients
            keys = place.settle(names.names)
            known = Participants(keys) if keys else names
            place.meet(known)
            session = Session(
                self.make_server(self.config, known),
                clients.join,
                self.inputs,
                threads=self.threads or cpu_count(),
                elsewhere=workers,
                on_progress=self.on_progress,
            )
            result: RoundResult = session.run({str(phase): names for phase, names in self.drops.items()})
            left = workers.leave() if workers else []
        return SimulationReport(
            result,
            session.coordinator.session_id,
            session.coordinator.graph,
            known,
            dict(session.costs),
            session.coordinator_seconds,
            session.coordinator_processor_seconds,
            time.perf_counter() - start,
            session.phase_seconds,
            count,
            [each.inputs for each in left] or [self.inputs],
            own_peak_memory_bytes() + sum(each.peak_memory_bytes for each in left),
        )


def run_locally(config: RoundConfig, inputs: Mapping[str, GivenInputs]) -> RoundResult:
    """Sum the inputs of named participants in this process, every message and check included: to try things out.

    Args:
        config: of as many clients as there are inputs.
        inputs: name -> values, `Inputs`, or a function that gives either.

    Raises:
        ParameterError: another number of inputs than clients.
        SecAggError: the round ended without a sum.
    """
    return Simulation(config, lambda name: inputs[name], participants=Participants(tuple(inputs))).run().result


def choose_drops(
    num_clients: int, fractions: Mapping[ServerPhase, float], rng: np.random.Generator
) -> dict[ServerPhase, frozenset[str]]:
    """Choose floor(fraction * n) clients for each phase, none of them twice. For simulated dropouts only."""
    names = Participants.numbered(num_clients)
    order = rng.permutation(num_clients) + 1
    drops = {}
    start = 0
    for phase in COLLECTED_PHASES:
        count = math.floor(fractions.get(phase, 0.0) * num_clients + 1e-9)
        drops[phase] = names.named(map(int, order[start : start + count]))
        start += count
    return drops
