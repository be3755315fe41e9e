"""Which part of the checker replays which file of vectors."""

import json
import math
from pathlib import Path
from typing import Any

from . import (
    derivations,
    groups,
    hierarchy,
    ledger,
    noisy_statistics,
    paillier,
    privacy,
    private_operations,
    requests,
    sessions,
    statistics,
)
from .findings import agree
from .operations import OPERATIONS
from .refusal import Refused


def check_cases(vector: dict[str, Any]) -> int:
    """The file of a primitive: one function, one input, one output or error a case."""
    operations = {**OPERATIONS, **privacy.OPERATIONS, **private_operations.OPERATIONS}
    operations |= {**statistics.OPERATIONS, **noisy_statistics.OPERATIONS, **groups.OPERATIONS}
    operations |= {**hierarchy.OPERATIONS, **requests.OPERATIONS}
    for case in vector["cases"]:
        try:
            outcome = {"output": operations[case["operation"]](case["input"])}
        except Refused as refused:
            outcome = {"error": refused.error}
        expected = {key: case[key] for key in ("output", "error") if key in case}
        close = case["operation"] in privacy.CLOSE | private_operations.CLOSE | noisy_statistics.CLOSE
        if close and "output" in expected and _near(outcome.get("output"), case["output"]):
            outcome = expected
        agree(f"{case['operation']}, {case['name']}", outcome, expected)
    return len(vector["cases"])


def _near(ours: Any, theirs: Any) -> bool:
    """Tell whether floats are the same to nine digits, and all else the same."""
    if ours is None:
        return False
    if isinstance(theirs, dict):
        return bool(ours.keys() == theirs.keys() and all(_near(ours[key], value) for key, value in theirs.items()))
    if not isinstance(theirs, str):
        return ours == theirs
    ours = float.fromhex(ours) if isinstance(ours, str) else ours
    return math.isclose(ours, float.fromhex(theirs), rel_tol=1e-9)


def check(name: str, vector: dict[str, Any]) -> int:
    """Replay one file's vectors; return how many things were compared; raise Disagreement."""
    if name.startswith("session-"):
        return sessions.check(vector)
    if name == "ledger":
        return ledger.check(vector)
    if name.startswith("paillier-round"):
        return paillier.check(vector)
    return derivations.check(vector) if name == "protocol" else check_cases(vector)


def check_file(path: Path) -> int:
    return check(path.stem, json.loads(path.read_text()))
