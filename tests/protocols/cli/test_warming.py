"""`secagg warm-up` compiles the loops once, into a place that it names, and fails where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

RUN = "from protocols.cli import main; main()"


def warm_up(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", RUN, "warm-up", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | settings,
    )


def test_loops_are_compiled_once_and_kept(tmp_path: Path) -> None:
    first, second = (json.loads(warm_up("--json", NUMBA_CACHE_DIR=str(tmp_path)).stdout) for _ in range(2))
    assert first["compiled"] > 0 == second["compiled"]
    assert second["read"] > 0
    assert all(Path(place).is_relative_to(tmp_path) for place in first["places"])
    shown = warm_up(NUMBA_CACHE_DIR=str(tmp_path))
    assert shown.returncode == 0
    assert shown.stdout.startswith("0 loops were compiled")


def test_it_fails_where_nothing_is_kept() -> None:
    switched_off = warm_up(NUMBA_DISABLE_JIT="1")
    assert switched_off.returncode == 2
    assert "kept nowhere: set NUMBA_CACHE_DIR" in switched_off.stderr
