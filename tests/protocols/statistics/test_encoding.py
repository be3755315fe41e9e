"""Values are rounded exactly, and totals of any size go through limbs unchanged."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.inputs.plain_codecs import IntegerCodec
from protocols.inputs.vectors import IntegerVector
from protocols.statistics.columns import Number
from protocols.statistics.encoding import LIMB_BITS, exact_sum, join, limbs_of, quantise, split

finite = st.floats(-1e9, 1e9)


@settings(max_examples=200)
@given(st.integers(2, 32), finite, st.floats(1e-6, 1e9), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_level_is_the_nearest_one_in_exact_numbers(bits, lo, span, shares):
    if not lo + span > lo:
        return
    column = Number("x", lo, lo + span, bits)
    ties = [float(Fraction(column.lo) + column.step * (at + Fraction(1, 2))) for at in range(3)]
    values = np.clip(np.array([lo + share * (column.hi - lo) for share in shares] + ties), column.lo, column.hi)
    levels = quantise(column, values)
    for value, level in zip(values.tolist(), levels.tolist(), strict=True):
        exact = (Fraction(value) - Fraction(column.lo)) / column.step
        assert level == round(exact)
        assert abs(Fraction(value) - (Fraction(column.lo) + level * column.step)) <= column.step / 2


def test_ties_go_to_even_where_float_arithmetic_would_not_know():
    column = Number("x", 0, 3, 2)
    assert quantise(column, np.array([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]


@settings(max_examples=200)
@given(st.data(), st.integers(1, (1 << 40) - 1), st.integers(2, 32), st.integers(1, 3), st.integers(1, 40))
def test_totals_of_up_to_two_to_the_forty_rows_a_site_come_back_exactly(data, rows, bits, power, sites):
    most = rows * ((1 << bits) - 1) ** power
    totals = data.draw(st.lists(st.integers(0, most), min_size=sites, max_size=sites))
    count = limbs_of(most)
    limbs = np.array([split(total, count) for total in totals])
    assert limbs.max(initial=0) < 1 << LIMB_BITS
    assert join(limbs.sum(axis=0).tolist()) == sum(totals)


def test_limbs_of_a_million_sites_fit_in_a_session():
    assert IntegerCodec(IntegerVector("v", 1, max_value=(1 << LIMB_BITS) - 1), 1_000_000).modulus_bits <= 64


@pytest.mark.parametrize("bits", [8, 16, 20, 32])
def test_sums_of_powers_and_products_are_those_of_pythons_integers(bits):
    rng = np.random.default_rng(bits)
    a, b = (rng.integers(0, 1 << bits, 40_000) for _ in range(2))
    a[:100] = b[:100] = (1 << bits) - 1
    for i, j in ((1, 0), (2, 0), (3, 0), (1, 1)):
        expected = sum(x**i * y**j for x, y in zip(a.tolist(), b.tolist(), strict=True))
        assert exact_sum((a, i), (b, j)) == expected
    assert exact_sum((a[:0], 2)) == 0
