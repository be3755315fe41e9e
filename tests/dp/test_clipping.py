"""Clipping and rounding at their edges: a hair above the bound, huge and tiny vectors, exact sums, how often to try."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dp import clipping
from dp.errors import PrivacyParameterError
from dp.randomness import WordStream
from dp.sensitivity import Norm


def exact_norm(values: np.ndarray, norm: Norm) -> Fraction:
    """Return the L1 norm, or the square of the L2 norm, without any rounding."""
    entries = [abs(Fraction(value)) for value in values.ravel().tolist()]
    return sum((entry if norm is Norm.L1 else entry**2 for entry in entries), Fraction(0))


@given(
    st.integers(1, 40),
    st.integers(-60, -40),
    st.sampled_from([1.0, 1e-9, 0.1, 3e7]),
    st.sampled_from([Norm.L1, Norm.L2]),
    st.integers(0, 9),
)
@example(1, -45, 3e7, Norm.L2, 0)
@example(9, -48, 3e7, Norm.L2, 1)
@example(9, -48, 3e7, Norm.L1, 1)
def test_a_vector_a_hair_above_its_bound_is_clipped(d: int, excess: int, bound: float, norm: Norm, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=d)
    size = float(np.abs(values).sum()) if norm is Norm.L1 else float(np.linalg.norm(values))
    values = values * (bound / size) * (1 + 2.0**excess)
    clipped = clipping.clip(values, bound, norm)
    limit = Fraction(bound) if norm is Norm.L1 else Fraction(bound) ** 2
    assert exact_norm(clipped, norm) <= limit
    assert np.allclose(clipped, values, rtol=1e-9, atol=0)
    if exact_norm(values, norm) <= limit * (1 - Fraction(1, 2**45)):
        assert np.array_equal(clipped, values)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.L2])
@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_sizes_that_squares_do_not_fit_are_clipped_all_the_same(size: float, norm: Norm) -> None:
    values = np.array([3.0, -4.0]) * size
    assert np.array_equal(clipping.clip(values, 8 * size, norm), values)
    clipped = clipping.clip(values, size, norm)
    limit = Fraction(size) if norm is Norm.L1 else Fraction(size) ** 2
    assert exact_norm(clipped, norm) <= limit
    if size > 1e-310:  # below, there are hardly any floats to choose from
        assert exact_norm(clipped, norm) >= limit * (1 - Fraction(1, 10**9))


def test_what_is_within_its_bound_stays_as_it_is() -> None:
    for norm, size in ((Norm.L1, 7.0), (Norm.L2, 5.0)):
        # A last place is given away on the bound itself, where no float could tell.
        for scale in (1.0, 2.0**900, 2.0**-900):  # whose squares no float holds
            values = [3.0 * scale, -4.0 * scale]
            assert clipping.clip(values, size * scale * (1 + 2.0**-48), norm).tolist() == values
        assert clipping.clip([3.0, -4.0], size, norm) == pytest.approx(np.array([3.0, -4.0]), rel=1e-11)
    assert clipping.clip([3.0, -4.0], 4, Norm.LINF).tolist() == [3.0, -4.0]
    assert clipping.clip(np.zeros((2, 3)), 1e-300, Norm.L2).tolist() == np.zeros((2, 3)).tolist()


def test_entries_are_clipped_to_the_float_below_the_bound() -> None:
    top = clipping.clip([9.0, -9.0], Fraction(11, 10), Norm.LINF)
    assert top.tolist() == [math.nextafter(1.1, 0), -math.nextafter(1.1, 0)]  # 1.1 itself is above 11/10
    assert clipping.clip([9.0], Fraction(1, 3), Norm.LINF).tolist() == [1 / 3]  # which is below


def test_long_vectors_take_one_look() -> None:
    values = np.random.default_rng(1).normal(size=20_000)
    for norm in (Norm.L1, Norm.L2):
        clipped = clipping.clip(values, 1.0, norm)
        assert Fraction(1) - Fraction(1, 10**8) <= exact_norm(clipped, norm) <= 1


def test_norms_without_overflow() -> None:
    big = np.array([3_037_000_500, 0], np.int64)  # its square is above 2**63
    assert clipping.integer_norm_squared(big) == 3_037_000_500**2
    assert clipping.integer_norm_squared(np.array([-3, 2], np.int8)) == 13
    assert clipping.integer_norm_squared(np.array([-(2**63)])) == 2**126
    assert clipping.integer_norm_squared(np.array([[200, 200]], np.uint8)) == 80_000


@pytest.mark.parametrize(
    ("norm", "d", "beta", "bound"),
    [
        # Proposition 22 by hand: 9 + 4 + sqrt(2 log 2) (3 + 2) under the root; and norm + sqrt(d) where that is less.
        (3.0, 16, 0.5, math.sqrt(13 + 5 * math.sqrt(2 * math.log(2)))),
        (3.0, 16, 0.0, 7.0),
        (3.0, 16, 1e-30, 7.0),
        (100.0, 4, 0.5, math.sqrt(10_001 + 101 * math.sqrt(2 * math.log(2)))),
    ],
)
def test_bounds_of_rounded_vectors(norm: float, d: int, beta: float, bound: float) -> None:
    found = clipping.rounded_l2_bound(norm, d, beta)
    assert bound <= found == pytest.approx(bound, rel=1e-14)


@pytest.mark.parametrize("beta", [-0.1, 1.0, math.nan, 2.0])
def test_impossible_chances_are_refused(beta: float) -> None:
    with pytest.raises(PrivacyParameterError, match="beta"):
        clipping.rounded_l2_bound(1.0, 3, beta)


def test_l1_bounds_of_integers() -> None:
    assert clipping.rounded_l1_bound(2.0, 100) == pytest.approx(4.0)  # an integer is at most its square
    assert clipping.rounded_l1_bound(2.0, 100) >= 4.0
    assert clipping.rounded_l1_bound(20.0, 100) == pytest.approx(200.0)
    with pytest.raises(PrivacyParameterError, match="dimension"):
        clipping.rounded_l1_bound(2.0, 0)


def test_rounding_has_room_up_to_its_limit() -> None:
    top = 2.0**30 - 0.5
    assert set(clipping.randomised_round([top, -top] * 40).tolist()) <= {2**30 - 1, 2**30, -(2**30), 1 - 2**30}
    for bad in (2.0**30, -(2.0**30)):
        with pytest.raises(PrivacyParameterError, match="2\\*\\*30"):
            clipping.randomised_round([0.0, bad])
    assert clipping.randomised_round(np.full((2, 3), 4.0)).tolist() == [[4] * 3] * 2


def test_rounding_goes_both_ways_and_entries_are_independent() -> None:
    ups = clipping.randomised_round(np.full(4096, 0.5))
    # A fair coin per entry: the counts of single and of paired heads, at a false alarm of 1e-9 each (Hoeffding).
    slack = math.sqrt(math.log(2e9) / 2 / 2048)
    assert abs(ups.mean() - 0.5) < slack
    assert abs((ups[::2] * ups[1::2]).mean() - 0.25) < slack
    assert abs((ups[:2048] * ups[2048:]).mean() - 0.25) < slack


def test_conditional_rounding_tries_until_it_succeeds_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def too_long(values: np.ndarray, source: object) -> np.ndarray:
        nonlocal tries
        tries += 1
        return np.full(values.shape, 100 if tries < wanted else 1, dtype=np.int64)

    monkeypatch.setattr(clipping, "round_with", too_long)
    wanted = 1000
    assert clipping.conditionally_round([1.0, 1.0], 1.5, 0.5).tolist() == [1, 1]
    assert tries == 1000
    tries, wanted = 0, 1001
    with pytest.raises(PrivacyParameterError, match="1000 roundings"):
        clipping.conditionally_round([1.0, 1.0], 1.5, 0.5)


def test_conditional_rounding_wants_a_clipped_vector() -> None:
    assert clipping.conditionally_round([3.0, 4.0], 5.0, 0.5).tolist() == [3, 4]
    with pytest.raises(PrivacyParameterError, match="clip it first"):
        clipping.conditionally_round([3.0, 4.0], 4.99999, 0.5)
    with pytest.raises(PrivacyParameterError, match="l2_norm"):
        clipping.conditionally_round([0.0], 0.0, 0.5)
    with pytest.raises(PrivacyParameterError, match=r"index \(0, 1\) is not finite"):
        clipping.conditionally_round([[1.0, math.inf]], 5.0, 0.5)


@pytest.mark.parametrize(("norm", "share"), [(Norm.L1, 0.5), (Norm.L2, math.sqrt(0.5))])
@pytest.mark.parametrize("bound", [1e-3, 1.0, 1.7e308])
def test_norms_beyond_the_floats_are_clipped_as_all_others(bound: float, norm: Norm, share: float) -> None:
    clipped = clipping.clip([1.5e308, -1.5e308], bound, norm)
    assert clipped == pytest.approx([bound * share, -bound * share])
    assert math.fsum((clipped / bound) ** 2) <= 1


def test_a_bound_beyond_the_floats_is_refused() -> None:
    for norm in Norm:
        with pytest.raises(PrivacyParameterError, match="beyond floats"):
            clipping.clip([1.0], 10**400, norm)


@pytest.mark.parametrize("length", [1, 3, 33, 650])
def test_rows_are_clipped_as_one_by_one_and_each_by_itself(length: int) -> None:
    rng = np.random.default_rng(length)
    rows = rng.normal(size=(60, length)) * np.ldexp(1.0, rng.integers(-30, 30, 60))[:, None]
    rows[0], rows[1], rows[2], rows[2, 0], rows[3] = 0, 1e308, 0, 5e-324, 1e-310
    for number in range(4, 20):  # about as long as the bound
        rows[number] *= (1 + (number - 12) * 2.0**-51) / np.linalg.norm(rows[number])
    rows[20, 0], rows[20, 1:], rows[21, 0], rows[21, 1:] = 1.0, 0, np.nextafter(1, 2), 0
    given = rows.copy()
    clipped, changed = clipping.clip_rows(rows, 1.0)
    assert np.array_equal(rows, given)
    for row, got, was_changed in zip(rows, clipped, changed, strict=True):
        alone = clipping.clip(row, 1.0, Norm.L2)
        assert got.tolist() == pytest.approx(alone.tolist(), rel=2.0**-36, abs=0)
        assert sum(Fraction(entry) ** 2 for entry in got.tolist()) <= 1
        assert was_changed == (alone is not row)
    assert 20 < changed.sum() < 60
    # Whatever stands beside a row, and wherever it is in memory, the same becomes of it, to the last bit.
    order = rng.permutation(60)
    for other, at in ((rows[order], order), (np.asfortranarray(rows), range(60)), (rows.T.copy().T[7:9], (7, 8))):
        again, _ = clipping.clip_rows(other, 1.0)
        assert np.array_equal(again, clipped[np.array(at)])
    for number in range(60):
        assert np.array_equal(clipping.clip_rows(rows[number : number + 1], 1.0)[0][0], clipped[number])


@pytest.mark.parametrize("beta", [0.999, math.exp(-0.5)])
def test_rows_are_rounded_as_one_by_one_with_the_same_words(beta: float) -> None:
    """With so large a beta about half of all tries are rejected, some of them again."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 32))
    rows *= 20 / np.linalg.norm(rows, axis=1, keepdims=True)
    first, second = (WordStream(random=lambda size: bytes(range(size))) for _ in range(2))
    alone = [clipping.conditionally_round_with(row, 20.0 * (1 + 1e-12), beta, first) for row in rows]
    together = clipping.conditionally_round_rows(rows, 20.0 * (1 + 1e-12), beta, second)
    assert np.array_equal(together, alone)
    assert np.array_equal(first.take(5), second.take(5))  # both have used as many


def test_rows_are_not_tried_for_ever() -> None:
    with pytest.raises(PrivacyParameterError, match="1000 roundings"):
        clipping.conditionally_round_rows(np.full((3, 2), 100.0), 1.5, 0.5, WordStream())
