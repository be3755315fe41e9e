"""Samples of records by secret coins. Statistical tests: false alarms below 1e-9 each."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from dp import sample_records
from dp.errors import PrivacyParameterError
from dp.randomness import KEY_BYTES, WordStream

FALSE_ALARM = 1e-9
COUNT = 4_000_000


def plausible(taken: int, count: int, rate: float) -> bool:
    """Tell whether so many would be in a sample at this rate, two-sided, at the stated false alarm."""
    return bool(binom.cdf(taken, count, rate) > FALSE_ALARM / 2 and binom.sf(taken - 1, count, rate) > FALSE_ALARM / 2)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.97])
def test_as_many_are_sampled_as_the_rate_says(rate):
    taken = len(sample_records(COUNT, rate))
    assert plausible(taken, COUNT, rate)
    wrong = min(rate, 1 - rate) * max(0.02, 30 / (COUNT * min(rate, 1 - rate)) ** 0.5)
    assert not plausible(taken, COUNT, rate + wrong)
    assert not plausible(taken, COUNT, rate - wrong)


def test_a_sampler_at_a_slightly_wrong_rate_is_found():
    assert not plausible(len(sample_records(COUNT, 0.1 * 1.02)), COUNT, 0.1)


def test_records_are_sampled_independently_of_their_neighbours_and_of_the_round_before():
    first, second = (np.bincount(sample_records(COUNT, 0.25), minlength=COUNT) for _ in range(2))
    assert plausible(int((first[1:] & first[:-1])[::2].sum()), COUNT // 2, 1 / 16)
    assert plausible(int((first & second).sum()), COUNT, 1 / 16)
    assert plausible(int(first[: COUNT // 2].sum()), COUNT // 2, 0.25)  # in no place more often than in another


@pytest.mark.parametrize("rate", [Fraction(1, 3), 0.1, 2.0**-40, 1 - 2.0**-53])
def test_the_word_of_a_record_decides_exactly(rate):
    key = bytes(range(KEY_BYTES))
    words = WordStream(70_000, random=lambda _: key).take(70_000).tolist()
    below = Fraction(rate) * 2**64 // 1
    expected = [index for index, word in enumerate(words) if word < below]
    drawn = sample_records(70_000, rate, random=lambda _: key)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == expected


def test_all_are_in_at_a_rate_of_1_without_a_word():
    def refuse(size: int) -> bytes:
        raise AssertionError(f"{size} bytes were drawn")

    assert sample_records(5, 1, random=refuse).tolist() == [0, 1, 2, 3, 4]
    assert sample_records(0, 1.0, random=refuse).tolist() == []


def test_nobody_is_in_without_records_or_at_a_rate_below_all_words():
    assert sample_records(0, 0.5).shape == (0,)
    assert sample_records(1000, 2.0**-65).shape == (0,)


@pytest.mark.parametrize(
    ("count", "rate"),
    [(-1, 0.5), (True, 0.5), (1.5, 0.5), (False, 0.5), (3, 0), (3, -0.1), (3, 1.01), (3, float("nan")), (3, "1")],
)
def test_impossible_samples_are_refused(count, rate):
    with pytest.raises(PrivacyParameterError, match=r"count|rate"):
        sample_records(count, rate)
