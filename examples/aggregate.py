"""The sum of ten private vectors, one of which never arrives: every message as bytes, as a transport would carry it."""

import numpy as np

from protocols import Client, FloatVector, RoundConfig, Server, ThreatModel
from protocols.masking import wire

config = RoundConfig(
    ThreatModel(num_clients=10, corrupt_fraction=0.1, dropout_fraction=0.3), (FloatVector("update", 4),)
)
server = Server(config)
clients = {i: Client(i) for i in range(1, 11)}
updates = {i: np.linspace(-1, 1, 4) * i / 10 for i in clients}

outgoing = server.outgoing()
while outgoing:
    for i, message in outgoing.items():
        if i == 7 and server.phase == "masked-input":
            continue  # client 7 loses its connection at the worst moment
        answer = clients[i].respond_bytes(wire.encode(message), {"update": updates[i]})
        server.receive_bytes(i, answer)
    outgoing = server.close_round()

print("in the sum:", sorted(server.result.survivors))
print("sum:       ", server.result.sum("update").round(3))
print("plain sum: ", sum(updates[i] for i in server.result.survivors).round(3))
