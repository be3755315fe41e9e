import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from protocols.groups.occupancy import group_sizes, more_than, most_marked, nearly_reaching, reaching

CASES = [(7, 3, 2), (9, 3, 5), (10, 4, 3), (11, 4, 6), (12, 5, 12)]
LARGE = [(100, 11, 5, 6), (100, 9, 7, 5), (1000, 99, 50, 50), (1000, 101, 50, 40), (523, 60, 37, 31)]


def by_generating_functions(num_clients: int, groups: int, clients: int, least: int) -> Fraction:
    """A second exact method: the product over groups of 1 + y ((1 + x)^size - 1), up to x^clients."""
    ways = np.zeros((groups + 1, clients + 1), dtype=object)
    ways[0, 0] = 1
    for size in group_sizes(num_clients, groups):
        before = ways.copy()
        for taken in range(1, min(size, clients) + 1):
            ways[1:, taken:] += math.comb(size, taken) * before[:-1, : clients + 1 - taken]
    return Fraction(int(ways[least:, clients].sum()), math.comb(num_clients, clients))


def spread(rng, num_clients, groups, clients, draws):
    """How many groups so many clients reach, for some uniform deals: int (draws,)."""
    group_of = np.repeat(np.arange(groups), group_sizes(num_clients, groups))
    seats = rng.random((draws, num_clients)).argpartition(clients, axis=1)[:, :clients]
    there = np.sort(group_of[seats], axis=1)
    return 1 + np.count_nonzero(np.diff(there, axis=1), axis=1)


def agrees(count, draws, probability):
    """Whether a frequency is within 5.5 standard deviations: wrong less than once in 10**7 where the law is right."""
    return abs(count - draws * probability) <= 5.5 * math.sqrt(draws * probability * (1 - probability)) + 1


@pytest.mark.parametrize(("n", "groups", "m"), CASES)
def test_laws_are_counts_of_all_sets_of_seats(n, groups, m):
    group_of = np.repeat(np.arange(groups), group_sizes(n, groups))
    reached = [len(set(group_of[list(seats)])) for seats in itertools.combinations(range(n), m)]
    for least in range(groups + 2):
        share = Fraction(sum(count >= least for count in reached), len(reached))
        assert reaching(n, groups, m, least) == share
        assert nearly_reaching(n, groups, m, least) == pytest.approx(float(share), rel=1e-12)
    for size in set(group_sizes(n, groups)):
        inside = [len([seat for seat in seats if seat < size]) for seats in itertools.combinations(range(n), m)]
        for most in range(-1, size + 1):
            share = Fraction(sum(count > most for count in inside), len(inside))
            assert more_than(n, m, size, most) == share


@pytest.mark.parametrize(("n", "groups", "m", "least"), LARGE)
def test_inclusion_and_exclusion_chains_and_generating_functions_agree(n, groups, m, least):
    exact = reaching(n, groups, m, least)
    assert exact == by_generating_functions(n, groups, m, least)
    assert abs(Fraction(nearly_reaching(n, groups, m, least)) / (exact or 1) - bool(exact)) < Fraction(1, 1 << 28)


@pytest.mark.parametrize(("n", "marked", "size"), [(100, 5, 9), (50, 40, 20), (30, 0, 6), (20, 20, 4)])
def test_how_many_are_marked_but_for_a_small_probability(n, marked, size):
    for bits in (0, 1, 10, 40):
        limit = Fraction(1, 1 << bits)
        most = most_marked(n, marked, size, limit)
        assert more_than(n, marked, size, most) < limit
        assert more_than(n, marked, size, most - 1) >= limit


def check_by_monte_carlo(draws):
    rng = np.random.default_rng(1)
    for n, groups, m, least in [(100, 11, 8, 7), (100, 9, 20, 9), (53, 10, 7, 6)]:
        reached = sum((spread(rng, n, groups, m, 10_000) >= least).sum() for _ in range(draws // 10_000))
        law = float(reaching(n, groups, m, least))
        assert 0.01 < law < 0.99
        assert agrees(reached, draws, law)
        # With replacement, as if groups were without end, is wrong enough to be seen.
        boundless = float(reaching(n * 1000, groups, m, least))
        assert not agrees(reached, draws, boundless)


def test_laws_are_those_of_random_deals():
    check_by_monte_carlo(30_000)


@pytest.mark.long
def test_laws_are_those_of_a_million_random_deals():
    check_by_monte_carlo(1_000_000)


def test_sizes_differ_by_one_at_most():
    assert group_sizes(100, 7) == (15, 15, 14, 14, 14, 14, 14)
    assert group_sizes(12, 4) == (3,) * 4
