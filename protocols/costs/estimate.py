"""What a round will cost: seconds, bytes and memory of a client, of a server and of all, before anybody runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.numbers import real, whole
from ..core.threat_model import ROUNDING_SLACK, ThreatModel
from ..groups.occupancy import counted_sizes
from ..groups.plan import GroupPlan
from ..masking import traffic
from ..masking.config import RoundConfig
from .counts import Counts, Session, Stored
from .table import Quantity, Table, shipped

LARGEST_SESSION = 10_000
"""Where nobody says how many groups there are, none has more clients than this: what was measured, and one server."""


@dataclass(frozen=True)
class Estimate:
    """What a round costs. A client and a server are those of the largest group.

    Attributes:
        clients: of all groups.
        groups: how many sessions.
        group: clients of the largest.
        workers: how many processors share the sessions; each takes one session at a time.
        dropped: clients of the largest group that vanish before their input.
        client_seconds: of one processor, a client's.
        server_seconds: of one processor, the server's of one group.
        servers_seconds: the servers' of all groups, one after another.
        servers_wall_seconds: side by side on the workers.
        simulated_wall_seconds: with all clients on the same workers too, as a simulated round has it; without the
            making of their inputs, and without what an engine adds.
        client_sent_bytes: a client's.
        client_received_bytes: a client's.
        servers_received_bytes: of all groups.
        servers_sent_bytes: of all groups.
        client_memory_bytes: a client's process, with all it has loaded.
        server_memory_bytes: the same of one group's server, with as many inputs that wait to be added as when it was
            measured: 32.
        errors: quantity -> how far estimates were off on runs that the table was not fitted on, at most: relative.
        beyond: how the round is beyond what was measured, in words; nothing if it is not.
        processor: that was measured.
    """

    clients: int
    groups: int
    group: int
    workers: int
    dropped: int
    client_seconds: float
    server_seconds: float
    servers_seconds: float
    servers_wall_seconds: float
    simulated_wall_seconds: float
    client_sent_bytes: float
    client_received_bytes: float
    servers_received_bytes: float
    servers_sent_bytes: float
    client_memory_bytes: float
    server_memory_bytes: float
    errors: Mapping[Quantity, float]
    beyond: tuple[str, ...]
    processor: str

    def facts(self) -> dict[str, Any]:
        """Return all of it, as JSON holds it."""
        plain = {name: value for name, value in vars(self).items() if name not in ("errors", "beyond")}
        return plain | {"errors": {str(name): error for name, error in self.errors.items()}, "beyond": [*self.beyond]}


def of_session(config: RoundConfig, dropped: int = 0, *, workers: int = 1, table: Table | None = None) -> Estimate:
    """Estimate a round of one session, of which so many clients vanish before their masked input.

    Raises:
        ParameterError: there are not so many clients, or no workers.
    """
    return _estimate([(Session(config, dropped), 1)], workers, table)


def of_groups(
    plan: GroupPlan,
    configure: Callable[[ThreatModel], RoundConfig],
    dropout: float = 0.0,
    *,
    workers: int = 1,
    table: Table | None = None,
) -> Estimate:
    """Estimate a round in groups.

    Args:
        plan: of the groups.
        configure: the threat model of a group -> the configuration of its session.
        dropout: the fraction of each group that vanishes before its masked input.
        workers: how many processors share the sessions.
        table: of unit costs; None for the one that comes with the package.

    Raises:
        ParameterError: dropout is no fraction, or leaves a group without clients; or there are no workers.
    """
    sessions, dropout = [], real(dropout, "dropout", 0, 1)
    for size, count in counted_sizes(plan.num_clients, plan.num_groups):
        dropped = math.floor((dropout + ROUNDING_SLACK) * size)
        sessions.append((Session(configure(plan.model(size)), dropped), count))
    return _estimate(sessions, workers, table)


def planned_groups(clients: int, workers: int) -> int:
    """Return how many groups are taken where nobody says: 1 where one session serves, since there all hide among all.

    Else the fewest that give each worker the same number of sessions, of LARGEST_SESSION clients at most.

    Raises:
        ParameterError: there are no clients, or no workers.
    """
    clients, workers = whole(clients, "clients", 1), whole(workers, "workers", 1)
    if clients <= LARGEST_SESSION:
        return 1
    return workers * math.ceil(clients / (LARGEST_SESSION * workers))


def _estimate(sessions: list[tuple[Session, int]], workers: int, table: Table | None) -> Estimate:
    table, workers = table or shipped(), whole(workers, "workers", 1)
    largest, groups = sessions[0][0], sum(count for _, count in sessions)
    servers = simulated = received = sent = 0.0
    for session, count in sessions:
        server = seconds(table, session.server())
        servers += count * server
        clients = session.clients * seconds(table, session.client(session.clients))
        simulated += count * (clients + seconds(table, session.server(apart=False)))
        for_all = session_bytes(session)
        received, sent = received + count * for_all[0], sent + count * for_all[1]
    alike = math.ceil(groups / workers) * workers / groups  # the last turn may leave workers idle
    one = traffic.estimate(largest.config, round(largest.degree))
    return Estimate(
        sum(session.clients * count for session, count in sessions),
        groups,
        largest.clients,
        workers,
        largest.dropped,
        seconds(table, largest.client()),
        seconds(table, largest.server()),
        servers,
        servers * alike / workers,
        simulated * alike / workers,
        one.sent_bytes,
        one.received_bytes,
        received,
        sent,
        held(table, largest.client_memory()),
        held(table, largest.server_memory()),
        table.errors,
        table.beyond(largest),
        table.processor,
    )


def seconds(table: Table, counts: Counts) -> float:
    """Return seconds of one processor for counted work."""
    return sum(table.seconds[work] * count for work, count in counts.items())


def held(table: Table, counts: Mapping[Stored, float]) -> float:
    """Return bytes of memory for what is counted."""
    return sum(table.memory[what] * count for what, count in counts.items())


def session_bytes(session: Session) -> tuple[float, float]:
    """Return what the server of a session receives and sends."""
    one, gone = traffic.estimate(session.config, round(session.degree)), session.dropped
    received = session.survivors * one.sent_bytes + gone * one.dealt_bytes
    return received, session.survivors * one.received_bytes + gone * one.taken_bytes
