"""A round that withstands a malicious server: everyone's key in a file, and one file that says who everyone is.

`secagg keygen` writes both. A private key stays on its client's machine; the public file reaches everyone by a way that
the server does not control.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from protocols import Adversary, Client, ClientPolicy, FloatVector, RoundConfig, Server, ThreatModel
from protocols.core import read_identity, read_participants

keys = Path(tempfile.mkdtemp()) / "keys"
command = ["keygen", "--out", str(keys), "--count", "6", "--name", "clinic"]
subprocess.run([sys.executable, "-c", "from protocols.cli import main; main()", *command], check=True)  # noqa: S603

participants = read_participants(keys / "roster.json")
config = RoundConfig(
    ThreatModel(6, corrupt_fraction=0.1, dropout_fraction=0.17, adversary=Adversary.MALICIOUS_SERVER),
    (FloatVector("update", 3),),
)
server = Server(config, participants)
demand = ClientPolicy(adversary=Adversary.MALICIOUS_SERVER, min_survivors=4)
clients = {
    name: Client(policy=demand, identity=read_identity(keys / f"{name}.pem"), participants=participants)
    for name in participants
}
while not server.ended:
    for name, message in server.outgoing().items():
        if not (name == "clinic-6" and server.phase == "masked-input"):  # it vanishes
            server.receive(name, clients[name].respond(message, {"update": np.full(3, 0.25)}))
    server.close_phase()
print("in the sum:", ", ".join(sorted(server.result.survivors)))
print("sum:", server.result.sum("update").round(3))
