"""The server: two rounds, of which the budget pays one. What it finds is one line of JSON."""

import json
import sys
import time

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from private_app.task import model, settings
from protocols.flower import SecAgg

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    nodes = int(context.run_config["nodes"])
    while len(list(grid.get_node_ids())) < nodes:  # all of them once: later rounds wait for nobody who is gone
        time.sleep(0.2)
    plain = FedAvg(fraction_evaluate=0.0)
    strategy = SecAgg(plain, settings(str(context.run_config["ledger"])))
    timeout = float(context.run_config["train-timeout"])
    result = strategy.start(grid, ArrayRecord(model()), num_rounds=2, timeout=timeout)
    sys.stdout.write(f"FINDINGS {json.dumps(findings(model(), result, strategy.reports))}\n")
    sys.stdout.flush()


def findings(sent, result, reports) -> dict:
    """What the tests want to know of a run."""
    arrays = result.arrays.to_numpy_ndarrays()
    moved = np.concatenate([(after - before).ravel() for after, before in zip(arrays, sent, strict=True)])
    return {
        "moved": moved.tolist(),
        "metrics": {number: dict(metrics) for number, metrics in result.train_metrics_clientapp.items()},
        "reports": [
            {
                "error": report.error,
                "epsilon": report.epsilon,
                "survivors": len(report.survivors),
                "failures": sorted(report.failures.values()),
                "bytes_sent": report.bytes_sent,
            }
            for report in reports
        ],
    }
