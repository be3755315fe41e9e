"""Run as a script: Ray simulations of 25 nodes in five groups, whose findings are one line of JSON.

One run of FedMedian with honest nodes, one of Krum with a node that sends its update a thousandfold and turned around.
Nodes keep their groups in Flower's home, which the first argument names beside a folder for the roster.
"""

import json
import sys
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedMedian, Krum
from flwr.simulation import run_simulation

from protocols.flower import SecAgg, SecAggMod
from tests.protocols.flower.grouped import MODEL, WEIGHT, identity_of, plan_of, roster, training
from tests.protocols.flower.in_process import make_app

NUM_NODES, LIAR = 25, 4
FOLDER = Path(sys.argv[1])
ROSTER = roster(FOLDER, NUM_NODES)


def lying(arrays, partition):
    """Within the clip, which the node's own mod sees to; it is a thousand times what the others send."""
    moved, metrics = training(arrays, partition)
    if partition != LIAR:
        return moved, metrics
    return [sent - 1000 * (array - sent) for array, sent in zip(moved, arrays, strict=True)], metrics


def mod(message, context, call_next):
    identity = identity_of(context.node_config["partition-id"])
    return SecAggMod(identity=identity, roster=ROSTER, min_group=5)(message, context, call_next)


def server_app(name, strategy, plan, clip, findings):
    server = ServerApp()

    @server.main()
    def main(grid, context):
        secure = SecAgg(
            strategy,
            metrics=["loss"],
            max_weight=WEIGHT,
            value_bits=36,
            clip=clip,
            stage_timeout=60,
            roster=ROSTER,
            groups=plan,
        )
        result = secure.start(grid, ArrayRecord([a.copy() for a in MODEL]), num_rounds=2, timeout=60)
        findings[name] = {
            "run_id": context.run_id,
            "errors": [report.error for report in secure.reports],
            "failures": [sorted(report.failures.values()) for report in secure.reports],
            "exchanges": [list(report.seconds) for report in secure.reports],
            "rule": secure.reports[1].groups.rule,
            "bears": secure.reports[1].groups.bears,
            "left_out": len(secure.reports[1].groups.left_out),
            "arrays": [np.asarray(array).tolist() for array in result.arrays.to_numpy_ndarrays()],
        }

    return server


if __name__ == "__main__":
    from ray_start import start_ray

    everyone = {"min_train_nodes": NUM_NODES, "min_available_nodes": NUM_NODES, "fraction_evaluate": 0.0}
    runs = {
        "FedMedian": (FedMedian(**everyone), "median", 1.0, training),
        "Krum": (Krum(**everyone, num_malicious_nodes=1), "krum", 400.0, lying),
    }
    findings = {}
    for name, (strategy, rule, clip, train) in runs.items():
        start_ray()
        server = server_app(name, strategy, plan_of(NUM_NODES, rule, groups=5), clip, findings)
        client = make_app(train, mods=(mod,))
        run_simulation(server, client, NUM_NODES, backend_config={"client_resources": {"num_cpus": 1}})
    sys.stdout.write("FINDINGS " + json.dumps(findings) + "\n")
    sys.stdout.flush()
