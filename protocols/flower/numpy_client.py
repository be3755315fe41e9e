"""A bridge for apps of NumPyClient, whose messages are older than the Message API: their fit becomes its training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from secagg.errors import EncodingError

NUM_EXAMPLES = "num-examples"


def by_fit(client_fn: Callable[[Context], Any]) -> Callable[[Message, Context], Message]:
    """Return a training function that has a NumPyClient's fit train: `app.train()(by_fit(client_fn))`.

    Args:
        client_fn: what `ClientApp(client_fn)` took: from a node's context to a NumPyClient, or to its `to_client()`.

    Returns:
        A function for `ClientApp.train`. Fit gets the arrays that came and the values of the ConfigRecords; what it
        returns becomes the arrays by the names that came, and metrics, the number of examples among them. It raises
        EncodingError where that cannot be.
    """

    def train(message: Message, context: Context) -> Message:
        client = client_fn(context)
        client = getattr(client, "numpy_client", client)  # what to_client() has wrapped
        ((name, sent),) = message.content.array_records.items()
        config = {key: value for record in message.content.config_records.values() for key, value in record.items()}
        arrays, num_examples, metrics = client.fit(sent.to_numpy_ndarrays(), config)
        if len(arrays) != len(sent):
            raise EncodingError(
                f"fit returned {len(arrays)} arrays, but {len(sent)} came: return those, in their order"
            )
        for key, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise EncodingError(f"fit's metric {key!r} is a {type(value).__name__}, but only numbers are summed")
        numbers = {key: value.item() if isinstance(value, np.number) else value for key, value in metrics.items()}
        content: dict[str, ArrayRecord | MetricRecord | ConfigRecord] = {
            name: ArrayRecord({key: Array(np.asarray(array)) for key, array in zip(sent, arrays, strict=True)}),
            "metrics": MetricRecord({**numbers, NUM_EXAMPLES: int(num_examples)}),
        }
        return Message(RecordDict(content), reply_to=message)

    return train


def is_of_numpy_client(error: BaseException) -> bool:
    """Return whether an error comes from Flower's code for such apps, which the Message API's messages do not suit."""
    frame = error.__traceback__
    while frame is not None:
        if str(frame.tb_frame.f_globals.get("__name__")).endswith("message_handler.message_handler"):
            return True
        frame = frame.tb_next
    return False
