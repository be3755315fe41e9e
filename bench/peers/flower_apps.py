"""The same simulated app under Flower's SecAgg+ and under ours, over Flower's own engine: one run, one Ray.

Run as a script with parameters in JSON; prints one line of JSON. A node's model is a network with one hidden layer for
real digits; its training is a step over all its digits, so that aggregation is what takes time. Nodes that vanish do so
when masked input is due, the only exchange in which Flower's protocol survives it.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.common.serde import message_to_proto
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg as LegacyFedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from sklearn.datasets import load_digits

from protocols.flower import SecAgg, secagg_mod
from protocols.masking.topology import GraphKind

PARAMETERS = json.loads(sys.argv[1])
NODES, ROUNDS, DROPPED = PARAMETERS["nodes"], PARAMETERS["rounds"], PARAMETERS["dropped"]
HIDDEN = PARAMETERS["hidden"]
PIXELS, CLASSES, TEST = 64, 10, 360
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype(np.float32)


def initial_model() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    first = rng.normal(0, PIXELS**-0.5, (PIXELS, HIDDEN))
    second = rng.normal(0, HIDDEN**-0.5, (HIDDEN, CLASSES))
    return [array.astype(np.float32) for array in (first, np.zeros(HIDDEN), second, np.zeros(CLASSES))]


def forward(model, images):
    hidden = np.maximum(images @ model[0] + model[1], 0)
    logits = hidden @ model[2] + model[3]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def trained(model, partition) -> tuple[list[np.ndarray], int]:
    images, labels = IMAGES[partition:-TEST:NODES], LABELS[partition:-TEST:NODES]
    model = [array.copy() for array in model]
    for _ in range(5):
        hidden, error = forward(model, images)
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        back = error @ model[2].T * (hidden > 0)
        for array, gradient in zip(model, (images.T @ back, back.sum(0), hidden.T @ error, error.sum(0)), strict=True):
            np.subtract(array, np.float32(0.3) * gradient, out=array)
    return model, len(labels)


def accuracy(model) -> float:
    return float((forward(model, IMAGES[-TEST:])[1].argmax(axis=1) == LABELS[-TEST:]).mean())


class Vanished(Exception):  # noqa: N818
    """What a simulated node that vanishes leaves behind."""


class OurDropouts:
    """Before secagg_mod: some nodes fail when they are asked to train."""

    def __call__(self, message, context, call_next):
        if context.node_config["partition-id"] < DROPPED and len(message.content.array_records):
            raise Vanished
        return call_next(message, context)


class TheirDropouts:
    """Before secaggplus_mod: the same nodes, in the same stage."""

    def __call__(self, message, context, call_next):
        stage = message.content.config_records.get("secaggplus_configs", {}).get("stage")
        if context.node_config["partition-id"] < DROPPED and stage == "collect_masked_vectors":
            raise Vanished
        return call_next(message, context)


class CountingGrid(Grid):
    """Counts the bytes of the nodes' replies in the first round, and the seconds of each exchange in the others."""

    def __init__(self, grid):
        self.grid, self.counting, self.reply_bytes, self.request_bytes = grid, True, 0, 0

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        if self.counting:
            self.request_bytes += sum(message_to_proto(message).ByteSize() for message in messages)
        replies = list(self.grid.send_and_receive(messages, timeout=timeout))
        if self.counting:
            self.reply_bytes += sum(message_to_proto(reply).ByteSize() for reply in replies)
        return replies

    def get_node_ids(self):
        return self.grid.get_node_ids()

    def get_nodes(self):
        return self.grid.get_nodes()

    def set_run(self, run):
        self.grid.set_run(run)

    @property
    def run(self):
        return self.grid.run

    def create_message(self, *args, **options):
        return self.grid.create_message(*args, **options)

    def push_messages(self, messages):
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids):
        return self.grid.pull_messages(message_ids)


def run(client: ClientApp, main) -> dict:
    found: dict = {}
    server = ServerApp()
    server.main()(lambda grid, context: found.update(main(CountingGrid(grid), context)))
    run_simulation(server, client, NODES, backend_config={"client_resources": {"num_cpus": 1}})
    return found


def message_api(mods, wrap) -> dict:
    """FedAvg of the Message API, in clear or under ours."""
    client = ClientApp(mods=mods)

    @client.train()
    def train(message, context):
        model, weight = trained(message.content["arrays"].to_numpy_ndarrays(), context.node_config["partition-id"])
        content = {"arrays": ArrayRecord(model), "metrics": MetricRecord({"num-examples": weight})}
        return Message(RecordDict(content), reply_to=message)

    def main(grid, context):
        strategy = wrap(FedAvg(fraction_evaluate=0.0, min_train_nodes=NODES, min_available_nodes=NODES))
        model, seconds = ArrayRecord(initial_model()), []
        for number in range(ROUNDS + 1):
            grid.counting = number == 0
            start = time.perf_counter()
            model = strategy.start(grid, model, num_rounds=1, timeout=600).arrays
            seconds.append(time.perf_counter() - start)
        reports = getattr(strategy, "reports", None)
        return {
            "seconds": seconds[1:],
            "reply_bytes": grid.reply_bytes,
            "request_bytes": grid.request_bytes,
            "accuracy": accuracy(model.to_numpy_ndarrays()),
            "stages": reports[-1].seconds if reports else {},
            "survivors": len(reports[-1].survivors) if reports else NODES,
        }

    return run(client, main)


class TimedSecAggPlus(SecAggPlusWorkflow):
    """Flower's workflow, each round of it timed."""

    def __call__(self, grid, context):
        start = time.perf_counter()
        super().__call__(grid, context)
        self.seconds = [*getattr(self, "seconds", []), time.perf_counter() - start]
        grid.counting = False


class DigitsClient(NumPyClient):
    """The same training for the legacy API, which is the only one that Flower's SecAgg+ serves."""

    def __init__(self, partition):
        self.partition = partition

    def fit(self, parameters, config):
        model, weight = trained(parameters, self.partition)
        return model, weight, {}


def legacy_api(threshold: int) -> dict:
    """Flower's SecAgg+ on the complete graph, as ours."""
    client = ClientApp(
        client_fn=lambda context: DigitsClient(context.node_config["partition-id"]).to_client(),
        mods=[TheirDropouts(), secaggplus_mod],
    )

    def main(grid, context):
        strategy = LegacyFedAvg(
            fraction_evaluate=0.0,
            min_fit_clients=NODES,
            min_available_clients=NODES,
            initial_parameters=ndarrays_to_parameters(initial_model()),
        )
        legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=ROUNDS + 1), strategy=strategy)
        workflow = TimedSecAggPlus(num_shares=1.0, reconstruction_threshold=threshold, max_weight=1000, timeout=600)
        DefaultWorkflow(fit_workflow=workflow)(grid, legacy)
        return {
            "seconds": workflow.seconds[1:],
            "reply_bytes": grid.reply_bytes,
            "request_bytes": grid.request_bytes,
            "accuracy": accuracy(legacy.state.array_records["parameters"].to_numpy_ndarrays()),
        }

    return run(client, main)


def main() -> None:
    threshold = NODES - max(2, NODES // 4)
    options = {"max_weight": 1000, "graph": GraphKind.COMPLETE, "dropout_fraction": (NODES - threshold) / NODES}
    contenders = {
        "plain": lambda: message_api([], lambda strategy: strategy),
        "ours": lambda: message_api([OurDropouts(), secagg_mod], lambda strategy: SecAgg(strategy, **options)),
        "theirs": lambda: legacy_api(threshold),
    }
    findings = {name: contenders[name]() for name in PARAMETERS["contenders"]}
    sys.stdout.write("\nFINDINGS " + json.dumps(findings) + "\n")


if __name__ == "__main__":
    main()
