"""Who is whose neighbour: the complete graph, or a random Harary graph (Bell et al. 2020, section 3).

Client ids are 1 to n. In the sparse graph the clients stand in a ring in a random order, and each is the neighbour of
the degree / 2 before and behind it. The order follows from a public seed, so each client computes its own neighbours
and believes nobody (SPEC section 7).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.prg import stream_residues

from . import derivations
from .config import RoundConfig
from .topology import Topology


class Graph:
    """The neighbourhoods of one session."""

    def __init__(self, topology: Topology, num_clients: int, seed: bytes) -> None:
        """Take the topology, n, and the 32-byte public seed of the ring's order (unused in the complete graph)."""
        self._topology = topology
        self._num_clients = num_clients
        self._ring = None if topology.complete else _ring(seed, num_clients)
        half = topology.degree // 2
        self._offsets = np.r_[-half:0, 1 : half + 1]
        self._known: dict[int, frozenset[int]] = {}

    @classmethod
    def of(cls, config: RoundConfig, session_id: bytes, roster: bytes) -> Graph:
        """Return the graph of a session, once everyone's keys are in their digest."""
        return cls(config.topology, config.num_clients, derivations.graph_seed(session_id, roster))

    def neighbours(self, client_id: int) -> frozenset[int]:
        """Return the ids of a client's neighbours; the client is not its own."""
        if self._ring is None:
            return frozenset(range(1, self._num_clients + 1)) - {client_id}
        if client_id not in self._known:
            order, positions = self._ring
            around = order[(positions[client_id - 1] + self._offsets) % self._num_clients]
            self._known[client_id] = frozenset(around.tolist())
        return self._known[client_id]

    def holders(self, client_id: int) -> frozenset[int]:
        """Return who holds shares of a client's secrets: its neighbours, and in the complete graph itself."""
        neighbours = self.neighbours(client_id)
        return neighbours | {client_id} if self._topology.complete else neighbours


@lru_cache(maxsize=8)
def _ring(seed: bytes, num_clients: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the ids in ring order, and each id's position: sorted by one 64-bit lane a client of the seed's stream."""
    order = np.argsort(stream_residues(seed, num_clients, np.dtype("<u8")), kind="stable")
    positions = np.empty_like(order)
    positions[order] = np.arange(num_clients)
    return order + 1, positions
