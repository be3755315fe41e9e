from collections import Counter

from protocols.masking.graph import Graph
from protocols.masking.topology import Topology
from tests.contracts.graph_contract import GraphContract


class TestRandomHararyGraph(GraphContract):
    def build(self, num_clients, seed):
        return Graph(Topology(4, 3, complete=False, max_corrupt_holders=0, why=()), num_clients, seed)

    def test_degree_is_exact(self, seed):
        graph = self.build(50, seed)
        assert all(len(graph.neighbours(i)) == 4 for i in range(1, 51))

    def test_own_shares_are_not_held(self, seed):
        graph = self.build(13, seed)
        assert all(graph.holders(i) == graph.neighbours(i) for i in range(1, 14))


class TestCompleteGraph(GraphContract):
    def build(self, num_clients, seed):
        return Graph(Topology(num_clients - 1, 3, complete=True, max_corrupt_holders=0, why=()), num_clients, seed)

    def test_everyone_holds_a_share_of_everything(self, seed):
        graph = self.build(13, seed)
        assert all(graph.holders(i) == set(range(1, 14)) for i in range(1, 14))


def test_the_order_of_the_ring_is_uniform():
    # Client 1's neighbours over 3000 seeds: 6000 draws over 9 others, each with mean 666.7. The chi-squared statistic
    # with 8 degrees of freedom exceeds 42.7 with probability 1e-6. Seeds are fixed, so this never flakes.
    counts = Counter()
    for number in range(3000):
        graph = Graph(Topology(2, 2, complete=False, max_corrupt_holders=0, why=()), 10, number.to_bytes(32, "big"))
        counts.update(graph.neighbours(1))
    expected = 6000 / 9
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 42.7
