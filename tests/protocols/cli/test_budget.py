"""The `secagg budget` commands, as people and scripts use them."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from dp.errors import BudgetExceededError
from dp.ledger import Budget, Cost, Ledger
from dp.ledger.costs import from_plain
from dp.sensitivity import Adjacency
from protocols.cli.app import app
from tests.command_line import separating_runner
from tests.contracts.ledger_contract import sqlite_tamper

runner = separating_runner()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("SECAGG_LEDGER", path)
    return path


def run(*arguments: str, exit_code: int = 0) -> str:
    outcome = runner.invoke(app, ["budget", *arguments])
    assert outcome.exit_code == exit_code, (outcome.output, outcome.exception)
    return outcome.stdout if exit_code == 0 else outcome.stderr


def run_json(*arguments: str, exit_code: int = 0) -> Any:
    outcome = runner.invoke(app, ["budget", *arguments, "--json"])
    assert outcome.exit_code == exit_code, (outcome.output, outcome.exception)
    return json.loads(outcome.stdout)


def test_a_budget_from_its_creation_to_its_audit(ledger: str, tmp_path: Path) -> None:
    (created,) = run_json("create", "alice", "--epsilon", "1", "--delta", "1e-5", "--kind", "data-subject")
    assert (created["left"], created["kind"]) == ({"epsilon": "1", "delta": "0.00001"}, "data-subject")
    people = tmp_path / "people"
    people.write_text("anna\nbert\n\n")
    taken = run_json("reserve", "alice", "--round", "r1", "--epsilon", "0.3", "--participants-file", str(people))
    assert (taken["status"], taken["participants"], taken["charge"]["epsilon"]) == ("reserved", 2, "0.3")
    done = run_json("commit", "alice", "--round", "r1", "--epsilon", "0.2")
    assert (done["status"], done["charge"]["epsilon"]) == ("committed", "0.2")
    run_json("reserve", "alice", "--round", "r2", "--epsilon", "0.3", "--delta", "1e-6", "--participant", "anna")
    assert run_json("release", "alice", "--round", "r2")["status"] == "released"
    run_json("reserve", "alice", "--round", "r3", "--epsilon", "0.3", "--participant", "anna")
    solved = run_json("resolve", "alice", "--round", "r3", "--spent", "--reason", "the sum was seen")
    assert (solved["status"], solved["reason"]) == ("committed", "the sum was seen")
    (status,) = run_json("status", "alice")
    assert (status["spent"]["epsilon"], status["left"]["epsilon"], status["open_reservations"]) == ("0.5", "0.5", 0)
    anna, bert = run_json("participants", "alice")
    assert (anna["epsilon"], len(anna["rounds"]), bert["epsilon"]) == (0.5, 3, 0.2)
    kinds = [record["kind"] for record in run_json("history", "alice")]
    assert kinds == ["create", "reserve", "commit", "reserve", "release", "reserve", "resolve"]
    head = run_json("verify")["head"]
    assert run_json("verify", "--head", head) == {"head": head, "records": 7, "budgets": 1, "open_reservations": 0}


def test_tables_are_readable(ledger: str) -> None:
    run("create", "digits", "--epsilon", "4", "--delta", "1e-5", "--composition", "renyi", "--renews", "30d")
    run("reserve", "digits", "--round", "[bold]r1", "--noise-multiplier", "2", "--participant", "anna")
    text = run("status")
    for words in ("digits", "33.5% taken", "divergence", "open reservations", "[bold]r1", "renews", "limit epsilon 4"):
        assert words in text
    # The bar: a third of 24 cells, rounded up, is held; nothing is spent.
    assert (text.count("▒"), text.count("█"), text.count("·")) == (9, 0, 15)
    run("commit", "digits", "--round", "[bold]r1")
    assert run("status").count("█") == 9
    assert "commit" in run("history", "--last", "1")
    assert "create" not in run("history", "--last", "1")
    assert "anna" in run("participants", "digits")
    assert "the trail holds: 3 records" in run("verify")


def test_what_is_taken_is_never_told_as_less_nor_what_is_left_as_more(ledger: str) -> None:
    run("create", "b", "--epsilon", "1", "--delta", "1e-5")
    run("reserve", "b", "--round", "r", "--epsilon", "0.3000001", "--delta", "1e-7", "--participant", "anna")
    told = " ".join(run("status").split())
    assert "epsilon 0.300001 at delta 1e-07" in told
    assert "epsilon 0 0.300001 0.699999 1" in told
    assert "charge 0.300001, 1e-07" in run("history")
    assert re.search(r"anna +1 +0\.300001 +1e-07", run("participants", "b"))
    run("release", "b", "--round", "r", "--reason", "nobody came")
    run("reserve", "b", "--round", "s", "--epsilon", "0.3", "--delta", "1e-6", "--participant", "anna")
    assert "epsilon 0.3 at delta 1e-06" in run("status")
    assert run_json("status", "b")[0]["epsilon_taken"] >= 3 / Fraction(10)


def test_no_word_breaks_at_eighty_columns(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    session = "0123456789abcdef" * 2
    run("create", "a long name of a budget", "--epsilon", "4")
    for text in (
        run("reserve", "a long name of a budget", "--round", session, "--epsilon", "0.333333333", "--delta", "0"),
        run("release", "a long name of a budget", "--round", session, "--reason", "nobody came"),
        run("history"),
        run("participants", "a long name of a budget"),
        run("status"),
    ):
        assert max(map(len, text.splitlines())) <= 80
        assert session in text or text.startswith(("participant", "a long name of a budget ·"))
        assert not re.search("relea$|reser$|commi$|budge$", text, re.MULTILINE)
    history = run("history")
    for words in (
        session,
        "a long name of a budget",
        "reserve",
        "release",
        "charge 0.333334, 0; spent 0, 0; held 0.333334, 0",
    ):
        assert words in history


def test_an_id_that_was_used_is_told(ledger: str) -> None:
    run("create", "b", "--epsilon", "1")
    reserve = ["reserve", "b", "--round", "r", "--epsilon", "0.1"]
    run(*reserve)
    assert "--again" in run(*reserve, exit_code=3)
    assert run_json(*reserve, "--again")["status"] == "reserved"
    assert run_json("status", "b")[0]["open_reservations"] == 1


def test_a_backup_is_copied_verified_and_restored(ledger: str, tmp_path: Path) -> None:
    run("create", "b", "--epsilon", "1")
    run("reserve", "b", "--round", "r", "--epsilon", "0.1", "--participant", "anna")
    copy, restored = str(tmp_path / "copy.db"), str(tmp_path / "restored.db")
    found = run_json("backup", copy)
    assert found == run_json("verify") == run_json("verify", "--ledger", copy)
    assert "copied and verified: 2 records" in run("backup", restored, "--ledger", copy)
    assert "holds a ledger already" in run("backup", copy, exit_code=3)
    run("commit", "b", "--round", "r")
    head = run_json("verify")["head"]
    run("status", "--expected-head", head)
    assert "its end was cut off" in run("status", "--ledger", copy, "--expected-head", head, exit_code=4)


def test_what_all_periods_came_to_is_told(ledger: str) -> None:
    run("create", "b", "--epsilon", "1", "--renews", "1d")
    start = datetime.now(UTC)
    assert run_json("status")[0]["lifetime"] is None
    for day in (1, 2):
        with Ledger.open(ledger, clock=lambda day=day: start + timedelta(days=day, hours=1)) as opened:
            opened.spend("b", Cost("0.75", adjacency=Adjacency.ADD_REMOVE), round_id=str(day))
    assert "all 2 periods with spends: epsilon 1.5 at delta 0" in " ".join(run("status").split())
    (found,) = run_json("status")
    assert (found["lifetime"]["periods"], found["lifetime"]["epsilon"]) == (2, 1.5)


def test_a_clock_far_ahead_is_told(ledger: str) -> None:
    with Ledger.open(ledger, create=True, clock=lambda: datetime.now(UTC) - timedelta(days=40)) as opened:
        opened.create(Budget("b", 1, adjacency=Adjacency.ADD_REMOVE))
    reserve = ["reserve", "b", "--round", "r", "--epsilon", "0.1"]
    assert "--trust-clock" in run(*reserve, exit_code=3)
    run(*reserve, "--trust-clock")
    assert "a file has no standby" in run("release", "b", "--round", "r", "--standby", exit_code=2)


def test_what_exceeds_is_told_with_what_is_left(ledger: str) -> None:
    run("create", "b", "--epsilon", "1")
    text = run("reserve", "b", "--round", "r", "--epsilon", "1.1", exit_code=3)
    assert re.search(r"asked epsilon 1\.1, delta 0; left epsilon 1", text.replace("\n", " "))
    assert run_json("reserve", "b", "--round", "r", "--epsilon", "1.1", exit_code=3)["error"] == "BudgetExceededError"


def test_planned_releases_are_counted(ledger: str) -> None:
    terms = ["--epsilon", "1", "--delta", "1e-5", "--composition", "releases", "--noise-multiplier", "10"]
    (status,) = run_json("create", "plan", *terms)
    assert int(status["limit"]["releases"]) > 3
    assert run_json("reserve", "plan", "--round", "0", "--noise-multiplier", "10")["charge"] == {"releases": "1"}
    run("reserve", "plan", "--round", "1", "--noise-multiplier", "9", exit_code=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "b", "--epsilon", "0"],
        ["create", "b", "--epsilon", "much"],
        ["create", "b", "--epsilon", "1e999999999"],
        ["create", "b", "--epsilon", "1", "--composition", "hope"],
        ["create", "b", "--epsilon", "1", "--kind", "pet"],
        ["create", "b", "--epsilon", "1", "--renews", "1y"],
        ["create", "b", "--epsilon", "1", "--renews", "0d"],
        ["create", "b", "--epsilon", "1", "--expires", "tomorrow"],
        ["create", "b", "--epsilon", "1", "--composition", "renyi"],
        ["create", "b", "--epsilon", "1", "--noise-multiplier", "3"],
        ["create", "b\x1b", "--epsilon", "1"],
        ["reserve", "a", "--round", "r"],
        ["reserve", "a", "--round", "r", "--epsilon", "0.1", "--noise-multiplier", "2"],
        ["reserve", "a", "--round", "r", "--epsilon", "-1"],
        ["reserve", "a", "--round", "r", "--epsilon", "0.1", "--adjacency", "replace-one"],
        ["reserve", "a", "--round", "r", "--epsilon", "0.1", "--participants-file", "/nowhere/at/all"],
        ["reserve", "nobody", "--round", "r", "--epsilon", "0.1"],
        ["commit", "a", "--round", "never"],
        ["verify", "--head", "nonsense"],
    ],
    ids=lambda arguments: "-".join(arguments).encode("ascii", "backslashreplace").decode(),
)
def test_impossible_commands_say_so(ledger: str, arguments: list[str]) -> None:
    run("create", "a", "--epsilon", "1")
    assert "secagg:" in run(*arguments, exit_code=2)
    assert set(run_json(*arguments, exit_code=2)) == {"error", "message"}


def test_impossible_terms_leave_no_ledger_behind(ledger: str) -> None:
    run("create", "b", "--epsilon", "-1", exit_code=2)
    assert not Path(ledger).exists()
    assert "there is no ledger" in run("status", exit_code=3)


def test_a_tampered_trail_is_an_exit_code_of_its_own(ledger: str) -> None:
    run("create", "b", "--epsilon", "1")
    with Ledger.open(ledger) as opened:
        opened.spend("b", Cost("0.5", adjacency=Adjacency.ADD_REMOVE), round_id="r")
    sqlite_tamper(ledger, "UPDATE ledger_records SET payload = replace(payload, '0.5', '0.1') WHERE seq = 2")
    assert "record 2" in run("verify", exit_code=4)


def test_passwords_stay_out_of_what_is_said(ledger: str) -> None:
    url = "postgresql://user:hunter2@127.0.0.1:9/x"
    outcome = runner.invoke(app, ["budget", "status", "--ledger", url, "--json"])
    assert outcome.exit_code == 3
    assert "hunter2" not in outcome.output + outcome.stderr
    assert "127.0.0.1:9" in outcome.stderr


def test_terms_are_fixed(ledger: str) -> None:
    run("create", "b", "--epsilon", "1", "--expires", "2100-01-01")
    run("create", "b", "--epsilon", "1.0", "--expires", "2100-01-01T00:00+00:00")
    assert "terms are fixed" in run("create", "b", "--epsilon", "2", exit_code=3)


# Units, groups, and budgets of plans.


def test_the_unit_is_told_wherever_a_budget_is(ledger: str) -> None:
    (made,) = run_json("create", "b", "--epsilon", "1", "--unit", "record")
    assert made["unit"] == "record"
    run("create", "c", "--epsilon", "1")
    assert [found["unit"] for found in run_json("status")] == ["record", "client"]
    for told in (run("status"), run("history")):
        assert "add-remove of one record" in told
        assert "add-remove of one client" in told
    assert run_json("history", "b")[0]["payload"]["terms"]["unit"] == "record"
    assert "budget create --unit client" in run(
        "reserve", "b", "--round", "r", "--epsilon", "0.1", "--unit", "client", exit_code=2
    ).replace("\n", " ")
    run("reserve", "b", "--round", "r", "--epsilon", "0.1", "--unit", "record")


def test_what_a_group_has_lost_is_told(ledger: str) -> None:
    run("create", "b", "--epsilon", "4", "--delta", "1e-5", "--unit", "record", "--composition", "gaussian")
    run("reserve", "b", "--round", "r", "--noise-multiplier", "4")
    (found,) = run_json("status", "--group", "3")
    assert (found["lifetime"]["group"], found["lifetime"]["periods"]) == (3, 1)
    assert found["lifetime"]["epsilon"] > 3 * found["epsilon_taken"]
    told = " ".join(run("status", "--group", "3").split())
    assert f"all spends, of 3 records together: epsilon {found['lifetime']['epsilon']:.6g} at delta 1e-05" in told
    assert "together" not in run("status")
    run("status", "--group", "0", exit_code=2)


PARAMS = ["params", "--clients", "100", "--dim", "50", "--epsilon", "4", "--delta", "1e-6", "--rounds", "20", "--json"]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    outcome = runner.invoke(app, PARAMS)
    path = tmp_path / "plan.json"
    path.write_text(outcome.stdout)
    return path


def test_a_plan_of_20_rounds_has_a_budget_that_affords_20(ledger: str, plan: Path) -> None:
    (made,) = run_json("create", "b", "--for-plan", str(plan), "--kind", "data-set", "--renews", "30d")
    terms = ("epsilon", "delta", "composition", "neighbours", "unit", "kind", "renews")
    assert [made[name] for name in terms] == [
        *("4", "0.000001", "gaussian", "add-remove", "client", "data-set", 30 * 86400 * 10**6)
    ]
    event = from_plain(json.loads(plan.read_text())["privacy"]["event"])
    with Ledger.open(ledger) as opened:
        for number in range(20):
            opened.spend("b", event, round_id=str(number))
        with pytest.raises(BudgetExceededError):
            opened.spend("b", event, round_id="20")


def test_a_plan_says_it_all(ledger: str, plan: Path) -> None:
    for option, value in (("epsilon", "4"), ("unit", "client"), ("adjacency", "add-remove"), ("sampling-rate", "1")):
        told = run("create", "b", "--for-plan", str(plan), f"--{option}", value, exit_code=2)
        assert f"leave out --{option}" in " ".join(told.split())
    assert "--for-plan" in run("create", "b", exit_code=2)
    assert not Path(ledger).exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rounds": 21}, "21 such rounds cost epsilon"),
        ({"epsilon_goal": 3.9}, "20 such rounds cost epsilon"),
        ({"delta": 1e-7}, "20 such rounds cost epsilon"),
        ({"rounds": 20.0}, "rounds = 20.0"),
        ({"rounds": True}, "rounds = True"),
        ({"delta": 0}, "delta = 0"),
        ({"delta": "1e-6"}, "delta must be a real number"),
        ({"epsilon_goal": math.inf}, "epsilon = inf"),
        ({"epsilon_goal": "absent"}, "lacks what a plan says"),
        ({"unit": "record"}, "lacks what a plan says"),
        ({"adjacency": "replace-one"}, "lacks what a plan says"),
        ({"event": None}, "lacks what a plan says"),
        ({"event": {"type": "GaussianEvent", "noise_multiplier": 9.0, "neighbours": "add-remove"}}, "lacks what"),
        ({"event": {"type": "Cost", "epsilon": "1", "delta": "0", "neighbours": "add-remove"}}, "lacks what"),
        ({"clients": 10**15}, "lacks what a plan says"),
        ({"unit of the event": "client"}, "lacks what a plan says"),
        ({"local_sigma": 0.25}, "local_sigma = 0.25"),
        ({"local_sigma": "9"}, "local_sigma must be a real number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_files_that_are_no_plan_say_so(ledger: str, plan: Path, changed: dict[str, Any], said: str) -> None:
    facts = json.loads(plan.read_text())
    for name, value in changed.items():
        inner = facts["privacy"] if name in facts["privacy"] and name != "local_sigma" else facts["privacy"]["event"]
        if value == "absent":
            del inner[name]
        else:
            inner["unit" if name == "unit of the event" else name] = value
    plan.write_text(json.dumps(facts))
    assert said in " ".join(run("create", "b", "--for-plan", str(plan), exit_code=2).split())
    assert not Path(ledger).exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"privacy": 1}', b"\xff", b"[" * 10**5])
def test_files_that_are_no_json_of_a_plan_say_so(ledger: str, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "plan.json"
    assert "cannot read a plan" in run("create", "b", "--for-plan", str(path), exit_code=2)
    path.write_bytes(data)
    told = " ".join(run("create", "b", "--for-plan", str(path), exit_code=2).split())
    assert "holds no plan of private rounds" in told
    assert "secagg params" in told


def test_more_than_a_plan_is_not_read(ledger: str, plan: Path) -> None:
    whole = plan.read_bytes()
    plan.write_bytes(whole.ljust((1 << 20) + 1))
    assert "holds no plan of private rounds" in run("create", "b", "--for-plan", str(plan), exit_code=2)
    plan.write_bytes(whole.ljust(1 << 20))
    run("create", "b", "--for-plan", str(plan))


def test_rounds_without_privacy_have_no_budget(ledger: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(runner.invoke(app, ["params", "--clients", "100", "--json"]).stdout)
    assert "holds no plan of private rounds" in run("create", "b", "--for-plan", str(path), exit_code=2)
