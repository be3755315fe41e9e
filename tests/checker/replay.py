"""Which part of the checker replays which file of vectors."""

import json
import math
from pathlib import Path
from typing import Any

from . import derivations, ledger, paillier, privacy, sessions
from .findings import agree
from .operations import OPERATIONS
from .refusal import Refused


def check_cases(vector: dict[str, Any]) -> int:
    """The file of a primitive: one function, one input, one output or error a case."""
    for case in vector["cases"]:
        try:
            outcome = {"output": {**OPERATIONS, **privacy.OPERATIONS}[case["operation"]](case["input"])}
        except Refused as refused:
            outcome = {"error": refused.error}
        expected = {key: case[key] for key in ("output", "error") if key in case}
        if case["operation"] in privacy.CLOSE and "output" in expected:
            theirs = float.fromhex(case["output"])
            outcome = expected if math.isclose(outcome["output"], theirs, rel_tol=1e-9) else outcome
        agree(f"{case['operation']}, {case['name']}", outcome, expected)
    return len(vector["cases"])


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
