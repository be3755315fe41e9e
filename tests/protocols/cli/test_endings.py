"""How commands end: exit codes from one table, whatever standard output is, and help that fits a terminal."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import dp.errors
import secagg.errors
from dp.errors import BudgetExceededError, DpError, LedgerCorruptError, LedgerError, UnknownBudgetError
from protocols.cli import main
from protocols.cli.app import app
from protocols.cli.errors import ENDINGS, exit_on_errors
from protocols.service.connection import Connection, RequestRefusedError
from secagg.errors import EncodingError, MalformedMessage, ParameterError, SecAggError, ThresholdError
from tests.command_line import command_of, separating_runner

FULL = Path("/dev/full")
RUN = "from protocols.cli import main; main()"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands that do something, by their words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(command_of(app)))


# Exit codes.


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...], BaseException], Any]:
    """Run a command in whose stead an error is raised."""

    def ending(words: tuple[str, ...], error: BaseException) -> Any:
        def fail() -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(COMMANDS[words], "params", [])
            patch.setattr(COMMANDS[words], "callback", fail)
            return separating_runner().invoke(app, list(words), catch_exceptions=False)

    return ending


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParameterError("such [text]"), 2),
        (DpError("such [text]"), 2),
        (UnknownBudgetError("such [text]"), 2),
        (MemoryError("such [text]"), 2),
        (OSError(28, "such [text]", "file"), 2),
        (SecAggError("such [text]"), 3),
        (EncodingError("such [text]"), 3),
        (MalformedMessage("such [text]", culprits={1}), 3),
        (ThresholdError("such [text]", needed=2, have=1), 3),
        (LedgerError("such [text]"), 3),
        (LedgerCorruptError("such [text]"), 4),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_every_error_has_its_code(ending: Any, error: BaseException, code: int) -> None:
    for words in (("params",), ("budget", "status")):
        outcome = ending(words, error)
        assert (outcome.exit_code, outcome.stdout) == (code, "")
        assert outcome.stderr.startswith("secagg: ")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_ends_by_the_same_table(ending: Any, words: tuple[str, ...]) -> None:
    outcome = ending(words, LedgerCorruptError("such [text]"))
    assert (outcome.exit_code, outcome.stdout, outcome.stderr) == (4, "", "secagg: such [text]\n")
    with pytest.raises(ZeroDivisionError):  # what nobody foresaw stays a traceback
        ending(words, ZeroDivisionError())


def test_a_missing_library_is_a_command_that_is_impossible_whoever_says_so(ending: Any) -> None:
    for error in (secagg.errors.MissingDependencyError("such"), dp.errors.MissingDependencyError("such")):
        assert ending(("params",), error).exit_code == 2


def test_an_error_is_told_to_machines_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_on_errors(as_json=True):
        raise ThresholdError("two\nlines", needed=2, have=1)
    assert capsys.readouterr().out == '{"error": "ThresholdError", "message": "two\\nlines"}\n'


@pytest.mark.parametrize("name", ["typer", "rich.console", "click"])
def test_without_the_extra_of_commands_it_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("protocols.cli.prepare_streams", missing)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = f"secagg: the command needs {name.partition('.')[0]}: in a checkout of secagg, pip install '.[cli]'\n"
    assert capsys.readouterr().err == told


def test_another_module_that_is_missing_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.cli.prepare_streams", lambda: importlib.import_module("no_such_module"))
    with pytest.raises(ModuleNotFoundError):
        main()


STORE = "none/store.db"
BEGINNING = {
    "serve": ["serve", "--forever", "--insecure-loopback", "--port", "0", "--store", STORE],
    "join": ["join", "https://localhost:1", "--name", "a", "--state", "s", "--values", "v.json"],
}


@pytest.mark.parametrize("command", BEGINNING)
def test_what_keeps_a_service_or_a_member_from_beginning_ends_with_2(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(self: Connection, name: str) -> None:
        raise RequestRefusedError(403, "not-enrolled", "nobody's key")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Connection, "confirm", refused)
    Path("v.json").write_text('{"v": [1]}')
    outcome = separating_runner().invoke(app, [*BEGINNING[command], "--json"])
    assert outcome.exit_code == 2, outcome.stderr
    error = {"serve": "StoreError", "join": "RequestRefusedError"}[command]
    assert json.loads(outcome.stdout)["error"] == error


def test_every_error_on_purpose_has_an_exit_code() -> None:
    assert {SecAggError, DpError} <= ENDINGS.keys()
    assert issubclass(BudgetExceededError, LedgerError)


# Help.


@pytest.mark.parametrize("words", [(), ("dp",), ("budget",), *COMMANDS], ids=" ".join)
def test_help_fits_a_terminal(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = separating_runner().invoke(app, [*words, "--help"])
    lines = outcome.stdout.splitlines()
    assert outcome.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 64  # an older typer spaces its panels more widely
    assert "…" not in outcome.stdout
    command: Any = command_of(app)
    for word in words:
        command = command.commands[word]
    written = [part.splitlines() for part in command.help.split("\n\n")]
    assert all(len(line) < 80 for lines in written if len(lines) > 1 for line in lines)  # or each would break twice


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_each_argument_is(words: tuple[str, ...]) -> None:
    """Whichever typer and click are installed: together some of them leave it out."""
    outcome = separating_runner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    shown = " ".join(re.sub("[│╭╮╰╯─]", " ", outcome.stdout).split())
    hints = get_type_hints(inspect.unwrap(COMMANDS[words].callback), include_extras=True)
    arguments = [each for each in COMMANDS[words].params if each.param_type_name == "argument"]
    for argument in arguments:
        (told,) = (each.help for each in hints[argument.name].__metadata__)
        assert told
        assert re.sub(r"\s", "", told) in re.sub(r"\s", "", shown)  # which is folded where a column is narrow


# Standard output.


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command in a process of its own, with a standard output of one's own."""

    def run(*arguments: str, before: str = "", **given: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"SECAGG_LEDGER": str(tmp_path / "ledger.sqlite"), "PYTHONIOENCODING": "utf-8"}
        given["env"] = environment | given.get("env", {})
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "check": False} | given
        command = [sys.executable, "-c", f"{before}\n{RUN}", *arguments]
        outcome: subprocess.CompletedProcess[str] = subprocess.run(command, **given)  # noqa: S603, PLW1510
        return outcome

    return run


def budgets(folder: Path, *arguments: str) -> Any:
    """Run a command about budgets in this process, which takes no second; return what it says as JSON."""
    at = {"SECAGG_LEDGER": str(folder / "ledger.sqlite")}
    outcome = separating_runner().invoke(app, ["budget", *arguments, "--json"], env=at)
    assert outcome.exit_code == 0, outcome.stderr
    return json.loads(outcome.stdout)


@pytest.fixture
def paid(run: Run, tmp_path: Path) -> Run:
    """The same, with a budget to spend from."""
    budgets(tmp_path, "create", "b", "--epsilon", "1")
    return run


def held(folder: Path) -> Any:
    return budgets(folder, "status", "b")[0]["held"]["epsilon"]


RESERVE = ("budget", "reserve", "b", "--epsilon", "0.4", "--round")


def test_ascii_is_enough_for_tables_and_help(run: Run) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "COLUMNS": "100"}
    for arguments in (["params", "--clients", "10"], ["round", "--help"], ["round", "--clients", "é"]):
        outcome = run(*arguments, env=ascii_only)
        assert outcome.returncode == (2 if "é" in arguments else 0), outcome.stderr
        assert (outcome.stdout + outcome.stderr).isascii()
        assert "Traceback" not in outcome.stderr


def test_bars_are_told_apart_in_ascii(paid: Run, tmp_path: Path) -> None:
    budgets(tmp_path, *RESERVE[1:], "r1")
    outcome = paid("budget", "status", env={"PYTHONIOENCODING": "ascii"})
    assert ("+" * 10 + "." * 14) in outcome.stdout


@pytest.mark.parametrize(("more", "unbuffered"), [([], "1"), (["--json"], "")])
def test_a_full_standard_output_is_told_and_the_spend_stands(
    paid: Run, tmp_path: Path, more: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with FULL.open("w") as full:
        outcome = paid(*RESERVE, "r1", *more, stdout=full)
    assert outcome.returncode == 6
    assert outcome.stderr == (
        "secagg: standard output cannot be written: No space left on device; what the command did stands\n"
    )
    assert held(tmp_path) == "0.4"


def test_a_full_standard_output_hides_no_refusal(paid: Run) -> None:
    with FULL.open("w") as full:
        assert paid("budget", "reserve", "b", "--epsilon", "2", "--round", "r", "--json", stdout=full).returncode == 3
        assert paid("--version", stdout=full).returncode == 6
        assert paid("--help", stdout=full).returncode == 6


@pytest.mark.parametrize("arguments", [[*RESERVE, "r1"], [*RESERVE, "r1", "--json"], ["--help"]])
def test_a_reader_that_is_gone_ends_it_quietly(paid: Run, tmp_path: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    outcome = paid(*arguments, stdout=writing)
    os.close(writing)
    assert (outcome.returncode, outcome.stderr) == (141, "")
    assert held(tmp_path) == ("0.4" if "reserve" in arguments else "0")


def test_without_a_standard_output_nothing_is_begun(paid: Run, tmp_path: Path) -> None:
    outcome = paid(*RESERVE, "r1", preexec_fn=lambda: os.close(1))
    assert (outcome.returncode, outcome.stderr[:45]) == (2, "secagg: standard output is closed: send it to")
    assert held(tmp_path) == "0"


INTERRUPT = """
import sys
class Interrupt:
    def find_spec(name, *_):
        if name == "{module}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt)
"""


@pytest.mark.parametrize("module", ["typer", "protocols.cli.app", "protocols.masking.traffic"])
def test_an_interrupt_while_modules_are_loaded_is_no_traceback(run: Run, module: str) -> None:
    before = "import protocols" + INTERRUPT.format(module=module)
    if module == "protocols.masking.traffic":
        before += f"sys.modules.pop({module!r}, None)\nvars(protocols.masking).pop('traffic', None)\n"
    outcome = run("params", "--clients", "10", before=before)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (128 + signal.SIGINT, "", "secagg: interrupted\n")


# Workers of a round.

WORKERS = """
import multiprocessing, os, signal, time
from protocols.simulation.workers import Workers
signal.signal(signal.SIGINT, signal.default_int_handler)  # who started us may ignore it
def fail(*_):
    {how}
    time.sleep(600)
Workers.{when} = fail
"""
IN_WORKERS = ("round", "--clients", "12", "--dim", "5", "--workers", "2", "--json")


@pytest.mark.parametrize("when", ["settle", "ask"])
def test_an_interrupt_while_clients_compute_in_workers_is_no_traceback(run: Run, when: str) -> None:
    before = WORKERS.format(how="os.killpg(0, signal.SIGINT)", when=when)
    outcome = run(*IN_WORKERS, before=before, start_new_session=True)  # returns when no worker has its end of the pipes
    assert (outcome.returncode, outcome.stderr) == (130, "secagg: interrupted\n")


def test_a_worker_that_is_killed_ends_a_round_in_a_sentence(run: Run) -> None:
    kill = "[child.kill() for child in multiprocessing.active_children()]; return meet(*_)"
    before = "from protocols.simulation.workers import Workers\nmeet = Workers.meet\n"
    outcome = run(*IN_WORKERS, before=before + WORKERS.format(how=kill, when="meet"))
    assert outcome.returncode == 3
    assert json.loads(outcome.stdout)["error"] == "LostWorkerError"
    # Which of the two is noticed first is chance.
    assert re.match(r"secagg: worker [12] of 2, with the clients .* was ended by SIGKILL, ", outcome.stderr)
    assert outcome.stderr.count("\n") == 1
