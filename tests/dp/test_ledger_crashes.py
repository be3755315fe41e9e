"""Killed processes lose nothing and spend nothing twice; spenders at the same time never overspend."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.processes import findings

run = partial(findings, "tests.dp.ledger_killing")


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
