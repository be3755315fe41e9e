"""Every example runs; so does every Python block of the README and the guides, and every shell line is a real one.

A `text` block right behind a block of code is what that prints, and is compared.
"""

import ast
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer

from bench.suite.__main__ import app as comparison
from protocols.cli.app import app
from tests.command_line import command_of, separating_runner
from tests.documents import DOCUMENTS, Block, blocks, commands, of_language
from tests.processes import python

ROOT = Path(__file__).parent.parent
LANGUAGES = {"python", "sh", "text", "diff", "toml", ""}
CHEAP = {"params", "budget", "dp"}
"""Commands that are not only parsed but run, one after another in a document, in an empty folder."""
USAGE_ERROR = typer.BadParameter.__mro__[1]  # click's UsageError, wherever this typer keeps click
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def named(found: Iterable[tuple[str, Block]]) -> list[Any]:
    return [pytest.param(block, id=name) for name, block in found]


def check_command(words: list[str]) -> None:
    """Fail unless a documented command exists, with the options and extras that are named."""
    match words:
        case ["secagg", *arguments]:
            command: Any = command_of(app)
            while arguments and arguments[0] in getattr(command, "commands", {}):
                command = command.commands[arguments.pop(0)]
            assert not hasattr(command, "commands") or arguments == ["--version"], f"no such command: {words}"
            if arguments != ["--version"]:
                command.make_context("secagg", arguments)
        case ["make", target, *_]:
            assert target in MAKE_TARGETS
        case ["pip", "install", folder] if folder.startswith("./"):
            assert (ROOT / folder / "pyproject.toml").is_file()
        case ["pip", "install", what] | ["pip", "install", "--editable", what]:
            assert re.fullmatch(r"\.(\[[a-z,]+\])?", what)
            assert set(re.findall(r"[a-z]+", what)) <= set(EXTRAS)
        case ["python", "-m", "bench.suite", *arguments]:
            command_of(comparison).make_context("bench.suite", arguments)
        case ["pytest" | "python", path, *_] if path.endswith(".py"):
            assert (ROOT / path).is_file()
        case ["flwr", "run", folder, "--stream", "--federation-config", nodes]:
            # tests/protocols/flower runs the app itself, with such an option.
            assert re.fullmatch(r"num-supernodes=\d+", nodes)
            assert (ROOT / folder / "pyproject.toml").is_file()
        case ["git", "clone" | "checkout", *_] | ["export", _]:
            pass
        case _:
            raise AssertionError(f"nothing checks that this works: {words}")


EXAMPLES = {
    "aggregate.py": [
        "hospital-06', 'hospital-08",
        "sum:        [-4.8 -1.6  1.6  4.8]",
        "plain sum:  [-4.8 -1.6  1.6  4.8]",
    ],
    "hospitals.py": [
        "5,312 patients of 12 hospitals",
        "each count is off by 4.7: epsilon 1 for each patient",
        "with noise for whole hospitals it would be 4,628",
    ],
    "hospitals_service.py": [
        "in the sum of patients by ward: hospital-01, hospital-02, hospital-03, hospital-04, hospital-06, hospital-07",
        "sum:       [1055, 2055, 3055, 4055]",
        "plain sum: [1055, 2055, 3055, 4055]",
        "no answer in time, masked-input: hospital-05",
        "no answer in time, masked-input: hospital-08",
        "its shares were not those that it was dealt: hospital-03",
    ],
    "http_round.py": ["in the sum: amber, birch, cedar, dogwood, fir", "sum: [1.6 1.6 1.6]"],
    "identities_from_files.py": [
        "in the sum: clinic-1, clinic-2, clinic-3, clinic-4, clinic-5",
        "sum: [1.25 1.25 1.25]",
    ],
    "paillier_committee.py": [
        "hospital-1, hospital-2, hospital-3, hospital-5",
        "plain sum: [-1.1   -0.367  0.367  1.1  ]",
    ],
    "private_round_ledger.py": [
        "mean of 11:",
        "round 2 is refused: budget 'study' would be exceeded",
        "clinic-07 has spent 0.0",
    ],
    "hospital_statistics.py": [
        "11 hospitals, 2380 patients",
        "mean age is numpy's: True",
        "correlation is numpy's: True",
        "median stay is within its bracket: True",
        "ward rare: cell",
        "all but the oldest patient: disclosure",
    ],
    "team_practices.py": [
        "1240 teams of 16 companies",
        "reviewed and success: 0.46, as numpy has it: True",
        "releases and success: 0.41, as numpy has it: True",
        "trunk       62.1 of 100",
        "companies with a majority for pairing: 10 of 16",
    ],
    "state_dict_batchnorm.py": [
        "bn.num_batches_tracked: int64 () [137]",
        "conv.weight: float32 (2, 1, 3, 3) [0.867 0.867]",
    ],
    "robust_mean.py": [
        "3 groups of 8, 8, 8 clinics, of which 1 may be spoilt",
        "mean of all: [-40.7 -40.7 -40.7 -40.7]",
        "median of the groups' means: [1. 1. 1. 1.]",
        "how far away they are: [  0.   0. 250.]",
    ],
    "organisation_totals.py": [
        "project: its operator learns a sum of 20 people or more, 12 of them not corrupt",
        "left out: team-22",
        "people of 26 teams and 5 projects are in the total",
        "as in clear: True",
        "but this client consents to 2, up to the project",
    ],
    "training_service.py": ["round 6: completed, a sum of 5", "weights: [ 0.5 -1.   2. ]"],
    "resume_after_crash.py": ["in the sum: centre, east, north, south, west", "sum: [1.5 1.5 1.5]"],
}
"""What each prints, among other things."""


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run_and_print_what_they_sum(example):
    printed = python(f"examples/{example}")
    assert EXAMPLES[example]
    for line in EXAMPLES[example]:
        assert line in printed


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_exist(document):
    paths = re.findall(r"(?<![\w/.])((?:secagg|dp|protocols|tests|bench|docs|examples)/[\w/.-]+)", document.read_text())
    missing = [path for path in paths if not (ROOT / path.rstrip(".")).exists() and not path.startswith("bench/out")]
    assert [path for path in missing if "NNNN" not in path] == []


# Blocks of a Flower app are tried where Flower is: in tests/protocols/flower.
PYTHON_BLOCKS = [(name, block) for name, block in of_language("python") if "flwr" not in block.text]


@pytest.mark.parametrize("block", named(PYTHON_BLOCKS))
def test_python_blocks_run(block, tmp_path):
    printed = python("-c", block.text, folder=tmp_path)  # what they write stays apart
    assert block.output in (None, printed)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_shell_blocks_are_real(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for block in blocks(document):
        printed = ""
        for line in commands(block.text) if block.language == "sh" else ():
            words, file = (line[:-2], line[-1]) if line[-2:-1] == [">"] else (line, None)
            check_command(list(words))
            if words[0] == "export":
                monkeypatch.setenv(*words[1].split("=", 1))
            if words[0] == "secagg" and words[1] in CHEAP:
                outcome = separating_runner().invoke(app, words[1:])
                assert outcome.exit_code == 0, (words, outcome.stderr)
                if file is None:
                    printed += outcome.stdout
                else:
                    Path(file).write_text(outcome.stdout)
        if block.language == "sh" and block.output is not None:
            assert [line.rstrip() for line in printed.splitlines()] == block.output.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["secagg", "rounds"],
        ["secagg", "round", "--clients", "10"],
        ["secagg", "params", "--clients", "10", "--dims", "5"],
        ["make", "everything"],
        ["pip", "install", ".[nothing]"],
        ["pytest", "bench/bench_nothing.py"],
        ["rm", "-rf", "."],
    ],
    ids=" ".join,
)
def test_a_command_that_does_not_exist_would_be_found(words):
    with pytest.raises((AssertionError, USAGE_ERROR)):
        check_command(words)


def test_the_documents_have_blocks_of_known_languages_only():
    found = [block for document in DOCUMENTS for block in blocks(document)]
    assert {block.language for block in found} <= LANGUAGES
    assert blocks(ROOT / "README.md")
    for name, block in of_language("python"):
        assert ast.parse(block.text).body, name
