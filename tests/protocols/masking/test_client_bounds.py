"""Where exactly a client's refusals begin: what is just enough passes, one less does not."""

import msgspec
import pytest

from protocols.core.threat_model import Adversary
from protocols.masking.client import checks as client_checks
from protocols.masking.messages import COMMITMENTS_BYTES, SEALED_SHARES_BYTES
from protocols.masking.policy import ClientPolicy
from secagg.errors import ContradictoryRequest, ParameterError, ThresholdError

from .harness import demanding, session_after, small_config

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary
ANY = ClientPolicy.permissive()


def sparse():
    config = small_config(20, corrupt=0.05, dropout=0.2)
    assert not config.topology.complete
    return config


def complete(adversary=MALICIOUS, **kwargs):
    return small_config(7, adversary, dropout=0.29, complete_graph=True, **kwargs)


@pytest.mark.parametrize("number", [0, 8, -1])
def test_numbers_are_one_to_n(number):
    config = complete()
    for inside in (1, 7):
        client_checks.check_own_number(config, inside)
    with pytest.raises(ParameterError, match=f"the number {number}, but"):
        client_checks.check_own_number(config, number)


@pytest.mark.parametrize(("config", "own"), [(sparse(), 0), (complete(), 1)], ids=["sparse", "complete"])
def test_a_client_counts_itself_towards_the_threshold_where_it_holds_a_share(config, own):
    session = session_after(2, config)
    state, delivery = session.state(1), session.message(1)
    enough = config.topology.threshold - own
    assert len(delivery.dealers) >= enough

    def deliver(number):
        sealed = delivery.sealed[: number * SEALED_SHARES_BYTES]
        commitments = delivery.commitments[: number * COMMITMENTS_BYTES]
        message = replace(delivery, dealers=delivery.dealers[:number], sealed=sealed, commitments=commitments)
        client_checks.check_delivery(state.session, ANY, state.peers.keys(), message)

    deliver(enough)
    with pytest.raises(ThresholdError) as caught:
        deliver(enough - 1)
    assert (caught.value.needed, caught.value.have) == (enough, enough - 1)


def test_neighbours_that_vanished_do_not_count_as_survivors():
    session = session_after(4, complete())
    state, message = session.state(1), session.message(1)
    client_checks.check_survivor_list(state, demanding(min_neighbours=6), message)
    without = replace(message, survivors=tuple(i for i in message.survivors if i != 7))
    client_checks.check_survivor_list(state, demanding(min_neighbours=5), without)
    with pytest.raises(ThresholdError, match="neighbours survived") as caught:
        client_checks.check_survivor_list(state, demanding(min_neighbours=6), without)
    assert (caught.value.needed, caught.value.have) == (6, 5)


def test_the_higher_of_two_minima_holds():
    session = session_after(4, complete(min_survivors=6))
    state, message = session.state(1), session.message(1)

    def list_of(number, policy):
        survivors = message.survivors[:number]
        client_checks.check_survivor_list(state, policy, replace(message, survivors=survivors))

    list_of(6, ANY)
    for number, policy, needed in ((5, ANY, 6), (6, demanding(min_survivors=7), 7)):
        with pytest.raises(ThresholdError, match="clients survived") as caught:
            list_of(number, policy)
        assert (caught.value.needed, caught.value.have) == (needed, number)


def test_in_the_complete_graph_survivors_are_counted_exactly():
    session = session_after(3, complete(CURIOUS))
    state, request = session.state(1), session.message(1)
    for claimed in (request.num_survivors - 1, request.num_survivors + 1):
        with pytest.raises(ContradictoryRequest, match=f"claims {claimed} survivors"):
            client_checks.check_unmasking_request(state, ANY, replace(request, num_survivors=claimed))


def test_in_the_sparse_graph_survivors_are_between_those_known_and_all():
    session = session_after(3, sparse())
    state, request = session.state(1), session.message(1)
    known = len(state.peers) + 1
    assert known < 20
    minimum = session.config.min_survivors
    for claimed in (max(known, minimum), 20):
        client_checks.check_unmasking_request(state, ANY, replace(request, num_survivors=claimed))
    with pytest.raises(ContradictoryRequest, match=f"claims {known - 1} survivors"):
        client_checks.check_unmasking_request(state, ANY, replace(request, num_survivors=known - 1))
    with pytest.raises(ContradictoryRequest, match="claims 21 survivors of 20"):
        client_checks.check_unmasking_request(state, ANY, replace(request, num_survivors=21))
