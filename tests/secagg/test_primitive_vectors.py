from __future__ import annotations

import json
from typing import Any

import pytest

from protocols.audit.replay import (
    group_operations,
    hierarchy_operations,
    noisy_statistics,
    request_operations,
    statistics_operations,
)
from secagg import errors
from secagg.errors import SecAggError
from tests.vectors.generate import OPERATIONS, PRIMITIVES, VECTORS, render

CASES = [
    pytest.param(case, id=f"{primitive}-{case['operation']}-{case['name']}")
    for primitive in PRIMITIVES
    for case in json.loads((VECTORS / f"{primitive}.json").read_text())["cases"]
]


@pytest.mark.parametrize("case", CASES)
def test_a_committed_vector_is_met(case: dict[str, Any]) -> None:
    further = (statistics_operations, noisy_statistics, group_operations, hierarchy_operations, request_operations)
    operations = OPERATIONS | {name: one for module in further for name, one in module.OPERATIONS.items()}
    operation = operations[case["operation"]]
    if "error" in case:
        with pytest.raises(SecAggError) as caught:
            operation(case["input"])
        assert type(caught.value) is getattr(errors, case["error"])
    else:
        assert operation(case["input"]) == case["output"]


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
