"""`secagg warm-up` compiles the loops once, into a place that it names, and fails where there is none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

RUN = "from protocols.cli import main; main()"
LESS = "from protocols.masking import warming; warming._LANES = warming._LANES[:1]"
WITHOUT_PAILLIER = f"{LESS}; from secagg import paillier; paillier.warm_up = lambda: None; {RUN}"


def warm_up(*words: str, run: str = RUN, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", run, "warm-up", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | settings,
    )


def test_loops_are_compiled_once_and_kept(tmp_path: Path) -> None:
    """Paillier's loops take most of the time, so that they are taken from where this suite keeps them."""
    here = {"run": WITHOUT_PAILLIER, "NUMBA_CACHE_DIR": str(tmp_path)}
    first = json.loads(warm_up("--json", **here).stdout)
    assert first["compiled"] > 0
    assert all(Path(place).is_relative_to(tmp_path) for place in first["places"])
    shown = warm_up(**here)
    assert shown.returncode == 0
    assert re.match(r"0 loops were compiled, [1-9]\d* were there", shown.stdout)
    everything = json.loads(warm_up("--json").stdout)
    assert everything["compiled"] + everything["read"] > first["compiled"]


def test_it_fails_where_nothing_is_kept() -> None:
    switched_off = warm_up(NUMBA_DISABLE_JIT="1")
    assert switched_off.returncode == 2
    assert "kept nowhere: set NUMBA_CACHE_DIR" in switched_off.stderr
