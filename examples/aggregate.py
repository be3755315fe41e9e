"""The sum of ten private vectors, one of which never arrives: every message as bytes, as a transport would carry it."""

import numpy as np

from protocols import Client, FloatVector, Participants, RoundConfig, Server, ThreatModel

config = RoundConfig(
    ThreatModel(num_clients=10, corrupt_fraction=0.1, dropout_fraction=0.3), (FloatVector("update", 4),)
)
hospitals = Participants(f"hospital-{i:02}" for i in range(1, 11))
server = Server(config, hospitals)
clients = {name: Client() for name in hospitals}
updates = {name: np.linspace(-1, 1, 4) * i / 10 for i, name in enumerate(hospitals, start=1)}

while not server.ended:
    for name, message in server.outgoing().items():
        if name == "hospital-07" and server.phase == "masked-input":
            continue  # it loses its connection at the worst moment
        server.receive(name, clients[name].respond(message, {"update": updates[name]}))
    server.close_phase()

print("in the sum:", sorted(server.result.survivors))
print("sum:       ", server.result.sum("update").round(3))
print("plain sum: ", sum(updates[name] for name in server.result.survivors).round(3))
