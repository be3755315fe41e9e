"""The example, as its README runs it: over TLS with SuperNodes as processes, one of which is killed in mid-round."""

import re
import shutil
from pathlib import Path

import pytest

from .engines import deployment, simulation

EXAMPLE = Path(__file__).parents[3] / "examples" / "flower-digits"


def test_deployment_over_tls_survives_a_node_that_is_killed_in_training(tmp_path):
    app = tmp_path / "app"
    shutil.copytree(EXAMPLE, app, ignore=shutil.ignore_patterns("__pycache__"))
    with deployment(tmp_path, app, num_nodes=5) as engine:
        config = "num-server-rounds=1 fraction-evaluate=0.0 stage-timeout=90 train-timeout=45 local-epochs=5"
        run = engine.run(tmp_path / "run.log", config)
        victim = engine.nodes[4]
        # Keys, shares, and then the message that asks it to train.
        victim.wait_for("Receiving: train message", times=3)
        victim.kill()
        run.wait(300)
        text = run.text
    assert "mean of 4 of 5 nodes" in text
    assert re.search(r"no answer within 45 s", text)
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
