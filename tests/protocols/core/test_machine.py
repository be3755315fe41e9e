"""What inputs may be, before any protocol looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.core.machine import Inputs, take_inputs
from secagg.errors import EncodingError

VALUES = {"v": np.ones(2)}


@pytest.mark.parametrize("given", [VALUES, Inputs(VALUES), lambda: VALUES, lambda: Inputs(VALUES)])
def test_inputs_are_taken_by_themselves_or_from_a_function(given: Any) -> None:
    assert take_inputs(given) == Inputs(VALUES)


@pytest.mark.parametrize(
    "given", [None, [np.ones(2)], np.ones(2), (VALUES, 1), {"v": np.ones(2), 7: 1}, "v", Inputs([np.ones(2)])]
)
def test_what_has_no_names_is_refused_by_its_type_alone(given: Any) -> None:
    """A function that forgot to return is the likeliest of them."""
    for asked in (given, lambda: given):
        with pytest.raises(EncodingError, match=r"^inputs are a \w+, but must be arrays by name, such as") as caught:
            take_inputs(asked)
        assert "1." not in str(caught.value)
