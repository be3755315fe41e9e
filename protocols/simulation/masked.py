"""Everyone in one process, with chosen dropouts: what the command, the tests and the benchmarks drive.

Every message goes through bytes. Clients are computed a few at a time, on as many threads as there are processors, and
the server takes their messages while they pause, so its seconds are its own.
"""

from __future__ import annotations

import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from secagg.errors import PeerError
from secagg.prg import cpu_count
from secagg.signatures import Identity

from ..masking import wire
from ..masking.client import Client
from ..masking.config import RoundConfig
from ..masking.messages import Invitation, ShareDelivery, ToClient
from ..masking.policy import ClientPolicy
from ..masking.result import RoundResult
from ..masking.server import Server
from ..masking.transitions import ServerPhase

COLLECTED_PHASES = (
    ServerPhase.ADVERTISE_KEYS,
    ServerPhase.SHARE_KEYS,
    ServerPhase.MASKED_INPUT,
    ServerPhase.CONSISTENCY_CHECK,
    ServerPhase.UNMASKING,
)

_CLIENTS_AT_ONCE = 16
"""Bounds how many inputs are in memory before the server adds them up."""


class InputSource(Protocol):
    """Where a simulated client's input comes from: drawn when it is needed, so that it need not be kept."""

    def __call__(self, client_id: int, /) -> tuple[Mapping[str, npt.NDArray[Any]], int]:
        """Return the client's named vectors and its weight; the same ones each time."""


@dataclass(frozen=True)
class ClientCost:
    """What one client has sent and received, and how long it computed (seconds of one processor)."""

    sent_bytes: int = 0
    received_bytes: int = 0
    seconds: float = 0.0

    def plus(self, sent_bytes: int, received_bytes: int, seconds: float) -> ClientCost:
        """Return the cost with one more message each way."""
        return ClientCost(self.sent_bytes + sent_bytes, self.received_bytes + received_bytes, self.seconds + seconds)


@dataclass(frozen=True)
class SimulationReport:
    """What a simulated round gave and what it cost.

    Attributes:
        result: what the server learned.
        session_id: of the session.
        clients: client id -> what it cost.
        server_seconds: wall-clock time in the server's code, bytes to messages included.
        wall_seconds: wall-clock time of the whole round, simulated data included.
        phase_seconds: server round -> wall-clock time.
    """

    result: RoundResult
    session_id: bytes
    clients: Mapping[int, ClientCost]
    server_seconds: float
    wall_seconds: float
    phase_seconds: Mapping[ServerPhase, float]


@dataclass
class Simulation:
    """One session with all its parties.

    Args:
        config: what the round is about.
        inputs: where clients' inputs come from.
        drops: round -> the clients that vanish before they answer in it.
        policy: of every client.
        on_progress: called with the round, how many clients have been through it, and out of how many.
        threads: for clients side by side; as many as there are processors when None.
    """

    config: RoundConfig
    inputs: InputSource
    drops: Mapping[ServerPhase, Collection[int]] = field(default_factory=dict)
    policy: ClientPolicy = field(default_factory=ClientPolicy)
    on_progress: Callable[[ServerPhase, int, int], None] = lambda phase, done, total: None
    threads: int | None = None

    def run(self) -> SimulationReport:
        """Run the round to its end.

        Raises:
            SecAggError: the round ended without a sum; which error says why.
        """
        start = time.perf_counter()
        identities, known = self._identities()
        server = Server(self.config, known_identities=known)
        clients: dict[int, Client] = {}
        costs: dict[int, ClientCost] = defaultdict(ClientCost)
        phase_seconds: dict[ServerPhase, float] = {}
        server_seconds = 0.0

        max_bytes = wire.max_bytes(self.config)

        def answer(client_id: int, data: bytes) -> tuple[int, bytes | None, float, int]:
            """One client's step: on any refusal of its own it falls silent."""
            started = time.thread_time()
            message: ToClient = wire.decode(data, ToClient, max_bytes=max_bytes)
            if isinstance(message, Invitation):
                clients[client_id] = Client(
                    client_id,
                    policy=self.policy,
                    identity=identities.get(client_id),
                    known_identities=known,
                    threads=1,
                )
            paused = 0.0
            values: Mapping[str, npt.NDArray[Any]] = {}
            weight = 1
            if isinstance(message, ShareDelivery):
                before = time.thread_time()
                values, weight = self.inputs(client_id)
                paused = time.thread_time() - before
            try:
                response = wire.encode(clients[client_id].respond(message, values, weight=weight))
            except PeerError:
                response = None
            return client_id, response, time.thread_time() - started - paused, len(data)

        outgoing: Mapping[int, ToClient] = server.outgoing()
        with ThreadPoolExecutor(self.threads or cpu_count()) as pool:
            while outgoing:
                phase = server.phase
                phase_start = time.perf_counter()
                silent = set(self.drops.get(phase, ()))
                recipients = [client_id for client_id in outgoing if client_id not in silent]
                done = 0
                for group in _groups(recipients, _CLIENTS_AT_ONCE):
                    started = time.perf_counter()
                    packets = [wire.encode(outgoing[client_id]) for client_id in group]
                    server_seconds += time.perf_counter() - started
                    answers = list(pool.map(answer, group, packets))
                    started = time.perf_counter()
                    for client_id, response, _, _ in answers:
                        if response is not None:
                            server.receive_bytes(client_id, response)
                    server_seconds += time.perf_counter() - started
                    for client_id, response, seconds, received in answers:
                        costs[client_id] = costs[client_id].plus(len(response or b""), received, seconds)
                    done += len(group)
                    self.on_progress(phase, done, len(recipients))
                started = time.perf_counter()
                outgoing = server.close_round()
                server_seconds += time.perf_counter() - started
                phase_seconds[phase] = time.perf_counter() - phase_start
        wall_seconds = time.perf_counter() - start
        return SimulationReport(
            server.result, server.session_id, dict(costs), server_seconds, wall_seconds, phase_seconds
        )

    def _identities(self) -> tuple[dict[int, Identity], dict[int, bytes]]:
        """Identities exist before the session; only malicious-server sessions need them."""
        if not self.config.threat_model.adversary.needs_identities:
            return {}, {}
        identities = {i: Identity.generate() for i in range(1, self.config.threat_model.num_clients + 1)}
        return identities, {i: identity.public_bytes for i, identity in identities.items()}


def choose_drops(
    num_clients: int, fractions: Mapping[ServerPhase, float], rng: np.random.Generator
) -> dict[ServerPhase, frozenset[int]]:
    """Choose floor(fraction * n) clients for each round, none of them twice. For simulated dropouts only."""
    order = rng.permutation(num_clients) + 1
    drops = {}
    start = 0
    for phase in COLLECTED_PHASES:
        count = math.floor(fractions.get(phase, 0.0) * num_clients + 1e-9)
        drops[phase] = frozenset(map(int, order[start : start + count]))
        start += count
    return drops


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held at a time."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _groups(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
