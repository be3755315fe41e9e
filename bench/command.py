"""The `secagg` command in a process of its own, as its users run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Run:
    """What the command printed as JSON, and how long it took."""

    facts: dict[str, Any]
    seconds: float


def run_secagg(*arguments: str | Path, cwd: Path | None = None) -> Run:
    """Run `secagg ... --json`; raise AssertionError unless it exits with 0."""
    command = shutil.which("secagg", path=str(Path(sys.executable).parent)) or shutil.which("secagg")
    assert command is not None, "the secagg command is not installed"
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        code = subprocess.call([command, *arguments, "--json"], stdout=output, stderr=errors, cwd=cwd)
        seconds = time.perf_counter() - start
        output.seek(0)
        errors.seek(0)
        assert code == 0, f"exit code {code}: {errors.read().decode()[-2000:]}"
        facts = json.loads(output.read())
    return Run(facts, seconds)


def bare_memory_bytes() -> int:
    """Return the peak memory of an interpreter that has imported numpy and done nothing."""
    process = subprocess.Popen([sys.executable, "-c", "import numpy"])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * _RSS_UNIT
