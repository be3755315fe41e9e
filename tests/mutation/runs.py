"""Run mutants against the tests that reach them, and write down each outcome as it comes."""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import placing, processes, report
from .baseline import Baseline
from .mutants import ROOT, Mutant, path_of
from .targets import KERNELS, TARGETS

STATE = ROOT / ".mutation"
RESULTS = STATE / "results.jsonl"
NOT_HERE = 77
"""Exit code of a child that cannot put its mutant in place: the function is compiled, or made anew by a decorator."""

Waiting = Mapping[str, Sequence[Mutant]]
ChildOf = Callable[[Mutant, list[str]], processes.Child]


def known_results(offset: int = 0) -> dict[str, dict[str, str]]:
    """Return the last outcome of each mutant that has been run; with an offset, of those written down after it."""
    if not RESULTS.exists():
        return {}
    return {result["key"]: result for result in map(json.loads, RESULTS.read_text()[offset:].splitlines())}


def run(waiting: Waiting, baseline: Baseline, options: argparse.Namespace) -> None:
    """Run mutants of functions in forks of a process that has collected all tests, the others in new ones."""
    offset = len(RESULTS.read_text()) if RESULTS.exists() else 0
    some_are_quick = any(_is_quick(mutant) for mutants in waiting.values() for mutant in mutants)
    if some_are_quick and not options.anew and not options.tests:
        # A process of its own collects, so that this one stays without the project's modules.
        collecting = processes.Task("collect", partial(_collect, waiting, baseline, options), 10**6, 10**6)
        for _, outcome, _ in processes.run([collecting], jobs=1):
            if outcome != "survived":
                raise SystemExit(f"the tests cannot be collected: {outcome}")
    done = known_results(offset).keys()
    for module, mutants in waiting.items():
        rest = [mutant for mutant in mutants if mutant.key not in done]
        _run_module(module, rest, lambda mutant, tests: partial(_import_and_run, mutant, tests), baseline, options)


def _is_quick(mutant: Mutant) -> bool:
    return bool(mutant.path) and mutant.module not in KERNELS


def _run_module(
    module: str, mutants: Iterable[Mutant], child_of: ChildOf, baseline: Baseline, options: argparse.Namespace
) -> None:
    by_key = {mutant.key: mutant for mutant in mutants}
    kills = Counter(result["failed"] for result in known_results().values() if result["module"] == module)

    def tasks() -> Iterator[processes.Task]:
        for mutant in by_key.values():
            tests = options.tests or baseline.tests_for(mutant, kills, budget=options.budget, longest=options.longest)
            seconds = sum(baseline.seconds.get(test, 15) for test in tests)
            limit = 20 + 4 * seconds + (120 if module in KERNELS else 0)
            yield processes.Task(mutant.key, child_of(mutant, tests), cpu_seconds=limit, wall_seconds=8 * limit)

    started, survived = time.monotonic(), 0
    for number, (task, outcome, failed) in enumerate(processes.run(tasks(), jobs=options.jobs), start=1):
        if outcome == f"crash {NOT_HERE}":
            continue
        mutant = by_key[task.name]
        if outcome == processes.LATE:
            say(f"  undecided, the machine is too busy: {mutant.module}:{mutant.at[0]} {mutant.operator}")
            continue
        kills[failed] += 1
        _write_down(mutant, outcome, failed)
        if not report.is_dead(outcome):
            survived += 1
            where = f"{path_of(module).relative_to(ROOT)}:{mutant.at[0]}:{mutant.at[1]}"
            say(f"  {outcome}: {where} {mutant.operator}\n    - {mutant.before[:150]}\n    + {mutant.after[:150]}")
        if number % 50 == 0 or number == len(by_key):
            say(f"{module}: {number} of {len(by_key)}, {survived} survived, {time.monotonic() - started:.0f} s")


def _write_down(mutant: Mutant, outcome: str, failed: str) -> None:
    row = {
        "key": mutant.key,
        "module": mutant.module,
        "line": mutant.at[0],
        "operator": mutant.operator,
        "before": mutant.before,
        "after": mutant.after,
        "outcome": outcome,
        "failed": failed,
    }
    with RESULTS.open("a") as results:
        results.write(json.dumps(row) + "\n")


def _collect(waiting: Waiting, baseline: Baseline, options: argparse.Namespace, _: Path) -> int:
    import pytest

    files = sorted({test.split("::")[0] for test in baseline.seconds})
    quick = {module: [mutant for mutant in mutants if _is_quick(mutant)] for module, mutants in waiting.items()}
    return int(pytest.main([*processes.PYTEST, *files], plugins=[_InsteadOfTests(quick, baseline, options)]))


class _InsteadOfTests:
    """A plugin of pytest that runs mutants where tests would run; a child runs tests one after the other."""

    def __init__(self, waiting: Waiting, baseline: Baseline, options: argparse.Namespace) -> None:
        self._waiting, self._baseline, self._options = waiting, baseline, options
        self._failed = ""

    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        for module, mutants in self._waiting.items():

            def child_of(mutant: Mutant, tests: list[str]) -> processes.Child:
                return partial(self._patch_and_run, mutant, [items[test] for test in tests])

            _run_module(module, mutants, child_of, self._baseline, self._options)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._failed = report.nodeid

    def _patch_and_run(self, mutant: Mutant, items: list[Any], directory: Path) -> int:
        if not placing.in_loaded_function(mutant):
            return NOT_HERE
        for item in items:
            _limit(8 + 4 * self._baseline.seconds[item.nodeid])
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            if self._failed:
                (directory / "failed").write_text(self._failed)
                return 1
        return 0 if items else 5


def _limit(seconds: float) -> None:
    """End this process when it has used so much more of the processor."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(most, math.ceil(time.process_time() + seconds)), most))


def _import_and_run(mutant: Mutant, tests: list[str], directory: Path) -> int:
    import pytest

    if not tests:
        return 5
    if mutant.module in KERNELS:
        # The cache tells functions apart by their code, but not by constants and by what they call.
        from numba.core import config

        os.environ["NUMBA_CACHE_DIR"] = config.CACHE_DIR = str(directory / "numba")
    placing.before_import(mutant)
    own = tuple(TARGETS[mutant.module])
    for some in ([t for t in tests if t.startswith(own)], [t for t in tests if not t.startswith(own)]):
        files = list(dict.fromkeys(test.split("::")[0] for test in some))
        if some and (code := pytest.main([*processes.PYTEST, *files], plugins=[_InOrder(some, directory / "failed")])):
            return int(code)
    return 0


class _InOrder:
    """A plugin of pytest that runs the named tests only, in the order of the names, and notes which one fails."""

    def __init__(self, tests: Sequence[str], note: Path) -> None:
        self._place = {test: place for place, test in enumerate(tests)}
        self._note = note

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if any("::" in test for test in self._place):  # else whole files were asked for
            wanted = (item for item in items if item.nodeid in self._place)
            items[:] = sorted(wanted, key=lambda item: self._place[item.nodeid])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self._note.exists():
            self._note.write_text(report.nodeid)


def say(text: str) -> None:
    """Write a line now, on what was standard output when the process began: children have another."""
    os.write(_OUTPUT, f"{text}\n".encode())


_OUTPUT = os.dup(sys.stdout.fileno())
