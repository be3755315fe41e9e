from __future__ import annotations

import math
from typing import Any

import galois
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg import field
from secagg.errors import ParameterError
from secagg.field import PRIME
from tests.strategies import field_elements

from . import field_reference as reference

pytestmark = pytest.mark.usefixtures("either_way")

# Lengths around the kernels' blocks of 64 points.
BLOCKS = [1, 2, 63, 64, 65, 128, 130]

nonzero = st.integers(1, PRIME - 1)


def array(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, PRIME, size=shape, dtype=np.uint64)
    drawn[..., 0] = PRIME - 1  # the element on which a missing reduction shows
    return drawn


@pytest.fixture(scope="module")
def oracle() -> Any:
    """Someone else's GF(2**31 - 1), in plain Python: nothing is compiled. 7 is a generator."""
    return galois.GF(PRIME, primitive_element=7, verify=False, compile="python-calculate")


# Against the slow reference


@given(st.lists(st.lists(field_elements, min_size=2, max_size=2), min_size=1, max_size=6), st.lists(field_elements))
def test_evaluation_is_that_of_the_polynomial(rows: list[list[int]], points: list[int]) -> None:
    values = field.evaluate(array(rows), array(points))
    expected = [[reference.evaluate([row[k] for row in rows], x) for k in range(2)] for x in points]
    assert values.tolist() == expected


@given(st.data(), st.lists(nonzero, min_size=1, max_size=8, unique=True))
def test_the_lagrange_weights_give_the_value_at_zero(data: st.DataObject, points: list[int]) -> None:
    values = [data.draw(field_elements) for _ in points]
    weights = field.lagrange_at_zero(array(points))
    at_zero = reference.interpolate(list(zip(points, values, strict=True)))[0]
    assert sum(int(w) * v for w, v in zip(weights, values, strict=True)) % PRIME == at_zero
    assert field.weighted_sums(weights, array(values)[:, np.newaxis]).tolist() == [at_zero]


@given(st.lists(st.tuples(field_elements, field_elements, field_elements), max_size=12))
def test_weighted_sums_are_the_product_with_a_matrix(rows: list[tuple[int, int, int]]) -> None:
    table = array(rows).reshape(-1, 3)
    sums = field.weighted_sums(table[:, 0].copy(), table[:, 1:])
    assert sums.tolist() == [sum(w * row[k] for w, *row in rows) % PRIME for k in range(2)]


def test_weighted_sums_of_many_largest_elements_do_not_overflow() -> None:
    rows = 100_000
    largest = np.full(rows, PRIME - 1, dtype=np.uint64)
    assert field.weighted_sums(largest, largest[:, np.newaxis]).tolist() == [rows % PRIME]  # (-1) * (-1), that often


@given(st.data(), st.lists(nonzero, min_size=2, max_size=9, unique=True))
def test_syndromes_vanish_exactly_on_polynomials_of_low_degree(data: st.DataObject, points: list[int]) -> None:
    threshold = data.draw(st.integers(1, len(points) - 1))
    coefficients = [data.draw(field_elements) for _ in range(threshold)]
    values = [reference.evaluate(coefficients, x) for x in points]
    at = data.draw(st.integers(0, len(points) - 1))
    spoilt = list(values)
    spoilt[at] = (spoilt[at] + data.draw(nonzero)) % PRIME
    syndromes = field.syndromes(array(points), array([values, spoilt]).T, threshold)
    assert syndromes.shape == (len(points) - threshold, 2)
    assert not syndromes[:, 0].any()
    assert syndromes[:, 1].any()
    assert field.locate_errors(array(points), syndromes[:, 0]).size == 0


@given(st.data(), st.lists(nonzero, min_size=1, max_size=14, unique=True))
def test_errors_are_located_up_to_half_the_redundancy(data: st.DataObject, points: list[int]) -> None:
    threshold = data.draw(st.integers(1, len(points)))
    most = (len(points) - threshold) // 2
    wrong = data.draw(st.sets(st.integers(0, len(points) - 1), max_size=most))
    coefficients = [data.draw(field_elements) for _ in range(threshold)]
    values = [reference.evaluate(coefficients, x) for x in points]
    for at in wrong:
        values[at] = (values[at] + data.draw(nonzero)) % PRIME
    syndromes = field.syndromes(array(points), array(values)[:, np.newaxis], threshold)
    assert field.locate_errors(array(points), syndromes[:, 0]).tolist() == sorted(wrong)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_errors_whose_first_syndromes_vanish_are_located(count: int) -> None:
    """Weights 1 / prod (x - y) make all but the last of the first `count` power sums zero."""
    points = list(range(3, 40))
    wrong = list(range(0, 4 * count, 4))
    located = [points[at] for at in wrong]
    weights = [pow(math.prod(x - y for y in located if y != x), -1, PRIME) for x in located]
    sums = [sum(w * pow(x, k, PRIME) for w, x in zip(weights, located, strict=True)) % PRIME for k in range(2 * count)]
    assert not any(sums[: count - 1])
    assert field.locate_errors(array(points), array(sums)).tolist() == wrong


# Against galois


@pytest.mark.parametrize("count", BLOCKS)
@pytest.mark.parametrize("degree", [0, 1, 7])
def test_galois_evaluates_alike(oracle: Any, count: int, degree: int) -> None:
    coefficients, points = random((degree + 1, 3), seed=count), random((count,), seed=degree)
    values = field.evaluate(coefficients, points)
    for column in range(3):
        polynomial = galois.Poly(oracle(coefficients[::-1, column].astype(np.int64)), field=oracle)
        assert values[:, column].tolist() == polynomial(oracle(points.astype(np.int64))).tolist()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_galois_interpolates_alike(oracle: Any, count: int) -> None:
    points, values = random((count,), seed=count), random((count, 2), seed=count)
    powers = oracle([[pow(int(x), j, PRIME) for j in range(count)] for x in points])
    coefficients = np.linalg.solve(powers, oracle(values.astype(np.int64)))
    at_zero = field.weighted_sums(field.lagrange_at_zero(points), values)
    assert at_zero.tolist() == coefficients[0].tolist()


@pytest.mark.parametrize("count", BLOCKS)
def test_galois_agrees_on_the_lagrange_weights(oracle: Any, count: int) -> None:
    points = random((count,), seed=count)
    assert len(set(points.tolist())) == count
    of = oracle(points.astype(np.int64))
    expected = []
    for i in range(count):
        others = np.delete(of, i)
        expected.append(int(np.prod(others) / np.prod(others - of[i])) if count > 1 else 1)
    assert field.lagrange_at_zero(points).tolist() == expected


def test_the_modulus_is_a_prime_and_the_oracle_is_of_that_field(oracle: Any) -> None:
    assert galois.is_prime(PRIME)
    assert PRIME == oracle.characteristic == oracle.order == 2**31 - 1


# Elements


@pytest.mark.parametrize("good", [[], [0, PRIME - 1], np.array([1], dtype=np.uint8), np.array([[5]], dtype=np.int64)])
def test_integers_below_the_prime_are_elements(good: Any) -> None:
    made = field.elements(good)
    assert made.dtype == np.uint64
    assert made.tolist() == np.asarray(good).tolist()


@pytest.mark.parametrize(
    "bad",
    [
        [PRIME],
        [-1],
        [0, 2**32],
        [2**64],
        [2**63, -1],
        [0.0],
        [True],
        ["1"],
        [None],
        np.array([2**64 - 1], dtype=np.uint64),
        np.ma.masked_array([1, 2], mask=[False, True]),
    ],
)
def test_anything_else_is_no_element_and_is_called_by_its_name(bad: Any) -> None:
    with pytest.raises(ParameterError, match=r"^shares (must be|are)"):
        field.elements(bad, name="shares")


# Randomness


def test_random_elements_are_the_low_31_bits_and_the_prime_is_redrawn() -> None:
    # p itself would count as a second zero: the raw words 7fffffff and ffffffff are drawn again, all others stand.
    raw = [0x7FFFFFFF, 0x00000000, 0xFFFFFFFF, 0x80000005, 0x7FFFFFFF, 0x7FFFFFFE, 0xFFFFFFFF, 0x00000001]
    stream = b"".join(word.to_bytes(4, "little") for word in raw)
    drawn = []

    def random(size: int) -> bytes:
        taken = stream[sum(drawn) : sum(drawn) + size]
        drawn.append(size)
        return taken

    assert field.random_elements(4, random=random).tolist() == [0, 5, PRIME - 1, 1]
    assert sum(drawn) == 32


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_as_many_random_elements_are_drawn_as_asked_for(count: int) -> None:
    drawn = field.random_elements(count)
    assert drawn.shape == (count,)
    assert drawn.dtype == np.uint64
    assert not count or int(drawn.max()) < PRIME


# Pearson's statistic over 64 cells is above 160 for fewer than one uniform sample in 10**9 (chi-square with 63 degrees
# of freedom): with the operating system's randomness, these tests fail no more often than that.
CELLS, LIMIT = 64, 160.0


def pearson(drawn: np.ndarray) -> float:
    counts = np.bincount((drawn.astype(np.int64) * CELLS // PRIME).astype(np.int64), minlength=CELLS)
    expected = drawn.size / CELLS
    return float(((counts - expected) ** 2 / expected).sum())


def test_random_elements_are_uniform() -> None:
    assert pearson(field.random_elements(1 << 16)) < LIMIT


def test_the_check_of_uniformity_rejects_a_skewed_sampler() -> None:
    # One element in ten comes from a range that is a tenth too short.
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, PRIME, size=1 << 16)
    assert pearson(drawn) < LIMIT
    skewed = np.where(rng.random(drawn.size) < 0.1, drawn % (PRIME // 2), drawn)
    assert pearson(skewed) > LIMIT
