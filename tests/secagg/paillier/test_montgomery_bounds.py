"""The compiled loops at their limits: values not reduced, sums that nearly overflow, arrays that do not fit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba.core.errors import TypingError

from secagg.errors import ParameterError
from secagg.paillier import _montgomery_kernels, montgomery
from secagg.paillier.integers import join, width
from secagg.paillier.moduli import MAX_KEY_BITS, MIN_KEY_BITS
from secagg.paillier.montgomery import Blocks, Montgomery

LANES, BITS = 8, 52
FULL = (1 << BITS) - 1
HEAVY = (1 << BITS) - (1 << BITS // 2) + 1  # the low and the high half of its square are both nearly 2**52
LARGEST = -(-(2 * MAX_KEY_BITS + 2) // BITS)


def blocks_of(values: list[int], limbs: int) -> Blocks:
    """Lay values below the radix out as they are, reduced or not; eight a block."""
    cut = [[value >> (BITS * limb) & FULL for limb in range(limbs)] for value in values]
    return np.ascontiguousarray(np.array(cut, np.uint64).reshape(-1, LANES, limbs).transpose(0, 2, 1))


def values_of(blocks: Blocks) -> list[int]:
    """Read every value back as it is, reduced or not."""
    assert blocks.max(initial=0) <= FULL
    rows = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])
    return [sum(int(limb) << (BITS * place) for place, limb in enumerate(row)) for row in rows]


def unreduced_product(a: int, b: int, modulus: int, radix: int) -> int:
    """Return what Montgomery's multiplication leaves, before any reduction."""
    quotient = -a * b * pow(modulus, -1, radix) % radix
    return (a * b + quotient * modulus) // radix


def extreme_moduli(limbs: int) -> dict[str, int]:
    """Return moduli whose arithmetic takes so many limbs: as close to a quarter of the radix as may be, and as far."""
    top = BITS * limbs - 2
    heavy = sum(HEAVY << (BITS * limb) for limb in range(limbs - 1))
    return {
        "full": (1 << top) - 1,
        "inverse full": (1 << top) - FULL,  # 1 mod 2**52
        "heavy": heavy | HEAVY >> 2 << (BITS * (limbs - 1)),
        "sparse": (1 << (top - 1)) + 1,
        "nothing in the top limb": max((1 << (BITS * (limbs - 1))) - 1, (1 << BITS) + 1),
    }


@pytest.mark.parametrize("limbs", [2, 3, 40, LARGEST, montgomery._MAX_LIMBS])
def test_unreduced_products_are_exact_at_the_extremes(limbs: int) -> None:
    for modulus in extreme_moduli(limbs).values():
        arithmetic = Montgomery(modulus)
        radix, most = arithmetic.radix, 2 * modulus - 1
        assert radix == 1 << (BITS * limbs)
        assert radix > 4 * modulus
        all_heavy = sum(HEAVY << (BITS * limb) for limb in range(limbs))
        heavy = all_heavy % most | 1
        # a factor for which all quotients are heavy, too
        inverse = -all_heavy * modulus * pow(heavy, -1, radix) % radix
        factors = ((unit, inverse * heavy * pow(unit, -1, radix) % radix) for unit in (3**power for power in range(60)))
        met, meets = next(((unit, factor) for unit, factor in factors if factor <= most), (1, most))
        full = (1 << (most.bit_length() - 1)) - 1
        a = [most, most, heavy, met, full, 0, modulus, 1]
        b = [most, heavy, heavy, meets, full, most, modulus, most]
        product = values_of(arithmetic.product(blocks_of(a, limbs), blocks_of(b, limbs)))
        assert product == [unreduced_product(x, y, modulus, radix) for x, y in zip(a, b, strict=True)]
        assert max(product) < 2 * modulus


@given(st.data(), st.integers(2, 12))
def test_values_stay_below_twice_the_modulus_and_come_out_reduced(data: st.DataObject, limbs: int) -> None:
    lowest, highest = 1 << max(BITS * (limbs - 1) - 1, BITS), (1 << (BITS * limbs - 2)) - 1
    drawn = st.integers(lowest, highest).map(lambda number: number | 1)
    modulus = data.draw(st.sampled_from(list(extreme_moduli(limbs).values())) | drawn)
    arithmetic, most = Montgomery(modulus), 2 * modulus - 1
    factors = st.lists(st.sampled_from([0, 1, modulus, most, most - 1]) | st.integers(0, most), min_size=8, max_size=8)
    value = data.draw(factors)
    blocks = blocks_of(value, limbs)
    assert arithmetic.integers(blocks, 8) == [each % modulus for each in value]
    for b in data.draw(st.lists(factors, max_size=4)):
        blocks = arithmetic.product(blocks, blocks_of(b, limbs))
        value = [unreduced_product(x, y, modulus, arithmetic.radix) for x, y in zip(value, b, strict=True)]
        assert values_of(blocks) == value
        assert max(value) <= most
    exponent = data.draw(st.integers(0, 1 << 70))
    power = arithmetic.power(blocks, exponent)
    assert max(values_of(power)) <= most
    assert arithmetic.integers(power, 8) == [pow(each, exponent, modulus) for each in value]


def test_more_limbs_than_the_sums_bear_are_refused() -> None:
    limbs = montgomery._MAX_LIMBS
    assert limbs * 4 * FULL + (1 << 12) < 1 << 64  # what a sum has taken after so many rows, with the last carry
    assert (limbs + 1) * 4 * FULL + (1 << 12) >= 1 << 64
    assert limbs >= LARGEST
    for modulus in ((1 << (BITS * limbs - 1)) - 1, 1 << 64, (1 << BITS) - 1, 1, 0, -(1 << 64) + 1):
        with pytest.raises(ParameterError, match="bits, but it must be odd"):
            Montgomery(modulus)


def test_no_error_shows_a_modulus() -> None:
    for modulus in ((1 << 70) + 6, (1 << 51) - 1):
        with pytest.raises(ParameterError) as refusal:
            Montgomery(modulus)
        assert str(modulus) not in str(refusal.value)
    assert str((1 << 70) + 9) not in repr(Montgomery((1 << 70) + 9))


@given(st.integers(53, 700), st.integers(0, 20), st.integers(1, 40), st.data())
def test_no_byte_beyond_the_data_counts(bits: int, count: int, size: int, data: st.DataObject) -> None:
    """Any bytes at all, in any width: what fits no limb is cut off, and nothing else is read."""
    modulus = 1 << (bits - 1) | 1
    given_bytes = data.draw(st.binary(min_size=count * size, max_size=count * size))
    blocks = Montgomery(modulus).blocks(given_bytes, size)
    limbs = blocks.shape[1]
    numbers = [int.from_bytes(given_bytes[i : i + size], "big") for i in range(0, len(given_bytes), size)]
    padding = [1] * (-count % LANES)
    assert values_of(blocks) == [number % (1 << (BITS * limbs)) for number in numbers] + padding


@pytest.mark.parametrize("key_bits", [MIN_KEY_BITS, 2050, 2054, 3070, MAX_KEY_BITS])
def test_any_length_of_key_and_of_its_square(key_bits: int) -> None:
    for modulus in ((1 << key_bits) - 1, (1 << (key_bits - 1)) + 1):
        for power_of in (1, 2):
            squared = modulus**power_of
            bases = [squared - 1, 0, 1, modulus % squared, squared // 2, 2, squared - 2, 3, 5]
            arithmetic, size = Montgomery(squared), width(squared)
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
    ):
        with pytest.raises(ParameterError):
            call()


def test_arrays_with_gaps_are_refused() -> None:
    arithmetic = Montgomery((1 << 100) + 1)
    blocks = arithmetic.blocks(bytes(40 * 13), 13)
    with pytest.raises(TypingError, match="without gaps"):
        arithmetic.product(blocks[::2], blocks[:3])
    with pytest.raises(TypingError, match="without gaps"):
        arithmetic.product(blocks.astype(np.int64), blocks)


def test_both_rooms_mean_the_same_numbers() -> None:
    kernels = _montgomery_kernels
    assert (kernels.LANES, kernels.LIMB_BITS, kernels.WINDOW) == (LANES, BITS, montgomery._WINDOW)
    assert (montgomery._LANES, montgomery._LIMB_BITS) == (LANES, BITS)


COMPUTES = """
import json
from secagg.paillier import _montgomery_kernels as kernels
from secagg.paillier.montgomery import Montgomery, montgomery

assert (montgomery((1 << 300) - 153, 10**9) is None) == (not kernels.has_instructions())
for modulus in ((1 << 300) - 153, (1 << 102) - 1, (1 << {bits}) - 1, (1 << {bits} - 1) + 1):
    bases = [modulus - 1, modulus // 3, 2, 0, *(pow(3, 50 * i, modulus) for i in range(7))]
    for exponent in (0, 1, 77):
        powers = Montgomery(modulus).power_all(bases, exponent)
        assert powers == [pow(base, exponent, modulus) for base in bases]
print(json.dumps([kernels.has_instructions(), sum(kernels.power.stats.cache_hits.values())]))
"""


def compute(code: str, **environment: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_processor_without_the_instructions_computes_the_same_and_takes_no_others_code(tmp_path: Path) -> None:
    code, cache = COMPUTES.format(bits=BITS * LARGEST - 2), str(tmp_path)
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": cache}
    assert json.loads(compute(code, **plain)) == [False, 0]
    here = json.loads(compute(code, NUMBA_CACHE_DIR=cache))
    assert here == [_montgomery_kernels.has_instructions(), 0]
    assert json.loads(compute(code, **plain)) == [False, 1]


def test_where_numba_compiles_nothing_there_are_no_instructions() -> None:
    code = "from secagg.paillier.montgomery import montgomery; assert montgomery((1 << 300) - 153, 10**9) is None"
    compute(code, NUMBA_DISABLE_JIT="1")


@pytest.mark.parametrize("bits", range(53, 53 + 2 * BITS))
def test_products_of_the_largest_values_fit_whatever_the_modulus_length(bits: int) -> None:
    modulus = (1 << bits) - 1
    arithmetic, most = Montgomery(modulus), 2 * modulus - 1
    assert arithmetic.radix > 4 * modulus
    limbs = (arithmetic.radix.bit_length() - 1) // BITS
    (product,) = set(values_of(arithmetic.product(*[blocks_of([most] * LANES, limbs)] * 2)))
    assert product == unreduced_product(most, most, modulus, arithmetic.radix)
    assert product < 2 * modulus
