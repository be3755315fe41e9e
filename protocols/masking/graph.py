"""Who is whose neighbour: everyone, the edges of random cycles, or the stretch of a random ring (SPEC section 7).

Client ids are 1 to n. A sparse graph follows from a public seed, so each client computes its own neighbours and
believes nobody. Sources: the ring is the random Harary graph of Bell et al. 2020, section 3; the union of independent
random cycles is the permutation model of random regular graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.prg import BLOCK_BYTES, keystream

from . import derivations
from .config import RoundConfig
from .topology import GraphKind, Topology

_MOST_SCANNED = 4
"""For so many clients, cycles are searched for their neighbours; for more, they are sorted once."""

_BATCH_WORDS = 1 << 18

_Words = npt.NDArray[np.uint64]
_Ids = npt.NDArray[Any]


class Graph:
    """The neighbourhoods of one session."""

    def __init__(self, topology: Topology, num_clients: int, seed: bytes) -> None:
        """Take the topology, n, and the 32-byte public seed of the graph (unused in the complete graph)."""
        self._topology = topology
        self._num_clients = num_clients
        self._seed = seed
        self._known: dict[int, frozenset[int]] = {}

    @classmethod
    def of(cls, config: RoundConfig, session_id: bytes, roster: bytes) -> Graph:
        """Return the graph of a session, once everyone's keys are in their digest."""
        return cls(config.topology, config.num_clients, derivations.graph_seed(session_id, roster))

    def neighbours(self, client_id: int, among: AbstractSet[int] | None = None) -> frozenset[int]:
        """Return the ids of a client's neighbours, itself not among them; only of those in `among`, if given."""
        if self._topology.complete:
            found = frozenset(range(1, self._num_clients + 1)) - {client_id}
        elif client_id in self._known:
            found = self._known[client_id]
        else:
            found = self._known[client_id] = frozenset(self._around(client_id).tolist())
        # As a rule all are there, which is found out in a quarter of the time that a new set takes.
        return found if among is None or found <= among else found & among

    def holders(self, client_id: int, among: AbstractSet[int] | None = None) -> frozenset[int]:
        """Return who holds shares of a client's secrets, as `neighbours`; in the complete graph it does itself, too."""
        neighbours = self.neighbours(client_id, among)
        itself = self._topology.complete and (among is None or client_id in among)
        return neighbours | {client_id} if itself else neighbours

    def _around(self, client_id: int) -> _Ids:
        half = self._topology.degree // 2
        if self._topology.graph is GraphKind.RANDOM_CYCLES:
            return _cycles(self._seed, self._num_clients, half).around(client_id)
        order, positions = _ring(self._seed, self._num_clients)
        offsets = np.r_[-half:0, 1 : half + 1]
        around: _Ids = order[(positions[client_id - 1] + offsets) % self._num_clients]
        return around


class _Cycles:
    """Independent uniform cycles through the ids 1 to n, each in the order of one 64-bit word an id.

    A client needs its own neighbours alone, and finds them without sorting. Who needs everyone's sorts once.
    """

    def __init__(self, seed: bytes, num_clients: int, num_cycles: int) -> None:
        self._seed = seed
        self._num_clients = num_clients
        self._num_cycles = num_cycles
        self._scanned = 0
        self._table: _Ids | None = None

    def around(self, client_id: int) -> _Ids:
        """Return the ids next to one in each cycle; some may stand more than once."""
        if self._table is None and self._scanned < _MOST_SCANNED:
            self._scanned += 1
            found = [_next_to(client_id, words) for words in self._batches()]
            return np.concatenate(found)
        if self._table is None:
            self._table = np.concatenate([_all_next(words) for words in self._batches()], axis=1)
        around: _Ids = self._table[client_id - 1]
        return around

    def _batches(self) -> Iterator[_Words]:
        """Yield the words of some cycles at a time: shape (cycles, n)."""
        words_per_block = BLOCK_BYTES // 8
        blocks = -(-self._num_clients // words_per_block)  # each cycle begins with a block of the stream
        at_once = max(1, _BATCH_WORDS // (blocks * words_per_block))
        for first in range(0, self._num_cycles, at_once):
            count = min(at_once, self._num_cycles - first)
            stream = keystream(self._seed, count * blocks * BLOCK_BYTES, first_block=first * blocks)
            yield np.frombuffer(stream, dtype="<u8").reshape(count, -1)[:, : self._num_clients]


def _next_to(client_id: int, words: _Words) -> _Ids:
    """Return who stands behind and before a client in each cycle, in the order of (word, id).

    It is the one whose word is the least step away, around the end of the range. Of equal words the lower id comes
    first, so who has an id on the wrong side is taken to be one step farther away, and is looked at later.
    """
    own, one, n = words[:, [client_id - 1]], np.uint64(1), words.shape[1]
    higher, others = words[:, client_id:], words[:, :client_id]
    behind = np.concatenate([higher - own, others - own - one], axis=1).argmin(axis=1)
    lower, others = words[:, : client_id - 1][:, ::-1], words[:, client_id - 1 :][:, ::-1]
    before = np.concatenate([own - lower, own - others - one], axis=1).argmin(axis=1)
    return np.concatenate([(client_id + behind) % n + 1, (client_id - 2 - before) % n + 1])


def _all_next(words: _Words) -> _Ids:
    """Return who stands behind and before each client in each cycle: shape (n, 2 * cycles)."""
    order = np.argsort(words, axis=1, kind="stable")
    rows = np.arange(len(words))[:, None]
    behind, before = np.empty_like(order), np.empty_like(order)
    behind[rows, order] = np.roll(order, -1, axis=1)
    before[rows, order] = np.roll(order, 1, axis=1)
    return (np.concatenate([behind, before]).T + 1).astype(np.int32)


@lru_cache(maxsize=2)
def _cycles(seed: bytes, num_clients: int, num_cycles: int) -> _Cycles:
    return _Cycles(seed, num_clients, num_cycles)


@lru_cache(maxsize=8)
def _ring(seed: bytes, num_clients: int) -> tuple[_Ids, _Ids]:
    """Return the ids in ring order, and each id's position: sorted by one 64-bit word a client of the seed's stream."""
    words = np.frombuffer(keystream(seed, 8 * num_clients), dtype="<u8")
    order = np.argsort(words, kind="stable")
    positions = np.empty_like(order)
    positions[order] = np.arange(num_clients)
    return order + 1, positions
