"""Samplers at their edges: how many, how narrow, how wide. Statistical tests: false alarms below 1e-11 each."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from dp import samplers
from dp.arbiter import decide
from dp.errors import PrivacyParameterError
from dp.laws import Law, gaussian_law, laplace_law
from dp.randomness import RandomBytes, random_bits
from dp.rational import exp_neg, floor_log2, power_of_two
from dp.reference import reference_sample
from dp.tables import table_for

KNOWN = [[-1, -1, -3, 1, 2, -1], [-472, -768, 577, 535, -951, -561], [-2, -3, -1, 0, -2, 5]]
KNOWN_NEXT = 395861254

DRAWS = [samplers.discrete_gaussian, samplers.discrete_laplace, samplers.discrete_gaussian_of_variance]


@pytest.mark.parametrize("draw", DRAWS)
def test_one_sample_unless_more_are_asked_for(draw: object) -> None:
    assert draw(3).shape == (1,)  # type: ignore[operator]
    for size in (32, 33, (4, 8), (3, 11)):  # on either side of where the compiled walk begins
        values = draw(3, size)  # type: ignore[operator]
        assert values.shape == (size if isinstance(size, tuple) else (size,))
        assert values.dtype == np.int64


def recorded(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def test_once_the_loops_are_loaded_few_values_come_from_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    samplers.discrete_gaussian(3.0, 33)  # loads them
    plain: list[Law] = []

    def watched(law: Law, *, random: RandomBytes) -> int:
        plain.append(law)
        return reference_sample(law, random=random)

    monkeypatch.setattr(samplers, "reference_sample", watched)
    for size in (2, 32):
        samplers.discrete_gaussian(3.0, size)
    assert plain == []
    samplers.discrete_gaussian(3.0)  # a single value needs no table
    assert len(plain) == 1
    monkeypatch.delitem(sys.modules, "dp._kernels")
    samplers.discrete_gaussian(3.0, 32)
    assert len(plain) == 33
    assert "dp._kernels" not in sys.modules


@pytest.mark.parametrize("loaded", [True, False])
def test_recorded_bits_give_few_values_whatever_is_loaded(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    samplers.discrete_gaussian(3.0, 33)
    if not loaded:
        monkeypatch.delitem(sys.modules, "dp._kernels")
    source = recorded(7)
    expected = [reference_sample(gaussian_law(Fraction(9)), random=source) for _ in range(32)]
    assert samplers.discrete_gaussian(3.0, 32, random=recorded(7)).tolist() == expected


def test_the_plain_sampler_reads_its_bits_as_it_always_has() -> None:
    source = recorded(2026)
    laws = [gaussian_law(Fraction(1)), gaussian_law(Fraction(1000.3) ** 2), laplace_law(Fraction(7, 3))]
    drawn = [[reference_sample(law, random=source) for _ in range(6)] for law in laws]
    assert drawn == KNOWN
    assert int.from_bytes(source(4), "little") == KNOWN_NEXT


@pytest.mark.parametrize("draw", DRAWS[:2])
def test_scales_go_from_the_least_to_the_largest(draw: object) -> None:
    tiny = Fraction(1, 10**12)
    assert not draw(Fraction(1, 32), 40).any()  # type: ignore[operator]
    assert np.abs(draw(Fraction(2**50), 40)).max() > 2**44  # type: ignore[operator]
    for outside in (Fraction(1, 32) - tiny, Fraction(2**50) + tiny):
        with pytest.raises(PrivacyParameterError, match=r"outside \[0\.03125, 2\*\*50\]"):
            draw(outside)  # type: ignore[operator]


def test_where_chosen_words_end_whole_words_of_the_system_follow() -> None:
    tail = samplers._tail(np.array([7, 2**64 - 1], dtype=np.uint64), random_bits)
    assert [next(tail), next(tail)] == [7, 2**64 - 1]
    drawn = [next(tail) for _ in range(64)]
    assert 2**63 <= max(drawn) < 2**64  # but with probability 2**-64
    assert min(word.bit_length() for word in drawn) > 16
    assert len(set(drawn)) == 64


def test_powers_of_two_and_their_logarithms() -> None:
    for exponent in range(-70, 71):
        power = power_of_two(exponent)
        assert power == Fraction(2) ** exponent
        assert floor_log2(power) == exponent
        assert floor_log2(power * Fraction(2**80 - 1, 2**80)) == exponent - 1
        assert floor_log2(power * Fraction(2**80 + 1, 2**80)) == exponent


def test_exponentials_at_their_ends() -> None:
    for bits in (1, 60, 128):
        assert exp_neg(Fraction(0), bits) == 1 << bits
        assert exp_neg(Fraction(10**6), bits) == 0
        assert exp_neg(Fraction(1, 10**60), bits) in range((1 << bits) - 3, (1 << bits) + 1)


@pytest.mark.parametrize("curved", [True, False])
def test_what_the_kernel_decides_is_sure_and_what_it_leaves_open_is_near(curved: bool) -> None:
    from dp._kernels import walk

    law = Law(curved, Fraction(1 << 40))
    table = table_for(law)
    lower, upper = int(table.thresholds[4]), int(table.thresholds[5])
    generator = random.Random(7)
    open_cases = 0
    for _ in range(200):
        offset = generator.getrandbits(law.shift)
        limit = law.excess(5, offset) * 2**64 / 2  # the second trial's, when the first has been won by a zero
        for uniform in range(math.floor(limit) - 3, math.floor(limit) + 4):
            words = np.full(80, (1 << 64) - 1, dtype=np.uint64)
            words[:4] = ((lower + upper) // 2) << 1, offset << (64 - law.shift), 0, uniform
            out = np.zeros(1, dtype=np.int64)
            tables = table.thresholds, table.guide, np.uint64(table.shift), np.uint64(table.rate), curved
            done, at, _ = walk(words, 0, out, 0, *tables)
            if done == 1:  # won as well: the offset is kept, whatever further bits the uniform number has
                assert uniform + 1 <= limit
                assert out[0] == (5 << law.shift) + offset
            elif at > 0:  # lost, and the next attempt begins
                assert uniform >= limit
            else:
                assert abs(uniform - limit) <= 3
                open_cases += 1
    assert 200 <= open_cases <= 200 * 3


@pytest.mark.parametrize("sigma", [128, 150, 255, 256, 300, 700])
def test_the_kernel_is_exact_where_offsets_cost_most(sigma: int) -> None:
    law = Law(True, Fraction(sigma) ** 2)
    generator = random.Random(sigma)
    words = [generator.getrandbits(64) for _ in range(8000)]

    class Source:
        def chunk(self, unread: int = 0) -> np.ndarray:
            return np.array(words, dtype=np.uint64)

    out = np.empty(1500, dtype=np.int64)
    samplers.fill(law, table_for(law), out, Source())
    stream = iter(words)
    assert out.tolist() == [decide(law, stream, lambda _: pytest.fail("a tie")) for _ in range(1500)]


def test_no_excess_is_overlooked_in_any_block() -> None:
    from dp._kernels import walk

    law = Law(True, Fraction(300) ** 2)
    table = table_for(law)
    offset = (1 << law.shift) - 1
    for block in range(1, 500):
        lower, upper = int(table.thresholds[block - 1]), int(table.thresholds[block])
        words = np.full(80, (1 << 64) - 1, dtype=np.uint64)
        words[:3] = ((lower + upper) // 2) << 1, offset << (64 - law.shift), int(law.excess(block, offset) * 2**64) - 8
        out = np.zeros(1, dtype=np.int64)
        tables = table.thresholds, table.guide, np.uint64(table.shift), np.uint64(table.rate), True
        done, at, _ = walk(words, 0, out, 0, *tables)
        assert done == 0  # the first trial is won and the second lost: this offset is not kept
        assert at > 0
