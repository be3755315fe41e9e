"""What a type checker sees of the public names: no Any, so that wrong use is complained about, and right use is not."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("dp", "dp.ledger", "protocols", "secagg")
RIGHT = (
    "account = dp.Accountant(dp.Adjacency.ADD_REMOVE)",
    "account.compose(dp.GaussianEvent(2.0, dp.Adjacency.ADD_REMOVE))",
    "spent: float = account.epsilon(1e-5)",
    "sensitivity = dp.Sensitivity(1.0, dp.Norm.L2, dp.Adjacency.ADD_REMOVE)",
    "released = dp.gaussian([0.5], sensitivity, sigma=2.0).value",
    "cost = dp.ledger.Cost('0.1', adjacency='add-remove')",
    "config = protocols.RoundConfig(",
    "    protocols.ThreatModel(10, 0.0, 0.1, protocols.Adversary.CURIOUS_SERVER),",
    "    (protocols.FloatVector('v', 3, 1.0, 16),),",
    ")",
    "server = protocols.Server(config)",
)
WRONG = (
    'dp.Accountant(42, "nonsense").no_such_method()',
    "dp.Accountant(dp.Norm.L2)",
    "account.compose('an event')",
    "account.epsilon()",
    "dp.gaussian([0.5], 1.0, sigma=2.0)",
    "dp.gaussian([0.5], sensitivity, sigmas=2.0)",
    "dp.discrete_gaussian(2.0, 'ten')",
    "dp.Goal(dp.Adjacency.ADD_REMOVE)",
    "text: str = dp.gaussian_sigma(1.0, 1e-5, sensitivity)",
    "dp.ledger.Cost('0.1')",
    "dp.ledger.Budget('name', '1', neighbours='add-remove')",
    "dp.ledger.Ledger(42)",
    'protocols.Server("x")',
    "protocols.Client('one')",
    "protocols.ThreatModel('ten')",
    "protocols.FloatVector(1, 'v')",
    "server.receive()",
    "server.no_such_method()",
    "protocols.ClientPolicy(min_clients='ten')",
    "secagg.PeerError('text', culprits=5)",
)


def complaints(lines: list[str], folder: Path) -> dict[int, str]:
    """Return what mypy --strict says of the lines of a program, by their numbers from 1."""
    program = folder / "program.py"
    program.write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", str(program)]  # from here, where there may be a cache
    outcome = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603
    assert outcome.returncode == 1, outcome.stdout + outcome.stderr  # 2: it could not run
    found = re.findall(r"^.*program\.py:(\d+): error: (.*)$", outcome.stdout, re.MULTILINE)
    return {int(number): text for number, text in found}


def test_wrong_use_of_public_names_is_complained_about_and_right_use_is_not(tmp_path: Path) -> None:
    names = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
    right = [*(f"import {package}" for package in PACKAGES), *RIGHT]
    wrong = [*(f"{name}.no_such_attribute" for name in names), *WRONG]
    found = complaints([*right, *wrong], tmp_path)
    assert {number: text for number, text in found.items() if number <= len(right)} == {}
    assert [line for number, line in enumerate(wrong, len(right) + 1) if number not in found] == []
