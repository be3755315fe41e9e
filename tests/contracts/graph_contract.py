"""What every neighbourhood graph must keep; subclass it, say how to build one, and get its tests free."""

import pytest

from protocols.masking.graph import Graph


class GraphContract:
    def build(self, num_clients: int, seed: bytes) -> Graph:
        raise NotImplementedError

    sizes = (5, 8, 13, 50)

    @pytest.fixture(params=range(3))
    def seed(self, request) -> bytes:
        return bytes([request.param]) * 32

    def test_neighbourhood_is_mutual(self, seed):
        for n in self.sizes:
            graph = self.build(n, seed)
            for one in range(1, n + 1):
                assert all(one in graph.neighbours(other) for other in graph.neighbours(one))

    def test_nobody_is_its_own_neighbour_and_all_exist(self, seed):
        for n in self.sizes:
            graph = self.build(n, seed)
            for one in range(1, n + 1):
                assert one not in graph.neighbours(one)
                assert graph.neighbours(one) <= set(range(1, n + 1))

    def test_graph_is_connected(self, seed):
        for n in self.sizes:
            graph = self.build(n, seed)
            reached, frontier = {1}, {1}
            while frontier:
                frontier = set().union(*(graph.neighbours(one) for one in frontier)) - reached
                reached |= frontier
            assert reached == set(range(1, n + 1))

    def test_same_seed_gives_the_same_graph(self, seed):
        for n in self.sizes:
            one, other = self.build(n, seed), self.build(n, bytes(seed))
            assert all(one.neighbours(i) == other.neighbours(i) for i in range(1, n + 1))
