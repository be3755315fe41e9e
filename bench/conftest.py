"""Collects bench_*.py, and writes one summary of all that a session has measured to bench/out/."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.side_by_side import QUICK, SMALL, Finding, say, show
from bench.suite import machine
from bench.suite.runner import SCALE_VARIABLE

HERE = Path(__file__).parent
OUT = HERE / "out"
_FINDINGS = pytest.StashKey[list[Finding]]()
_LOAD = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("python_files", "bench_*.py")
    config.stash[_FINDINGS] = []
    config.stash[_LOAD] = machine.load()


@pytest.fixture
def report(benchmark: Any, request: pytest.FixtureRequest) -> Callable[[Finding], None]:
    """Show a finding, and keep it for the summary and in pytest-benchmark's own record."""

    def keep(finding: Finding) -> None:
        if SMALL or QUICK:
            for line in finding.lines:  # what is asked holds for full sizes
                line.asked, line.met = "", None
        benchmark.extra_info["finding"] = dataclasses.asdict(finding)
        request.config.stash[_FINDINGS].append(finding)
        show(finding)
        if SCALE_VARIABLE not in os.environ:  # `python -m bench.suite` makes a report of its own
            _write_summary(request.config)

    return keep


def pytest_runtest_logstart(nodeid: str) -> None:
    say(nodeid.rpartition("::")[2])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    findings = config.stash[_FINDINGS]
    if not findings:
        return
    terminalreporter.section("what is asked for")
    for finding in findings:
        for line in finding.lines:
            if line.asked:
                verdict = f"[{line.verdict}]" if line.verdict else ""
                terminalreporter.line(f"{finding.letter}  {line.what}: {line.figure}; asked {line.asked}  {verdict}")
    terminalreporter.line(f"all figures: {_summary_path('.md').relative_to(HERE.parent)} and .json")


def _write_summary(config: pytest.Config) -> None:
    """Written after each benchmark, so that an interrupted session leaves what it has."""
    findings = sorted(config.stash[_FINDINGS], key=lambda finding: finding.letter)
    about = (
        machine.facts()
        | machine.versions()
        | {"load_average_before": config.stash[_LOAD], "load_average_after": machine.load()}
    )
    OUT.mkdir(exist_ok=True)
    facts = {"small": SMALL, "machine": about, "findings": [dataclasses.asdict(finding) for finding in findings]}
    _summary_path(".json").write_text(json.dumps(facts, indent=2) + "\n")
    title = "# Benchmarks\n"
    if SMALL:
        title += "\nSmall sizes: they show that the benchmarks work, and say nothing about speed.\n"
    listed = "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in about.items())
    _summary_path(".md").write_text("\n".join([title, listed, *(finding.markdown() for finding in findings)]))


def _summary_path(suffix: str) -> Path:
    return OUT / f"{'small' if SMALL else 'summary'}{suffix}"
