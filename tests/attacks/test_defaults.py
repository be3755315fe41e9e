"""Nobody who took the defaults may be sorry: what servers tried on a client that was given no policy."""

import copy
import os
import pickle

import numpy as np
import pytest

from protocols import (
    Client,
    ClientPolicy,
    EncodingDemand,
    FloatVector,
    GraphKind,
    RoundConfig,
    Server,
    ThreatModel,
    once,
)
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary
from protocols.masking import topology
from protocols.masking.policy import PrivacyDemand
from protocols.privacy.plans import PrivatePlan
from protocols.simulation.masked import run_locally
from secagg.encoding import Rounding
from secagg.errors import ParameterError, StateError, ThresholdError

FLOATS = (FloatVector("model", 4),)
CURIOUS = Adversary.CURIOUS_SERVER


def invitation(config: RoundConfig) -> bytes:
    return next(iter(Server(config).outgoing().values()))


def refused(config: RoundConfig, policy: ClientPolicy | None = None) -> str:
    with pytest.raises(ParameterError) as refusal:
        Client(policy=policy).respond(invitation(config))
    return str(refusal.value)


@pytest.mark.parametrize("clients", [5, 10, 20, 50, 100, 256, 1000])
def test_a_client_without_a_policy_takes_part_in_a_round_without_options(clients):
    config = RoundConfig(ThreatModel(clients), FLOATS)
    assert Client().respond(invitation(config))
    assert config.topology.resists_equivocation
    assert config.topology.complete is (clients <= 256)
    assert config.min_survivors >= max(0.9 * clients, config.threat_model.max_corrupt + 2)


def test_a_server_that_plays_the_only_other_client_is_refused():
    assert "invites 2 clients" in refused(RoundConfig(ThreatModel(2, 0.1, 0.0, CURIOUS), FLOATS), trusting())


def trusting() -> ClientPolicy:
    return ClientPolicy(adversary=CURIOUS)


def test_a_round_that_one_lie_undoes_is_refused():
    assert "demands semi-malicious-server" in refused(RoundConfig(ThreatModel(20, adversary=CURIOUS), FLOATS))


def test_a_sum_that_is_a_count_of_chosen_bits_is_refused():
    """Two bits, rounded to nearest, with a clip of twice the threshold: each input is told by one bit."""
    for spec in (
        FloatVector("model", 4, clip=2.0, value_bits=2, rounding=Rounding.NEAREST),
        FloatVector("model", 4, clip=2.0, rounding=Rounding.NEAREST),
        FloatVector("model", 4, clip=2.0, value_bits=2),
    ):
        assert "this client demands" in refused(RoundConfig(ThreatModel(20), (spec,)))


def test_one_input_that_drowns_all_others_is_refused_where_weights_are_bounded():
    config = RoundConfig(ThreatModel(20), (FloatVector("model", 4, weighted=True),), max_weight=10**6)
    assert "weights up to 1000000" in refused(config, ClientPolicy(encoding=EncodingDemand(max_weight=100)))


def test_the_corrupt_clients_of_a_population_and_one_other_make_no_round():
    """Ten of a hundred identities are corrupt: the server invites those, and the victim."""
    small = RoundConfig(ThreatModel(11, 0.1, 0.1), FLOATS)
    assert Client().respond(invitation(small))  # fractions are of the invited
    assert "withstands 1 corrupt clients" in refused(small, ClientPolicy(corrupt_clients=10))
    large = RoundConfig(ThreatModel(100, 0.1, 0.1), FLOATS)
    assert Client(policy=ClientPolicy(corrupt_clients=10)).respond(invitation(large))


def test_a_privacy_demand_wants_a_round_that_one_lie_does_not_undo():
    plan = PrivatePlan(threat_model=ThreatModel(20, adversary=CURIOUS), length=4, l2_clip=1.0, epsilon=8.0, delta=1e-5)
    demand = PrivacyDemand(8.0, 1e-5)
    assert "whose one lie" in refused(plan.config, ClientPolicy(adversary=CURIOUS, privacy=demand))
    trusts = PrivacyDemand(8.0, 1e-5, trusts_server=True)
    assert Client(policy=ClientPolicy(adversary=CURIOUS, privacy=trusts)).respond(invitation(plan.config))
    safe = PrivatePlan(threat_model=ThreatModel(20), length=4, l2_clip=1.0, epsilon=8.0, delta=1e-5)
    assert Client(policy=ClientPolicy(privacy=demand)).respond(invitation(safe.config))


def test_an_invitation_is_refused_by_its_head_before_anything_is_derived(monkeypatch):
    """160 bytes cost a client seven seconds: the graph of a million clients was derived before its policy was asked."""
    head = invitation(RoundConfig(ThreatModel(1_000_000, 0.1, 0.05), FLOATS))
    topology.derive_topology.cache_clear()
    for name in ("_random_cycles", "_ring", "_complete_topology"):
        monkeypatch.setattr(topology, name, lambda *_: pytest.fail("a graph was derived"))
    with pytest.raises(ParameterError, match="takes part with at most 100000"):
        Client().respond(head)


def test_the_ring_that_a_choice_of_who_is_late_cuts_is_refused():
    ring = RoundConfig(ThreatModel(500), FLOATS, graph=GraphKind.RING_FOR_RANDOM_DROPOUTS)
    assert "summed apart" in refused(ring)
    assert Client(policy=ClientPolicy(takes_ring=True)).respond(invitation(ring))


def test_neighbours_are_bounded_from_above():
    crowd = RoundConfig(ThreatModel(2000), FLOATS, graph=GraphKind.COMPLETE)
    assert "most 1000" in refused(crowd)


def test_a_client_is_neither_copied_nor_pickled_nor_shared_with_a_forked_process():
    client = Client()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(StateError, match="must not be"):
            duplicate(client)
    data = invitation(RoundConfig(ThreatModel(5), FLOATS))
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            client.respond(data)
        except StateError as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        assert b"uses a copy of it" in told.read()
    assert client.respond(data)


def test_inputs_can_be_given_once():
    names = Participants.numbered(5)
    given = {name: once({"model": np.full(4, 0.5)}) for name in names}
    config = RoundConfig(ThreatModel(5), FLOATS)
    assert np.allclose(run_locally(config, given).sum("model"), 2.5, atol=1e-3)
    with pytest.raises(ThresholdError, match="0 clients are left"):
        run_locally(config, given)
    with pytest.raises(StateError, match="given in a session before"):
        given["client-1"]()
