"""Five hospitals train a model together by commands alone: `secagg serve --training` and `secagg join --training`.

This file is the module that both sides name. The operator's `proposed` says from which weights the next round begins;
a hospital's `trained` says by how much its own rows would move them. Without a certificate, on this machine.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

NAMES = [f"hospital-{i}" for i in range(1, 6)]
ROUNDS, FEATURES = 6, 3
TRUE = np.array([0.5, -1.0, 2.0])


def proposed(before):
    """Return the weights from which members train next; None when there were rounds enough."""
    if before is None:
        return np.zeros(FEATURES).tobytes()
    step = np.array(before.result["sums"]["step"]) / len(before.result["survivors"])
    weights = np.frombuffer(before.terms.payload) + step
    if before.number + 1 < ROUNDS:
        return weights.tobytes()
    np.save("weights.npy", weights)  # of what members have summed, and of nothing else
    return None


def trained(terms):
    """Return one step of least squares on this hospital's own rows: synthetic."""
    rng = np.random.default_rng(int(os.environ["HOSPITAL"]))
    rows = rng.normal(size=(200, FEATURES))
    wanted = rows @ TRUE + rng.normal(scale=0.1, size=200)
    weights = np.frombuffer(terms.payload)
    return {"step": 0.8 * rows.T @ (wanted - rows @ weights) / len(rows)}


def start(folder, *arguments, **more):
    """Start a command in a folder."""
    root = Path(__file__).parent
    paths = os.pathsep.join([str(root), str(root.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "from protocols.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(  # noqa: S603
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def main(folder):
    """Invite, serve, take part; print the weights."""
    start(folder, "members", "invite", *NAMES, "--out", "invitations").communicate()
    asked = ["--training", "training_service:proposed", "--floats", f"step:{FEATURES}:8", "--members", len(NAMES)]
    service = start(folder, "serve", *asked, "--title", "a model", "--port", 0, "--insecure-loopback", "--json")
    url = re.search(r"http://\S+", service.stderr.readline().decode())[0]
    hospitals = [
        start(
            *(folder, "join", url, "--insecure-loopback", "--name", name, "--state", name),
            *("--invitation", f"invitations/{name}", "--training", "training_service:trained", "--sessions", ROUNDS),
            HOSPITAL=str(number),
        )
        for number, name in enumerate(NAMES, 1)
    ]
    rounds = [json.loads(line) for line in service.communicate()[0].splitlines()]
    for hospital in hospitals:
        hospital.communicate()
    for number, one in enumerate(rounds, 1):
        print(f"round {number}: {one['state']}, a sum of {len(one['result']['survivors'])}")
    print("weights:", np.load(folder / "weights.npy").round(1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
