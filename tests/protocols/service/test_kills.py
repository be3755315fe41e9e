"""Killed processes lose no session that could go on, and sum nothing twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


def run(url: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    folder.mkdir()
    command = [sys.executable, "-m", "tests.protocols.service.killing", url, str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "service.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.parametrize(("url", "kills"), [("sqlite", 6), ("postgres", 3)], indirect=["url"])
def test_kill_9_of_any_process(url: str, kills: int, tmp_path: Path) -> None:
    facts = run(url, tmp_path / "members", kills, 1)
    assert facts["killed"] >= kills
    assert facts["sums"] > 0
    # Some kills must have hit whoever ran a session, or nothing was tested.
    assert facts["taken_over"] > 0


@pytest.mark.long
@pytest.mark.parametrize(("url", "seed"), [("sqlite", 2), ("postgres", 3)], indirect=["url"])
def test_500_kills(url: str, seed: int, tmp_path: Path) -> None:
    facts = run(url, tmp_path / "members", 500, seed)
    sys.stdout.write(json.dumps(facts) + "\n")  # -s shows it
    assert facts["killed"] >= 500
    assert facts["sums"] > facts["sessions"] // 2
