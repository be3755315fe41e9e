"""flower-digits: the ClientApp."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_digits.task import load_data, make_model
from protocols.flower import secagg_mod

app = ClientApp(mods=[secagg_mod])


@app.train()
def train(msg: Message, context: Context) -> Message:
    """Test the model that came on what this node has held out, then train it on the rest of its data."""
    model = make_model(str(context.run_config["model"]))
    model.set(msg.content["arrays"].to_numpy_ndarrays())
    images, labels, held_out_images, held_out_labels = load_data(
        int(context.node_config["partition-id"]), int(context.node_config["num-partitions"])
    )
    accuracy = model.accuracy(held_out_images, held_out_labels)
    loss = model.train(
        images, labels, int(context.run_config["local-epochs"]), float(context.run_config["learning-rate"])
    )
    metrics = MetricRecord({"train_loss": loss, "accuracy_before": accuracy, "num-examples": len(labels)})
    content = RecordDict({"arrays": ArrayRecord(model.get()), "metrics": metrics})
    return Message(content=content, reply_to=msg)
