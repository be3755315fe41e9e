"""Numbers at doors, and as they are told to people."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.core.numbers import spelled_up


@given(value=st.floats(1e-300, 1e300), digits=st.integers(1, 8))
def test_what_is_spelled_is_never_less_and_hardly_more(value: float, digits: int) -> None:
    assert value <= float(spelled_up(value, digits)) <= value * (1 + 10.0 ** (1 - digits))


@pytest.mark.parametrize(
    ("value", "spelled"), [(0.1, "0.1"), (1.23451, "1.235"), (4.0, "4"), (math.inf, "inf"), (0.0, "0"), (1e-6, "1e-06")]
)
def test_a_number_of_few_digits_is_spelled_as_it_is(value: float, spelled: str) -> None:
    assert spelled_up(value, 4) == spelled
