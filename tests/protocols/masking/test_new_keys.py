"""What docs/guides/operate.md says of new keys."""

from __future__ import annotations

import numpy as np

from protocols import Adversary, Client, IntegerVector, Participants, RoundConfig, Server, ThreatModel
from secagg.errors import SecAggError
from secagg.signatures import Identity

CONFIG = RoundConfig(ThreatModel(5, 0.1, 0.2, Adversary.MALICIOUS_SERVER), (IntegerVector("votes", 2),))


def roster(keys: dict[str, Identity]) -> Participants:
    return Participants({name: key.public_bytes for name, key in keys.items()})


def session(keys: dict[str, Identity], known: dict[str, Participants]) -> tuple[Server, dict[str, SecAggError]]:
    server, refused = Server(CONFIG, roster(keys)), dict[str, SecAggError]()
    clients = {name: Client(identity=keys[name], participants=known[name]) for name in keys}
    while not server.ended:
        for name, message in server.outgoing().items():
            try:
                server.receive(name, clients[name].respond(message, {"votes": np.array([0, 1])}))
            except SecAggError as error:
                refused[name] = error
        server.close_phase()
    return server, refused


def test_a_key_is_replaced_between_two_sessions_and_who_knows_it_not_refuses() -> None:
    keys = {name: Identity.generate() for name in Participants.numbered(5)}
    old = roster(keys)
    server, refused = session(keys, dict.fromkeys(keys, old))
    assert not refused
    keys["client-2"] = Identity.generate()
    new = roster(keys)
    server, refused = session(keys, dict.fromkeys(keys, new))
    assert not refused
    assert server.result.sum("votes").tolist() == [0, 5]
    server, refused = session(keys, dict.fromkeys(keys, new) | {"client-3": old})
    assert set(refused) == {"client-3"}
    assert type(refused["client-3"]).__name__ == "AuthenticationFailed"
    assert "culprits: 2" in str(refused["client-3"])
    assert server.result.survivors == set(keys) - {"client-3"}
