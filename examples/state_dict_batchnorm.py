"""The weighted mean of a model with BatchNorm: floats, running statistics, and a counter of batches without dimensions.

The state dicts are numpy's; PyTorch's `model.state_dict()` goes in as it is, tensors on the CPU.
"""

import numpy as np

from protocols import Client, Inputs, ModelLayout, Participants, RoundConfig, Server, ThreatModel

sent = {
    "conv.weight": np.full((2, 1, 3, 3), 0.5, dtype=np.float32),
    "bn.weight": np.ones(2, dtype=np.float32),
    "bn.running_var": np.ones(2, dtype=np.float64),
    "bn.num_batches_tracked": np.array(100, dtype=np.int64),  # no dimensions, and an integer
    "frozen": np.array([True, False]),
    "unused": np.empty((0, 4), dtype=np.float16),
}
EXAMPLES = {"ams": 100, "ber": 200, "cph": 300, "dub": 400, "eas": 500}
layout = ModelLayout.of(sent)


def train(name: str) -> Inputs:
    """Return what training has changed, weighed by the number of examples."""
    step = EXAMPLES[name] / 1000
    trained = dict(sent)
    trained["conv.weight"] = sent["conv.weight"] + np.float32(step)
    trained["bn.num_batches_tracked"] = sent["bn.num_batches_tracked"] + EXAMPLES[name] // 10
    return Inputs(layout.values(trained, minus=sent), weight=EXAMPLES[name])


server = Server(
    RoundConfig(ThreatModel(5), layout.vectors(clip=1.0, value_bits=20, weighted=True), max_weight=1000),
    Participants(tuple(EXAMPLES)),
)
clients = {name: Client() for name in EXAMPLES}
while not server.ended:
    for name, message in server.outgoing().items():
        server.receive(name, clients[name].respond(message, lambda name=name: train(name)))
    server.close_phase()

result = server.result
for name, array in layout.restore(result, plus=sent).items():
    print(f"{name}: {array.dtype} {array.shape} {np.array2string(array.reshape(-1)[:2], precision=3)}")
print("clipped:", result.num_clipped)
