"""Powers mod n**2 by arithmetic mod n: the same as Python's integers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from secagg.paillier import _montgomery_kernels, montgomery
from secagg.paillier.limbs import LANES, Limbs
from secagg.paillier.moduli import MAX_KEY_BITS, MIN_KEY_BITS
from secagg.paillier.montgomery import Montgomery
from secagg.paillier.squares import Squares, squares

from .abreast import (
    BOTH,
    blocks_of,
    both_kinds,
    extreme_limbs,
    extreme_moduli,
    heavy_limb,
    quotient_of,
    unreduced_product,
    values_of,
)

Pair = tuple[int, int]
moduli = st.integers(53, 500).flatmap(lambda bits: st.integers(1 << (bits - 1), (1 << bits) - 1)).map(lambda n: n | 1)


def product_of(x: Pair, y: Pair, n: int, radix: int) -> Pair:
    """Return what the loop for pairs leaves, before any reduction."""
    cross = x[0] * y[1] + x[1] * y[0] - quotient_of(x[0] * y[0], n, radix)
    high, rest = divmod(cross + quotient_of(cross, n, radix) * n, radix)
    assert rest == 0
    return unreduced_product(x[0], y[0], n, radix), high


def check_products(xs: list[Pair], ys: list[Pair], count: int, arithmetic: Montgomery) -> None:
    """Compare products, and squares, of eight pairs with what they must be, and with Python's mod n**2."""
    n, radix, limbs = arithmetic.modulus, arithmetic.radix, arithmetic.limbs
    x, y, result = (arithmetic.aligned(2, count, LANES) for _ in range(3))
    for block, pairs in ((x, xs), (y, ys)):
        block[:] = [blocks_of(list(half), count, limbs)[0] for half in zip(*pairs, strict=True)]
    low, room = arithmetic.aligned(count, LANES), arithmetic.room()
    _montgomery_kernels._multiply_pair(result, x, y, low, room)
    products = list(zip(values_of(result[:1], limbs), values_of(result[1:], limbs), strict=True))
    assert products == [product_of(a, b, n, radix) for a, b in zip(xs, ys, strict=True)]
    _montgomery_kernels._square_pair(x, x, low, room)
    squared = list(zip(values_of(x[:1], limbs), values_of(x[1:], limbs), strict=True))
    assert squared == [product_of(a, a, n, radix) for a in xs]
    assert max(map(max, products + squared)) < 2 * n
    for (a, b), (c, d), (e, f) in zip(xs, ys, products, strict=True):
        assert ((a + b * n) * (c + d * n) - (e + f * n) * radix) % n**2 == 0


@both_kinds
@pytest.mark.parametrize("count", [2, 3, 5, 40, montgomery._MAX_LIMBS])
def test_products_of_pairs_are_exact_at_the_extremes(limbs: Limbs, count: int) -> None:
    for n in extreme_moduli(count, limbs).values():
        most = 2 * n - 1
        heavy = sum(heavy_limb(limbs) << (limbs.bits * limb) for limb in range(count)) % most
        xs = [(most, most), (most, 0), (0, most), (heavy, heavy), (0, 0), (1, 0), (n, n), (heavy, 1)]
        check_products(xs, xs[2:] + xs[:2], count, Montgomery(n, limbs))
        check_products(xs, xs, count, Montgomery(n, limbs))


@given(st.data(), st.integers(2, 11), st.sampled_from(BOTH))
def test_products_of_pairs_of_the_most_awkward_limbs_are_exact(data: st.DataObject, count: int, limbs: Limbs) -> None:
    n = data.draw(st.sampled_from(list(extreme_moduli(count, limbs).values())))
    rows = st.lists(st.sampled_from(extreme_limbs(limbs)), min_size=count, max_size=count)
    numbers = rows.map(lambda row: sum(limb << limbs.bits * place for place, limb in enumerate(row)) % (2 * n))
    eight = st.lists(st.tuples(numbers, numbers), min_size=LANES, max_size=LANES)
    check_products(data.draw(eight), data.draw(eight), count, Montgomery(n, limbs))


@both_kinds
@given(n=moduli, exponent=st.integers(0, 1 << 200), data=st.data())
@example(n=(1 << 104) - 1, exponent=0, data=None)
@example(n=(1 << 101) - 1, exponent=(1 << 200) - 1, data=None)
@example(n=(1 << 52) + 1, exponent=32, data=None)
def test_powers_are_pythons(limbs: Limbs, n: int, exponent: int, data: st.DataObject | None) -> None:
    extremes = [0, 1, n - 1, n, n + 1, n * n - n, n * n - 1]
    drawn = st.lists(st.integers(0, n * n - 1) | st.sampled_from(extremes), max_size=20)
    bases = extremes if data is None else data.draw(drawn)
    powers = Squares(Montgomery(n, limbs)).power_all(bases, exponent)
    assert powers == [pow(base, exponent, n * n) for base in bases]


@both_kinds
@pytest.mark.parametrize("bits", [MIN_KEY_BITS // 2, MIN_KEY_BITS, 3072, MAX_KEY_BITS])
def test_sizes_of_real_keys(limbs: Limbs, bits: int) -> None:
    for n in ((1 << bits) - 1, (1 << (bits - 1)) + 1):
        bases = [n * n - 1, n * n - n - 1, 3, (1 << (2 * bits - 3)) - 1]
        assert Squares(Montgomery(n, limbs)).power_all(bases, 1234) == [pow(base, 1234, n * n) for base in bases]


def test_little_work_stays_with_integers() -> None:
    assert squares((1 << 256) - 189, 99_999) is None
