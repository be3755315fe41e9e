"""The enclosures of exponentials and of cumulative weights hold, and their bounds are the ones that are proved."""

from __future__ import annotations

from fractions import Fraction

import mpmath
import pytest

from dp.laws import Law, cumulative, gaussian_law, laplace_law
from dp.rational import exp_neg, floor_log2, power_of_two

LAWS = [
    gaussian_law(Fraction(1, 10)),
    gaussian_law(Fraction(9)),
    gaussian_law(Fraction(10**8)),
    laplace_law(Fraction(1, 3)),
    laplace_law(Fraction(7)),
    laplace_law(Fraction(12345)),
]


def weights(law: Law, blocks: int) -> list[mpmath.mpf]:
    """exp(-phi) at the first magnitude of each block; half of it at 0 where each block is one magnitude."""
    parameter = mpmath.mpf(law.parameter.numerator) / law.parameter.denominator
    values = []
    for block in range(blocks):
        first = mpmath.mpf(block << law.shift)
        values.append(mpmath.exp(-(first**2) / (2 * parameter) if law.curved else -first / parameter))
    if law.shift == 0:
        values[0] /= 2
    return values


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{'gaussian' if law.curved else 'laplace'}-{law.parameter}")
@pytest.mark.parametrize("bits", [64, 128])
def test_cumulative_weights_are_enclosed(law: Law, bits: int) -> None:
    table = cumulative(law, bits)
    blocks = len(table.sums)
    with mpmath.workdps(100):
        true = weights(law, 3 * blocks + 50)
        running = mpmath.mpf(0)
        for block, total in enumerate(table.sums):
            running += true[block] * 2**bits
            assert total <= running <= total + table.error(block), block
        assert table.total <= sum(true) * 2**bits <= table.total + table.slack
    assert table.total == table.sums[-1]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{'gaussian' if law.curved else 'laplace'}-{law.parameter}")
def test_the_bounds_are_the_proved_ones(law: Law) -> None:
    # Blocks 0 to h err by (h + 2)^3. What follows the n blocks of the table is at most 2 (n + 1)^2 units for the first
    # of them, in a geometric series of no more than 2 + 1 / rate times that.
    table = cumulative(law, 128)
    n = len(table.sums)
    assert [table.error(block) for block in (0, 1, 7)] == [8, 27, 729]
    assert table.slack == (n + 2) ** 3 + 2 * (n + 1) ** 2 * (2 + int(1 / law.rate))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{'gaussian' if law.curved else 'laplace'}-{law.parameter}")
def test_blocks_are_as_wide_as_their_rate_says(law: Law) -> None:
    # The excess is what is left of phi within a block: phi(m) = m^2 / (2 sigma^2), or m / scale.
    def phi(magnitude: int) -> Fraction:
        return Fraction(magnitude**2, 2) / law.parameter if law.curved else magnitude / law.parameter

    width = 1 << law.shift
    assert law.rate == phi(width)
    for block in (0, 1, 5):
        for offset in {0, 1, width - 1} - {width}:
            if offset < width:
                assert law.excess(block, offset) == phi(block * width + offset) - phi(block * width)


@pytest.mark.parametrize(
    ("law", "shift"),
    [
        (gaussian_law(Fraction(4**8) - 1), 0),  # up to 128 blocks to a sigma
        (gaussian_law(Fraction(4**8)), 1),
        (gaussian_law(Fraction(4**20)), 13),
        (laplace_law(Fraction(2**6) - 1), 0),  # up to 32 blocks to a scale
        (laplace_law(Fraction(2**6)), 1),
        (laplace_law(Fraction(2**20)), 15),
    ],
)
def test_blocks_are_so_many_to_a_sigma_and_to_a_scale(law: Law, shift: int) -> None:
    assert law.shift == shift


@pytest.mark.parametrize("bits", [1, 2, 63, 64, 128, 300])
@pytest.mark.parametrize(
    "x", [Fraction(0), Fraction(1, 10**9), Fraction(1, 256), Fraction(1, 3), Fraction(1), Fraction(44), Fraction(500)]
)
def test_exponentials_are_enclosed_by_three_units(x: Fraction, bits: int) -> None:
    value = exp_neg(x, bits)
    with mpmath.workdps(400):
        true = mpmath.exp(-mpmath.mpf(x.numerator) / x.denominator) * 2**bits
        assert value <= true < value + 3
    assert value >= 0


def test_what_is_surely_below_one_unit_is_nothing() -> None:
    for bits in (1, 64, 128):
        assert exp_neg(Fraction(bits), bits) <= 2**bits
        assert exp_neg(Fraction(2**40), bits) == 0
        assert exp_neg(Fraction(2**4000), bits) == 0


@pytest.mark.parametrize("exponent", [-70, -3, -1, 0, 1, 2, 64, 65])
def test_logarithms_and_powers_of_two_are_exact(exponent: int) -> None:
    power = power_of_two(exponent)
    assert power == Fraction(2) ** exponent
    assert floor_log2(power) == exponent
    assert floor_log2(power * Fraction(3, 2)) == exponent
    assert floor_log2(power * (1 - Fraction(1, 2**80))) == exponent - 1
    assert floor_log2(power * (1 + Fraction(1, 2**80))) == exponent
