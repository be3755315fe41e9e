"""The command, as people and scripts use it."""

import importlib.util
import json
import subprocess
import sys

import pytest

import secagg
from protocols.cli.app import app
from tests.command_line import separating_runner

runner = separating_runner()


def run_json(*arguments: str, exit_code: int = 0) -> dict:
    outcome = runner.invoke(app, [*arguments, "--json"])
    assert outcome.exit_code == exit_code, outcome.output
    return json.loads(outcome.stdout)


@pytest.mark.parametrize(
    ("adversary", "degree", "threshold"),
    [("curious-server", 50, 27), ("semi-malicious-server", 150, 98), ("malicious-server", 999, 900)],
)
def test_params_gives_degree_and_threshold(adversary, degree, threshold):
    facts = run_json("params", "--clients", "1000", "--corrupt", "0.1", "--dropout", "0.1", "--adversary", adversary)
    assert (facts["clients"], facts["degree"], facts["threshold"]) == (1000, degree, threshold)
    assert facts["adversary"] == adversary
    assert facts["modulus_bits"] == 26
    assert facts["bytes"]["client_sent"] > 100_000 * 26 / 8
    assert len(facts["why"]) >= 2


def test_params_are_readable():
    outcome = runner.invoke(app, ["params", "--clients", "1000"])
    assert outcome.exit_code == 0
    for words in ("at most 150 neighbours each", "98 of at most 150 shares", "random cycles", "26 bits", "347.3"):
        assert words in outcome.stdout


def test_estimated_bytes_are_those_of_a_round():
    facts = run_json("round", "--clients", "12", "--dim", "1000", "--corrupt", "0")
    estimate = run_json("params", "--clients", "12", "--dim", "1000", "--corrupt", "0", "--dropout", "0")
    assert abs(facts["bytes"]["client_sent_mean"] - estimate["bytes"]["client_sent"]) < 50
    assert abs(facts["bytes"]["client_received_mean"] - estimate["bytes"]["client_received"]) < 50


def test_round_reports_all_that_scripts_need():
    facts = run_json("round", "--clients", "30", "--dim", "500", "--dropout", "0.1", "--bits", "12", "--seed", "7")
    assert facts["exact"] is True
    assert (facts["clients"], facts["survivors"]) == (30, 27)
    assert facts["modulus_bits"] == 17
    assert set(facts["seconds"]) >= {"client_mean", "client_max", "server", "wall"}
    assert set(facts["bytes"]) == {"client_sent_mean", "client_received_mean", "server_received"}
    assert facts["peak_memory_bytes"] > 1 << 20
    assert facts["seconds"]["client_mean"] <= facts["seconds"]["client_max"] <= facts["seconds"]["wall"]


def test_a_round_in_groups_reports_the_same_and_how_many():
    arguments = ["round", "--clients", "25", "--dim", "40", "--dropout", "0.1", "--corrupt", "0", "--groups", "2"]
    facts, one = run_json(*arguments), run_json(*arguments[:-2])
    assert facts.keys() == one.keys() | {"groups", "left_out", "engine"}
    assert facts["seconds"].keys() == one["seconds"].keys()
    assert facts["bytes"].keys() == one["bytes"].keys()
    assert (facts["exact"], facts["groups"], facts["clients"], facts["survivors"]) == (True, 2, 25, 23)
    assert facts["degree"] == 12
    assert facts["orphaned_pairs"] == 12 + 11
    assert facts["bytes"]["server_received"] < one["bytes"]["server_received"]
    assert run_json(*arguments, "--workers", "2")["exact"] is True
    shown = runner.invoke(app, arguments).stdout
    assert "the sum of the sums is exact" in shown
    assert "2, each a session" in shown


def test_a_round_of_levels_reports_what_each_of_them_was():
    arguments = ["round", "--clients", "75", "--dim", "20", "--levels", "5,5,3", "--corrupt", "0"]
    facts = run_json(*arguments, "--dropout", "0.2")
    assert (facts["exact"], facts["clients"], facts["survivors"]) == (True, 75, 4 * 4 * 3)
    assert [level["level"] for level in facts["levels"]] == ["team", "project", "organisation"]
    assert [level["groups"] for level in facts["levels"]] == [15, 3, 1]
    assert [level["summed"] for level in facts["levels"]] == [4 * 3, 3, 1]
    assert [level["members"] for level in facts["levels"]] == [5, 5, 3]
    assert [level["operator_learns"]["inputs"] for level in facts["levels"]] == [4, 16, 48]
    assert [level["modulus_bits"] for level in facts["levels"]] == [19, 21, 23]
    assert all(level["bytes"]["member_sent_mean"] > 0 for level in facts["levels"])
    shown = runner.invoke(app, arguments).stdout
    assert "the sum of sums is exact" in shown
    assert "15 of 5, 15 in the sum" in " ".join(shown.split())


def test_a_total_that_is_wrong_ends_with_exit_code_4(monkeypatch):
    from protocols.hierarchy.total import Total

    true = Total.of

    def off_by_one(hierarchy, level, result):
        total = true(hierarchy, level, result)
        total.levels["update"][0] += level
        return total

    monkeypatch.setattr(Total, "of", off_by_one)
    arguments = ["round", "--clients", "25", "--dim", "4", "--levels", "5,5", "--corrupt", "0"]
    assert run_json(*arguments, exit_code=4)["exact"] is False
    assert "THE SUM IS WRONG" in runner.invoke(app, arguments).stdout


def test_the_groups_of_a_round_are_those_of_its_seed():
    arguments = ["round", "--clients", "24", "--dim", "4", "--corrupt", "0", "--groups", "2", "--dropout", "0.1"]
    facts = run_json(*arguments, "--seed", "5")
    assert (facts["exact"], facts["engine"], facts["left_out"]) == (True, "here", [])
    again = run_json(*arguments, "--seed", "5")
    assert facts["bytes"] == again["bytes"]


def test_a_wrong_sum_of_a_group_is_noticed(monkeypatch):
    from protocols.groups import rounds

    monkeypatch.setattr(rounds, "_added", lambda levels: sum(levels) + 1)
    facts = run_json("round", "--clients", "12", "--dim", "4", "--corrupt", "0", "--groups", "2", exit_code=4)
    assert facts["exact"] is False


def test_a_round_says_how_many_workers_it_had():
    arguments = ["round", "--clients", "12", "--dim", "5", "--corrupt", "0"]
    assert run_json(*arguments)["workers"] == 1  # what few clients get
    facts = run_json(*arguments, "--workers", "2")
    assert (facts["workers"], facts["exact"]) == (2, True)
    assert "clients in 2 workers" in runner.invoke(app, [*arguments, "--workers", "2"]).stdout
    assert "workers" not in runner.invoke(app, arguments).stdout
    assert runner.invoke(app, [*arguments, "--workers", "0"]).exit_code == 2


@pytest.mark.parametrize("adversary", ["curious-server", "semi-malicious-server", "malicious-server"])
def test_round_survives_dropouts_in_every_round(adversary):
    drops = ["advertise-keys=0.05", "share-keys=0.05", "masked-input=0.05", "unmasking=0.05"]
    if adversary == "malicious-server":
        drops += ["accept-shares=0", "consistency-check=0.05"]
    arguments = [part for drop in drops for part in ("--drop-in", drop)]
    facts = run_json(
        "round", "--clients", "20", "--dim", "100", "--corrupt", "0.05", "--adversary", adversary, *arguments
    )
    assert facts["exact"] is True
    assert facts["survivors"] == 17


def test_round_with_the_complete_graph():
    facts = run_json("round", "--clients", "15", "--dim", "0", "--graph", "complete")
    assert (facts["degree"], facts["exact"]) == (14, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--clients", "10", "--dim", "5", "--dropout", "0.95"], "assume fewer"),
        (["--clients", "20", "--dim", "5", "--groups", "5"], "ask for at most 2, of 10"),
        (["--clients", "40", "--dim", "5", "--engine", "ray"], "give --groups as well"),
        (["--clients", "40", "--dim", "5", "--groups", "2", "--keep", "x"], "give --engine ray as well"),
        (["--clients", "40", "--dim", "5", "--groups", "2", "--engine", "ray", "--address", "x"], "must be host:port"),
        (["--clients", "40", "--dim", "5", "--groups", "2", "--epsilon", "1", "--delta", "1e-5"], "without noise"),
        (["--clients", "24", "--dim", "5", "--levels", "5,5"], "makes 25 clients"),
        (["--clients", "25", "--dim", "5", "--levels", "5,five"], "numbers with commas"),
        (["--clients", "25", "--dim", "5", "--levels", "5,5", "--groups", "5"], "leave --groups"),
        (["--clients", "25", "--dim", "5", "--levels", "5,5", "--workers", "2"], "leave --groups, --workers"),
        (["--clients", "25", "--dim", "5", "--levels", "5,5", "--graph", "complete"], "leave --graph out"),
        (["--clients", "5", "--dim", "5", "--levels", "5,1"], "most of 'project' is 1"),
        (["--clients", "10", "--dim", "5", "--dropout", "-0.5"], "dropout"),
        (["--clients", "10", "--dim", "5", "--bits", "60"], "value_bits is 60"),
        (["--clients", "10", "--dim", "5", "--drop-in", "lunch=0.1"], "lunch=0.1"),
        (["--clients", "10", "--dim", "5", "--drop-in", "unmasking=2"], "unmasking=2"),
        (["--clients", "10", "--dim", "5", "--drop-in", "unmasking"], "unmasking"),
        (["--clients", "10", "--dim", "5", "--drop-in", "unmasking=.1", "--drop-in", "unmasking=.2"], "twice"),
        (
            [*("--clients", "10", "--dim", "5", "--adversary"), "curious-server", "--drop-in", "consistency-check=0.1"],
            "no such phase against a curious",
        ),
        (["--clients", "10", "--dim", "5", "--drop-in", "accept-shares=0.1"], "no such phase against a semi-malicious"),
    ],
)
def test_impossible_rounds_exit_with_2_and_a_reason(arguments, words):
    facts = run_json("round", *arguments, exit_code=2)
    assert facts["error"] == "ParameterError"
    assert words in facts["message"]


def test_options_out_of_range_exit_with_2():
    assert runner.invoke(app, ["round", "--clients", "1", "--dim", "5"]).exit_code == 2
    assert runner.invoke(app, ["params", "--clients", "ten"]).exit_code == 2
    assert runner.invoke(app, ["round", "--clients", "10", "--dim", "5", "--seed", "-1"]).exit_code == 2
    assert runner.invoke(app, ["demo", "--seed", "-1"]).exit_code == 2


def test_usage_errors_put_nothing_on_stdout():
    outcome = runner.invoke(app, ["round", "--clients", "1", "--dim", "5", "--json"])
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "--clients" in outcome.stderr


@pytest.mark.parametrize("text", ["x[/bold]", "[red]x", "x[demo]=1", "\\[x"])
def test_messages_show_what_was_typed_brackets_and_all(text):
    outcome = runner.invoke(app, ["round", "--clients", "10", "--dim", "5", "--drop-in", text])
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert repr(text) in outcome.stderr


def test_the_hint_to_install_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # what it says without scikit-learn
    outcome = runner.invoke(app, ["demo"])
    assert outcome.exit_code == 2
    assert "pip install '.[demo]'" in outcome.stderr


def test_the_version():
    outcome = runner.invoke(app, ["--version"])
    assert (outcome.exit_code, outcome.stdout) == (0, f"secagg {secagg.__version__}\n")


def test_dp_is_mounted():
    facts = run_json("dp", "calibrate", "--epsilon", "1", "--delta", "1e-6")
    assert facts["sigma"] > 1


def test_samples_of_a_fixed_size_are_accounted_for_replacement_alone():
    arguments = ["account", "--noise-multiplier", "1", "--delta", "1e-5", "--batch", "50", "--population", "100"]
    for law in ("gaussian", "laplace"):
        assert "replace-one" in run_json("dp", *arguments, "--law", law, exit_code=2)["message"]
    assert run_json("dp", *arguments, "--adjacency", "replace-one")["epsilon"] > 4


def test_a_round_without_a_sum_exits_with_3(monkeypatch):
    # The command makes the threat model allow for what it drops, so the shortage has to come from elsewhere.
    import protocols.simulation.checked
    from protocols.core.participants import Participants
    from protocols.masking.transitions import ServerPhase

    monkeypatch.setattr(
        protocols.simulation.checked,
        "choose_drops",
        lambda n, fractions, rng: {ServerPhase.MASKED_INPUT: frozenset(Participants.numbered(n).names[1:])},
    )
    facts = run_json("round", "--clients", "10", "--dim", "5", exit_code=3)
    assert facts["error"] == "ThresholdError"


def test_a_wrong_sum_exits_with_4(monkeypatch):
    import numpy as np

    from protocols.masking.result import RoundResult

    right = RoundResult.decode

    def wrong(config, session_id, sums, *rest):
        return right(config, session_id, [np.add(lanes, 1, dtype=lanes.dtype) for lanes in sums], *rest)

    monkeypatch.setattr(RoundResult, "decode", wrong)
    facts = run_json("round", "--clients", "10", "--dim", "5", exit_code=4)
    assert facts["exact"] is False


def test_demo_trains_alike_in_the_clear_and_securely(tmp_path):
    plot = tmp_path / "curves.png"
    facts = run_json("demo", "--clients", "20", "--rounds", "3", "--dropout", "0.1", "--plot", str(plot))
    assert len(facts["history"]) == 3
    assert facts["secure_accuracy"] > facts["history"][0]["secure_accuracy"]
    assert facts["max_accuracy_difference"] <= 0.01
    assert {line["survivors"] for line in facts["history"]} == {18}
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_demo_shows_a_table(tmp_path):
    arguments = ["demo", "--clients", "12", "--rounds", "1", "--dropout", "0", "--plot", str(tmp_path / "p.png")]
    outcome = runner.invoke(app, arguments)
    assert outcome.exit_code == 0
    assert "secure" in outcome.stdout
    assert "\naccuracy after 1 rounds" in outcome.stdout
    assert "in the clear" in outcome.stdout


def test_demo_refuses_more_clients_than_its_data_serve(tmp_path):
    facts = run_json("demo", "--clients", "1000", "--plot", str(tmp_path / "p.png"), exit_code=2)
    assert facts["error"] == "ParameterError"
    assert "at most 674" in facts["message"]


@pytest.mark.parametrize(
    ("plot", "words"),
    [("nowhere/p.png", "there is no folder /"), (".", "is a folder"), ("/proc/p.png", "p.png, but n")],
)
def test_demo_refuses_a_place_for_the_plot_before_training(plot, words, monkeypatch, tmp_path):
    import protocols.cli.demo.plain

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(protocols.cli.demo.plain, "_train", None)
    facts = run_json("demo", "--plot", plot, exit_code=2)
    assert facts["error"] == "ParameterError"
    assert words in facts["message"]


def test_the_installed_command_speaks_json_alone_on_stdout():
    arguments = ["-c", "from protocols.cli import main; main()", "round", "--clients", "5", "--dim", "3", "--json"]
    outcome = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)  # noqa: S603
    assert json.loads(outcome.stdout)["exact"] is True
    assert outcome.stderr == ""


def test_tables_of_a_round_are_readable():
    outcome = runner.invoke(app, ["round", "--clients", "10", "--dim", "50"])
    assert outcome.exit_code == 0
    assert "the sum is exact" in outcome.stdout
    assert "the server computes" in outcome.stdout


@pytest.mark.parametrize(
    ("error", "exit_code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "more memory than there is"),
        (OSError(28, "No space left on device", "picture.png"), 2, "picture.png: No space left on device"),
    ],
    ids=lambda part: type(part).__name__ if isinstance(part, BaseException) else None,
)
@pytest.mark.parametrize("arguments", [["params", "--clients", "10"], ["dp", "noise", "gaussian", "--scale", "5"]])
def test_what_ends_a_command_from_outside_is_told_in_a_sentence(error, exit_code, words, arguments, monkeypatch):
    def end(*args, **kwargs):
        raise error

    monkeypatch.setattr("protocols.masking.traffic.estimate", end)
    monkeypatch.setattr("dp.samplers.discrete_gaussian", end)
    outcome = runner.invoke(app, [*arguments, "--json"])
    assert outcome.exit_code == exit_code
    assert words in json.loads(outcome.stdout)["message"]
    assert outcome.stderr.count("\n") == 1
