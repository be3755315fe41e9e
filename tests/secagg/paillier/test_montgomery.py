"""Residues eight abreast: the same as Python's integers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secagg.errors import ParameterError
from secagg.paillier import integers
from secagg.paillier.integers import join, width
from secagg.paillier.limbs import Limbs
from secagg.paillier.montgomery import Montgomery, montgomery
from secagg.paillier.powers import powmod_all

from .abreast import both_kinds

moduli = st.integers(53, 900).flatmap(lambda bits: st.integers(1 << (bits - 1), (1 << bits) - 1)).map(lambda n: n | 1)


def residues(modulus: int) -> st.SearchStrategy[list[int]]:
    extremes = st.sampled_from([0, 1, 2, modulus // 2, modulus - 2, modulus - 1])
    return st.lists(st.integers(0, modulus - 1) | extremes, max_size=20)


@both_kinds
@given(modulus=moduli, data=st.data())
def test_what_is_read_is_what_was_written(limbs: Limbs, modulus: int, data: st.DataObject) -> None:
    values = data.draw(residues(modulus))
    size = width(modulus) + data.draw(st.integers(0, 20))
    arithmetic = Montgomery(modulus, limbs)
    blocks = arithmetic.blocks(join(values, size), size)
    assert arithmetic.integers(blocks, len(values)) == values
    assert blocks.max(initial=0) < 1 << limbs.bits


@both_kinds
@given(modulus=moduli, data=st.data())
def test_products_leave_one_over_the_radix_behind(limbs: Limbs, modulus: int, data: st.DataObject) -> None:
    values = data.draw(residues(modulus))
    factors = data.draw(st.lists(residues(modulus), max_size=6))
    arithmetic, size = Montgomery(modulus, limbs), width(modulus)
    product, expected = arithmetic.blocks(join(values, size), size), list(values)
    inverse = pow(arithmetic.radix, -1, modulus)
    for drawn in factors:
        more = (drawn + [modulus - 1] * len(values))[: len(values)]
        both = product, arithmetic.blocks(join(more, size), size)
        product = arithmetic.product_with(product, join(more, size), size)
        assert (product == arithmetic.product(*both)).all()
        expected = [a * b * inverse % modulus for a, b in zip(expected, more, strict=True)]
        assert arithmetic.integers(product, len(values)) == expected
    assert arithmetic.integers(arithmetic.restored(product, len(factors)), len(values)) == [
        value * pow(arithmetic.radix, len(factors), modulus) % modulus for value in expected
    ]


@both_kinds
@given(modulus=moduli, exponent=st.integers(0, 1 << 300), data=st.data())
@example(modulus=(1 << 104) - 1, exponent=0, data=None)  # all limbs are full, but for the top
@example(modulus=(1 << 106) - 1, exponent=(1 << 300) - 1, data=None)
@example(modulus=(1 << 52) + 1, exponent=31, data=None)
@example(modulus=(1 << 52) + 1, exponent=32, data=None)
def test_powers_are_pythons(limbs: Limbs, modulus: int, exponent: int, data: st.DataObject | None) -> None:
    bases = [0, 1, modulus - 1, modulus // 3] if data is None else data.draw(residues(modulus))
    assert Montgomery(modulus, limbs).power_all(bases, exponent) == [pow(base, exponent, modulus) for base in bases]


@both_kinds
@given(modulus=moduli, window=st.integers(1, 9), windows=st.integers(0, 5), data=st.data())
@example(modulus=(1 << 104) - 1, window=7, windows=2, data=None)
@example(modulus=(1 << 52) + 1, window=1, windows=0, data=None)
def test_products_of_powers_are_pythons(
    limbs: Limbs, modulus: int, window: int, windows: int, data: st.DataObject | None
) -> None:
    bases = [0, 1, modulus - 1, 2, 3, 4, 5, 6, 7, 8] if data is None else data.draw(residues(modulus))
    top = (1 << window * windows) - 1
    exponents = [top] * len(bases) if data is None else [data.draw(st.integers(0, top)) for _ in bases]
    expected = 1
    for base, exponent in zip(bases, exponents, strict=True):
        expected = expected * pow(base, exponent, modulus) % modulus
    assert Montgomery(modulus, limbs).product_of_powers(bases, exponents, window, windows) == expected


@both_kinds
@pytest.mark.parametrize("bits", [2048, 3072, 4096, 6144])
def test_sizes_of_real_keys(limbs: Limbs, bits: int) -> None:
    for modulus in ((1 << bits) - 1, (1 << (bits - 1)) + 1, (1 << bits) // 3 | 1):
        bases = [modulus - 1, modulus - 2, 3, (1 << (bits - 1)) - 1]
        assert Montgomery(modulus, limbs).power_all(bases, 12345) == [pow(base, 12345, modulus) for base in bases]


def test_blocks_of_other_counts_are_refused() -> None:
    arithmetic = Montgomery((1 << 64) + 13)
    blocks = arithmetic.blocks(bytes(9 * 40), 9)
    with pytest.raises(ParameterError, match="5 blocks"):
        arithmetic.product(blocks, blocks[:2])


def test_little_work_and_chosen_backends_stay_with_integers() -> None:
    modulus = (1 << 256) - 189
    assert montgomery(modulus, 99_999) is None
    assert montgomery(modulus - 1, 10**9) is None  # even
    assert montgomery(1009, 10**9) is None
    for name in ("python", "gmpy2"):
        integers.choose(name)
        try:
            assert montgomery(modulus, 10**9) is None
        finally:
            integers.choose(None)


@pytest.mark.parametrize("name", ["python", "gmpy2", None])
@pytest.mark.parametrize("workers", [1, 2])
def test_many_powers_are_the_same_however_they_are_made(name: str | None, workers: int) -> None:
    modulus, exponent = (1 << 256) - 189, (1 << 255) - 19
    bases = [pow(7, index, modulus) for index in range(450)]  # enough work for the vector unit
    told: list[int] = []
    integers.choose(name)
    try:
        powers = powmod_all(bases, exponent, modulus, workers=workers, progress=told.append)
        squared = powmod_all(bases, exponent, modulus**2, root=modulus, workers=workers)
    finally:
        integers.choose(None)
    assert powers == [pow(base, exponent, modulus) for base in bases]
    assert squared == [pow(base, exponent, modulus**2) for base in bases]
    assert sum(told) == len(bases)
