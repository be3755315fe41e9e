"""The words behind the noise: which blocks they are, when the key changes, what a source that is handed in gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

import dp
from dp import samplers
from dp.laws import gaussian_law, laplace_law
from dp.randomness import RandomBytes, WordStream, random_below, random_bits
from dp.tables import table_for

KEY = bytes(range(32))


class Recorded:
    """A source that always returns the beginning of one key, and notes how many bytes were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, size: int) -> bytes:
        self.asked.append(size)
        return KEY[:size]


def blocks(first: int, count: int) -> list[int]:
    """AES-256 of consecutive big-endian counters of 128 bits, as little-endian words."""
    counters = b"".join(number.to_bytes(16, "big") for number in range(first, first + count))
    return np.frombuffer(AES.new(KEY, AES.MODE_ECB).encrypt(counters), dtype="<u8").tolist()


def test_words_are_consecutive_blocks_under_one_key() -> None:
    source = Recorded()
    stream = WordStream(64, random=source)
    for number in range(5):
        assert stream.chunk().tolist() == blocks(32 * number, 32)
    assert source.asked == [32]


def test_unread_words_come_first_in_the_next_chunk() -> None:
    stream = WordStream(64, random=Recorded())
    stream.chunk()
    assert stream.chunk(3).tolist() == [*blocks(0, 32)[-3:], *blocks(32, 32)]
    assert stream.chunk(64).tolist() == blocks(32, 64)


@pytest.mark.parametrize("expected", [64, 100, 10**6])
def test_words_that_are_taken_are_the_stream_whatever_the_chunk(expected: int) -> None:
    stream = WordStream(expected, random=Recorded())
    taken = np.concatenate([stream.take(count) for count in (1, 62, 3, 200, 1)])
    assert taken.tolist() == blocks(0, 134)[:267]


def test_a_key_serves_2_to_the_20_blocks_and_the_next_begins_anew() -> None:
    source = Recorded()
    stream = WordStream(random=source)
    for chunk in range(130):
        stream.chunk()
        assert len(source.asked) == 1 + chunk // 64
    assert stream.chunk()[:64].tolist() == blocks(16384 * (130 % 64), 32)


@pytest.mark.parametrize(
    ("expected", "words"), [(0, 64), (1, 64), (64, 64), (65, 66), (66, 66), (999, 1000), (10**6, 32_768)]
)
def test_as_many_words_as_are_expected_are_made_at_once(expected: int, words: int) -> None:
    assert WordStream(expected).chunk().size == words


@pytest.mark.parametrize("count", [1, 3, 7, 8, 9, 13, 63, 64, 65, 127])
def test_bits_are_as_many_as_asked_for_and_each_is_sometimes_set_and_sometimes_not(count: int) -> None:
    # Of 100 draws a given bit is always or never set with probability 2**-99.
    drawn = [random_bits(count) for _ in range(100)]
    every, some = drawn[0], 0
    for bits in drawn:
        every, some = every & bits, some | bits
    assert every == 0
    assert some == 2**count - 1


def test_no_more_bytes_are_asked_for_than_bits_need() -> None:
    source = Recorded()
    for count in (1, 8, 9, 64):
        random_bits(count, random=source)
    assert source.asked == [1, 1, 2, 8]


def test_numbers_below_a_bound_are_all_drawn_and_what_is_not_below_is_drawn_again() -> None:
    # 200 draws miss one of five numbers with probability below 5 * 0.8**200 < 10**-18.
    assert {random_below(5) for _ in range(200)} == set(range(5))
    assert random_below(1, random=bytes) == 0
    drawn = iter([b"\xff", b"\xa0", b"\x80"])  # 7, 5 and 4, by their three highest bits
    assert random_below(5, random=lambda size: next(drawn)) == 4


@given(st.sampled_from([gaussian_law, laplace_law]), st.integers(1, 2**30), st.integers(33, 400))
def test_noise_is_the_same_whatever_the_chunk(law_of: Callable[..., dp.Law], parameter: int, count: int) -> None:
    law = law_of(Fraction(parameter))
    drawn = []
    for expected in (64, 5000):
        out = np.empty(count, dtype=np.int64)
        samplers.fill(law, table_for(law), out, WordStream(expected, random=Recorded()), random=Recorded())
        drawn.append(out.tolist())
    assert drawn[0] == drawn[1]


SUM = dp.Sensitivity(1.0, dp.Norm.L1, dp.Adjacency.ADD_REMOVE)
EUCLIDEAN = dp.Sensitivity(1.0, dp.Norm.L2, dp.Adjacency.ADD_REMOVE)
HALVES = np.full(100, 0.5)
DRAWS: dict[str, Callable[[RandomBytes], object]] = {
    "discrete_gaussian": lambda random: dp.discrete_gaussian(50, 100, random=random),
    "discrete_gaussian_of_variance": lambda random: dp.discrete_gaussian_of_variance(2500, 100, random=random),
    "discrete_laplace": lambda random: dp.discrete_laplace(50, 100, random=random),
    "randomised_round": lambda random: dp.randomised_round(HALVES, random=random),
    "conditionally_round": lambda random: dp.conditionally_round(HALVES, 5.0, 0.5, random=random),
    "sample_records": lambda random: dp.sample_records(100, 0.5, random=random),
    "PartitionSelection.keep": lambda random: [
        dp.PartitionSelection(1.0, 1e-5).keep(11, random=random) for _ in range(64)
    ],
    "gaussian": lambda random: dp.gaussian(HALVES, EUCLIDEAN, sigma=1.0, random=random).value,
    "laplace": lambda random: dp.laplace(HALVES, SUM, scale=1.0, random=random).value,
    "discrete_gaussian_mechanism": lambda random: (
        dp.discrete_gaussian_mechanism([0] * 100, EUCLIDEAN, sigma=50, random=random).value
    ),
    "discrete_laplace_mechanism": lambda random: (
        dp.discrete_laplace_mechanism([0] * 100, SUM, scale=50, random=random).value
    ),
    "histogram": lambda random: dp.histogram([0] * 100, SUM, 0.01, random=random).value,
    "NoiseShare.draw": lambda random: dp.NoiseShare(50.0, 100, 1.0, 1.0).draw(random=random),
    "Preparation.prepare": lambda random: dp.Preparation(100, 9.0, 10.0).prepare(HALVES, KEY, random=random)[0],
    "AdaptiveClip.update": lambda random: dp.AdaptiveClip(1.0, 0.5, 1e6).update(5, 10**8, random=random).clip,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_is_drawn_can_be_replayed_and_is_the_operating_systems_otherwise(draw: Callable[..., object]) -> None:
    def recorded(seed: int) -> RandomBytes:
        return np.random.default_rng(seed).bytes

    one, again, other = (draw(recorded(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_every_public_function_that_takes_a_source_is_replayed() -> None:
    taking = {name for name in dp.__all__ if "random" in _parameters(getattr(dp, name))}
    taking |= {
        f"{name}.{method}"
        for name in dp.__all__
        if inspect.isclass(getattr(dp, name))
        for method, function in vars(getattr(dp, name)).items()
        if "random" in _parameters(function)
    }
    # check_noise draws a key for a search, geometric_mechanism is another name.
    assert taking - {"check_noise", "geometric_mechanism"} == set(DRAWS)


def _parameters(thing: object) -> set[str]:
    return set(inspect.signature(thing).parameters) if inspect.isfunction(thing) else set()
