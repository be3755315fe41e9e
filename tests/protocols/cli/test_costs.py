"""`secagg params` with --workers or --groups: what a round will cost."""

import json

import pytest

from protocols import costs
from protocols.cli.app import app
from protocols.cli.costs import time_of
from protocols.costs import measuring
from tests.command_line import separating_runner

runner = separating_runner()
MILLION = ("params", "--clients", "1000000", "--workers", "64", "--dim", "5000", "--corrupt", "0.05")


def test_a_million_clients_are_answered_for_with_an_error():
    outcome = runner.invoke(app, [*MILLION, "--json"])
    assert outcome.exit_code == 0, outcome.output
    facts = json.loads(outcome.stdout)
    found = facts["costs"]
    assert (facts["clients"], found["clients"], found["groups"], found["group"]) == (1_000_000, 1_000_000, 128, 7813)
    assert found["workers"] == 64
    assert found["servers_seconds"] == pytest.approx(64 * found["servers_wall_seconds"])
    assert found["errors"].keys() == {*costs.Quantity}
    assert found["beyond"] == []
    assert found["processor"] == costs.shipped().processor


def test_people_are_told_each_figure_with_its_error():
    outcome = runner.invoke(app, [*MILLION])
    assert outcome.exit_code == 0, outcome.output
    assert "128, each a session of 7,813 clients or one fewer" in outcome.stdout
    (line,) = (line for line in outcome.stdout.splitlines() if "a client computes" in line)
    assert "±" in line
    assert "64 workers" in outcome.stdout
    assert max(map(len, outcome.stdout.splitlines())) <= 80


def test_extrapolations_and_idle_workers_are_named():
    told = runner.invoke(app, ["params", "--clients", "20", "--workers", "3", "--dim", "3000000"]).stdout
    assert "extrapolated" in " ".join(told.split())
    assert "2 of 3 workers have nothing to do" in " ".join(told.split())


def test_without_being_asked_nothing_is_estimated():
    assert "costs" not in json.loads(runner.invoke(app, ["params", "--clients", "100", "--json"]).stdout)
    assert "what it costs" not in runner.invoke(app, ["params", "--clients", "100"]).stdout


def test_groups_with_noise_are_refused():
    given = ["params", "--clients", "100", "--groups", "4", "--epsilon", "4", "--delta", "1e-6"]
    outcome = runner.invoke(app, given)
    assert outcome.exit_code == 2
    assert "without noise" in outcome.stderr


def test_this_machine_is_measured_first_if_asked(monkeypatch):
    monkeypatch.setattr(measuring, "QUICK", (measuring.Case(12, 100), measuring.Case(16, 1_000, 0.1)))
    monkeypatch.setattr(measuring, "QUICK_HELD_OUT", (measuring.Case(14, 200),))
    outcome = runner.invoke(app, ["params", "--clients", "20", "--measure", "--json"])
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(outcome.stdout)["costs"]
    assert found["processor"] == costs.table.processor()
    assert found["errors"].keys() >= {"client-seconds", "server-seconds"}
    assert found["client_memory_bytes"] > 0


def test_times_have_fitting_units():
    assert [time_of(each) for each in (0.5, 100, 600, 8000, 360_000)] == [
        "0.5 s",
        "100 s",
        "10 min",
        "2.22 hours",
        "4.17 days",
    ]
