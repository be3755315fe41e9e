"""The sum of ten private vectors, one of which never arrives: every message as bytes, as a transport would carry it."""

import numpy as np

from protocols import Client, FloatVector, RoundConfig, Server, ThreatModel, wire
from protocols.messages import ToClient

config = RoundConfig(
    ThreatModel(num_clients=10, corrupt_fraction=0.1, dropout_fraction=0.3), (FloatVector("update", 4),)
)
server = Server(config)
clients = {i: Client(i) for i in range(1, 11)}
updates = {i: np.linspace(-1, 1, 4) * i / 10 for i in clients}

outgoing = server.invitations()
while outgoing:
    for i, message in outgoing.items():
        if i == 7 and server.phase == "masked-input":
            continue  # client 7 loses its connection at the worst moment
        request = wire.decode(wire.encode(message), ToClient, max_bytes=wire.max_bytes(config))
        answer = clients[i].respond(request, {"update": updates[i]})
        server.receive_bytes(i, wire.encode(answer))
    outgoing = server.close_round()

print("in the sum:", sorted(server.result.survivors))
print("sum:       ", server.result.sum("update").round(3))
print("plain sum: ", sum(updates[i] for i in server.result.survivors).round(3))
