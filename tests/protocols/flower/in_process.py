"""A grid whose nodes live in this process: every message goes through Flower's own bytes, and all are recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.serde import (
    message_from_proto,
    message_to_proto,
    recorddict_from_proto,
    recorddict_to_proto,
)
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.serverapp import Grid

from protocols.flower import secagg_mod
from protocols.flower.envelope import RECORD

RUN_ID = 7
NODE_IDS = [2**63 + 11, 5, 2**64 - 3, 900, 17, 2**40, 6, 123456789, 33, 1234]
"""As Flower draws them: 64 bits, in no order."""


def set_identity() -> None:
    """Newer Flowers ask the process who it is when it makes a message."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:
        return
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, 1


class VanishedError(Exception):
    """The node does not answer."""


@dataclass
class InProcessGrid(Grid):
    """Nodes with their contexts; `disturb` may change, drop or replace what goes to a node, and see what comes back.

    It is called as disturb(exchange, node_id, message, answer), where `answer` has the node answer a message.
    """

    app: ClientApp
    nodes: dict[int, Context]
    disturb: Callable | None = None
    exchange: int = 0
    to_nodes: list[bytes] = field(default_factory=list)
    from_nodes: list[bytes] = field(default_factory=list)

    def send_and_receive(self, messages, *, timeout=None):
        self.exchange += 1
        replies = []
        for message in messages:
            node_id = message.metadata.dst_node_id
            try:
                if self.disturb is None:
                    replies.append(self.answer(message))
                else:
                    replies.append(self.disturb(self.exchange, node_id, message, self.answer))
            except VanishedError:
                continue
        return [reply for reply in replies if reply is not None]

    def answer(self, message: Message, app: ClientApp | None = None) -> Message:
        """Have a node answer; its state goes through bytes, too, and an exception leaves it as it was."""
        context = self.nodes[message.metadata.dst_node_id]
        message = self._through_bytes(message, self.to_nodes)
        state = recorddict_to_proto(context.state).SerializeToString()
        context.state = recorddict_from_proto(ProtoRecordDict.FromString(state))
        try:
            reply = (app or self.app)(message, context)
        except Exception as error:
            context.state = recorddict_from_proto(ProtoRecordDict.FromString(state))
            reply = Message(Error(2, f"{type(error)}: {error}"), reply_to=message)
        return self._through_bytes(reply, self.from_nodes)

    @staticmethod
    def _through_bytes(message: Message, record: list[bytes]) -> Message:
        message.metadata.__dict__["_message_id"] = "m"
        data = message_to_proto(message).SerializeToString()
        record.append(data)
        return message_from_proto(ProtoMessage.FromString(data))

    def get_node_ids(self):
        return list(self.nodes)

    @property
    def run(self):
        return SimpleNamespace(run_id=RUN_ID)

    def set_run(self, run): ...

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages):
        return ["pushed" for _ in messages]

    def pull_messages(self, message_ids):
        return []


def make_app(train: Callable, *, mods=(secagg_mod,)) -> ClientApp:
    """An app whose training is train(arrays, partition) -> (arrays, metrics), or a RecordDict."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def _train(message: Message, context: Context) -> Message:
        returned = train(message.content["arrays"].to_numpy_ndarrays(), context.node_config["partition-id"])
        if not isinstance(returned, RecordDict):
            arrays, metrics = returned
            returned = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(metrics)})
        return Message(returned, reply_to=message)

    @app.evaluate()
    def _evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 2, "partition": context.node_config["partition-id"]})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def make_grid(app: ClientApp, num_nodes: int = 6, *, node_config=None, run_config=None, disturb=None) -> InProcessGrid:
    set_identity()
    nodes = {
        node_id: Context(
            run_id=RUN_ID,
            node_id=node_id,
            node_config={"partition-id": partition, **(node_config(partition) if node_config else {})},
            state=RecordDict(),
            run_config=run_config or {},
        )
        for partition, node_id in enumerate(NODE_IDS[:num_nodes])
    }
    return InProcessGrid(app, nodes, disturb)


MODEL = [np.full((3, 2), 0.25, dtype=np.float32), np.arange(4.0), np.array([7], dtype=np.int64)]


def usual_training(arrays, partition):
    """Each node moves the model its own way; weights differ."""
    moved = [arrays[0] + np.float32(0.01 * (partition + 1)), arrays[1] - 0.05 * partition, arrays[2] + 3]
    return moved, {"num-examples": 10 + partition, "loss": 0.5 * partition, "bins": [1.0, float(partition)]}


METRICS = {"loss": 0, "bins": 2}


def plain_mean(partitions, arrays=MODEL, training=usual_training):
    """What FedAvg makes of the same updates in clear: arrays, and the weighted mean of the loss."""
    results = [training(arrays, partition) for partition in partitions]
    weights = np.array([metrics["num-examples"] for _, metrics in results], dtype=np.float64)
    weights /= weights.sum()
    means = [sum(w * result[0][i] for w, result in zip(weights, results, strict=True)) for i in range(len(arrays))]
    return means, sum(w * metrics["loss"] for w, (_, metrics) in zip(weights, results, strict=True))


def train_messages(arrays=MODEL, nodes=NODE_IDS[:6], **config) -> list[Message]:
    set_identity()
    content = RecordDict({"arrays": ArrayRecord(list(arrays)), "config": ConfigRecord(config)})
    return [Message(content, node_id, "train") for node_id in nodes]


def of_another_version(side):
    """Disturb what one side says: its records are of another version."""

    def disturb(number, node_id, message, answer):
        said = message if side == "node" else answer(message)
        said.content[RECORD]["version"] = 2
        return answer(said) if side == "node" else said

    return disturb
