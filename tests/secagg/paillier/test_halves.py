"""Residues mod n**2 in two halves: the same products as Python's integers."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from secagg.errors import ParameterError
from secagg.paillier import integers
from secagg.paillier.halves import FixedBase, product_of_powers
from secagg.paillier.integers import backend, inverses
from secagg.paillier.limbs import Limbs
from secagg.paillier.montgomery import Montgomery

from .abreast import both_kinds

moduli = st.integers(3, 1 << 400).map(lambda n: n | 1)


@pytest.fixture(params=["python", "gmpy2"], autouse=True, scope="module")
def _each_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Without the vector unit, which takes over where it can."""
    integers.choose(request.param)
    yield
    integers.choose(None)


def units(n: int) -> st.SearchStrategy[int]:
    extremes = st.sampled_from([1, 2, n - 1, n + 1, n * n - 1, n * n - n + 1])
    return (extremes | st.integers(1, n * n - 1)).filter(lambda value: math.gcd(value, n) == 1)


@pytest.mark.parametrize("window", [4, 8])
@given(data=st.data(), n=moduli, exponent=st.binary(min_size=1, max_size=12))
@example(data=None, n=(1 << 127) - 1, exponent=bytes(5))
@example(data=None, n=(1 << 127) - 1, exponent=b"\xff" * 6)
@example(data=None, n=(1 << 127) - 1, exponent=b"\x01")
@example(data=None, n=3, exponent=b"\xf0\x0f\x80")
def test_fixed_bases_powers_are_pythons(window: int, data: st.DataObject | None, n: int, exponent: bytes) -> None:
    base = n + 1 if data is None else data.draw(units(n))
    power = FixedBase(backend().integer(base), backend().integer(n), len(exponent), window).power(exponent)
    assert power == pow(base, int.from_bytes(exponent, "little"), n * n)


@both_kinds
@settings(max_examples=20)
@given(n=st.integers(1 << 27, 1 << 300).map(lambda n: n | 1), data=st.data())
def test_powers_abreast_are_those_one_by_one(limbs: Limbs, n: int, data: st.DataObject) -> None:
    base = data.draw(units(n))
    length = data.draw(st.integers(1, 5))
    edges = st.sampled_from([bytes(length), b"\xff" * length])
    exponents = data.draw(st.lists(edges | st.binary(min_size=length, max_size=length), min_size=1, max_size=19))
    fixed = FixedBase(backend().integer(base), backend().integer(n), length, 8)
    powers = fixed.abreast(Montgomery(n * n, limbs)).powers(exponents)
    assert powers == [pow(base, int.from_bytes(exponent, "little"), n * n) for exponent in exponents]


@both_kinds
@given(long=st.integers(1, 40), short=st.integers(1, 40), data=st.data())
def test_entries_of_any_length_can_be_chosen(limbs: Limbs, long: int, short: int, data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from([(1 << 8 * long + 53) - 1, (1 << 8 * long + 52) + 1]))
    top = min(modulus, 256**short) - 1
    rows = data.draw(st.lists(st.lists(st.sampled_from([0, 1, top]), min_size=3, max_size=3), min_size=1, max_size=4))
    digits = np.array([[data.draw(st.integers(0, 2)) for _ in range(9)] for _ in rows], np.uint8)
    arithmetic = Montgomery(modulus, limbs)
    table = arithmetic.table([[backend().integer(entry) for entry in row] for row in rows], max(short, 1))
    expected = [math.prod(row[d] for row, d in zip(rows, column, strict=True)) % modulus for column in digits.T]
    assert arithmetic.chosen_products(table, digits) == expected
    for wrong in (digits[:-1], digits[:, :0], digits + np.uint8(3)):
        with pytest.raises(ParameterError, match="choose"):
            arithmetic.chosen_products(table, wrong)


@given(moduli, st.integers(1, 40), st.data())
def test_products_of_powers_are_pythons(n: int, bits: int, data: st.DataObject) -> None:
    bases = data.draw(st.lists(units(n), max_size=40))
    top = (1 << bits) - 1
    exponents = [data.draw(st.sampled_from([0, 1, top, top // 2 + 1, top // 3]) | st.integers(0, top)) for _ in bases]
    expected = 1
    for base, exponent in zip(bases, exponents, strict=True):
        expected = expected * pow(base, exponent, n * n) % (n * n)
    assert product_of_powers([backend().integer(base) for base in bases], exponents, n, bits=bits) == expected


@pytest.mark.parametrize("count", [1, 7, 60, 500])
@pytest.mark.parametrize("bits", [1, 7, 127, 128, 129])
def test_every_window_and_the_longest_digits(count: int, bits: int) -> None:
    n = (1 << 89) - 1
    bases = [pow(3, 5 * index + 1, n * n) for index in range(count)]
    for exponent in ((1 << bits) - 1, 1 << (bits - 1)):
        expected = pow(math.prod(bases), exponent, n * n)
        assert product_of_powers(bases, [exponent] * count, n, bits=bits) == expected


@given(moduli, st.lists(st.integers(1, 1 << 400), max_size=12))
def test_many_inverses_are_each_ones(n: int, values: list[int]) -> None:
    assume(n > 1 and all(math.gcd(value, n) == 1 for value in values))
    assert inverses(values, n) == [pow(value, -1, n) for value in values]
