"""Killed processes lose no session that could go on, and sum nothing twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import findings


def run(url: str, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    folder.mkdir()
    return findings("tests.protocols.service.killing", url, folder, kills, seed)


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
