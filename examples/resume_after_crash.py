"""Either side may be killed between any two messages: dumps on disk finish the session.

The rule is one line on each side: keep the dump before what it follows leaves. A dump holds what is still to be sent.
"""

import tempfile
from pathlib import Path

import numpy as np

from protocols import Client, FloatVector, Participants, RoundConfig, Server, ThreatModel

disk = Path(tempfile.mkdtemp())
clinics = Participants(["north", "south", "east", "west", "centre"])
updates = {name: {"update": np.full(3, clinics.number(name) / 10)} for name in clinics}


def save(name: str, dump: bytes) -> None:
    """Replace a dump as a whole: a crash leaves the old one or the new one. Dumps are as secret as keys."""
    new = disk / f"{name}.new"
    new.touch(mode=0o600)
    new.write_bytes(dump)  # a real service calls os.fsync here
    new.replace(disk / name)


def step_of_client(name: str, message: bytes) -> bytes:
    """One process of a client's: start, answer one message, stop."""
    client = Client.load((disk / name).read_bytes())
    client.respond(message, updates[name])
    save(name, client.dump())
    return client.outgoing


def step_of_server(name: str, answer: bytes) -> None:
    """One process of the server's, for one answer."""
    server = Server.load((disk / "server").read_bytes())
    server.receive(name, answer)
    save("server", server.dump())


save("server", Server(RoundConfig(ThreatModel(5, dropout_fraction=0.2), (FloatVector("update", 3),)), clinics).dump())
for name in clinics:
    save(name, Client().dump())

while not (server := Server.load((disk / "server").read_bytes())).ended:
    for name, message in server.outgoing().items():
        lost = step_of_client(name, message)  # the process dies before this answer is sent ...
        again = step_of_client(name, message)  # ... and the next one, asked again, says the same
        assert again == lost  # noqa: S101
        step_of_server(name, again)
    server = Server.load((disk / "server").read_bytes())
    server.close_phase()
    save("server", server.dump())  # killed here, before anything was sent: `outgoing` of the dump has the messages

print("in the sum:", ", ".join(sorted(server.result.survivors)))
print("sum:", server.result.sum("update").round(3))
