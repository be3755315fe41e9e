"""Runs the benchmarks part by part, each under pytest in a process of its own, and keeps what is finished."""

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
from functools import partial
from pathlib import Path

import msgspec

from secagg.errors import ParameterError

from . import machine
from .findings import Finding
from .parts import Part
from .results import PartResult, Results, Shelf

STEP = "▸ "
"""Behind this in a line of output, a benchmark says what it is at; pytest may have written before it."""
SCALE_VARIABLE = "SECAGG_BENCH_SCALE"

_NEEDED = ("pytest", "pytest_benchmark", "galois", "gmpy2", "phe", "dp_accounting")
_MOST_LINES = 400
_SHOWN_LINES = 6


def find_suite() -> Path:
    """Return the folder of the benchmarks; raise ParameterError where libraries that they need are not installed."""
    check_libraries()
    return Path(__file__).resolve().parents[1]


def check_libraries() -> None:
    """Raise ParameterError unless everything that the benchmarks import is there."""
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise ParameterError(f"benchmarks need {', '.join(absent)}: pip install --editable '.[bench]'")


def run(
    parts: Sequence[Part],
    suite: Path,
    *,
    quick: bool = False,
    again: bool = False,
    on_start: Callable[[Part, bool], None] = lambda part, kept: None,
    on_step: Callable[[Part, str], None] = lambda part, step: None,
    on_result: Callable[[Part, PartResult], None] = lambda part, result: None,
) -> Results:
    """Run parts, or take what is kept of them; a part that fails stops no other.

    Finished parts are kept in the suite's folder `out/kept`, under a fingerprint of the code, the libraries and the
    machine. What is interrupted is run again next time, what failed as well.

    Args:
        parts: which; see `chosen`.
        suite: the folder of the benchmarks; see `find_suite`.
        quick: smaller sizes and fewer turns.
        again: measure anew what is kept.
        on_start: called with each part, and whether it is kept from before.
        on_step: called with what a part is at.
        on_result: called with each part's result.
    """
    root, scale = suite.parent, "quick" if quick else "full"
    shelf = Shelf(suite / "out" / "kept", machine.fingerprint(root), scale)
    if again:
        for part in parts:
            shelf.drop(part.name)
    results = Results(scale, machine.facts(), machine.versions(), machine.commit(root))
    for part in parts:
        result = shelf.find(part.name)
        on_start(part, result is not None)
        if result is None:
            result = _measure(part, suite, scale, partial(on_step, part))
            if not result.failure:
                shelf.keep(result)
        results.parts.append(result)
        on_result(part, result)
    return results


def _measure(part: Part, suite: Path, scale: str, on_step: Callable[[str], None]) -> PartResult:
    started, load, start = datetime.now(UTC).isoformat(timespec="seconds"), machine.load(), time.perf_counter()
    lines: deque[str] = deque(maxlen=_MOST_LINES)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "benchmark.json"
        with _pytest(part, suite, scale, record) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                _, told, step = line.partition(STEP)
                if told:
                    on_step(step.strip())
        if process.returncode:
            findings: list[Finding] = []
            failure = _why(lines, suite.parent) or f"pytest ended with exit code {process.returncode}"
        else:
            findings, failure = _read(record)
    return PartResult(part.name, started, time.perf_counter() - start, load, findings, failure)


@contextmanager
def _pytest(part: Part, suite: Path, scale: str, record: Path) -> Iterator[subprocess.Popen[str]]:
    """Start pytest on a part's benchmarks in a process group of its own, of which nothing is left behind."""
    command = [sys.executable, "-m", "pytest", *(f"{suite.name}/{test}" for test in part.tests)]
    command += ["-p", "no:cacheprovider", "--override-ini=filterwarnings=", "-s", f"--benchmark-json={record}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "SECAGG_"))}
    process = subprocess.Popen(
        command,
        cwd=suite.parent,
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
    for path, name in (
        (str(root), "."),
        (sys.prefix, "python"),
        (str(Path.home()), "~"),
        (tempfile.gettempdir(), "tmp"),
    ):
        text = text.replace(path, name)
    return text
