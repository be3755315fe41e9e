"""flower-digits: the ClientApp."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_digits.task import load_data, make_model
from protocols.flower import secagg_mod

app = ClientApp(mods=[secagg_mod])


def prepare(msg: Message, context: Context):
    """Return the model that came, and this node's data."""
    model = make_model(str(context.run_config["model"]))
    model.set(msg.content["arrays"].to_numpy_ndarrays())
    data = load_data(int(context.node_config["partition-id"]), int(context.node_config["num-partitions"]))
    return model, data


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Train the model on this node's data."""
    model, (images, labels, _, _) = prepare(msg, context)
    loss = model.train(
        images, labels, int(context.run_config["local-epochs"]), float(context.run_config["learning-rate"])
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(labels)})
    content = RecordDict({"arrays": ArrayRecord(model.get()), "metrics": metrics})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context) -> Message:
    """Evaluate the model on what this node has held out."""
    model, (_, _, images, labels) = prepare(msg, context)
    metrics = MetricRecord({"eval_acc": model.accuracy(images, labels), "num-examples": len(labels)})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)
