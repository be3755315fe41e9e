"""Running parts, and the command, on benchmarks that are made up; and one real part."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from bench.suite import __main__ as command
from bench.suite import machine, runner
from bench.suite.findings import Curve, Finding, PartResult, Ratio, Rival, Row
from bench.suite.parts import PARTS, Part, chosen
from secagg.errors import ParameterError
from tests.command_line import separating_runner

ROOT = Path(__file__).parents[2]
BENCHMARKS = """
import json, os, pathlib, time
HERE = pathlib.Path(__file__).parent

def test_good(benchmark):
    print("▸ halfway", flush=True)
    benchmark.pedantic(lambda: None, rounds=1)
    found = json.loads((HERE / "finding.json").read_text())
    benchmark.extra_info["finding"] = found | {"title": "at scale " + os.environ["SECAGG_BENCH_SCALE"]}

def test_bad(benchmark):
    raise AssertionError("the sum is wrong, in " + str(HERE))

def test_silent(benchmark):
    benchmark.pedantic(lambda: None, rounds=1)

def test_slow(benchmark):
    (HERE / "pid").write_text(str(os.getpid()))
    print("▸ sleeping", flush=True)
    time.sleep(60)
"""
RATIO = Ratio(4.0, 3.5, 4.5)
FINDING = Finding(
    "at scale quick",
    notes=["a note"],
    rows=[Row("all", "s", 0.5, Rival("peer", 2.0, RATIO, "scaled"), Rival("limit", 0.25, Ratio.of([2.0])))],
    curves=[Curve("a-curve", "a curve", "clients", "seconds", {"ours": [(1.0, 2.0), (10.0, 3.0)]})],
)
FINDING.add_ratio("a ratio", RATIO, asked="over 3", met=True)
for value in (True, 5, 3.25, "so"):
    FINDING.add("a figure", value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "conftest.py").write_text("")
    (folder / "bench_it.py").write_text(BENCHMARKS)
    (folder / "finding.json").write_text(json.dumps(asdict(FINDING)))
    return folder


def part(name: str, of: str) -> Part:
    return Part(name, f"what {name} is", (f"bench_it.py::test_{of}",))


def test_a_part_gives_findings_or_says_why_it_failed(folder: Path) -> None:
    steps: list[str] = []
    good, bad, silent = (
        runner.measure(part(name, name), "quick", steps.append, folder) for name in ("good", "bad", "silent")
    )
    assert steps == ["halfway"]
    assert good == PartResult("good", good.started, good.seconds, good.load, [FINDING])
    assert bad.failure == "AssertionError: the sum is wrong, in ./bench"
    assert silent.failure == "the benchmarks found nothing"


def test_an_interruption_leaves_nothing_running(folder: Path) -> None:
    def interrupt(step: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.measure(part("slow", "slow"), "full", interrupt, folder)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_the_machine_is_told_without_its_name_or_paths() -> None:
    told = json.dumps(machine.facts())
    assert platform.node() not in told or len(platform.node()) < 4
    assert "/home" not in told
    assert str(ROOT) not in told
    assert "numpy 2" in told or "numpy 1" in told


def test_parts_name_benchmarks_that_exist() -> None:
    for each in PARTS:
        for test in each.tests:
            file, _, name = test.partition("::")
            wanted = f"def {name.partition('[')[0]}(" if name else "def test_"
            assert wanted in (ROOT / "bench" / file).read_text(), test
    assert len({each.name for each in PARTS}) == len(PARTS)


def test_unknown_parts_are_refused() -> None:
    assert chosen([]) == PARTS
    assert [each.name for each in PARTS if each not in chosen([], quick=True)] == [
        "large",
        "flower",
        "committee",
        "statistics",
        "ray",
        "service",
    ]
    assert [each.name for each in chosen(["flower"], quick=True)] == ["flower"]
    assert [each.name for each in chosen(["import", "masks"])] == ["masks", "import"]
    with pytest.raises(ParameterError, match="no benchmark 'nonsense'; there are round, large, unmasking"):
        chosen(["masks", "nonsense"])


def test_missing_libraries_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_benchmark" else find(name))
    done = separating_runner().invoke(command.app, [])
    assert done.exit_code == 2
    assert "benchmarks need pytest_benchmark: pip install --editable '.[bench]'" in done.stderr


@pytest.fixture
def measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two of the real parts' names stand for benchmarks of this test."""
    parts = (part("masks", "good"), part("shamir", "bad"))
    monkeypatch.setattr(command, "PARTS", parts)
    monkeypatch.setattr(
        command, "chosen", lambda only, quick: [each for each in parts if not only or each.name in only]
    )
    monkeypatch.setattr(runner, "measure", partial(runner.measure, folder=folder))
    monkeypatch.setattr(machine, "_commit", lambda: "abc")
    return folder


def run(*arguments: object, code: int = 0) -> str:
    done = separating_runner().invoke(command.app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done.stdout + done.stderr


def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have results that were not measured, which takes a process each."""

    def measure(part: Part, scale: str, *_: object) -> PartResult:
        if part.name == "masks":
            return PartResult(part.name, "2026-11-01", 1.0, "0.5", [replace(FINDING, title=f"at scale {scale}")])
        return PartResult(part.name, "2026-11-01", 1.0, "0.5", [], "AssertionError: the sum is wrong")

    monkeypatch.setattr(runner, "measure", measure)


def test_the_command_shows_the_table_and_adds_to_the_report(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run("--quick", "--only", "masks", "--report", tmp_path)
    for words in ("✓ masks", "    500 ms  4x      peer [1]  2x\n", "[1] peer: scaled"):
        assert words in said
    text = (tmp_path / "REPORT.md").read_text()
    assert "at scale quick" in text
    assert "shamir failed" not in text

    stub(monkeypatch)
    said = run("--quick", "--only", "shamir", "--report", tmp_path, code=4)
    for words in ("✗ shamir", "the sum is wrong", "shamir failed, and is left out"):
        assert words in said
    text = (tmp_path / "REPORT.md").read_text()
    assert "at scale quick" in text
    assert "shamir failed" in text
    facts = json.loads(separating_runner().invoke(command.app, ["--only", "masks", "--json"]).stdout)
    assert [each["findings"][0]["title"] for each in facts["parts"]] == ["at scale full"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(measured: Path) -> None:
    said = run("--report", "/dev/null/report", code=2)
    assert "cannot write into" in said
    assert "✓" not in said


def test_an_interrupted_command_leaves_the_report_and_says_how_to_go_on(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(monkeypatch)
    measure = runner.measure

    def interrupt(part: Part, *arguments: object) -> PartResult:
        if part.name == "shamir":
            raise KeyboardInterrupt
        return measure(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "measure", interrupt)
    assert "--only NAME adds the rest" in run("--report", tmp_path, code=130)
    assert "at scale full" in (tmp_path / "REPORT.md").read_text()


def test_a_part_of_the_real_suite_runs(tmp_path: Path) -> None:
    run("--quick", "--only", "masks", "--report", tmp_path)
    facts = json.loads((tmp_path / "report/report.json").read_text())
    row, *_ = facts["parts"][0]["findings"][0]["rows"]
    assert row["capability"].startswith("adding 100 masks")
    assert row["limit"]["name"] == "AES-256, 1 thread"
    assert min(row["ours"], row["limit"]["value"]) > 0
    assert str(ROOT) not in (tmp_path / "REPORT.md").read_text()
