from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest

from protocols.masking import graph as graphs
from protocols.masking.graph import Graph
from protocols.masking.topology import GraphKind, Topology
from secagg.prg import keystream
from tests.contracts.graph_contract import GraphContract


def graph_of(kind: GraphKind, degree: int, num_clients: int, seed: bytes) -> Graph:
    graphs._cycles.cache_clear()
    return Graph(Topology(degree, 3, kind, max_corrupt_holders=0, why=()), num_clients, seed)


class TestRandomHararyGraph(GraphContract):
    def build(self, num_clients, seed):
        return graph_of(GraphKind.RING_FOR_RANDOM_DROPOUTS, 4, num_clients, seed)

    def test_degree_is_exact(self, seed):
        graph = self.build(50, seed)
        assert all(len(graph.neighbours(i)) == 4 for i in range(1, 51))

    def test_own_shares_are_not_held(self, seed):
        graph = self.build(13, seed)
        assert all(graph.holders(i) == graph.neighbours(i) for i in range(1, 14))


class TestRandomCycles(GraphContract):
    def build(self, num_clients, seed):
        return graph_of(GraphKind.RANDOM_CYCLES, 4, num_clients, seed)

    def test_degree_is_at_most_the_one_stated(self, seed):
        graph = self.build(50, seed)
        assert all(2 <= len(graph.neighbours(i)) <= 4 for i in range(1, 51))

    def test_own_shares_are_not_held(self, seed):
        graph = self.build(13, seed)
        assert all(graph.holders(i) == graph.neighbours(i) for i in range(1, 14))

    def test_edges_are_those_of_the_cycles_that_the_specification_names(self, seed):
        n = 7  # an odd number: each cycle's words begin with a block of the stream, and one is left over
        edges = set()
        for cycle in range(2):
            words = np.frombuffer(keystream(seed, 8 * n, first_block=cycle * 4), dtype="<u8").tolist()
            order = sorted(range(1, n + 1), key=lambda i, words=words: (words[i - 1], i))
            edges |= {frozenset(edge) for edge in pairwise([*order, order[0]])}
        graph = self.build(n, seed)
        assert {frozenset((i, j)) for i in range(1, n + 1) for j in graph.neighbours(i)} == edges


class TestCompleteGraph(GraphContract):
    def build(self, num_clients, seed):
        return graph_of(GraphKind.COMPLETE, num_clients - 1, num_clients, seed)

    def test_everyone_has_all_others(self, seed):
        graph = self.build(13, seed)
        assert all(len(graph.neighbours(i)) == 12 for i in range(1, 14))

    def test_everyone_holds_a_share_of_everything(self, seed):
        graph = self.build(13, seed)
        assert all(graph.holders(i) == set(range(1, 14)) for i in range(1, 14))


@pytest.mark.parametrize("kind", [GraphKind.RING_FOR_RANDOM_DROPOUTS, GraphKind.RANDOM_CYCLES])
def test_neighbours_are_uniform(kind):
    # Client 1's neighbours over 3000 seeds: 6000 draws over 9 others, each with mean 666.7. The chi-squared statistic
    # with 8 degrees of freedom exceeds 42.7 with probability 1e-6. Seeds are fixed, so this never flakes.
    counts = Counter()
    for number in range(3000):
        counts.update(graph_of(kind, 2, 10, number.to_bytes(32, "big")).neighbours(1))
    expected = 6000 / 9
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 42.7


def test_each_cycle_of_four_clients_is_as_likely_and_two_cycles_are_independent():
    # Three cycles through four clients, so nine pairs: 5400 draws, mean 600, chi-squared of 8 degrees of freedom.
    counts = Counter()
    for number in range(5400):
        (words,) = graphs._Cycles(number.to_bytes(32, "big"), 4, 2)._batches()
        behind, _ = graphs._all_next(words)[0].reshape(2, 2)
        opposite = [int(graphs._all_next(words)[behind[cycle] - 1][cycle]) for cycle in (0, 1)]
        counts[tuple(opposite)] += 1
    assert len(counts) == 9
    assert sum((count - 600) ** 2 / 600 for count in counts.values()) < 42.7


@pytest.mark.parametrize("num_clients", [2, 3, 5, 9])
def test_searching_finds_whom_sorting_finds_equal_words_included(num_clients):
    rng = np.random.default_rng(num_clients)
    few = np.array([0, 1, 2, 2**63, 2**64 - 1], dtype=np.uint64)
    for _ in range(200):
        words = few[rng.integers(0, len(few), (3, num_clients))]
        table = graphs._all_next(words)
        for client in range(1, num_clients + 1):
            assert graphs._next_to(client, words).tolist() == table[client - 1].tolist()


def test_all_orders_of_words_make_the_cycle_in_that_order():
    for order in permutations(range(4)):
        words = np.array([[order.index(i) for i in range(4)]], dtype=np.uint64)
        after = {i + 1: int(graphs._all_next(words)[i][0]) for i in range(4)}
        assert all(after[one + 1] == other + 1 for one, other in pairwise([*order, order[0]]))


@pytest.mark.parametrize(("num_clients", "degree"), [(1000, 48), (40_001, 8)])
def test_the_few_who_are_searched_for_and_the_many_who_are_sorted_agree(num_clients, degree):
    seed = b"a" * 32
    asked = [1, 2, num_clients // 2, num_clients - 1, num_clients]
    sorted_ = graph_of(GraphKind.RANDOM_CYCLES, degree, num_clients, seed)
    for client in range(10, 20):
        sorted_.neighbours(client)  # more than are searched for
    found = [sorted_.neighbours(client) for client in asked]
    for client, expected in zip(asked, found, strict=True):
        assert graph_of(GraphKind.RANDOM_CYCLES, degree, num_clients, seed).neighbours(client) == expected
