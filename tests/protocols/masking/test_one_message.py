"""A client's process that lives for one message of a small round loads no compiler, in any phase."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from protocols import Adversary, Client, FloatVector, IntegerVector, Participants, RoundConfig, Server, ThreatModel
from secagg.signatures import Identity
from tests.processes import python

PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
from protocols import Client, Participants
from secagg.signatures import Identity

disk = Path(sys.argv[1])
known = {name: bytes.fromhex(key) for name, key in json.loads((disk / "known").read_text()).items()}
of_mine = {"identity": Identity((1).to_bytes(32, "little")), "participants": Participants(known)} if known else {}
client = Client.load((disk / "client").read_bytes(), **of_mine)
length = int(sys.argv[2])
client.respond((disk / "message").read_bytes(), {"update": np.full(length, 0.25), "votes": np.full(length, 3)})
(disk / "client").write_bytes(client.dump())
(disk / "answer").write_bytes(client.outgoing)
print(json.dumps(sorted({"numba", "llvmlite", "scipy"} & set(sys.modules))))
"""


def identity(number: int) -> Identity:
    return Identity(number.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("num_clients", "length", "adversary", "phases"),
    [
        (20, 10_000, Adversary.MALICIOUS_SERVER, 6),
        # Each goes through as many numbers as a client among 100 with vectors of 100,000.
        (40, 250_000, Adversary.SEMI_MALICIOUS_SERVER, 5),
    ],
)
def test_no_phase_loads_a_compiler(
    tmp_path: Path, num_clients: int, length: int, adversary: Adversary, phases: int
) -> None:
    names = Participants.numbered(num_clients)
    identities = {name: identity(names.number(name)) for name in names}
    known = {name: own.public_bytes for name, own in identities.items()} if adversary.needs_identities else {}
    participants = Participants(known) if known else names
    first, *others = participants
    vectors = (FloatVector("update", length), IntegerVector("votes", length, max_value=9))
    server = Server(RoundConfig(ThreatModel(num_clients, 0.1, 0.1, adversary), vectors), participants)
    clients = {
        name: Client(identity=identities[name], participants=participants) if known else Client() for name in others
    }
    (tmp_path / "known").write_text(json.dumps({name: key.hex() for name, key in known.items()}))
    (tmp_path / "client").write_bytes(Client().dump())
    inputs = {"update": np.full(length, 0.25), "votes": np.full(length, 3)}
    loaded = {}
    while not server.ended:
        outgoing = dict(server.outgoing())
        (tmp_path / "message").write_bytes(outgoing.pop(first))
        loaded[server.phase] = json.loads(python("-c", PROCESS, tmp_path, length))
        server.receive(first, (tmp_path / "answer").read_bytes())
        for name, message in outgoing.items():
            server.receive(name, clients[name].respond(message, inputs))
        server.close_phase()
    assert len(loaded) == phases
    assert not any(loaded.values()), loaded
    assert first in server.result.survivors
    assert (server.result.sum("votes") == 3 * num_clients).all()
