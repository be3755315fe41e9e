"""Private rounds at the command line, and what the ledger makes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dp.distributed import NoiseShare
from dp.ledger import Budget, Composition, Ledger
from dp.sensitivity import Adjacency, Unit
from protocols.cli.app import app
from tests.command_line import separating_runner

runner = separating_runner()
PRIVATE = ("--epsilon", "4", "--delta", "1e-5")


def run_json(*arguments: str, exit_code: int = 0) -> dict[str, Any]:
    outcome = runner.invoke(app, [*arguments, "--json"])
    assert outcome.exit_code == exit_code, outcome.output
    facts: dict[str, Any] = json.loads(outcome.stdout)
    return facts


def test_params_derives_and_explains() -> None:
    facts = run_json("params", "--clients", "1000", "--rounds", "10", *PRIVATE)["privacy"]
    assert facts["epsilon"] == pytest.approx(4, rel=1e-6)
    assert (facts["honest"], facts["min_survivors"]) == (800, 900)
    outcome = runner.invoke(app, ["params", "--clients", "1000", "--rounds", "10", *PRIVATE])
    for words in ("calibrated to 800 honest survivors", "epsilon 4 at delta 1e-05 for 10 rounds"):
        assert words in " ".join(outcome.stdout.split())


def test_params_claims_nothing_of_samples_of_clients() -> None:
    given = ("params", "--clients", "100", "--dim", "50", "--noise-multiplier", "1", "--delta", "1e-5")
    whole = run_json(*given)["privacy"]
    assert (whole["unit"], whole["sampling_rate"]) == ("client", 1)
    assert runner.invoke(app, [*given, "--sampling-rate", "0.2"]).exit_code == 2
    assert runner.invoke(app, [*given, "--max-records", "2"]).exit_code == 2
    records = (*given, "--unit", "record", "--max-records", "30")
    assert run_json(*records)["privacy"]["epsilon"] == pytest.approx(whole["epsilon"])
    assert run_json(*records, "--sampling-rate", "0.2")["privacy"]["epsilon"] < whole["epsilon"] * 0.6
    text = " ".join(runner.invoke(app, [*records, "--sampling-rate", "0.2"]).stdout.split())
    for words in (
        "with room for 30 of each client",
        "each record is in a round with probability 0.2",
        "cost each record",
    ):
        assert words in text


def test_the_table_and_the_reasons_round_noise_alike() -> None:
    for epsilon in ("1", "2", "3", "4", "5"):
        given = ("params", "--clients", "20", "--dim", "40", "--epsilon", epsilon, "--delta", "1e-5")
        text = " ".join(runner.invoke(app, [*given]).stdout.split())
        (table,), (reason,) = (
            re.findall(f"{words}", text) for words in (r"([\d.]+) steps each", r"noise of ([\d.]+) st")
        )
        assert table == reason


def test_reasons_are_indented_as_wide_as_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = runner.invoke(app, ["params", "--clients", "20", "--unit", "record", *PRIVATE]).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    reasons = lines[next(at for at, line in enumerate(lines) if "·" in line) :]
    assert all(line.startswith(("  · ", "    ")) for line in reasons)
    assert any(line.startswith("    ") for line in reasons)


def test_samples_and_records_are_told_of_by_their_options() -> None:
    given = ["params", "--clients", "20", "--dim", "40", *PRIVATE]
    for rate, words in (("0.5", "--sampling-rate is 0.5, but clients are not sampled"), ("2", "--sampling-rate is 2")):
        assert words in runner.invoke(app, [*given, "--sampling-rate", rate]).stderr
    assert "state --max-records" in runner.invoke(app, [*given, "--unit", "record"]).stderr
    assert "--max-records" not in runner.invoke(app, [*given, "--unit", "record", "--max-records", "2"]).stderr


def test_a_private_round_is_held_against_its_promise() -> None:
    facts = run_json("round", "--clients", "30", "--dim", "3000", "--dropout", "0.1", *PRIVATE)
    privacy = facts["privacy"]
    assert facts["noise_as_promised"] is True
    assert facts["survivors"] == 27
    assert privacy["epsilon_achieved"] == pytest.approx(privacy["epsilon"])  # exactly as many dropped as foreseen
    assert privacy["noise_measured"] == pytest.approx(privacy["noise_expected"], rel=0.1)
    text = runner.invoke(app, ["round", "--clients", "30", "--dim", "3000", *PRIVATE]).stdout
    assert "the noise is as promised" in text
    assert "honest clients' noise" in " ".join(text.split())


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_noise_that_is_not_as_promised_exits_with_4(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = NoiseShare.draw

    def draw(self: NoiseShare, **given: Any) -> np.ndarray:
        return np.rint(factor * honest(self, **given)).astype(np.int64)

    monkeypatch.setattr(NoiseShare, "draw", draw)
    facts = run_json("round", "--clients", "20", "--dim", "30000", "--corrupt", "0", *PRIVATE, exit_code=4)
    assert facts["noise_as_promised"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epsilon", "1"], "--delta"),
        (["--delta", "1e-5"], "--epsilon"),
        (["--epsilon", "1", "--noise-multiplier", "1", "--delta", "1e-5"], "either"),
        ([*PRIVATE, "--clip", "0"], "l2_clip"),
        ([*PRIVATE, "--max-modulus-bits", "4"], "raise max_modulus_bits to"),
        ([*PRIVATE, "--min-participants", "40"], "invite more"),
        ([*PRIVATE, "--budget", "x.sqlite"], "both or neither"),
        ([*PRIVATE, "--subject", "x"], "both or neither"),
        (["--budget", "x.sqlite", "--subject", "x"], "give --epsilon"),
        ([*PRIVATE, "--adversary", "curious-server", "--drop-in", "consistency-check=0.1"], "no such phase"),
    ],
)
def test_impossible_private_rounds_exit_with_2_and_a_remedy(arguments: list[str], words: str) -> None:
    facts = run_json("round", "--clients", "30", "--dim", "10", *arguments, exit_code=2)
    assert words in facts["message"]


# The ledger.


def test_rounds_are_paid_for_until_the_budget_is_gone(tmp_path: Path) -> None:
    url, budget = str(tmp_path / "ledger.sqlite"), ("--budget", str(tmp_path / "ledger.sqlite"), "--subject", "study")
    with Ledger.open(url, create=True) as ledger:
        ledger.create(Budget("study", 8, "1e-5", adjacency=Adjacency.ADD_REMOVE, composition=Composition.RENYI))
    paid = 0
    for _ in range(10):
        outcome = runner.invoke(app, ["round", "--clients", "12", "--dim", "10", "--json", *PRIVATE, *budget])
        if outcome.exit_code:
            break
        paid += 1
    assert outcome.exit_code == 3
    assert json.loads(outcome.stdout)["error"] == "BudgetExceededError"
    with Ledger.open(url) as ledger:
        status = ledger.status("study")
        history = ledger.history("study")
        assert status.open == 0
        assert 1 <= paid <= 4
        assert status.epsilon <= 8
        assert len(history) == 1 + 2 * paid
        assert ledger.participant("study", "client-03").epsilon > 0
        ledger.verify()


def test_one_of_many_rounds_costs_its_part(tmp_path: Path) -> None:
    url, goal = str(tmp_path / "ledger.sqlite"), ("--clients", "12", "--dim", "10", "--rounds", "2", *PRIVATE)
    (tmp_path / "plan.json").write_text(json.dumps(run_json("params", *goal, "--dropout", "0")))
    run_json("budget", "create", "study", "--ledger", url, "--for-plan", str(tmp_path / "plan.json"))
    paid = ("round", *goal, "--budget", url, "--subject", "study")
    text = " ".join(runner.invoke(app, list(paid)).stdout.split())
    assert "for this round" in text
    assert "for all 2 rounds)" in text
    assert run_json(*paid)["noise_as_promised"] is True
    assert "it is spent" in run_json(*paid, exit_code=3)["message"]


def test_a_missing_ledger_or_budget_is_named(tmp_path: Path) -> None:
    url = str(tmp_path / "ledger.sqlite")
    arguments = ("round", "--clients", "12", "--dim", "10", *PRIVATE, "--budget", url, "--subject", "study")
    assert "no ledger" in run_json(*arguments, exit_code=3)["message"]
    Ledger.open(url, create=True).close()
    assert "study" in run_json(*arguments, exit_code=2)["message"]


# The demonstration.


def test_the_private_demo_stops_when_the_budget_is_gone(tmp_path: Path) -> None:
    plot, url = tmp_path / "plot.png", str(tmp_path / "ledger.sqlite")
    demo = ("demo", "--private", "--clients", "20", "--rounds", "3", "--plot", str(plot), "--budget", url)
    facts = run_json(*demo)
    assert (facts["rounds"], facts["rounds_planned"]) == (3, 3)
    assert facts["epsilon_spent"] == pytest.approx(8.0, rel=1e-3)
    assert facts["epsilon_spent"] <= 8.0
    assert [line["epsilon"] for line in facts["history"]] == sorted(line["epsilon"] for line in facts["history"])
    assert facts["plain_accuracy"] > 0.5
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert run_json(*demo, exit_code=3)["error"] == "BudgetExceededError"


def test_the_private_demo_for_records_stops_when_the_budget_is_gone(tmp_path: Path) -> None:
    plot, url = tmp_path / "plot.png", str(tmp_path / "ledger.sqlite")
    demo = ("demo", "--private", "--unit", "record", "--epsilon", "3", "--rounds", "13", "--plot", str(plot))
    facts = run_json(*demo, "--budget", url)
    assert (facts["unit"], facts["clients"], facts["rounds"], facts["rounds_planned"]) == ("record", 12, 13, 13)
    assert 0.999 * 3 < facts["epsilon_spent"] <= 3
    assert [line["number"] for line in facts["history"]] == list(range(1, 14))
    assert facts["private_accuracy"] > 0.6 > facts["client_level_accuracy"]
    assert facts["private_accuracy"] == pytest.approx(facts["central_accuracy"], abs=0.15)
    assert plot.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with Ledger.open(url) as ledger:
        assert ledger.status("digits").budget.unit is Unit.RECORD
    assert run_json(*demo, "--budget", url, exit_code=3)["error"] == "BudgetExceededError"


def test_the_private_demo_for_records_shows_a_table(tmp_path: Path) -> None:
    demo = ("demo", "--private", "--unit", "record", "--rounds", "1", "--plot", str(tmp_path / "p.png"))
    outcome = runner.invoke(app, [*demo])
    assert outcome.exit_code == 0, outcome.output
    assert "the budget is gone after 1 rounds, at epsilon 8 for each record" in outcome.stdout
    assert "with noise for whole silos" in " ".join(outcome.stdout.split())
    sentence = outcome.stdout[outcome.stdout.index("the budget is gone") :]
    assert max(len(line) for line in sentence.splitlines() if str(tmp_path) not in line) <= 80


def test_the_private_demo_shows_a_table(tmp_path: Path) -> None:
    outcome = runner.invoke(
        app, ["demo", "--private", "--clients", "15", "--rounds", "1", "--plot", str(tmp_path / "p.png")]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "the budget is gone after 1 rounds" in outcome.stdout
    assert "██████████ 100%" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--epsilon", "1"], "--private"),
        (["--unit", "record"], "--private"),
        (["--private", "--epsilon", "-1"], "epsilon"),
        (["--private", "--delta", "2"], "delta"),
    ],
)
def test_impossible_private_demos_exit_with_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    assert words in run_json("demo", *arguments, "--plot", str(tmp_path / "p.png"), exit_code=2)["message"]
