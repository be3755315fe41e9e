import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from protocols.groups.occupancy import counted_sizes, group_sizes, more_than, most_marked, reaching
from protocols.groups.tails import hypergeometric, mean_reached, spread

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


def dealt(rng, num_clients, groups, clients, draws):
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
        low, high = spread(n, groups, m).more_than(least - 1)
        assert low <= share <= high
        assert high - low <= 2**-26 * low + 2**-129
    for size in set(group_sizes(n, groups)):
        inside = [len([seat for seat in seats if seat < size]) for seats in itertools.combinations(range(n), m)]
        for most in range(-1, size + 1):
            share = Fraction(sum(count > most for count in inside), len(inside))
            assert more_than(n, m, size, most) == share


@pytest.mark.parametrize(("n", "groups", "m", "least"), LARGE)
def test_inclusion_and_exclusion_chains_and_generating_functions_agree(n, groups, m, least):
    exact = reaching(n, groups, m, least)
    assert exact == by_generating_functions(n, groups, m, least)
    low, high = spread(n, groups, m).more_than(least - 1)
    assert low <= exact <= high
    assert high - low <= 2**-26 * low + 2**-129


@pytest.mark.parametrize(("n", "groups", "m"), [(20_000, 700, 400), (20_001, 40, 19_000), (3000, 2999, 60)])
def test_what_floats_leave_out_does_not_matter(n, groups, m):
    """Against the whole chain: no cut, no window."""
    law = spread(n, groups, m)
    whole = all_of_the_chain(n, groups, m)
    for least in range(1, min(groups, m) + 1):
        low, high = law.more_than(least - 1)
        assert low <= whole[least] * (1 + 1e-12)
        assert whole[least] * (1 - 1e-12) <= high
        assert high - low <= 2**-26 * low + 2**-129
    assert mean_reached(n, groups, m) == pytest.approx(whole[1:].sum(), rel=1e-9)
    for limit in (0.5, 2.0**-20):
        rare = law.not_rare(limit)
        assert whole[rare + 1] >= limit > whole[rare + 2]


def all_of_the_chain(n, groups, clients):
    """Pr[at least k groups are reached], k from 0, by seats that are filled one by one in groups of two sizes."""
    size, larger = divmod(n, groups)
    assert clients * groups < 1 << 25

    def chain(groups, size):
        law = np.zeros((clients + 1, groups + 1))
        law[0, 0] = 1.0
        reached = np.arange(groups + 1)
        for j in range(min(clients, groups * size)):
            left = groups * size - j
            law[j + 1] = law[j] * np.maximum(reached * size - j, 0) / left
            law[j + 1, 1:] += law[j, :-1] * ((groups - reached[:-1]) * size / left)
        return law

    first, others = chain(larger, size + 1), chain(groups - larger, size)
    seats = larger * (size + 1)
    total = np.zeros(groups + 1)
    for there in range(max(0, clients - n + seats), min(seats, clients) + 1):
        share = float(Fraction(math.comb(seats, there) * math.comb(n - seats, clients - there), math.comb(n, clients)))
        if share > 1e-60:
            total += share * np.convolve(first[there], others[clients - there])
    return np.append(np.cumsum(total[::-1])[::-1], 0.0)


@pytest.mark.parametrize(
    ("n", "marked", "size"), [(100, 5, 9), (50, 40, 20), (30, 0, 6), (20, 20, 4), (5000, 900, 400)]
)
def test_hypergeometric_floats_lie_about_exact_numbers(n, marked, size):
    law = hypergeometric(n, marked, size)
    for most in range(max(0, size - n + marked) - 1, min(size, marked) + 1):
        exact = more_than(n, marked, size, most)
        assert exact <= law.more_than(most) <= exact * Fraction(1 + 2**-27) + Fraction(1, 1 << 129)
    for bits in (1, 10, 40, 60):
        limit = Fraction(1, 1 << bits)
        assert law.least_rare(float(limit)) == (most_marked(n, marked, size, limit),) * 2


@pytest.mark.parametrize(("n", "marked", "size"), [(100, 5, 9), (50, 40, 20)])
def test_a_limit_that_floats_cannot_tell_from_a_probability_leaves_both_numbers(n, marked, size):
    """What may be rare is not taken to be, and what is not surely rare is decided by exact numbers."""
    law, first = hypergeometric(n, marked, size), max(0, size - n + marked)
    for most in range(first + 1, min(first + 6, size, marked)):
        exact = float(more_than(n, marked, size, most))
        for limit in (exact * (1 - 2**-40), exact * (1 + 2**-40)):
            assert law.least_rare(limit) == (most, most + 1)


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
        reached = sum((dealt(rng, n, groups, m, 10_000) >= least).sum() for _ in range(draws // 10_000))
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
    for n, groups in [(100, 7), (12, 4), (5, 5)]:
        assert tuple(size for size, count in counted_sizes(n, groups) for _ in range(count)) == group_sizes(n, groups)
