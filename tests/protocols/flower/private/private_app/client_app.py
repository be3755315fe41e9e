"""The nodes: one of them demands more than the others."""

import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from private_app import task
from protocols import ClientPolicy, PrivacyDemand
from protocols.flower import SecAggMod

usual = SecAggMod(policy=ClientPolicy(min_participants=3, min_survivors=3))
demanding = SecAggMod(policy=ClientPolicy(min_participants=3, min_survivors=3, privacy=PrivacyDemand(0.25, task.DELTA)))


def by_partition(message: Message, context: Context, call_next) -> Message:
    mod = demanding if context.node_config["partition-id"] == task.DEMANDING else usual
    return mod(message, context, call_next)


app = ClientApp(mods=[by_partition])


@app.train()
def train(message: Message, context: Context) -> Message:
    if context.node_config["partition-id"] == context.run_config["hanging"]:
        time.sleep(300)
    first, second = message.content["arrays"].to_numpy_ndarrays()
    step = task.update(int(context.node_config["partition-id"]))
    moved = [first + step[: first.size].reshape(first.shape).astype(np.float32), second + step[first.size :]]
    metrics = MetricRecord({"num-examples": 10, "loss": 7654.321})  # which a private round leaves on the node
    return Message(RecordDict({"arrays": ArrayRecord(moved), "metrics": metrics}), reply_to=message)
