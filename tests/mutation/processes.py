"""Processes that are forked from one which has imported third-party code, and nothing of the project's.

A mutant thereby costs its tests and little more. It lives in the memory of its process: no file is changed, so several
run at once, and an interrupted run leaves nothing behind.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

PYTEST = ["-x", "-q", "-s", "--no-header", "--tb=short", "--assert=plain"]
PYTEST += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:benchmark"]

PRELOADED = (
    "pytest hypothesis hypothesis.strategies hypothesis.extra.numpy numpy numba msgspec coverage mpmath scipy.stats",
    "galois",
    "nacl.bindings Crypto.Cipher.AES Crypto.Cipher.ChaCha20_Poly1305 Crypto.Signature.eddsa",
    "dp_accounting dp_accounting.pld.privacy_loss_distribution dp_accounting.rdp",
)

LATE = "late"
"""Outcome of a process that had too little of the processor for too long: it says nothing about the mutant."""

Child = Callable[[Path], int]
"""What a process does: takes a directory of its own, returns what pytest does."""


@dataclass(frozen=True)
class Task:
    """A child, and how long it may take: processor seconds first, since others may use the machine."""

    name: str
    child: Child
    cpu_seconds: float
    wall_seconds: float


@dataclass
class _Running:
    task: Task
    directory: Path
    deadline: float
    late: bool = False


def preload() -> None:
    """Import what tests import, but for the project itself."""
    os.environ.update(HYPOTHESIS_PROFILE="mutation", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    for name in " ".join(PRELOADED).split():
        with suppress(ImportError):
            importlib.import_module(name)
    own = [name for name in sys.modules if name.split(".")[0] in {"secagg", "dp", "protocols"}]
    if own:
        raise SystemExit(f"{own[0]} is loaded already, so mutants of it would not be seen")


def run(tasks: Iterable[Task], *, jobs: int) -> Iterator[tuple[Task, str, str]]:
    """Run tasks, so many at once; yield each with its outcome and, where a test failed, the test."""
    waiting = iter(tasks)
    running: dict[int, _Running] = {}
    try:
        while True:
            while len(running) < jobs and (task := next(waiting, None)) is not None:
                directory = Path(tempfile.mkdtemp(prefix="mutant-"))
                running[_fork(task, directory)] = _Running(task, directory, time.monotonic() + task.wall_seconds)
            if not running:
                return
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                for pid, one in running.items():
                    if time.monotonic() > one.deadline:
                        one.late = True
                        _kill(pid)
                time.sleep(0.02)
                continue
            one = running.pop(pid)
            _kill(pid)  # whatever it left behind
            note = one.directory / "failed"
            failed = note.read_text() if note.exists() else ""
            shutil.rmtree(one.directory, ignore_errors=True)
            yield one.task, LATE if one.late else _outcome(status, failed), failed
    finally:
        for pid, one in running.items():
            _kill(pid)
            os.waitpid(pid, 0)
            shutil.rmtree(one.directory, ignore_errors=True)


def _outcome(status: int, failed: str) -> str:
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        return "timeout" if ended_by in {signal.SIGXCPU, signal.SIGKILL} else f"crash {signal.Signals(ended_by).name}"
    # pytest: 0 passed, 1 failed, 2 interrupted (errors of collection), 3 internal, 4 usage, 5 nothing collected.
    code = os.WEXITSTATUS(status)
    return {0: "survived", 1: "killed", 2: "import", 4: "import", 5: "no tests"}.get(code, f"crash {code}")


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _fork(task: Task, directory: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _live(task, directory)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)
    return pid


def _live(task: Task, directory: Path) -> NoReturn:
    code = 3
    try:
        with suppress(PermissionError):
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a child may have children to end
        seconds = int(task.cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
        output = os.open(directory / "output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = task.child(directory)
    except BaseException:  # told by the exit code
        traceback.print_exc()
    finally:
        if code and (keep := os.environ.get("MUTATION_OUTPUT")):
            sys.stdout.flush()
            shutil.copy(directory / "output", keep)
        os._exit(code)
