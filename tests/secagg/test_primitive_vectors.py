from __future__ import annotations

import json

import pytest

from tests.vectors.generate import PRIMITIVES, VECTORS, render


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_the_vectors_are_regenerated_identically(primitive: str) -> None:
    assert (VECTORS / f"{primitive}.json").read_text() == render(primitive)


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_every_primitive_has_vectors_that_must_fail_and_names_none_twice(primitive: str) -> None:
    cases = json.loads((VECTORS / f"{primitive}.json").read_text())["cases"]
    names = [(case["operation"], case["name"]) for case in cases]
    assert len(set(names)) == len(names)
    assert any("error" in case for case in cases)
    assert all(("error" in case) != ("output" in case) for case in cases)
