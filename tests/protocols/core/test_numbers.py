"""Numbers at doors, and as they are told to people."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.numbers import spelled_down, spelled_up


@given(value=st.floats(1e-300, 1e300), digits=st.integers(1, 8))
def test_what_is_spelled_is_never_less_and_hardly_more(value: float, digits: int) -> None:
    assert value <= float(spelled_up(value, digits)) <= value * (1 + 10.0 ** (1 - digits))


@given(value=st.fractions(Fraction(1, 10**30), 10**6), digits=st.integers(1, 8))
def test_fractions_are_spelled_on_either_side(value: Fraction, digits: int) -> None:
    low, high = Fraction(spelled_down(value, digits)), Fraction(spelled_up(value, digits))
    assert value * (1 - Fraction(10, 10**digits)) <= low <= value <= high <= value * (1 + Fraction(10, 10**digits))


def test_decimals_of_a_ledger_are_spelled_as_they_are() -> None:
    assert spelled_up(Fraction("0.3"), 6) == spelled_down(Fraction("0.3"), 6) == "0.3"
    assert (spelled_down(Fraction(2, 3), 3), spelled_up(Fraction(1, 3), 3)) == ("0.666", "0.334")
    assert (spelled_down(0.0999, 2), spelled_down(Fraction(-1, 3), 2)) == ("0.099", "-0.34")


@pytest.mark.parametrize(
    ("value", "spelled"), [(0.1, "0.1"), (1.23451, "1.235"), (4.0, "4"), (math.inf, "inf"), (0.0, "0"), (1e-6, "1e-06")]
)
def test_a_number_of_few_digits_is_spelled_as_it_is(value: float, spelled: str) -> None:
    assert spelled_up(value, 4) == spelled
