"""The rule that names groups: published values, privacy for all counts exactly, and that no rule names more."""

import math
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import binom

from dp.errors import PrivacyParameterError
from dp.events import ApproximateEvent
from dp.partition_selection import BITS, PartitionSelection
from dp.rational import exp_neg
from dp.sensitivity import Adjacency

GOALS = [(1.0, 1e-5), (0.1, 1e-6), (0.01, 1e-3), (3.0, 1e-9), (0.5, 0.3), (20.0, 1e-12), (1.0, 0.999)]


def test_published_values():
    """Of arXiv 2006.03684, at epsilon 1 and delta 1e-5."""
    rule = PartitionSelection(1.0, 1e-5)
    for count, expected in ((10, 0.128183), (11, 0.348448), (12, 0.760311)):
        assert float(rule.keep_probability(count)) == pytest.approx(expected, abs=5e-7)
    assert rule.keep_probability(0) == rule.keep_probability(-3) == 0
    assert float(rule.keep_probability(1)) == pytest.approx(1e-5, rel=1e-12)
    assert rule.keep_probability(rule.certain) == rule.keep_probability(10**9) == 1
    assert rule.keep_probability(rule.certain - 1) < 1
    assert rule.event == ApproximateEvent(1.0, 1e-5, Adjacency.ADD_REMOVE)


@pytest.mark.parametrize(("epsilon", "delta"), GOALS)
def test_neighbouring_counts_are_within_epsilon_and_delta_exactly(epsilon, delta):
    """In rationals, with e^epsilon from below and e^-epsilon from above: whatever was rounded, nothing is exceeded."""
    rule = PartitionSelection(epsilon, delta)
    shrunk = Fraction(exp_neg(Fraction(epsilon), 400) + 3, 1 << 400)
    counts = range(rule.certain + 3)
    kept = [rule.keep_probability(count) for count in counts]
    for lower, upper in pairwise(kept):
        assert lower <= upper <= lower / shrunk + Fraction(delta)
        assert 1 - lower <= (1 - upper) / shrunk + Fraction(delta)
        # and the other two, which follow from p being monotone
        assert lower <= upper / shrunk + Fraction(delta)
        assert 1 - upper <= (1 - lower) / shrunk + Fraction(delta)


@pytest.mark.parametrize(("epsilon", "delta"), [(1.0, 1e-3), (0.5, 0.02), (2.0, 0.01)])
def test_no_private_rule_names_a_group_more_often(epsilon, delta):
    """A linear program over all rules for counts to N: none has a greater p(n), for any n."""
    rule = PartitionSelection(epsilon, delta)
    size, grown = rule.certain + 2, math.exp(epsilon)
    rows, limits = [], []
    for n in range(size - 1):
        for sign, one, other in ((1, n + 1, n), (1, n, n + 1), (-1, n + 1, n), (-1, n, n + 1)):
            row = np.zeros(size)  # p(one) <= e p(other) + delta, and the same of 1 - p
            row[one], row[other] = sign, -sign * grown
            rows.append(row)
            limits.append(delta if sign > 0 else delta + grown - 1)
    bounds = [(0, 0)] + [(0, 1)] * (size - 1)
    for n in range(1, size):
        goal = np.zeros(size)
        goal[n] = -1
        best = linprog(goal, np.array(rows), np.array(limits), bounds=bounds, method="highs")
        assert -best.fun == pytest.approx(float(rule.keep_probability(n)), abs=1e-7)


def test_draws_are_of_the_rule():
    """False alarm below 1e-9 a count; a rule that is one unit off is told apart."""
    rule = PartitionSelection(1.0, 1e-2)
    stream = np.random.default_rng(1).bytes
    for count in (1, 3, 5):
        kept = sum(rule.keep(count, random=stream) for _ in range(4000))
        chance = float(rule.keep_probability(count))
        assert binom.isf(1e-9, 4000, 1 - chance) >= 4000 - kept
        assert binom.isf(1e-9, 4000, chance) >= kept
        other = float(rule.keep_probability(count + 1))
        assert kept < binom.ppf(1e-9, 4000, other)
    assert Counter(rule.keep(rule.certain) for _ in range(50)) == {True: 50}
    assert not any(rule.keep(0, random=bytes) for _ in range(5))


def test_a_draw_takes_as_many_bits_as_probabilities_have():
    rule = PartitionSelection(1.0, 1e-5)
    least = int(rule.keep_probability(10) * (1 << BITS))
    assert rule.keep(10, random=lambda size: (least - 1).to_bytes(size, "big"))
    assert not rule.keep(10, random=lambda size: least.to_bytes(size, "big"))


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0, 1e-5), (-1, 1e-5), (math.inf, 0.1), (1, 0), (1, 1), (1, 2.0**-125), (1e-9, 1e-9)]
)
def test_what_is_refused(epsilon, delta):
    with pytest.raises(PrivacyParameterError):
        PartitionSelection(epsilon, delta)
