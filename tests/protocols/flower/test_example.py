"""The example, as its README runs it: over TLS with SuperNodes as processes, one of which is killed in mid-round."""

import re
import shutil
from pathlib import Path

from .engines import deployment

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
