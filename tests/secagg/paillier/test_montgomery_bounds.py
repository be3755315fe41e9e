"""The compiled loops at their limits: values not reduced, sums that nearly overflow, arrays that do not fit."""

import ctypes
import json
import platform
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError

from secagg.errors import ParameterError
from secagg.paillier import _limb_rows, _montgomery_kernels, montgomery
from secagg.paillier.integers import join, width
from secagg.paillier.limbs import DOUBLES, INTEGERS, LANES, Limbs
from secagg.paillier.moduli import MAX_KEY_BITS, MIN_KEY_BITS
from secagg.paillier.montgomery import Montgomery
from tests.processes import python

from .abreast import (
    BOTH,
    blocks_of,
    both_kinds,
    extreme_limbs,
    extreme_moduli,
    heavy_limb,
    unreduced_product,
    values_of,
)

LARGEST = -(-(2 * MAX_KEY_BITS + 3) // DOUBLES.bits)


@both_kinds
@pytest.mark.parametrize("count", [2, 3, 5, 40, LARGEST, montgomery._MAX_LIMBS])
def test_unreduced_products_are_exact_at_the_extremes(limbs: Limbs, count: int) -> None:
    for modulus in extreme_moduli(count, limbs).values():
        arithmetic = Montgomery(modulus, limbs)
        radix, most = arithmetic.radix, 2 * modulus - 1
        assert radix == 1 << (limbs.bits * count)
        assert radix >= 8 * modulus
        all_heavy = sum(heavy_limb(limbs) << (limbs.bits * limb) for limb in range(count))
        heavy = all_heavy % most | 1
        # a factor for which all quotients are heavy, too
        inverse = -all_heavy * modulus * pow(heavy, -1, radix) % radix
        factors = ((unit, inverse * heavy * pow(unit, -1, radix) % radix) for unit in (3**power for power in range(60)))
        met, meets = next(((unit, factor) for unit, factor in factors if factor <= most), (1, most))
        full = (1 << (most.bit_length() - 1)) - 1
        a = [most, most, heavy, met, full, 0, modulus, 1]
        b = [most, heavy, heavy, meets, full, most, modulus, most]
        product = values_of(arithmetic.product(*(blocks_of(values, count, limbs) for values in (a, b))), limbs)
        assert product == [unreduced_product(x, y, modulus, radix) for x, y in zip(a, b, strict=True)]
        assert max(product) < 2 * modulus
        assert squared(a, count, arithmetic) == [unreduced_product(x, x, modulus, radix) for x in a]


def squared(values: list[int], count: int, arithmetic: Montgomery) -> list[int]:
    """Return what the loop for squares leaves of eight values, before any reduction."""
    result = arithmetic.aligned(1, count, LANES)
    block = blocks_of(values, count, arithmetic.limbs)
    _montgomery_kernels._square(result[0], block[0], arithmetic.room())
    return values_of(result, arithmetic.limbs)


@given(st.data(), st.integers(2, 13), st.sampled_from(BOTH))
def test_products_of_the_most_awkward_limbs_are_exact(data: st.DataObject, count: int, limbs: Limbs) -> None:
    modulus = (1 << limbs.bits * count - 3) - 1
    arithmetic = Montgomery(modulus, limbs)
    rows = st.lists(st.sampled_from(extreme_limbs(limbs)), min_size=count, max_size=count)
    numbers = rows.map(lambda row: sum(limb << limbs.bits * place for place, limb in enumerate(row)) % (2 * modulus))
    a, b = (data.draw(st.lists(numbers, min_size=LANES, max_size=LANES)) for _ in range(2))
    product = values_of(arithmetic.product(*(blocks_of(values, count, limbs) for values in (a, b))), limbs)
    assert product == [unreduced_product(x, y, modulus, arithmetic.radix) for x, y in zip(a, b, strict=True)]
    assert squared(a, count, arithmetic) == [unreduced_product(x, x, modulus, arithmetic.radix) for x in a]


@given(st.data(), st.integers(2, 12), st.sampled_from(BOTH))
def test_values_stay_below_twice_the_modulus_and_come_out_reduced(
    data: st.DataObject, count: int, limbs: Limbs
) -> None:
    lowest, highest = 1 << max(limbs.bits * (count - 1) - 2, 52), (1 << (limbs.bits * count - 3)) - 1
    drawn = st.integers(lowest, highest).map(lambda number: number | 1)
    modulus = data.draw(st.sampled_from(list(extreme_moduli(count, limbs).values())) | drawn)
    arithmetic, most = Montgomery(modulus, limbs), 2 * modulus - 1
    factors = st.lists(st.sampled_from([0, 1, modulus, most, most - 1]) | st.integers(0, most), min_size=8, max_size=8)
    value = data.draw(factors)
    blocks = blocks_of(value, count, limbs)
    assert arithmetic.integers(blocks, 8) == [each % modulus for each in value]
    assert arithmetic.unreduced(blocks, 8) == value
    for b in data.draw(st.lists(factors, max_size=4)):
        blocks = arithmetic.product(blocks, blocks_of(b, count, limbs))
        value = [unreduced_product(x, y, modulus, arithmetic.radix) for x, y in zip(value, b, strict=True)]
        assert values_of(blocks, limbs) == value
        assert max(value) <= most
    exponent = data.draw(st.integers(0, 1 << 70))
    power = arithmetic.power(blocks, exponent)
    assert max(values_of(power, limbs)) <= most
    assert arithmetic.integers(power, 8) == [pow(each, exponent, modulus) for each in value]


@both_kinds
def test_more_limbs_than_the_sums_bear_are_refused(limbs: Limbs) -> None:
    most = montgomery._MAX_LIMBS
    half = 1 << 52  # no half is larger, of either kind
    assert 6 * most * half + 2 * half < 1 << 63  # three products a limb, what is carried in, and a quotient
    assert 6 * (most + 1) * half + 2 * half >= 1 << 63
    assert most >= LARGEST
    for modulus in ((1 << (limbs.bits * most - 2)) - 1, 1 << 64, (1 << 52) - 1, 1, 0, -(1 << 64) + 1):
        with pytest.raises(ParameterError, match="bits, but it must be odd"):
            Montgomery(modulus, limbs)


def test_no_error_shows_a_modulus() -> None:
    for modulus in ((1 << 70) + 6, (1 << 51) - 1):
        with pytest.raises(ParameterError) as refusal:
            Montgomery(modulus)
        assert str(modulus) not in str(refusal.value)
    assert str((1 << 70) + 9) not in repr(Montgomery((1 << 70) + 9))


@both_kinds
@given(bits=st.integers(53, 700), count=st.integers(0, 20), size=st.integers(1, 40), data=st.data())
def test_no_byte_beyond_the_data_counts(limbs: Limbs, bits: int, count: int, size: int, data: st.DataObject) -> None:
    """Any bytes at all, in any width: what fits no limb is cut off, and nothing else is read."""
    modulus = 1 << (bits - 1) | 1
    given_bytes = data.draw(st.binary(min_size=count * size, max_size=count * size))
    blocks = Montgomery(modulus, limbs).blocks(given_bytes, size)
    radix = 1 << limbs.bits * blocks.shape[1]
    numbers = [int.from_bytes(given_bytes[i : i + size], "big") for i in range(0, len(given_bytes), size)]
    padding = [1] * (-count % LANES)
    assert values_of(blocks, limbs) == [number % radix for number in numbers] + padding


@both_kinds
@pytest.mark.parametrize("key_bits", [MIN_KEY_BITS, 2050, 2054, 3070, MAX_KEY_BITS])
def test_any_length_of_key_and_of_its_square(limbs: Limbs, key_bits: int) -> None:
    for modulus in ((1 << key_bits) - 1, (1 << (key_bits - 1)) + 1):
        for power_of in (1, 2):
            squared = modulus**power_of
            bases = [squared - 1, 0, 1, modulus % squared, squared // 2, 2, squared - 2, 3, 5]
            arithmetic, size = Montgomery(squared, limbs), width(squared)
            blocks = arithmetic.blocks(join(bases, size), size)
            assert arithmetic.integers(blocks, 9) == bases
            assert arithmetic.integers(arithmetic.power(blocks, 33), 9) == [pow(base, 33, squared) for base in bases]


def test_arrays_that_the_loops_would_leave_are_refused() -> None:
    arithmetic, larger = Montgomery((1 << 100) + 1), Montgomery((1 << 200) + 1)
    blocks = arithmetic.blocks(bytes(20 * 13), 13)
    for call in (
        lambda: arithmetic.integers(blocks, 25),
        lambda: arithmetic.integers(blocks[:0], 1),
        lambda: larger.integers(blocks, 1),
        lambda: larger.product(blocks, blocks),
        lambda: larger.product(larger.blocks(bytes(26), 26), blocks),
        lambda: larger.power(blocks, 3),
        lambda: arithmetic.product(blocks[:, :, :4], blocks),
        lambda: arithmetic.product(blocks, blocks.astype(np.float64)),
        lambda: arithmetic.product_with(blocks, bytes(8 * 13), 13),
        lambda: arithmetic.product_with(blocks, bytes(25 * 13), 13),
        lambda: larger.product_with(blocks, bytes(20 * 13), 13),
        lambda: arithmetic.product(blocks.astype(np.int64), blocks),
    ):
        with pytest.raises(ParameterError):
            call()


def test_a_thread_that_rounds_otherwise_computes_with_no_doubles() -> None:
    arithmetic, mathematics = Montgomery((1 << 100) + 1, DOUBLES), ctypes.CDLL(None)
    shift = 12 if platform.machine() in ("aarch64", "arm64") else 0
    for direction in (0x400 << shift, 0x800 << shift, 0xC00 << shift):  # up, down, towards zero; in some order
        assert mathematics.fesetround(direction) == 0
        try:
            with pytest.raises(ParameterError, match="rounds doubles otherwise"):
                arithmetic.power_all([3], 5)
        finally:
            mathematics.fesetround(0)
    assert arithmetic.power_all([3], 5) == [243]


def test_arrays_with_gaps_are_refused() -> None:
    arithmetic = Montgomery((1 << 100) + 1)
    blocks = arithmetic.blocks(bytes(40 * 13), 13)
    with pytest.raises(TypingError, match="without gaps"):
        arithmetic.product(blocks[::2], blocks[:3])
    result, room = arithmetic.aligned(*blocks.shape), arithmetic.room()
    with pytest.raises(TypingError, match="of one kind"):
        _montgomery_kernels.multiply(result, blocks.astype(np.int64), blocks, room)
    with pytest.raises(TypingError, match="of one kind"):
        _montgomery_kernels.multiply(result, blocks, blocks.astype(np.float64), room)


COMPUTES = """
import json
from secagg.paillier import _montgomery_kernels as kernels
from secagg.paillier._limb_rows import fastest
from secagg.paillier.limbs import INTEGERS
from secagg.paillier.montgomery import Montgomery, montgomery

suits, found = fastest(), montgomery((1 << 300) - 153, 10**9)
assert (found and found.limbs) == suits
for modulus in ((1 << 300) - 153, (1 << 102) - 1, (1 << {bits}) - 1, (1 << {bits} - 1) + 1):
    bases = [modulus - 1, modulus // 3, 2, 0, *(pow(3, 50 * i, modulus) for i in range(7))]
    for exponent in (0, 1, 77):
        powers = Montgomery(modulus, suits or INTEGERS).power_all(bases, exponent)
        assert powers == [pow(base, exponent, modulus) for base in bases]
print(json.dumps([suits and suits.bits, sum(kernels.power.stats.cache_hits.values())]))
"""


NARROW = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+avx,+avx2,+bmi,+bmi2,+fma,+popcnt,+lzcnt"


def test_other_processors_compute_the_same_and_take_no_others_code(tmp_path: Path) -> None:
    code, cache = COMPUTES.format(bits=DOUBLES.bits * LARGEST - 3), str(tmp_path)
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": cache}
    assert json.loads(python("-c", code, **plain)) == [None, 0]
    if _limb_rows.fastest() is not None:  # then it has what is called for here
        narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": NARROW, "NUMBA_CACHE_DIR": cache}
        assert json.loads(python("-c", code, **narrow)) == [DOUBLES.bits, 0]
    else:
        assert json.loads(python("-c", code, NUMBA_CACHE_DIR=cache)) == [None, 0]
    assert json.loads(python("-c", code, **plain)) == [None, 1]


def test_where_numba_compiles_nothing_there_are_no_instructions() -> None:
    code = "from secagg.paillier.montgomery import montgomery; assert montgomery((1 << 300) - 153, 10**9) is None"
    python("-c", code, NUMBA_DISABLE_JIT="1")


@both_kinds
@pytest.mark.parametrize("bits", range(53, 53 + 2 * INTEGERS.bits))
def test_products_of_the_largest_values_fit_whatever_the_modulus_length(limbs: Limbs, bits: int) -> None:
    modulus = (1 << bits) - 1
    arithmetic, most = Montgomery(modulus, limbs), 2 * modulus - 1
    assert arithmetic.radix >= 8 * modulus
    count = (arithmetic.radix.bit_length() - 1) // limbs.bits
    (product,) = set(values_of(arithmetic.product(*[blocks_of([most] * LANES, count, limbs)] * 2), limbs))
    assert product == unreduced_product(most, most, modulus, arithmetic.radix)
    assert product < 2 * modulus
