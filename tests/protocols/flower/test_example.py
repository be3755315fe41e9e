"""Flower's deployment engine over TLS with SuperNodes as processes, and the examples in it and in simulation."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from . import private_run
from .engines import BIN, ONE_PORT, Process, deployment, environment, simulation

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower-digits"
HOSPITALS = EXAMPLE.with_name("flower-hospitals")
sys.path.append(str(HOSPITALS))

from flower_hospitals import task as hospitals  # noqa: E402 - an app of Flower's, which is found where it lies

QUERY_MESSAGE = "Receiving: query.statistics message"
TRAIN_MESSAGE = "Receiving: train message"


def test_deployment_over_tls_runs_private_rounds_and_survives_a_node_that_is_killed_in_training(tmp_path):
    """One deployment for both, since starting it takes longer than a run."""
    app, private = tmp_path / "app", tmp_path / "private"
    for source, copy in ((EXAMPLE, app), (private_run.APP, private)):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    ledger = private_run.make_ledger(tmp_path)
    with deployment(tmp_path, [app, private], num_nodes=5) as engine:
        text = engine.run(private, tmp_path / "private.log", f'nodes=5 ledger="{ledger}"').wait(300)
        findings = json.loads(re.findall(r"FINDINGS (.*)$", text, flags=re.MULTILINE)[0])
        updates = [
            private_run.task.update(partition) for partition in range(5) if partition != private_run.task.DEMANDING
        ]
        private_run.check(findings, text, ledger, 5, updates)

        config = "num-server-rounds=1 stage-timeout=90 train-timeout=40 local-epochs=5"
        earlier = engine.nodes[4].text.count(TRAIN_MESSAGE)
        run = engine.run(app, tmp_path / "run.log", config)
        victim = engine.nodes[4]
        # Keys, shares, and then the message that asks it to train.
        victim.wait_for(TRAIN_MESSAGE, times=earlier + 3)
        victim.kill()
        run.wait(300)
        text = run.text
    assert "mean of 4 of 5 nodes" in text
    assert re.search(r"no answer within 40 s", text)
    (accuracy,) = re.findall(r"accuracy on the server's digits: (\S+)", text)
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
