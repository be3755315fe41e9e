"""The server: two rounds, of which the budget pays one. What it finds is one line of JSON."""

import json
import sys

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
    plain = FedAvg(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    strategy = SecAgg(plain, settings(str(context.run_config["ledger"])))
    result = strategy.start(grid, ArrayRecord(model()), num_rounds=2, timeout=120)
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
