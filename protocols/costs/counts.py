"""What a session does, counted: from its configuration and how many vanish, without running it (SPEC section 58)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from ..core.numbers import whole
from ..masking.config import RoundConfig
from ..masking.topology import GraphKind

SCANNING_CLIENTS = 4
"""So many clients of one process look for their neighbours by themselves; then all of the graph is sorted, once."""
_ELEMENTS = 9
"""Field elements of a secret."""
_SECRETS = 2


class Work(StrEnum):
    """What takes time, and how it is counted."""

    CLIENT = "client"
    NEIGHBOUR = "neighbour"
    SPLIT = "split"
    NUMBER = "number"
    LISTED = "listed"
    SCANNED = "scanned"
    AGREEMENT = "agreement"
    SIGNATURE = "signature"
    MASK_BYTE = "mask-byte"
    SORTED = "sorted"
    SERVED = "served"
    EDGE = "edge"
    COLLECTED = "collected"
    TOLD = "told"
    REBUILT = "rebuilt"
    PRODUCT = "product"


class Stored(StrEnum):
    """What takes memory, and how it is counted."""

    PROCESS = "process"
    CLIENT_NUMBER = "client-number"
    CLIENT_NEIGHBOUR = "client-neighbour"
    SERVER_NUMBER = "server-number"
    SERVER_EDGE = "server-edge"


Counts = Mapping[Work, float]


@dataclass(frozen=True)
class Session:
    """A masked session, as far as its costs hang on it. Averages are over the draw of the graph.

    Args:
        config: of the session.
        dropped: how many clients share keys and vanish before their masked input; not all.

    Raises:
        ParameterError: it is no such number.
    """

    config: RoundConfig
    dropped: int = 0

    def __post_init__(self) -> None:
        """Refuse a session that nobody would be left in."""
        object.__setattr__(self, "dropped", whole(self.dropped, "dropped", 0, self.clients - 1))

    @property
    def clients(self) -> int:
        """How many are invited."""
        return self.config.num_clients

    @property
    def survivors(self) -> int:
        """How many inputs are in the sum."""
        return self.clients - self.dropped

    @cached_property
    def degree(self) -> float:
        """Neighbours of a client on average: two random cycles may share an edge."""
        topology, others = self.config.topology, self.clients - 1
        if topology.graph is GraphKind.RANDOM_CYCLES:
            return others * (1 - math.pow(1 - 2 / others, topology.degree / 2))
        return topology.degree

    @property
    def holders(self) -> float:
        """Who holds shares of a client's secrets, on average."""
        return self.degree + self.config.topology.complete

    @property
    def numbers(self) -> int:
        """Of one client's vectors, what travels behind them included."""
        return sum(codec.length for codec in self.config.codecs)

    @property
    def lane_bytes(self) -> int:
        """Of one client's vectors in memory: so much of each mask's stream is used."""
        return sum(codec.length * codec.dtype.itemsize for codec in self.config.codecs)

    @property
    def orphans(self) -> float:
        """Pairs of a dropped client and a survivor, on average."""
        return self.dropped * self.degree * self.survivors / (self.clients - 1)

    @property
    def words(self) -> int:
        """Words of the graph's stream: none for the complete graph."""
        topology = self.config.topology
        if topology.complete:
            return 0
        return self.clients * (topology.degree // 2 if topology.graph is GraphKind.RANDOM_CYCLES else 1)

    def client(self, together: int = 1) -> Counts:
        """Return what one client does that survives, of so many in one process, who share what they know of the graph.

        Agreements are two a neighbour and a public key each for two keys; signatures are its own and those it checks.
        """
        adversary, topology = self.config.threat_model.adversary, self.config.topology
        confirmed = min(topology.threshold, self.degree * (self.survivors - 1) / (self.clients - 1))
        signatures = 2 + confirmed if adversary.may_equivocate else 0.0
        if adversary.needs_identities:
            signatures += 1 + self.degree
        return {
            Work.CLIENT: 1,
            Work.NEIGHBOUR: self.degree,
            Work.AGREEMENT: 2 * self.degree + 2,
            Work.SPLIT: _SECRETS * _ELEMENTS * topology.threshold * self.holders,
            Work.MASK_BYTE: (1 + self.degree) * self.lane_bytes,
            Work.NUMBER: self.numbers,
            Work.SIGNATURE: signatures,
            Work.LISTED: self.clients + self.survivors if adversary.may_equivocate else 0,
            Work.SCANNED: self.words * min(together, SCANNING_CLIENTS) / together,
            Work.SORTED: self.words / together if together > SCANNING_CLIENTS else 0,
        }

    def server(self, *, apart: bool = True) -> Counts:
        """Return what the server does; not apart from clients, it has what they know of the graph.

        Where holders of all secrets are the same, as on the complete graph, Lagrange's coefficients are made once for
        seeds and once for keys.
        """
        adversary, topology = self.config.threat_model.adversary, self.config.topology
        secrets = self.survivors + self.dropped
        rebuilt = 1 + (self.dropped > 0) if topology.complete else secrets
        signatures = self.survivors if adversary.may_equivocate else 0
        if adversary.needs_identities:
            signatures += self.clients
        return {
            Work.SERVED: self.clients,
            Work.EDGE: self.clients * self.degree,
            Work.COLLECTED: self.survivors * self.numbers,
            Work.AGREEMENT: self.orphans + self.dropped,
            Work.MASK_BYTE: (self.survivors + self.orphans) * self.lane_bytes,
            Work.SIGNATURE: signatures,
            Work.TOLD: self.survivors * (self.clients + self.survivors) if adversary.may_equivocate else 0,
            Work.REBUILT: rebuilt,
            Work.PRODUCT: rebuilt * topology.threshold**2 + secrets * _ELEMENTS * topology.threshold,
            Work.SCANNED: self.words * min(self.clients, SCANNING_CLIENTS) if apart else 0,
            Work.SORTED: self.words if apart and self.clients > SCANNING_CLIENTS else 0,
        }

    def client_memory(self, clients: int = 1) -> Mapping[Stored, float]:
        """Return what a process holds in which so many clients live: one of them computes at a time."""
        return {
            Stored.PROCESS: 1,
            Stored.CLIENT_NUMBER: self.numbers,
            Stored.CLIENT_NEIGHBOUR: clients * self.degree,
        }

    def server_memory(self) -> Mapping[Stored, float]:
        """Return what the server's process holds; for each number also of some inputs that were not added yet."""
        return {
            Stored.PROCESS: 1,
            Stored.SERVER_NUMBER: self.numbers,
            Stored.SERVER_EDGE: self.clients * self.degree,
        }
