"""The bounds on what a message may take: the largest honest ones fit, and the bounds are the specification's."""

import pytest

from protocols.core import framing
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    AdvertiseKeys,
    InputRequest,
    Invitation,
    Roster,
    ShareDelivery,
    SurvivorList,
    UnmaskingRequest,
)
from protocols.masking.topology import GraphKind
from secagg.errors import MalformedMessage

SESSION = b"\xff" * 32
KEY = b"\xff" * 32
SIGNATURE = b"\xff" * 64


def config_of(num_clients: int, adversary: Adversary, *, graph: GraphKind) -> RoundConfig:
    model = ThreatModel(num_clients, 0.02, 0.02, adversary)
    return RoundConfig(model, (FloatVector("model", 10),), graph=graph)


COMPLETE = config_of(400, Adversary.MALICIOUS_SERVER, graph=GraphKind.COMPLETE)
SPARSE = config_of(20_000, Adversary.SEMI_MALICIOUS_SERVER, graph=GraphKind.RANDOM_CYCLES)


@pytest.mark.parametrize("config", [COMPLETE, SPARSE], ids=["complete", "sparse"])
def test_the_largest_messages_to_a_client_fit(config):
    n = config.threat_model.num_clients
    peers = range(n - config.topology.degree, n + 1)
    everyone = tuple(range(1, n + 1))
    for message in (
        Roster(SESSION, n, KEY, tuple(AdvertiseKeys(SESSION, i, KEY, KEY, KEY, KEY, SIGNATURE) for i in peers)),
        ShareDelivery(
            SESSION, n, tuple(peers), bytes(SEALED_SHARES_BYTES * len(peers)), bytes(COMMITMENTS_BYTES * len(peers))
        ),
        InputRequest(SESSION, n, tuple(peers)),
        SurvivorList(SESSION, n, everyone, everyone),
        UnmaskingRequest(SESSION, n, n, tuple(peers), dict.fromkeys(peers, SIGNATURE)),
    ):
        data = wire.encode(message)
        assert wire.decode(data, type(message), max_bytes=wire.max_request_bytes(config)) == message
    assert len(wire.encode(Invitation(n, config, KEY))) <= wire.MAX_INVITATION_BYTES


@pytest.mark.parametrize("config", [COMPLETE, SPARSE], ids=["complete", "sparse"])
def test_the_bounds_are_a_header_so_much_a_peer_so_much_a_client_and_an_invitation(config):
    degree, n = config.topology.degree, config.threat_model.num_clients
    assert wire.max_request_bytes(config) == 21 + 512 * (degree + 2) + 10 * n + 65_536
    assert wire.max_bytes(config) - wire.max_request_bytes(config) == config.input_bytes > 0


def test_a_header_is_the_least_that_a_message_is():
    data = wire.encode(Invitation(1, COMPLETE, KEY))
    assert data[:5] == b"SAGG\x01"
    for length in (0, 4, 5, framing.HEADER_BYTES - 1):
        with pytest.raises(MalformedMessage, match="no message of ours"):
            wire.decode(data[:length], Invitation, max_bytes=1 << 20)
    with pytest.raises(MalformedMessage, match="damaged"):
        wire.decode(data[: framing.HEADER_BYTES], Invitation, max_bytes=1 << 20)
    assert wire.decode(data, Invitation, max_bytes=len(data)) == Invitation(1, COMPLETE, KEY)
    with pytest.raises(MalformedMessage, match="longer than"):
        wire.decode(data, Invitation, max_bytes=len(data) - 1)
