"""Exactness of the samplers.

Statistical tests here use FALSE_ALARM = 1e-9 each and there are fewer than 200 of them, so that the suite
cries wolf with probability below 1e-6 altogether, with a margin for the tests in the other files of this
folder.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import dp.arbiter
from dp import samplers
from dp.arbiter import Uniform, decide, invert, keep
from dp.errors import PrivacyParameterError
from dp.goodness import check_noise, chi_squared_quantile, chi_squared_tail, kolmogorov_log_tail, kolmogorov_quantile
from dp.laws import Law, cumulative, gaussian_law, laplace_law
from dp.mass import distribution, mass, reach, variance
from dp.randomness import WordStream, random_bits
from dp.rational import exp_neg, floor_log2, positive
from dp.reference import reference_sample
from dp.tables import _thresholds, table_for

FALSE_ALARM = 1e-9
SCALES = [0.3, 0.5, 1.0, math.sqrt(3), 7.25, 100.0, 255.9, 256, 300.0, 1e4, 1e6, 2.0**40]

laws = st.builds(
    lambda curved, n, d, e: Law(curved, Fraction(n, d) * Fraction(2) ** (2 * e if curved and e > 0 else e)),
    st.booleans(),
    st.integers(64, 1024),
    st.integers(1, 64),
    st.integers(-6, 40),
)


class Chosen:
    """A source of words that were chosen beforehand."""

    def __init__(self, words: list[int]) -> None:
        self.words = np.array(words, dtype=np.uint64)

    def chunk(self, unread: int = 0) -> np.ndarray:
        """Hand the words out; ask once."""
        words, self.words = self.words, np.zeros(0, dtype=np.uint64)
        assert words.size, "the source ran dry"
        return words


def no_more_bits(count: int) -> int:
    raise AssertionError("a tie where none was expected")


def exact_walk(law: Law, words: list[int], count: int) -> list[int]:
    stream = iter(words)
    return [decide(law, stream, no_more_bits) for _ in range(count)]


@given(laws, st.integers(0, 2**64))
def test_the_kernel_and_exact_arithmetic_agree_on_every_word(law: Law, seed: int) -> None:
    generator = random.Random(seed)
    words = [generator.getrandbits(64) for _ in range(1200)]
    out = np.empty(200, dtype=np.int64)
    samplers.fill(law, table_for(law), out, Chosen(words))
    assert out.tolist() == exact_walk(law, words, 200)


@given(laws, st.data())
def test_words_that_tie_go_to_the_arbiter_and_are_settled_by_further_bits(law: Law, data: st.DataObject) -> None:
    table = table_for(law)
    h = data.draw(st.integers(0, len(table.thresholds) - 1))
    tie = int(table.thresholds[h])
    for more, sure in (("0" * 64, True), ("1" * 64, False)):
        uniform = Uniform(tie, 63, lambda count, more=more: int(more[:count] * 8, 2) >> (len(more) * 8 - count))
        block = invert(law, uniform)
        total = cumulative(law, 512)
        value = Fraction(uniform.prefix, 1 << uniform.bits)
        low = Fraction(total.sums[block - 1], total.total + total.slack) if block else Fraction(0)
        top = Fraction(total.sums[block] + total.error(block), total.total)
        assert low <= value < top
        assert block <= h if sure else block > h or tie != int(table.thresholds[h])


@given(laws, st.data())
def test_only_numbers_within_doubt_of_a_boundary_wait_for_more_bits(law: Law, data: st.DataObject) -> None:
    class AskedError(Exception):
        pass

    def ask(count: int) -> int:
        raise AskedError

    table, bits = cumulative(law, 128), 192
    heavy = sum(after - before > 1 << 100 for before, after in pairwise(table.sums))
    assume(heavy)
    h = data.draw(st.integers(0, heavy - 1))
    first = (table.sums[h] << bits) // (table.total + table.slack)
    last = -(-((table.sums[h] + table.error(h)) << bits) // table.total) - 1
    assert invert(law, Uniform(first - 1, bits, ask)) == h
    assert invert(law, Uniform(last + 1, bits, ask)) == h + 1
    for doubtful in (first, last):
        with pytest.raises(AskedError):
            invert(law, Uniform(doubtful, bits, ask))


def test_the_kernel_stops_at_ties_and_the_draw_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    law = gaussian_law(Fraction(9))
    table = table_for(law)
    tie = int(table.thresholds[2]) << 1
    asked: list[int] = []

    def spy(law: Law, words: Iterator[int], more_bits: object) -> int:
        asked.append(next(words))
        return 77

    monkeypatch.setattr(samplers, "decide", spy)
    out = np.zeros(4, dtype=np.int64)
    samplers.fill(law, table, out, Chosen([0, tie, *[0] * 31, (1 << 64) - 1, *[0] * 64]))
    assert asked == [tie, (1 << 64) - 1]
    assert out.tolist() == [0, 77, 77, 0]


@pytest.mark.parametrize("curved", [True, False])
def test_ties_of_the_acceptance_stop_the_kernel(curved: bool) -> None:
    from dp._kernels import walk

    law = Law(curved, Fraction(1 << 40))
    table = table_for(law)
    offset = (1 << law.shift) - 1
    block_word = int(table.thresholds[5] - table.thresholds[4]) // 2 + int(table.thresholds[4])
    excess = law.excess(5, offset) * 2**64
    for nudge, undecided in ((0, True), (-8, False), (8, False)):
        words = np.full(40, (1 << 64) - 1, dtype=np.uint64)
        words[:3] = block_word << 1, offset << (64 - law.shift), math.floor(excess) + nudge
        out = np.zeros(1, dtype=np.int64)
        _, at, stopped = walk(
            words, 0, out, 0, table.thresholds, table.guide, np.uint64(table.shift), np.uint64(table.rate), curved
        )
        assert (stopped and at == 0) is undecided


@pytest.mark.parametrize("first", [0, 40])
def test_the_kernel_hands_a_very_long_attempt_to_the_arbiter(first: int) -> None:
    from dp._kernels import ATTEMPT_WORDS, walk

    law = gaussian_law(Fraction(1 << 40))
    table = table_for(law)
    words = np.zeros(first + 64, dtype=np.uint64)
    block_word = int(table.thresholds[900] + table.thresholds[901]) // 2
    words[first : first + 2] = block_word << 1, (1 << 64) - 1
    words[first + ATTEMPT_WORDS :] = (1 << 64) - 1  # which would end it
    out = np.zeros(1, dtype=np.int64)
    _, at, stopped = walk(
        words, first, out, 0, table.thresholds, table.guide, np.uint64(table.shift), np.uint64(table.rate), True
    )
    assert (stopped, at) == (True, first)


@pytest.mark.parametrize("law", [gaussian_law(Fraction(2)), gaussian_law(Fraction(10**6)), laplace_law(Fraction(90))])
def test_thresholds_are_the_true_distribution_rounded_down(law: Law) -> None:
    table = table_for(law)
    width = 1 << law.shift
    firsts = np.arange(len(table.thresholds) + 4000, dtype=np.int64) * width
    weights = mass(law, firsts)
    if law.shift == 0:
        weights[0] /= 2
    cumulated = np.cumsum(weights) / weights.sum()
    assert table.thresholds[-1] == 2**63 - 1
    assert np.allclose(table.thresholds / 2.0**63, cumulated[: len(table.thresholds)], rtol=1e-11, atol=0)


@given(laws)
def test_thresholds_that_the_precision_leaves_open_are_not_taken(law: Law) -> None:
    true = table_for(law).thresholds
    for bits in (60, 66, 72, 80, 200):
        floors = _thresholds(law, bits)
        assert floors is None if bits == 60 else floors is None or floors == true.tolist()


@given(st.fractions(0, 400), st.integers(60, 300))
def test_exponentials_are_enclosed(x: Fraction, bits: int) -> None:
    import mpmath

    with mpmath.workprec(bits + 200):
        true = mpmath.exp(-mpmath.mpf(x.numerator) / x.denominator) * mpmath.mpf(2) ** bits
        assert 0 <= true - exp_neg(x, bits) < 3


@given(laws)
def test_cumulative_sums_enclose_the_truth_and_narrow(law: Law) -> None:
    coarse, fine = cumulative(law, 128), cumulative(law, 256)
    for h in {0, 1, len(coarse.sums) // 2, len(coarse.sums) - 1}:
        low = fine.sums[h] >> 128
        assert coarse.sums[h] <= low + 1
        assert low <= coarse.sums[h] + coarse.error(h)
    assert coarse.total <= (fine.total >> 128) + 1 <= coarse.total + coarse.slack + 1


@given(st.fractions(Fraction(1, 10**9), 10**9))
def test_floor_log2(value: Fraction) -> None:
    e = floor_log2(value)
    assert Fraction(2) ** e <= value < Fraction(2) ** (e + 1)


@pytest.mark.parametrize("excess", [Fraction(9, 10), Fraction(1), Fraction(3, 2), Fraction(5, 2)], ids=str)
def test_keep_has_the_probability_of_an_exponential(excess: Fraction) -> None:
    # 40,000 trials; Hoeffding: the mean strays by 0.0164 with probability below 1e-9.
    kept = sum(keep(excess, iter(lambda: random_bits(64), None), random_bits) for _ in range(40_000))
    assert abs(kept / 40_000 - math.exp(-excess)) < math.sqrt(math.log(2 / FALSE_ALARM) / 80_000)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("curved", [True, False])
def test_the_fast_samplers_have_their_laws(scale: float, curved: bool) -> None:
    draw = samplers.discrete_gaussian if curved else samplers.discrete_laplace
    law = Law(curved, Fraction(scale) ** 2 if curved else Fraction(scale))
    verdict = check_noise(draw(scale, 400_000), law, false_alarm=FALSE_ALARM)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    "law", [gaussian_law(Fraction(5, 2)), laplace_law(Fraction(7, 3)), gaussian_law(Fraction(10**5))]
)
def test_the_reference_has_the_same_laws(law: Law) -> None:
    values = [reference_sample(law) for _ in range(10_000)]
    assert check_noise(values, law, false_alarm=FALSE_ALARM).passed


@pytest.mark.parametrize(
    "law", [gaussian_law(Fraction(10**5)), laplace_law(Fraction(1000, 7)), gaussian_law(Fraction(2))]
)
def test_the_arbiter_alone_has_the_same_laws(law: Law) -> None:
    words = iter(lambda: random_bits(64), None)
    values = [decide(law, words, random_bits) for _ in range(5_000)]
    assert check_noise(values, law, false_alarm=FALSE_ALARM).passed


@pytest.mark.parametrize("scale", [1.0, 4.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize("curved", [True, False])
def test_the_check_rejects_a_scale_that_is_five_percent_off(scale: float, wrong: float, curved: bool) -> None:
    draw = samplers.discrete_gaussian if curved else samplers.discrete_laplace
    law = Law(curved, Fraction(scale) ** 2 if curved else Fraction(scale))
    assert not check_noise(draw(scale * wrong, 400_000), law, false_alarm=FALSE_ALARM).passed


def test_the_check_rejects_rounded_floats_raw_floats_and_repeated_seeds() -> None:
    rng = np.random.default_rng(1)
    law = gaussian_law(Fraction(1))
    floats = rng.normal(0, 1, 400_000)
    assert not check_noise(np.rint(floats), law, false_alarm=FALSE_ALARM).passed
    assert not check_noise(np.trunc(floats * 1.1), law, false_alarm=FALSE_ALARM).passed
    assert check_noise(floats, law, false_alarm=FALSE_ALARM).findings[0].name == "values off the grid"
    for scale in (1.0, 1000.0):
        once = samplers.discrete_gaussian(scale, 40_000)
        again = np.concatenate([once, samplers.discrete_gaussian(scale, 317), once])
        verdict = check_noise(again, gaussian_law(Fraction(scale) ** 2), false_alarm=FALSE_ALARM)
        assert [f.passed for f in verdict.findings if "repeated" in f.name] == [False]


def test_the_check_rejects_a_shifted_and_a_truncated_law() -> None:
    law = gaussian_law(Fraction(100))
    values = samplers.discrete_gaussian(10, 400_000)
    assert not check_noise(values + 1, law, false_alarm=FALSE_ALARM).passed
    assert not check_noise(np.clip(values, -20, 20), law, false_alarm=FALSE_ALARM).passed
    assert not check_noise(np.abs(values), law, false_alarm=FALSE_ALARM).passed
    assert not check_noise(np.append(values, 90), law, false_alarm=FALSE_ALARM).passed


@pytest.mark.parametrize("degrees", [1, 2, 7, 20, 63])
@pytest.mark.parametrize("level", [1e-2, 1e-6, 1e-10])
def test_chi_squared_critical_values_are_those_of_scipy(degrees: int, level: float) -> None:
    from scipy import stats

    assert chi_squared_quantile(level, degrees) == pytest.approx(stats.chi2.isf(level, degrees), rel=1e-9)
    assert chi_squared_tail(degrees, degrees) == pytest.approx(stats.chi2.sf(degrees, degrees), rel=1e-9)


@pytest.mark.parametrize("n", [1000, 5000, 40_000, 400_000])
@pytest.mark.parametrize("level", [1e-2, 2e-7, FALSE_ALARM / 5])
def test_kolmogorov_critical_values_are_those_of_scipy(n: int, level: float) -> None:
    from scipy import stats

    x = kolmogorov_quantile(level, n)
    assert x == pytest.approx(stats.kstwo.isf(level, n), rel=1e-4)  # which misses the level by up to 0.1 % of it
    assert stats.kstwo.sf(x, n) == pytest.approx(level, rel=1e-5)
    assert level * (1 - 2e-6) <= math.exp(kolmogorov_log_tail(x, n)) <= level
    massart = math.sqrt(math.log(2 / level) / (2 * n))
    assert massart * 0.995 < x < massart


def test_from_a_million_samples_on_massarts_bound_is_as_good() -> None:
    exact, bound = kolmogorov_quantile(1e-2, 1 << 20), kolmogorov_quantile(1e-2, (1 << 20) + 1)
    assert exact < bound < exact * (1 + 1.1e-4)


@pytest.mark.parametrize("x", [0.05, 0.1])
def test_the_kolmogorov_tail_is_that_of_birnbaum_and_tingey(x: float) -> None:
    import mpmath

    n = 1000
    with mpmath.workdps(40):
        p = mpmath.mpf(x)
        terms = [
            mpmath.binomial(n, j) * (p + mpmath.mpf(j) / n) ** (j - 1) * (1 - p - mpmath.mpf(j) / n) ** (n - j)
            for j in range(math.ceil(n * (1 - x)))
        ]
        assert kolmogorov_log_tail(x, n) == pytest.approx(float(mpmath.log(2 * p * sum(terms))), abs=1e-10)


@pytest.mark.parametrize(
    ("v", "expected"), [(0.1, 0.013296725173624149), (0.5, 0.49897913083282047), (1, 0.9999997887677282)]
)
def test_variance_of_narrow_discrete_gaussians(v: float, expected: float) -> None:
    # Reference: code beside Canonne, Kamath, Steinke (2020).
    assert variance(gaussian_law(Fraction(v))) == pytest.approx(expected, rel=5e-15)


@pytest.mark.parametrize("law", [gaussian_law(Fraction(3)), laplace_law(Fraction(5, 2)), laplace_law(Fraction(1, 3))])
def test_mass_and_distribution_belong_together(law: Law) -> None:
    x = np.arange(-reach(law), reach(law) + 1)
    assert mass(law, x).sum() == pytest.approx(1, abs=1e-12)
    assert np.allclose(np.cumsum(mass(law, x)), distribution(law, x), atol=1e-12)
    assert variance(law) == pytest.approx(float((mass(law, x) * x**2.0).sum()), rel=1e-9)


@given(
    st.sampled_from([samplers.discrete_gaussian, samplers.discrete_laplace]),
    st.sampled_from([1, 5, 40, (2, 3), (8, 9)]),
)
def test_shapes(draw: object, size: object) -> None:
    out = draw(2.0, size)  # type: ignore[operator]
    assert out.dtype == np.int64
    assert out.shape == (size if isinstance(size, tuple) else (size,))


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, 1e-3, 2.0**51, "1", None, True, 1j])
@pytest.mark.parametrize(
    "draw", [samplers.discrete_gaussian, samplers.discrete_laplace, samplers.discrete_gaussian_of_variance]
)
def test_bad_scales_draw_nothing(draw: object, bad: object, monkeypatch: pytest.MonkeyPatch) -> None:
    if draw is samplers.discrete_gaussian_of_variance and bad in {2.0**51, 1e-3}:
        bad = 2.0**101
    monkeypatch.setattr(samplers, "_draw", lambda *_: pytest.fail("noise was drawn"))
    with pytest.raises(PrivacyParameterError):
        draw(bad, 10)  # type: ignore[operator]


def test_variances_go_from_the_least_scale_squared_to_the_largest() -> None:
    for inside in (Fraction(1, 1024), Fraction(2**100)):
        assert samplers.discrete_gaussian_of_variance(inside).shape == (1,)
    for outside in (Fraction(1, 1024) - Fraction(1, 10**9), Fraction(2**100 + 1)):
        with pytest.raises(PrivacyParameterError, match=r"sigma_squared = .* is outside"):
            samplers.discrete_gaussian_of_variance(outside)


@pytest.mark.parametrize("size", [0, -1, 1.5, (), (3, 0), "3", True])
def test_bad_sizes(size: object) -> None:
    if size == ():
        assert samplers.discrete_gaussian(1, ()).shape == ()
        return
    with pytest.raises(PrivacyParameterError, match="size"):
        samplers.discrete_gaussian(1, size)  # type: ignore[arg-type]


def test_words_never_repeat_across_chunks_keys_and_streams() -> None:
    stream = WordStream()
    chunks = [stream.chunk().copy() for _ in range(70)] + [WordStream().chunk().copy()]
    everything = np.concatenate(chunks)
    # Birthday: 2.3 million words of 64 bits repeat with probability 1.5e-7 if they are random; allow none
    # but one.
    assert everything.size - np.unique(everything).size <= 1


def test_bits_are_balanced() -> None:
    words = np.concatenate([WordStream().chunk().copy() for _ in range(4)])
    ones = np.array([int(np.count_nonzero(words >> np.uint64(b) & np.uint64(1))) for b in range(64)])
    # Hoeffding over 64 positions.
    limit = math.sqrt(words.size * math.log(2 * 64 / FALSE_ALARM) / 2)
    assert np.abs(ones - words.size / 2).max() < limit


def test_large_draws_settle_ties_with_further_bits() -> None:
    assert dp.arbiter.decide(gaussian_law(positive(3.5, "") ** 2), iter([2**64 - 1] * 3), random_bits) < -20
