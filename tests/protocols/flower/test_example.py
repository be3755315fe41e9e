"""Flower's deployment engine over TLS with SuperNodes as processes, and the examples in it and in simulation."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from . import private_run
from .engines import BIN, ONE_PORT, Process, deployment, environment, simulation
from .in_process import make_grid

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower-digits"
HOSPITALS = EXAMPLE.with_name("flower-hospitals")
sys.path += map(str, (EXAMPLE, HOSPITALS))

# Apps of Flower's, which are found where they lie.
from flower_digits import client_app, server_app  # noqa: E402
from flower_hospitals import task as hospitals  # noqa: E402

QUERY_MESSAGE = "Receiving: query.statistics message"
TRAIN_MESSAGE = "Receiving: train message"


def test_deployment_over_tls_runs_private_rounds_and_survives_a_node_that_is_killed_in_training(tmp_path):
    app, num_nodes, killed = tmp_path / "private", 6, 5
    shutil.copytree(private_run.APP, app, ignore=shutil.ignore_patterns("__pycache__"))
    ledger = private_run.make_ledger(tmp_path)
    with deployment(tmp_path, [app], num_nodes) as engine:
        config = f'nodes={num_nodes} ledger="{ledger}" train-timeout=60 hanging={killed}'
        run = engine.run(app, tmp_path / "run.log", config)
        # Keys, shares, and then the message that asks it to train.
        engine.nodes[killed].wait_for(TRAIN_MESSAGE, times=3)
        engine.nodes[killed].kill()
        text = run.wait(300)
    findings = json.loads(re.findall(r"FINDINGS (.*)$", text, flags=re.MULTILINE)[0])
    survivors = set(range(num_nodes)) - {private_run.task.DEMANDING, killed}
    private_run.check(findings, text, ledger, num_nodes, [private_run.task.update(each) for each in survivors])
    assert re.search(r"masked-input: no answer within 60 s", text)


def test_the_example_trains_a_model_that_tells_digits_apart(capsys):
    """In this process; `test_simulation_of_either_model` has Flower's engine run it."""
    config = {"model": "softmax", "num-server-rounds": 2, "min-nodes": 5, "local-epochs": 2, "learning-rate": 0.1}
    config |= {"stage-timeout": 60, "train-timeout": 60}
    grid = make_grid(client_app.app, 5, node_config=lambda partition: {"num-partitions": 5}, run_config=config)
    server_app.main(grid, SimpleNamespace(run_config=config))
    (accuracy,) = re.findall(r"accuracy on the server's digits: (\S+)", capsys.readouterr().out)
    assert float(accuracy) > 0.8


@pytest.mark.long
@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_simulation_of_either_model(tmp_path, model):
    app = tmp_path / "app"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("__pycache__"))
    config = f'model="{model}" num-server-rounds=3 min-nodes=10 stage-timeout=120'
    with simulation(tmp_path, app, 10, tmp_path / "run.log", config) as run:
        run.wait_for("accuracy on the server's digits", seconds=300)
        text = run.text
    assert text.count("mean of 10 of 10 nodes") == 3
    (accuracy,) = re.findall(r"accuracy on the server's digits: (\S+)", text)
    assert float(accuracy) > 0.7


def test_a_run_that_trains_nothing_is_no_success(tmp_path):
    """It was `finished:completed`, with the accuracy of a model that nobody had trained."""
    app = tmp_path / "app"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("__pycache__"))
    config = 'model="softmax" num-server-rounds=1 min-nodes=5 stage-timeout=0.01'
    with simulation(tmp_path, app, 5, tmp_path / "run.log", config) as run:
        run.wait_for("not one of 1 rounds had a mean, so nothing was trained", seconds=200)
        text = run.wait(60)  # whatever becomes of a run, `flwr run` that has followed it ends with 0
        if ONE_PORT:
            command = (BIN / "flwr", "list", "test", "--format", "json")
            listed = Process(tmp_path / "list.log", *command, env=environment(tmp_path / "home"))
            assert "finished:failed" in listed.wait(60)
    assert "accuracy on the server's digits" not in text


def check_hospitals(text, first, second):
    """What the example prints is of these hospitals' patients together, those of the first and the second question."""
    about_ages, about_wards = re.split(r"\b(?=\d+ hospitals, )", text)[1:]
    age = np.concatenate([hospitals.patients(partition)["age"] for partition in first])
    ward = np.concatenate([hospitals.patients(partition)["ward"] for partition in second])
    assert about_ages.startswith(f"{len(first)} hospitals, {len(age)} patients")
    for name, value in (("mean", age.mean()), ("deviation", age.std(ddof=1))):
        ((found, error),) = re.findall(rf"{name} age: (\S+), off by at most (\S+)", about_ages)
        assert float(found) == pytest.approx(value, abs=float(error) * 1.1)
    assert about_wards.startswith(f"{len(second)} hospitals, {len(ward)} patients")
    assert f"count in heart: {np.count_nonzero(ward == 'heart')}, off by at most 0" in about_wards
    assert "count in rare: hidden, cell" in about_wards


def test_ten_simulated_hospitals_answer_two_questions(tmp_path):
    app = tmp_path / "app"
    shutil.copytree(HOSPITALS, app, ignore=shutil.ignore_patterns("__pycache__"))
    with simulation(tmp_path, app, 10, tmp_path / "run.log", "stage-timeout=120") as run:
        text = run.wait(300)
    check_hospitals(text, range(10), range(10))
    assert text.count("secagg: answer of 10 of 10 nodes") == 2
    assert len(list((tmp_path / "home" / "flower-hospitals").iterdir())) == 10


@pytest.mark.long
def test_hospitals_whose_operators_name_their_tables_answer_over_tls_and_one_is_killed(tmp_path):
    app, sites = tmp_path / "app", tmp_path / "sites"
    shutil.copytree(HOSPITALS, app, ignore=shutil.ignore_patterns("__pycache__"))
    hospitals.write_sites(sites, 6)
    with deployment(tmp_path, [app], 6, lambda number: f'secagg-site="{sites}/hospital-{number}/site.toml"') as engine:
        run = engine.run(app, tmp_path / "run.log", "min-hospitals=6 stage-timeout=90")
        victim = engine.nodes[5]
        # All six exchanges of one question, and of the other the question, keys and shares: its answer has not left.
        victim.wait_for(QUERY_MESSAGE, times=9, seconds=400)
        victim.kill()
        text = run.wait(600)
    check_hospitals(text, range(6), range(5))
    assert re.search(r"no answer within 90 s", text)
    assert all((sites / f"hospital-{number}" / "journal").read_bytes().count(b"\n") == 2 for number in range(6))
