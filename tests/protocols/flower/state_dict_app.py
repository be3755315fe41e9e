"""Run as a script: a Ray simulation of ten nodes with a model that has BatchNorm; its findings are one line of JSON.

There are two simulations: of an app of the Message API, and of one of NumPyClient with its bridge.
"""

import inspect
import json
import sys

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg
from flwr.simulation import run_simulation

from protocols.flower import Privacy, SecAgg, by_fit, secagg_mod

NUM_NODES = 10
BATCH_NORM = {
    "conv.weight": np.zeros((2, 3), dtype=np.float32),
    "bn.running_mean": np.zeros(4, dtype=np.float32),
    "bn.num_batches_tracked": np.array(0),  # no dimensions, as PyTorch counts
    "frozen": np.arange(3, dtype=np.uint8),
    "mask": np.array([True, False]),
    "half": np.full(2, 0.5, dtype=np.float16),
    "nothing": np.empty((0, 4), dtype=np.float32),
}


def trained(state, partition):
    """What a local epoch does to the model: weights and running statistics move, a counter counts, buffers stay."""
    moved = dict(state)
    moved["conv.weight"] = state["conv.weight"] + np.float32(0.05)
    moved["bn.running_mean"] = state["bn.running_mean"] + np.float32(0.1 * partition)
    moved["bn.num_batches_tracked"] = np.asarray(state["bn.num_batches_tracked"] + 12)
    moved["half"] = state["half"] + np.float16(0.125)
    return moved


def layout(arrays):
    """Dtypes and shapes; strategies may make longer floats of shorter ones, with and without secure aggregation."""
    return [("float" if array.dtype.kind == "f" else array.dtype.name, array.shape) for array in arrays]


def checked(arrays, partition):
    """Train, as code does that holds its model to be what it was."""
    if layout(arrays) != layout(BATCH_NORM.values()):
        raise TypeError("the model has come in other dtypes or shapes")
    return trained(dict(zip(BATCH_NORM, arrays, strict=True)), partition)


usual = ClientApp(mods=[secagg_mod])


@usual.train()
def train(message, context):
    moved = checked(message.content["arrays"].to_numpy_ndarrays(), context.node_config["partition-id"])
    arrays = ArrayRecord({key: Array(array) for key, array in moved.items()})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10})}), reply_to=message)


class Quickstart(NumPyClient):
    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        return list(checked(parameters, self.partition).values()), 10, {}


bridged = ClientApp(mods=[secagg_mod])
bridged.train()(by_fit(lambda context: Quickstart(context.node_config["partition-id"]).to_client()))
ADAPTIVE_KEEPS_NUMBERS = "np.asarray" in inspect.getsource(FedAdam)
"""Flower 1.24: FedAdam and its like refuse the numbers that they make of arrays without dimensions, in clear too."""


def compare(names, grid):
    """Train by the strategies of these names, and tell what came of it."""
    everyone = {"fraction_evaluate": 0.0, "min_train_nodes": NUM_NODES, "min_available_nodes": NUM_NODES}
    privacy = Privacy(l2_clip=1.0, epsilon=8.0, delta=1e-5, rounds=2)
    findings = {}
    strategies = {
        "FedAvg": SecAgg(FedAvg(**everyone)),
        "FedAdam": SecAgg(FedAdam(**everyone)),
        "private": SecAgg(FedAvg(**everyone), dropout_fraction=0.0, privacy=privacy),
    }
    for name in names:
        strategy = strategies[name]
        result = strategy.start(
            grid, ArrayRecord({k: Array(v) for k, v in BATCH_NORM.items()}), num_rounds=2, timeout=60
        )
        got = dict(zip(BATCH_NORM, result.arrays.to_numpy_ndarrays(), strict=True))
        findings[name] = {
            "failures": [report.failures for report in strategy.reports],
            "batches": float(got["bn.num_batches_tracked"]),
            "mean": got["bn.running_mean"].tolist(),
        }
    sys.stdout.write("FINDINGS " + json.dumps(findings) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from ray_start import start_ray

    everything = ("FedAvg", *(["FedAdam"] if ADAPTIVE_KEEPS_NUMBERS else []), "private")
    for app, names in ((usual, everything), (bridged, ("FedAvg",))):
        server = ServerApp()
        server.main()(lambda grid, context, names=names: compare(names, grid))
        start_ray()
        run_simulation(server, app, NUM_NODES, backend_config={"client_resources": {"num_cpus": 1}})
