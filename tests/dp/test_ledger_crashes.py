"""Killed processes lose nothing and spend nothing twice; spenders at the same time never overspend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.dp.ledger_killing", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr[-4000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.mark.parametrize(("url", "kills"), [("sqlite", 80), ("postgres", 12)], indirect=["url"])
def test_kill_9_at_random_points(url: str, kills: int, tmp_path: Path) -> None:
    facts = run("kill", url, tmp_path / "journal", kills, 1)
    assert facts["killed"] == kills
    # Some kills must have hit a round between its reservation and its end, or nothing was tested.
    assert facts["orphans"] > 0
    assert facts["records"] > kills


@pytest.mark.long
@pytest.mark.parametrize(("url", "seed"), [("sqlite", 2), ("sqlite", 3), ("postgres", 4)], indirect=["url"])
def test_kill_9_at_many_more(url: str, seed: int, tmp_path: Path) -> None:
    kills = 1000 if seed < 4 else 250
    assert run("kill", url, tmp_path / "journal", kills, seed)["killed"] == kills


@pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)
def test_eight_spenders_at_once_never_overspend(url: str) -> None:
    facts = run("race", url, 8)
    assert len(facts["got"]) == 8
    assert sum(facts["refused"]) >= 8
