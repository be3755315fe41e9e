"""Unit costs from measured sessions: non-negative least squares, checked on sessions that were left out."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

import numpy as np

from secagg.encoding import Rounding
from secagg.errors import MissingDependencyError
from secagg.randomness import SYSTEM

from ..core.threat_model import Adversary, ThreatModel
from ..inputs.vectors import FloatVector
from ..masking import traffic
from ..masking.config import RoundConfig
from ..masking.graph import Graph
from ..masking.topology import GraphKind
from ..masking.transitions import ServerPhase
from ..masking.warming import warm_up
from ..simulation.checked import Updates
from ..simulation.masked import Simulation, choose_drops
from ..simulation.memory import own_peak_memory_bytes
from .counts import SCANNING_CLIENTS, Counts, Session, Stored, Work
from .estimate import held, seconds
from .table import Quantity, Span, Table, extent, processor

K = TypeVar("K", bound=StrEnum)
_LOOKED_AT = (500, 2_000, 8_000)


@dataclass(frozen=True)
class Case:
    """A session to measure: a fraction of its clients vanishes before its input."""

    clients: int
    numbers: int
    dropout: float = 0.0
    adversary: Adversary = Adversary.SEMI_MALICIOUS_SERVER
    graph: GraphKind | None = None
    corrupt: float = 0.05

    @property
    def session(self) -> Session:
        """Its configuration, and how many vanish."""
        model = ThreatModel(self.clients, self.corrupt, self.dropout, self.adversary)
        vector = FloatVector("update", self.numbers, clip=1.0, value_bits=16, rounding=Rounding.NEAREST)
        return Session(RoundConfig(model, (vector,), graph=self.graph), model.max_dropouts)


@dataclass(frozen=True)
class Measured:
    """A session that was run: what a client cost on average, and the server.

    Attributes:
        case: that was run.
        workers: processes for clients; 1 is the server's own.
        values: quantity -> seconds of a processor, or bytes; memory of a process with its share of the clients, and
            only where these had processes of their own.
    """

    case: Case
    workers: int
    values: Mapping[Quantity, float] = field(default_factory=dict)

    @property
    def together(self) -> int:
        """How many clients lived in one process."""
        return -(-self.case.clients // self.workers)

    def seconds_rows(self) -> list[tuple[Counts, float]]:
        """Return what was done, and in which time."""
        session, values = self.case.session, self.values
        return [
            (session.client(self.together), values[Quantity.CLIENT_SECONDS]),
            (session.server(apart=self.workers > 1), values[Quantity.SERVER_SECONDS]),
        ]

    def memory_rows(self) -> list[tuple[Mapping[Stored, float], float]]:
        """Return what was held, and in how many bytes; nothing where clients were in the server's process."""
        session, values = self.case.session, self.values
        if self.workers == 1:
            return []
        return [
            (session.client_memory(self.together), values[Quantity.CLIENT_MEMORY]),
            (session.server_memory(), values[Quantity.SERVER_MEMORY]),
        ]

    def estimated(self, table: Table) -> dict[Quantity, float]:
        """Return what a table says to it."""
        session = self.case.session
        one = traffic.estimate(session.config, round(session.degree))
        return {
            Quantity.CLIENT_SECONDS: seconds(table, session.client(self.together)),
            Quantity.SERVER_SECONDS: seconds(table, session.server(apart=self.workers > 1)),
            Quantity.SENT_BYTES: one.sent_bytes,
            Quantity.RECEIVED_BYTES: one.received_bytes,
            Quantity.CLIENT_MEMORY: held(table, session.client_memory(self.together)),
            Quantity.SERVER_MEMORY: held(table, session.server_memory()),
        }


def run(case: Case, workers: int = 1, seed: int = 0) -> Measured:
    """Run a session with simulated data, and return what it cost. Memory is this process's own: begin with a new one.

    Raises:
        SecAggError: the session ended without a sum.
    """
    config = case.session.config
    drops = choose_drops(case.clients, {ServerPhase.MASKED_INPUT: case.dropout}, np.random.default_rng(seed))
    if workers == 1:
        warm_up(config)
    report = Simulation(config, Updates(config, case.clients, seed), drops, threads=1, workers=workers).run()
    survivors = [report.clients[name] for name in report.result.survivors]
    values = {
        Quantity.CLIENT_SECONDS: float(np.mean([cost.seconds for cost in survivors])),
        Quantity.SERVER_SECONDS: report.server_processor_seconds,
        Quantity.SENT_BYTES: float(np.mean([cost.sent_bytes for cost in survivors])),
        Quantity.RECEIVED_BYTES: float(np.mean([cost.received_bytes for cost in survivors])),
    }
    if workers > 1:
        own = own_peak_memory_bytes()
        values[Quantity.SERVER_MEMORY] = own
        values[Quantity.CLIENT_MEMORY] = (report.peak_memory_bytes - own) / workers
    return Measured(case, workers, values)


def look_up() -> list[tuple[Counts, float]]:
    """Return work and seconds of looking for neighbours on random cycles, by itself: of a session it is too little."""
    rows: list[tuple[Counts, float]] = []
    for clients in _LOOKED_AT:
        session = Case(clients, 1, 0.05, Adversary.CURIOUS_SERVER, GraphKind.RANDOM_CYCLES).session
        graph = Graph(session.config.topology, clients, SYSTEM(32))
        graph.neighbours(1)  # loads what is slow to load
        for who, work in ((range(2, SCANNING_CLIENTS + 1), Work.SCANNED), ([SCANNING_CLIENTS + 1], Work.SORTED)):
            started = time.process_time()
            for client in who:
                graph.neighbours(client)
            rows.append(({work: session.words * len(who)}, time.process_time() - started))
    return rows


def fit(
    measured: Sequence[Measured],
    others: Sequence[Measured],
    memory: Mapping[Stored, float] | None = None,
    looked_up: Sequence[tuple[Counts, float]] = (),
) -> Table:
    """Fit unit costs on measured sessions, and check them on others.

    Args:
        measured: to fit on.
        others: to check on.
        memory: bytes of what is stored, if these sessions do not tell.
        looked_up: more to fit seconds on, as `look_up` returns it.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    unit_seconds = _fitted(Work, [*looked_up, *(row for one in measured for row in one.seconds_rows())])
    if memory is None:
        memory = _fitted(Stored, [row for one in measured for row in one.memory_rows()])
    sizes = [extent(one.case.session) for one in measured]
    spans = {name: Span(min(size[name] for size in sizes), max(size[name] for size in sizes)) for name in sizes[0]}
    table = Table(processor(), len(measured), len(others), unit_seconds, memory, {}, spans)
    errors: dict[Quantity, float] = {}
    for one in others:
        for quantity, estimate in one.estimated(table).items():
            if quantity in one.values:
                error = abs(estimate / one.values[quantity] - 1)
                errors[quantity] = max(error, errors.get(quantity, 0.0))
    return replace(table, errors=errors)


def _fitted(kinds: type[K], rows: Iterable[tuple[Mapping[K, float], float]]) -> dict[K, float]:
    """Return the non-negative cost of each kind, by least squares of relative errors."""
    counts, values = zip(*rows, strict=True)
    matrix = np.array(
        [[row.get(kind, 0.0) / value for kind in kinds] for row, value in zip(counts, values, strict=True)]
    )
    scale = np.maximum(np.abs(matrix).max(axis=0), 1e-300)  # kinds are of very different sizes
    solution, _ = _optimize().nnls(matrix / scale, np.ones(len(values)))
    return dict(zip(kinds, (solution / scale).tolist(), strict=True))


def _optimize() -> Any:
    try:
        return importlib.import_module("scipy.optimize")
    except ImportError:
        raise MissingDependencyError(
            "fitting unit costs needs scipy: in a checkout of secagg, pip install '.[statistics]'"
        ) from None


QUICK = (
    Case(20, 1_000),
    Case(20, 200_000, 0.1),
    Case(60, 1_000, 0.1),
    Case(60, 100_000, 0.2),
    Case(120, 1_000),
    Case(110, 10_000, 0.1),
    Case(200, 1_000, 0.1, Adversary.CURIOUS_SERVER, GraphKind.RANDOM_CYCLES),
    Case(400, 10_000, 0.1, Adversary.CURIOUS_SERVER, GraphKind.RANDOM_CYCLES),
    Case(400, 1_000, 0.05, graph=GraphKind.RANDOM_CYCLES),
    Case(40, 10_000, 0.1, Adversary.MALICIOUS_SERVER),
    Case(90, 1_000, 0.0, Adversary.MALICIOUS_SERVER),
)
"""Sessions that tell the unit costs of a machine in some half a minute."""
QUICK_HELD_OUT = (
    Case(80, 30_000, 0.1),
    Case(300, 3_000, 0.1, Adversary.CURIOUS_SERVER, GraphKind.RANDOM_CYCLES),
    Case(60, 3_000, 0.1, Adversary.MALICIOUS_SERVER),
)


def measure_here(memory: Mapping[Stored, float], on_progress: Callable[[int, int], None] = lambda _, __: None) -> Table:
    """Measure the unit costs of this machine's processor, in less than a minute.

    Args:
        memory: bytes of what is stored, which hang little on the processor: those of the table that is shipped.
        on_progress: called with how many sessions were run, and out of how many.

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    _optimize()
    cases = (*QUICK, *QUICK_HELD_OUT)
    done = []
    for number, case in enumerate(cases):
        on_progress(number, len(cases))
        done.append(run(case))
    on_progress(len(cases), len(cases))
    return fit(done[: len(QUICK)], done[len(QUICK) :], memory, look_up())
