"""Run as a script: a Ray simulation of 20 nodes with dropouts in every exchange, whose findings are one line of JSON.

Private rounds follow, paid from the ledger that the first argument names; one node then demands more than there is.
Then the nodes' sites, whose journals are in Flower's home, are asked a query, with dropouts as before.
Flower's engine and Ray live and end with this process; the test reads its output.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAdam, FedAvg
from flwr.simulation import run_simulation
from private_app.server_app import findings as private_findings
from private_app.task import DELTA, settings

from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import SecAgg, SecAggMod, ask
from protocols.statistics import Number, Query, Site, SitePolicy, Where, asked

NUM_NODES = 20
MODEL = [np.linspace(-1, 1, 60, dtype=np.float32).reshape(6, 10), np.zeros(10)]
FAILING = {
    "advertise-keys": (0,),
    "share-keys": (1, 2),
    "masked-input": (3, 4),
    "consistency-check": (),
    "unmasking": (5,),
}
EXCHANGES = list(FAILING)
"""Which partitions fail in which exchange of the first round."""
PRIVATE_MODEL = [np.zeros(300), np.zeros((10, 10), dtype=np.float32)]
DEMANDING, PLAIN_ROUNDS = 10, 3
QUERY_FAILING = {
    "query": (0,),
    "advertise-keys": (1,),
    "share-keys": (2,),
    "masked-input": (3, 4),
    "consistency-check": (),
    "unmasking": (5,),
}
SMALL, WITHOUT_SITE = 6, 7
"""Partitions of which one refuses, and one has nothing to be asked about."""
AGE = Number("age", 0, 120)
QUERY = Query("people", (AGE,), (asked("count"), asked("mean", "age"), asked("variance", "age")))
FEWER = Query("people", (AGE,), (asked("count"),), (Where("age", "lt", 99.0),))
"""A question after which it would be known who is 99: all sites have such a person."""


def ages(partition):
    drawn = np.random.default_rng([3, partition]).uniform(0, 90, 5 if partition == SMALL else 40)
    return np.append(drawn, 99.0)


def site(node_config):
    partition = node_config["partition-id"]
    if partition == WITHOUT_SITE:
        return None
    journal = Path(os.environ["FLWR_HOME"]) / f"journal-{partition}"
    return Site({"age": ages(partition)}, SitePolicy(columns={"age"}), "people", journal)


usual = SecAggMod(in_clear=["evaluate"], site=site)
demanding = SecAggMod(policy=ClientPolicy(privacy=PrivacyDemand(0.25, DELTA)))


def failing_mod(message, context, call_next):
    """Count the protocol's messages in the node's state, and fail when it is this node's turn."""
    kind = message.metadata.message_type
    if kind not in ("train", "query.statistics"):
        return usual(message, context, call_next)
    if kind != "train":
        asked_before = context.state.config_records.get("asked", {}).get("messages", 0)
        context.state["asked"] = ConfigRecord({"messages": asked_before + 1})
        failing = list(QUERY_FAILING.values())[asked_before] if asked_before < len(QUERY_FAILING) else ()
        if context.node_config["partition-id"] in failing:
            return Message(Error(2, "the node's own trouble"), reply_to=message)
        return usual(message, context, call_next)
    count = context.state.config_records.get("count", {}).get("messages", 0)
    context.state["count"] = ConfigRecord({"messages": count + 1})
    if count < len(EXCHANGES) and context.node_config["partition-id"] in FAILING[EXCHANGES[count]]:
        return Message(Error(2, "the node's own trouble"), reply_to=message)
    if context.node_config["partition-id"] == DEMANDING and count >= PLAIN_ROUNDS * len(EXCHANGES):
        return demanding(message, context, call_next)
    return usual(message, context, call_next)


def updated(arrays, partition, server_round):
    """The same numbers wherever they are computed."""
    rng = np.random.default_rng([partition, server_round])
    return [array + rng.uniform(0.1, 0.3, array.shape).astype(array.dtype) for array in arrays]


def num_examples(partition):
    return 500 + 20 * partition


client = ClientApp(mods=[failing_mod])
client.query("statistics")(usual.query)


@client.train()
def train(message, context):
    partition = context.node_config["partition-id"]
    arrays = updated(
        message.content["arrays"].to_numpy_ndarrays(), partition, message.content["config"]["server-round"]
    )
    metrics = MetricRecord({"num-examples": num_examples(partition), "loss": partition / 10})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)


@client.evaluate()
def evaluate(message, context):
    metrics = MetricRecord({"num-examples": 1, "partition": context.node_config["partition-id"]})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def plain(partitions, arrays, server_round):
    weights = np.array([num_examples(partition) for partition in partitions], dtype=float)
    updates = [updated(arrays, partition, server_round) for partition in partitions]
    return [np.tensordot(weights / weights.sum(), np.array(arrays), axes=1) for arrays in zip(*updates, strict=True)]


server = ServerApp()


@server.main()
def main(grid, context):
    options = {"metrics": ["loss"], "dropout_fraction": 0.3, "value_bits": 28, "stage_timeout": 60}
    everyone = {"min_train_nodes": NUM_NODES, "min_available_nodes": NUM_NODES}  # they register one by one
    strategy = SecAgg(FedAvg(**everyone), **options)
    result = strategy.start(grid, ArrayRecord(MODEL), num_rounds=2, timeout=60)
    survivors = [p for p in range(NUM_NODES) if p not in (0, 1, 2, 3, 4)]
    expected = plain(range(NUM_NODES), plain(survivors, MODEL, 1), 2)
    adam = SecAgg(FedAdam(fraction_evaluate=0.0, eta=0.05, **everyone), **options)
    moved = adam.start(grid, ArrayRecord(MODEL), num_rounds=1, timeout=60).arrays.to_numpy_ndarrays()
    findings = {
        "error": max(
            float(np.abs(got - wanted).max())
            for got, wanted in zip(result.arrays.to_numpy_ndarrays(), expected, strict=True)
        ),
        "dtypes": [array.dtype.name for array in result.arrays.to_numpy_ndarrays()],
        "survivors": [len(report.survivors) for report in strategy.reports],
        "failed_in": sorted(reason.split(":")[0] for reason in strategy.reports[0].failures.values()),
        "errors": [report.error for report in strategy.reports],
        "loss": result.train_metrics_clientapp[1]["loss"],
        "expected_loss": sum(num_examples(p) * p / 10 for p in survivors) / sum(map(num_examples, survivors)),
        "evaluated": result.evaluate_metrics_clientapp[2]["partition"],
        "adam_moved": min(float(np.abs(got - sent).min()) for got, sent in zip(moved, MODEL, strict=True)),
    }
    strategy = SecAgg(FedAvg(fraction_evaluate=0.0, **everyone), settings(sys.argv[1]))
    result = strategy.start(grid, ArrayRecord(PRIVATE_MODEL), num_rounds=2, timeout=60)
    findings["private"] = private_findings(PRIVATE_MODEL, result, strategy.reports)
    findings["queries"] = query_findings(grid)
    sys.stdout.write("FINDINGS " + json.dumps(findings) + "\n")
    sys.stdout.flush()


def query_findings(grid):
    reports = []
    options = {"min_available_nodes": NUM_NODES, "stage_timeout": 60, "reports": reports}
    answer = ask(grid, QUERY, **options)
    count, mean, variance = answer.findings
    after = ""
    try:
        ask(grid, FEWER, **options)
    except Exception as error:
        after = str(error)
    return {
        "sites": answer.sites,
        "count": count.value,
        "mean": [float(mean.value), float(mean.error)],
        "variance": [float(variance.value), float(variance.error)],
        "failures": sorted(reports[0].failures.values()),
        "exchanges": list(reports[0].seconds),
        "after": after,
    }


if __name__ == "__main__":
    from ray_start import start_ray

    start_ray()
    run_simulation(server, client, NUM_NODES, backend_config={"client_resources": {"num_cpus": 1}})
