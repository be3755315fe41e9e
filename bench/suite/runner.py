"""Runs one part's benchmarks under pytest in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from secagg.errors import ParameterError

from . import machine
from .findings import Finding, PartResult
from .parts import Part

FOLDER = Path(__file__).resolve().parents[1]
"""Where the benchmarks are."""
STEP = "▸ "
"""Behind this in a line of output, a benchmark says what it is at; pytest may have written before it."""
SCALE_VARIABLE = "SECAGG_BENCH_SCALE"

_NEEDED = ("pytest", "pytest_benchmark", "galois", "gmpy2", "phe", "dp_accounting")
_MOST_LINES = 400
_SHOWN_LINES = 6


def check_libraries() -> None:
    """Raise ParameterError unless everything that the benchmarks import is there."""
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ParameterError(f"benchmarks need {', '.join(absent)}: pip install --editable '.[bench]'")


def measure(part: Part, scale: str, on_step: Callable[[str], None], folder: Path = FOLDER) -> PartResult:
    """Run a part at a scale ("full" or "quick"); `on_step` is called with what it is at. Failures are in the result."""
    started, load, start = datetime.now(UTC).isoformat(timespec="seconds"), machine.load(), time.perf_counter()
    lines: deque[str] = deque(maxlen=_MOST_LINES)
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as scratch:
        record = Path(scratch) / "benchmark.json"
        with _pytest(part, folder, scale, record) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                _, told, step = line.partition(STEP)
                if told:
                    on_step(step.strip())
        if process.returncode:
            failure = _why(lines, folder.parent) or f"pytest ended with exit code {process.returncode}"
        else:
            findings, failure = _read(record)
    return PartResult(part.name, started, time.perf_counter() - start, load, findings, failure)


@contextmanager
def _pytest(part: Part, folder: Path, scale: str, record: Path) -> Iterator[subprocess.Popen[str]]:
    """Start pytest on a part's benchmarks in a process group of its own, of which nothing is left behind."""
    command = [sys.executable, "-m", "pytest", *(f"{folder.name}/{test}" for test in part.tests)]
    command += ["-p", "no:cacheprovider", "--override-ini=filterwarnings=", "-s", f"--benchmark-json={record}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SECAGG_"))}
    process = subprocess.Popen(
        command,
        cwd=folder.parent,
        env=environment | {SCALE_VARIABLE: scale, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read(record: Path) -> tuple[list[Finding], str]:
    """Return the findings in pytest-benchmark's record; of the record itself, nothing else is for a report."""
    try:
        benchmarks = json.loads(record.read_bytes())["benchmarks"]
        found = [item["extra_info"]["finding"] for item in benchmarks if "finding" in item["extra_info"]]
        findings = msgspec.convert(found, list[Finding])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [], f"the benchmarks left no record that can be read ({type(error).__name__})"
    return findings, "" if findings else "the benchmarks found nothing"


def _why(lines: Sequence[str], root: Path) -> str:
    """Return what pytest says went wrong, without the paths of this machine."""
    said = [line[1:].strip() for line in lines if line.startswith("E ")] or [line for line in lines if line.strip()]
    text = "\n".join(said[-_SHOWN_LINES:])
    places = {str(root): ".", sys.prefix: "python", str(Path.home()): "~", tempfile.gettempdir(): "tmp"}
    for path, name in places.items():
        text = text.replace(path, name)
    return text
