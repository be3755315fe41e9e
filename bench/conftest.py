"""Collects bench_*.py, and writes one report of all that a session has measured to bench/out/."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.side_by_side import SCALE, say
from bench.suite import machine
from bench.suite import report as reports
from bench.suite.findings import Finding, PartResult, Results
from secagg.loops import prefer_compiled

OUT = Path(__file__).parent / "out"
_SESSION = pytest.StashKey[PartResult]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("python_files", "bench_*.py")
    prefer_compiled()  # as processes do that stay
    started = datetime.now(UTC)
    config.stash[_SESSION] = PartResult("session", started.isoformat(timespec="seconds"), 0.0, machine.load())


@pytest.fixture
def report(benchmark: Any, request: pytest.FixtureRequest) -> Callable[[Finding], None]:
    """Show a finding, and keep it for the report and in pytest-benchmark's own record."""
    config, session = request.config, request.config.stash[_SESSION]

    def keep(finding: Finding) -> None:
        if SCALE != "full":
            for line in finding.lines:  # what is asked holds for full sizes
                line.asked, line.met = "", None
        benchmark.extra_info["finding"] = dataclasses.asdict(finding)
        print("\n" + reports.section(finding))
        session.findings.append(finding)
        session.seconds = (datetime.now(UTC) - datetime.fromisoformat(session.started)).total_seconds()
        if not config.getoption("benchmark_json"):  # `python -m bench.suite` makes a report of its own
            reports.write(Results(SCALE, machine.facts(), [session]), OUT)

    return keep


def pytest_runtest_logstart(nodeid: str) -> None:
    say(nodeid.rpartition("::")[2])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    findings = config.stash[_SESSION].findings
    for finding in findings:
        for line in finding.lines:
            if line.asked:
                terminalreporter.line(
                    f"{finding.title}: {line.what}: {line.figure}; asked {line.asked} [{line.verdict}]"
                )
    if findings:
        terminalreporter.line(f"all figures: bench/{OUT.name}/{reports.MARKDOWN}")
