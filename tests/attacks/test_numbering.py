"""Who gives out numbers and draws the nonce does not choose anybody's neighbours (SPEC section 7)."""

import itertools

from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import FloatVector
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import Server

CONFIG = RoundConfig(ThreatModel(600, 0.05, 0.05, Adversary.CURIOUS_SERVER), (FloatVector("model", 1),))
PERMISSIVE = ClientPolicy.permissive()


def neighbours_of_the_first(nonce: bytes) -> frozenset[int]:
    server = Server(CONFIG, Participants.numbered(600), random=lambda count: nonce)
    for name, invitation in server.outgoing().items():
        server.receive(name, Client(policy=PERMISSIVE).respond(invitation))
    server.close_phase()
    return server.graph.neighbours(1)


def test_the_same_numbers_and_the_same_nonce_give_another_graph_each_time():
    """Today's attack: number devices once the nonce, and with it the ring, is known."""
    seen = [neighbours_of_the_first(bytes(32)) for _ in range(3)]
    assert all(one != other for one, other in itertools.combinations(seen, 2))
