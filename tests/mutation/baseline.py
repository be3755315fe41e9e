"""What each test runs when nothing is changed: its lines and seconds, so that a mutant meets tests that reach it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import processes
from .mutants import ROOT, Mutant, path_of
from .targets import KERNELS, LEFT_OUT, TARGETS


@dataclass
class Baseline:
    """Test id -> seconds, and module -> line -> ids of the tests that run it."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def tests_for(self, mutant: Mutant, kills: Mapping[str, int], *, budget: float, longest: float) -> list[str]:
        """Return the tests that reach a mutant, for so many seconds.

        The module's own come first; among them those that killed most in least time, then the short ones.
        """
        reached = self._reaching(mutant)
        own = tuple(TARGETS[mutant.module])

        def rank(test: str) -> tuple[bool, float, float, str]:
            return not test.startswith(own), -kills.get(test, 0) / (self.seconds[test] + 0.1), self.seconds[test], test

        ordered = sorted(reached, key=rank)
        chosen, total = [], 0.0
        for test in ordered:
            if self.seconds[test] <= longest and total + self.seconds[test] <= budget:
                chosen.append(test)
                total += self.seconds[test]
        return chosen

    def _reaching(self, mutant: Mutant) -> set[str]:
        lines = self.lines.get(mutant.module, {})
        if mutant.module in KERNELS:
            own = tuple(TARGETS[mutant.module])
            return {test for test in self.seconds if test.startswith(own)}
        for span in (mutant.lines, mutant.function):
            if span is not None:
                tests = set().union(*(lines.get(line, set()) for line in range(span[0], span[1] + 1)))
                if tests:
                    return tests
        if mutant.function is not None:
            return set()  # a function that no test calls
        return set().union(*lines.values()) if lines else set()


def measure(state: Path, *, jobs: int) -> Baseline:
    """Run all tests of the targets that are not yet measured as they stand, and return what all of them run."""
    state.mkdir(exist_ok=True)
    sources = {module: _digest(path_of(module)) for module in TARGETS}
    files = [
        path
        for package in ("secagg", "protocols", "dp")
        for path in sorted((ROOT / "tests" / package).glob("test_*.py"))
        if LEFT_OUT.isdisjoint(path.stem.split("_"))
    ]
    tasks = [
        processes.Task(path.name, _run_of(path, _note_of(path, state)), cpu_seconds=900, wall_seconds=7200)
        for path in files
        if _measured(path, state, sources) is None
    ]
    for task, outcome, _ in processes.run(tasks, jobs=jobs):
        if outcome != "survived":
            raise SystemExit(f"the tests of {task.name} do not pass without any mutant: {outcome}")
    baseline = Baseline()
    for path in files:
        for test, (seconds, lines) in (_measured(path, state, sources) or {}).items():
            baseline.seconds[test] = seconds
            for module, numbers in lines.items():
                for number in numbers:
                    baseline.lines.setdefault(module, {}).setdefault(number, set()).add(test)
    return baseline


def _measured(
    path: Path, state: Path, sources: Mapping[str, str]
) -> dict[str, tuple[float, dict[str, list[int]]]] | None:
    """Return what is known of a file of tests, None if it has changed, or one of the modules that it ran."""
    note = _note_of(path, state)
    if not note.exists():
        return None
    known = json.loads(note.read_text())
    modules = {module for _, lines in known["tests"].values() for module in lines}
    same = known["file"] == _digest(path) and all(known["sources"][module] == sources.get(module) for module in modules)
    return known["tests"] if same else None


def _note_of(path: Path, state: Path) -> Path:
    return state / f"baseline-{path.parent.name}-{path.stem}.json"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run_of(path: Path, into: Path) -> processes.Child:
    def run(_: Path) -> int:
        import coverage
        import pytest

        sources = {module: _digest(path_of(module)) for module in TARGETS}
        tracer = coverage.Coverage(data_file=None, include=[str(path_of(module)) for module in TARGETS])
        tracer.start()
        watch = _Watch(tracer)
        code = pytest.main([*processes.PYTEST, "-m", "not long", str(path)], plugins=[watch])
        tracer.stop()
        if code == 0:
            written = into.with_suffix(f".{os.getpid()}")
            tests = _lines_by_test(tracer.get_data(), watch.seconds)
            written.write_text(json.dumps({"file": _digest(path), "sources": sources, "tests": tests}))
            written.rename(into)
        return int(code)

    return run


def _lines_by_test(data: object, seconds: dict[str, float]) -> dict[str, tuple[float, dict[str, list[int]]]]:
    found: dict[str, tuple[float, dict[str, list[int]]]] = {test: (taken, {}) for test, taken in seconds.items()}
    for module in TARGETS:
        by_line: dict[int, Iterable[str]] = data.contexts_by_lineno(str(path_of(module)))  # type: ignore[attr-defined]
        for line, tests in by_line.items():
            for test in tests:
                if test in found:
                    found[test][1].setdefault(module, []).append(line)
    return found


class _Watch:
    """A plugin of pytest that tells the tracer which test runs, and takes the processor's time."""

    def __init__(self, tracer: object) -> None:
        self._tracer = tracer
        self._began = 0.0
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tracer.switch_context(nodeid)  # type: ignore[attr-defined]
        self._began = time.process_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] = time.process_time() - self._began
