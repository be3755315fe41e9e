"""Flower's deployment engine over TLS with SuperNodes as processes, and the example in it and in simulation."""

import json
import re
import shutil
from pathlib import Path

import pytest

from . import private_run
from .engines import BIN, ONE_PORT, Process, deployment, environment, simulation

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower-digits"
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

        config = "num-server-rounds=1 stage-timeout=90 train-timeout=60 local-epochs=5"
        earlier = engine.nodes[4].text.count(TRAIN_MESSAGE)
        run = engine.run(app, tmp_path / "run.log", config)
        victim = engine.nodes[4]
        # Keys, shares, and then the message that asks it to train.
        victim.wait_for(TRAIN_MESSAGE, times=earlier + 3)
        victim.kill()
        run.wait(300)
        text = run.text
    assert "mean of 4 of 5 nodes" in text
    assert re.search(r"no answer within 60 s", text)
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
