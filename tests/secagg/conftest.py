"""Fixtures of several modules."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from secagg import loops


@pytest.fixture(scope="module", params=[math.inf, -1], ids=["numpy", "compiled"])
def either_way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test with numpy's loops and with compiled ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "PATIENCE", request.param)
        yield
