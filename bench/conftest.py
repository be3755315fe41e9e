"""Collects bench_*.py, and writes one summary of all that a session has measured to bench/out/."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from side_by_side import SMALL, Finding

HERE = Path(__file__).parent
OUT = HERE / "out"
PACKAGES = ("numpy", "numba", "pycryptodome", "galois", "msgspec", "flwr", "ray", "secagg")
_FINDINGS = pytest.StashKey[list[Finding]]()
_LOAD = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("python_files", "bench_*.py")
    config.stash[_FINDINGS] = []
    config.stash[_LOAD] = _load_average()


@pytest.fixture
def report(benchmark: Any, request: pytest.FixtureRequest) -> Callable[[Finding], None]:
    """Show a finding, and keep it for the summary and in pytest-benchmark's own record."""

    def keep(finding: Finding) -> None:
        benchmark.extra_info.update({line.what: line.value for line in finding.lines})
        request.config.stash[_FINDINGS].append(finding)
        finding.show()
        _write_summary(request.config)

    return keep


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    findings = config.stash[_FINDINGS]
    if not findings:
        return
    terminalreporter.section("what the issue asks for")
    for finding in findings:
        for line in finding.lines:
            if line.asked:
                verdict = f"[{line.verdict}]" if line.verdict else ""
                terminalreporter.line(f"{finding.letter}  {line.what}: {line.figure}; asked {line.asked}  {verdict}")
    terminalreporter.line(f"all figures: {_summary_path('.md').relative_to(HERE.parent)} and .json")


def _write_summary(config: pytest.Config) -> None:
    """Written after each benchmark, so that an interrupted session leaves what it has."""
    findings = sorted(config.stash[_FINDINGS], key=lambda finding: finding.letter)
    machine = _machine() | {"load_average_before": config.stash[_LOAD], "load_average_after": _load_average()}
    OUT.mkdir(exist_ok=True)
    facts = {"small": SMALL, "machine": machine, "findings": [dataclasses.asdict(finding) for finding in findings]}
    _summary_path(".json").write_text(json.dumps(facts, indent=2) + "\n")
    title = "# Benchmarks\n"
    if SMALL:
        title += "\nSmall sizes: they show that the benchmarks work, and say nothing about speed.\n"
    about = "".join(f"- {name.replace('_', ' ')}: {value}\n" for name, value in machine.items())
    _summary_path(".md").write_text("\n".join([title, about, *(finding.markdown() for finding in findings)]))


def _summary_path(suffix: str) -> Path:
    return OUT / f"{'small' if SMALL else 'summary'}{suffix}"


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": sys.version.split()[0],
    }
    for name in PACKAGES:
        try:
            machine[name] = version(name)
        except PackageNotFoundError:
            machine[name] = "not installed"
    return machine


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _load_average() -> str:
    return " ".join(f"{load:.2f}" for load in os.getloadavg())
