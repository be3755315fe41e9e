"""Running, keeping and resuming benchmarks, on a suite that counts how often it runs."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import suite as comparison
from bench.suite import machine, runner
from bench.suite.__main__ import app
from bench.suite.findings import Curve, Finding, Ratio, Rival, Row
from bench.suite.parts import PARTS, Part, chosen
from bench.suite.results import PartResult, Shelf
from secagg.errors import ParameterError
from tests.command_line import separating_runner

ROOT = Path(__file__).parents[2]
SUITE = """
import json, os, pathlib
HERE = pathlib.Path(__file__).parent

def ran(name):
    with (HERE / "ran.txt").open("a") as file:
        file.write(name + "\\n")

def test_good(benchmark):
    ran("good")
    print("▸ halfway", flush=True)
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info["finding"] = json.loads((HERE / "finding.json").read_text()) | {
        "title": "at scale " + os.environ["SECAGG_BENCH_SCALE"]
    }

def test_bad(benchmark):
    ran("bad")
    folder = str(HERE)
    raise AssertionError("the sum is wrong, in " + folder)

def test_silent(benchmark):
    benchmark.pedantic(lambda: None, rounds=1)

def test_mended(benchmark):
    ran("mended")
    assert (HERE / "mended").exists(), "not yet"
    test_good(benchmark)

def test_slow(benchmark):
    import time
    ran("slow")
    print("▸ sleeping", flush=True)
    time.sleep(60)
"""
FINDING = Finding(
    "x",
    "a finding",
    notes=["a note"],
    rows=[
        Row(
            "all", "s", 0.5, Rival("peer", 2.0, Ratio(4.0, 3.5, 4.5), "scaled"), Rival("limit", 0.25, Ratio.plain(2.0))
        ),
        Row("alone", "bytes", 7.0, Rival("absent", note="no network")),
    ],
    curves=[Curve("a-curve", "a curve", "clients", "seconds", {"ours": [(1.0, 2.0), (10.0, 3.0)]})],
)
FINDING.add("a figure", 3.25, "s", asked="under 4 s", met=True, lowest=3.0, highest=3.5)
FINDING.add("a truth", True)
FINDING.add("a count", 5)
FINDING.add("a word", "so")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "conftest.py").write_text("")
    (folder / "bench_it.py").write_text(SUITE)
    (folder / "finding.json").write_text(json.dumps(asdict(FINDING)))
    return folder


def part(*names: str) -> Part:
    return Part(names[0], f"what {names[0]} is", tuple(f"bench_it.py::test_{name}" for name in names), (2, 1))


def ran(suite: Path) -> list[str]:
    path = suite / "ran.txt"
    return path.read_text().split() if path.exists() else []


def test_what_is_finished_is_kept_and_what_failed_runs_again(suite: Path) -> None:
    parts = [part("good"), part("mended"), part("bad"), part("silent")]
    steps: list[str] = []
    first = runner.run(parts, suite, quick=True, on_step=lambda part, step: steps.append(f"{part.name}: {step}"))
    assert ran(suite) == ["good", "mended", "bad"]
    assert steps == ["good: halfway"]
    assert [result.name for result in first.failed] == ["mended", "bad", "silent"]
    reasons = [result.failure for result in first.failed]
    assert reasons[0].startswith("AssertionError: not yet")
    assert reasons[1] == "AssertionError: the sum is wrong, in ./bench"
    assert reasons[2] == "the benchmarks found nothing"
    (finding,) = first.findings
    assert finding.title == "at scale quick"
    assert asdict(finding) | {"title": "a finding"} == asdict(FINDING)

    (suite / "mended").touch()
    kept: dict[str, bool] = {}
    second = runner.run(parts[:2], suite, quick=True, on_start=lambda part, is_kept: kept.update({part.name: is_kept}))
    assert ran(suite) == ["good", "mended", "bad", "mended", "good"]
    assert kept == {"good": True, "mended": False}
    assert not second.failed
    assert second.parts[0] == first.parts[0]

    runner.run(parts[:1], suite, quick=True, again=True)
    runner.run(parts[:1], suite, quick=False)
    assert ran(suite)[5:] == ["good", "good"], "--again and another scale measure anew"


def test_an_interruption_keeps_what_is_finished_and_leaves_nothing_running(suite: Path) -> None:
    def interrupt(part: Part, step: str) -> None:
        if step == "sleeping":
            raise KeyboardInterrupt

    parts = [part("good"), part("slow")]
    with pytest.raises(KeyboardInterrupt):
        runner.run(parts, suite, on_step=interrupt)
    assert ran(suite) == ["good", "slow"]
    with pytest.raises(KeyboardInterrupt):
        runner.run(parts, suite, on_step=interrupt)
    assert ran(suite) == ["good", "slow", "slow"]


def test_results_of_other_code_or_another_machine_do_not_count(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = suite.parent
    for name in ("secagg", "bench/suite", "protocols/audit"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "module.py").write_text("x = 1\n")
    before = machine.fingerprint(root)
    (suite / "note.txt").write_text("no code")
    (root / "bench/suite/module.py").write_text("x = 2\n")
    assert machine.fingerprint(root) == before, "reports may change"
    (root / "secagg/module.py").write_text("x = 2\n")
    changed = machine.fingerprint(root)
    assert changed != before
    monkeypatch.setattr(machine, "facts", lambda: {"processor": "another"})
    assert machine.fingerprint(root) not in (before, changed)


def test_a_kept_file_that_is_damaged_is_measured_anew(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, "f" * 16, "full")
    result = PartResult("a", "2026-01-01T00:00:00+00:00", 1.5, "0 0 0", [FINDING])
    assert shelf.find("a") is None
    shelf.keep(result)
    assert shelf.find("a") == result
    assert Shelf(tmp_path, "e" * 16, "full").find("a") is None
    assert Shelf(tmp_path, "f" * 16, "quick").find("a") is None
    (path,) = tmp_path.rglob("a.json")
    for damaged in ("", "{}", path.read_text()[:-20], path.read_text().replace('"seconds": 1.5', '"seconds": "x"')):
        path.write_text(damaged)
        assert shelf.find("a") is None
    shelf.keep(result)
    shelf.drop("a")
    assert shelf.find("a") is None


def test_the_machine_is_told_without_its_name_or_paths() -> None:
    import platform

    told = json.dumps(machine.facts() | machine.versions())
    assert platform.node() not in told or len(platform.node()) < 4
    assert "/home" not in told
    assert str(ROOT) not in told
    assert set(machine.facts()) == {"processor", "cores", "memory", "system", "python"}
    assert machine.versions()["numpy"][0].isdigit()


def test_parts_name_benchmarks_that_exist() -> None:
    for each in PARTS:
        assert each.seconds[0] > 0
        for test in each.tests:
            file, _, name = test.partition("::")
            wanted = f"def {name.partition('[')[0]}(" if name else "def test_"
            assert wanted in (ROOT / "bench" / file).read_text(), test
    assert len({each.name for each in PARTS}) == len(PARTS)
    assert PARTS[0].name == "round"
    assert sum(each.seconds[1] for each in PARTS) <= 180


def test_unknown_parts_are_refused() -> None:
    assert chosen([]) == PARTS
    assert [each.name for each in PARTS if each not in chosen([], quick=True)] == ["flower"]
    assert [each.name for each in chosen(["flower"], quick=True)] == ["flower"]
    assert [each.name for each in chosen(["import", "masks"])] == ["masks", "import"]
    with pytest.raises(ParameterError, match="no benchmark 'nonsense'; there are round, unmasking"):
        chosen(["masks", "nonsense"])


def test_missing_libraries_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pytest_benchmark" else find(name))
    done = separating_runner().invoke(app, [])
    assert done.exit_code == 2
    assert "benchmarks need pytest_benchmark: pip install --editable '.[bench]'" in done.stderr


@pytest.fixture
def command(suite: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The command, on the suite of this test and three of its parts."""
    parts = tuple(map(part, ("good", "bad", "slow")))
    monkeypatch.setattr(comparison, "find_suite", lambda: suite)
    monkeypatch.setattr(
        comparison, "chosen", lambda only, quick: tuple(each for each in parts if each.name in (only or ["good"]))
    )
    monkeypatch.setenv("COLUMNS", "200")
    return suite


def test_the_command_shows_the_table_and_writes_the_report(command: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    done = separating_runner().invoke(app, ["--quick", "--report", str(folder)])
    assert done.exit_code == 0, done.output
    for words in (
        "✓ good",
        "4x (3.5 to 4.5)",
        "peer: 2 s [1]",
        "[1] peer: scaled",
        "not to be had here: absent: no network",
        "REPORT.md",
    ):
        assert words in done.stdout
    assert "at scale quick" in (folder / "REPORT.md").read_text()
    again = separating_runner().invoke(app, ["--quick", "--json"])
    assert ran(command) == ["good"]
    assert json.loads(again.stdout)["parts"][0]["findings"][0]["title"] == "at scale quick"


def test_a_narrow_terminal_gets_the_brief_table(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = separating_runner().invoke(app, ["--quick"])
    assert done.exit_code == 0, done.output
    assert "ours" in done.stdout
    assert "    500 ms   4x      peer [1]  2x\n" in done.stdout
    assert "┃" not in done.stdout
    assert "--report DIR writes" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.partition("ours")[2].splitlines())) <= 80


def test_the_command_ends_with_4_when_a_benchmark_fails(command: Path) -> None:
    done = separating_runner().invoke(app, ["--only", "good", "--only", "bad"])
    assert done.exit_code == 4
    assert "✗ bad" in done.stdout
    assert "the sum is wrong" in done.stdout
    assert "bad failed, and is left out" in done.stdout


def test_the_command_refuses_a_folder_that_it_cannot_write_before_it_measures(command: Path) -> None:
    done = separating_runner().invoke(app, ["--report", "/dev/null/report"])
    assert done.exit_code == 2
    assert "cannot write into" in done.stderr
    assert ran(command) == []


def test_an_interrupted_command_says_how_to_go_on(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "run", interrupt)
    done = separating_runner().invoke(app, [])
    assert done.exit_code == 130
    assert "the same command goes on" in done.stderr


def test_a_part_of_the_real_suite_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "bench"  # what is measured beside other tests must not be kept for anyone's report
    for path in (ROOT / "bench").rglob("*.py"):
        place = copied / path.relative_to(ROOT / "bench")
        if not any(part.startswith(".") for part in place.relative_to(copied).parts):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(path.read_text())
    monkeypatch.setattr(comparison, "find_suite", lambda: copied)
    done = separating_runner().invoke(app, ["--quick", "--only", "import", "--report", str(tmp_path)])
    assert done.exit_code == 0, done.output
    facts = json.loads((tmp_path / "report/report.json").read_text())
    (row,) = facts["parts"][0]["findings"][0]["rows"]
    assert row["capability"].startswith("import protocols")
    assert 0.01 < row["ours"] < 60
    assert row["limit"]["name"] == "import numpy"
    assert 0 < row["limit"]["value"] < row["ours"]
    text = (tmp_path / "REPORT.md").read_text() + (tmp_path / "report/report.html").read_text()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
