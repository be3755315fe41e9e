"""A masked round with everyone in one process and chosen dropouts: what commands, tests and benchmarks drive."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from secagg.prg import cpu_count
from secagg.signatures import Identity

from ..core.machine import GivenInputs
from ..core.participants import Participants
from ..core.threat_model import Adversary
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.graph import Graph
from ..masking.policy import ClientPolicy
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase
from .driver import Cost, Session

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
        wall_seconds: wall-clock time of the whole round, simulated data included.
        phase_seconds: phase -> wall-clock time.
    """

    result: RoundResult
    session_id: bytes
    graph: Graph
    participants: Participants
    clients: Mapping[str, Cost]
    server_seconds: float
    wall_seconds: float
    phase_seconds: Mapping[str, float]


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
        participants: their names; numbered when None.
        make_server: config and participants -> the server, where it is not the default one.
    """

    config: RoundConfig
    inputs: Callable[[str], GivenInputs]
    drops: Mapping[ServerPhase, Collection[str]] = field(default_factory=dict)
    policy: ClientPolicy = field(default_factory=ClientPolicy.permissive)
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None
    threads: int | None = None
    participants: Participants | None = None
    make_server: Callable[[RoundConfig, Participants], Server] = Server

    def run(self) -> SimulationReport:
        """Run the round to its end.

        Raises:
            SecAggError: the round ended without a sum; which error says why.
        """
        start = time.perf_counter()
        names = self.participants or Participants.numbered(self.config.num_clients)
        identities: dict[str, Identity] = {}
        if self.config.threat_model.adversary.needs_identities:  # they exist before the session
            identities = {name: Identity.generate() for name in names}
        known = Participants({name: own.public_bytes for name, own in identities.items()}) if identities else names
        session = Session(
            self.make_server(self.config, known),
            lambda name: Client(
                policy=self.policy, identity=identities.get(name), participants=known if identities else None, threads=1
            ),
            self.inputs,
            threads=self.threads or cpu_count(),
            on_progress=self.on_progress,
        )
        result: RoundResult = session.run({str(phase): names for phase, names in self.drops.items()})
        return SimulationReport(
            result,
            session.coordinator.session_id,
            session.coordinator.graph,
            known,
            dict(session.costs),
            session.coordinator_seconds,
            time.perf_counter() - start,
            session.phase_seconds,
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


def peak_memory_bytes() -> int:
    """Return the most memory that this process, or the largest of its workers, has held at a time."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return unit * max(usages)
