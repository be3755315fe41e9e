"""Searches for groups of honest clients that a server can have summed apart by calling others late (SPEC 2.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.graph import Graph
from protocols.masking.topology import GraphKind, derive_topology
from secagg.prg import keystream


class Cutter:
    """A server that knows the graph and the corrupt clients, and looks for whom to call late."""

    def __init__(self, model: ThreatModel, kind: GraphKind, number: int) -> None:
        self.topology = derive_topology(model, kind)
        assert self.topology.graph is kind
        self.rng = np.random.default_rng([number, model.num_clients])
        n = model.num_clients
        seed = self.rng.bytes(32)
        graph = Graph(self.topology, n, seed)
        self.edges = np.zeros((n, n), dtype=bool)
        for client in range(1, n + 1):
            self.edges[client - 1, [other - 1 for other in graph.neighbours(client)]] = True
        self.honest = np.ones(n, dtype=bool)
        self.honest[self.rng.permutation(n)[: model.max_corrupt]] = False
        rows = self.topology.degree // 2 if kind is GraphKind.RANDOM_CYCLES else 1
        words = np.frombuffer(keystream(seed, rows * -(-n // 2) * 16), dtype="<u8").reshape(rows, -1)[:, :n]
        self.orders = [*np.argsort(words, axis=1)[:3], self._along()]
        self.num_clients, self.max_late = n, model.max_dropouts
        self.largest = int(self.honest.sum()) // 2

    def late_for(self, group: np.ndarray) -> np.ndarray | None:
        """Return whom to call late so that what is left of a group is summed apart, or None if it takes too many."""
        group = group & self.honest
        late = self.edges[group].any(axis=0) & self.honest & ~group
        while late.sum() <= self.max_late and group.any():
            holders = np.count_nonzero(self.edges & (group | ~self.honest), axis=1)
            short = group & (holders < self.topology.threshold)  # nobody opens their seeds: they must be late as well
            if not short.any():
                return late
            group, late = group & ~short, late | short
        return None

    def groups(self, late: np.ndarray) -> list[int]:
        """Return the sizes of the groups that are summed apart, by what the server then learns and nothing else."""
        left, sizes = self.honest & ~late, []
        holders = np.count_nonzero(self.edges & ~late, axis=1)
        while left.any():
            group = np.zeros_like(left)
            group[np.flatnonzero(left)[0]] = True
            while (more := (self.edges[group].any(axis=0) & left & ~group)).any():
                group |= more
            if (holders[group] >= self.topology.threshold).all():
                sizes.append(int(group.sum()))
            left &= ~group
        return sorted(sizes)

    # Where to look

    def stretches(self, lengths: tuple[int, ...], step: int = 1) -> Iterator[np.ndarray]:
        """Stretches of the ring, of some of the cycles, and of an order that keeps neighbours together."""
        for order in self.orders:
            for start in range(0, self.num_clients, step):
                for length in lengths:
                    group = np.zeros(self.num_clients, dtype=bool)
                    group[order[np.arange(start, start + length) % self.num_clients]] = True
                    yield group & self.honest

    def _along(self) -> np.ndarray:
        """An order in which each client has as many as possible of its neighbours close before it."""
        order = [0]
        near, left = self.edges[0].astype(float), np.ones(len(self.edges), dtype=bool)
        left[0] = False
        while left.any():
            following = int(np.flatnonzero(left)[np.argmax(near[left])])
            order.append(following)
            left[following] = False
            near = 0.95 * near + self.edges[following]
        return np.array(order)

    def greedy(self, start: np.ndarray) -> Iterator[np.ndarray]:
        """Groups that grow by whoever adds the fewest honest neighbours outside; one whose neighbours are short of."""
        group = start & self.honest
        while group.sum() < self.largest:
            outside = self.edges[group].any(axis=0) & self.honest & ~group
            new = self.honest & ~group & ~outside
            added = np.count_nonzero(self.edges & new, axis=1) - outside + self.rng.random(self.num_clients) / 2
            added[group | ~self.honest] = np.inf
            group = group.copy()
            group[int(np.argmin(added))] = True
            yield group

    def local(self, group: np.ndarray, tries: int) -> Iterator[np.ndarray]:
        """Exchange one member for another as long as no more honest neighbours are outside."""
        group = group & self.honest
        best = self.boundary(group)
        for _ in range(tries):
            changed = group.copy()
            changed[self.rng.choice(np.flatnonzero(group))] = False
            near = np.flatnonzero(self.edges[changed].any(axis=0) & self.honest & ~changed)
            if not len(near):
                return
            changed[self.rng.choice(near)] = True
            if (size := self.boundary(changed)) <= best:
                group, best = changed, size
                yield group

    def boundary(self, group: np.ndarray) -> int:
        """How many honest clients outside a group are neighbours of one in it."""
        return int((self.edges[group].any(axis=0) & self.honest & ~group).sum())

    def around(self, client: int, most: int) -> np.ndarray:
        """A client and some of its honest neighbours."""
        group = np.zeros(self.num_clients, dtype=bool)
        near = np.flatnonzero(self.edges[client] & self.honest)
        group[self.rng.permutation(near)[:most]] = True
        group[client] = True
        return group & self.honest

    def candidates(self, starts: int, tries: int, step: int) -> Iterator[np.ndarray]:
        """All of the above, and random sets."""
        lengths = tuple(sorted({8, 20, 40, 80, self.num_clients // 8, self.num_clients // 4, self.largest}))
        yield from self.stretches(lengths, step)
        honest = np.flatnonzero(self.honest)
        for client in self.rng.choice(honest, starts, replace=False):
            for most in (0, self.topology.degree):
                by_size = list(self.greedy(self.around(int(client), most)))
                yield from by_size
                for at in (5, 12, 30, len(by_size) - 1):
                    yield from self.local(by_size[at], tries)
            group = np.zeros(self.num_clients, dtype=bool)
            group[self.rng.choice(honest, int(self.rng.integers(1, self.largest)), replace=False)] = True
            yield group


def largest_cut(cutter: Cutter, *, starts: int, tries: int, step: int) -> int:
    """Return the size of the largest group, of at most half of the honest clients, that was found summed apart."""
    largest = 0
    for group in cutter.candidates(starts, tries, step):
        late = cutter.late_for(group) if group.sum() > largest else None
        if late is None:
            continue
        sizes = cutter.groups(late)
        assert late.sum() <= cutter.max_late
        assert not (late & ~cutter.honest).any()
        largest = max([largest, *(size for size in sizes if size <= cutter.largest)])
    return largest


def report(numbers: range, *, starts: int = 30, tries: int = 300, step: int = 1) -> Iterator[str]:
    """Yield a line on the largest group that was found for n = 500 and 1000, graph by graph."""
    for n in (500, 1000):
        for fraction in (0.05, 0.1):
            for adversary in (Adversary.CURIOUS_SERVER, Adversary.SEMI_MALICIOUS_SERVER):
                model = ThreatModel(n, fraction, fraction, adversary)
                for kind in (GraphKind.RING_FOR_RANDOM_DROPOUTS, GraphKind.RANDOM_CYCLES):
                    if derive_topology(model, kind).complete:
                        yield f"{n} {fraction} {adversary} {kind}: complete"
                        continue
                    cutters = [Cutter(model, kind, number) for number in numbers]
                    found = [largest_cut(cutter, starts=starts, tries=tries, step=step) for cutter in cutters]
                    cut = sum(map(bool, found))
                    yield f"{n} {fraction} {adversary} {kind}: cut {cut} of {len(found)}, largest {max(found)}"
