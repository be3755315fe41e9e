"""Single messages at the edges of a session: sizes, senders, sessions, and shares that nobody gives."""

import msgspec
import pytest

from protocols.core import dumps
from protocols.core.threat_model import Adversary
from protocols.masking import wire
from protocols.masking.messages import MaskedInput
from protocols.masking.server import checks as server_checks
from protocols.masking.transitions import ServerPhase
from secagg.errors import InconsistentShares, MalformedMessage, StateError, ThresholdError, UnexpectedMessage

from .harness import Session, decode_to_server, random_inputs, small_config

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary


def session_after(phases: int, adversary=CURIOUS, **kwargs) -> Session:
    config = small_config(7, adversary, dropout=0.29, complete_graph=True, **kwargs)
    session = Session(config, random_inputs(config))
    for _ in range(phases):
        session.run_phase()
    return session


@pytest.mark.parametrize(
    ("phases", "client_phase"), [(1, "advertised"), (2, "shared"), (3, "masked"), (4, "confirmed")]
)
def test_messages_of_another_session_are_ignored_in_every_phase(phases, client_phase):
    session = session_after(phases, MALICIOUS)
    client = session.clients[1]
    assert client.phase == client_phase
    with pytest.raises(UnexpectedMessage, match="another session"):
        client.respond(replace(session.outgoing[1], session_id=bytes(32)), session.inputs[1][0])
    assert client.phase == client_phase


@pytest.mark.parametrize("phases", [0, 1, 4])
def test_a_client_takes_no_more_bytes_than_its_session_can_need(phases):
    session = session_after(phases, MALICIOUS)
    client = session.clients[1]
    limit = wire.max_request_bytes(session.config) if phases else wire.MAX_INVITATION_BYTES
    assert wire.max_request_bytes(session.config) > wire.MAX_INVITATION_BYTES
    with pytest.raises(MalformedMessage, match="no message of ours"):
        client.respond_bytes(bytes(limit))
    with pytest.raises(MalformedMessage, match=f"{limit + 1} bytes is longer than the {limit}"):
        client.respond_bytes(bytes(limit + 1))


def test_the_server_takes_no_more_bytes_than_an_input_can_need():
    session = session_after(0)
    limit = wire.max_bytes(session.config)
    assert limit == wire.max_request_bytes(session.config) + session.config.input_bytes
    with pytest.raises(MalformedMessage, match="longer than") as caught:
        session.server.receive_bytes(1, bytes(limit + 1))
    assert caught.value.culprits == {1}
    with pytest.raises(MalformedMessage, match="no message of ours"):
        session.server.receive_bytes(2, bytes(limit))
    assert session.server.excluded.keys() == {1, 2}


def test_bad_content_costs_its_sender_by_name_and_nobody_else():
    session = session_after(0)
    message = session.clients[4].advertise_keys(session.outgoing[4])
    with pytest.raises(MalformedMessage) as caught:
        session.server.receive(4, replace(message, mask_public_key=message.cipher_public_key))
    assert caught.value.culprits == {4}
    assert session.server.excluded == {4: "MalformedMessage: advertises a public key that is taken"}
    assert session.server.awaited == {1, 2, 3, 5, 6, 7}


def test_who_has_no_part_in_a_round_is_ignored_but_not_excluded():
    session = session_after(0)
    session.run_phase(silent={7})
    answer = decode_to_server(session.answer(1, wire.encode(session.outgoing[1])))
    for stranger in (7, 8):
        with pytest.raises(UnexpectedMessage, match="no part in share-keys") as caught:
            session.server.receive(stranger, replace(answer, sender=stranger))
        assert caught.value.culprits == {stranger}
    assert session.server.excluded == {}


def test_an_input_has_every_lane_of_the_round():
    session = session_after(2)
    vectors = decode_to_server(session.answer(1, wire.encode(session.outgoing[1]))).vectors
    lanes = session.config.lanes
    assert len(server_checks.unpack_input(MaskedInput(bytes(32), 1, vectors), lanes)) == len(lanes)
    for wrong in (vectors[:-1], (*vectors, vectors[0])):
        with pytest.raises(MalformedMessage, match=f"has {len(wrong)} vectors, but the round has {len(lanes)}"):
            server_checks.unpack_input(MaskedInput(bytes(32), 1, wrong), lanes)


@pytest.mark.parametrize(("kind", "owner"), [("self_mask_shares", 2), ("mask_key_shares", 3)])
def test_a_secret_of_which_nobody_gives_a_share_ends_the_round_with_its_owner_named(kind, owner):
    session = session_after(2)

    def withhold(phase, client_id, data):
        if phase is not ServerPhase.UNMASKING:
            return data
        message = decode_to_server(data)
        left = {i: share for i, share in getattr(message, kind).items() if i != owner}
        return wire.encode(replace(message, **{kind: left}))

    session.to_server = withhold
    with pytest.raises(InconsistentShares, match=f"only 0 shares of a secret of client {owner}") as caught:
        session.run({ServerPhase.MASKED_INPUT: {3}})
    assert caught.value.culprits == {owner}
    assert session.server.phase is ServerPhase.ABORTED


@pytest.mark.parametrize("adversary", Adversary)
def test_fewer_inputs_than_the_rounds_own_minimum_end_it_though_shares_would_do(adversary):
    session = session_after(2, adversary, min_survivors=7)
    assert session.config.topology.threshold < 6
    with pytest.raises(ThresholdError) as caught:
        session.run_phase(silent={3})
    assert (caught.value.needed, caught.value.have) == (7, 6)


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_who_did_not_confirm_is_asked_for_nothing(adversary):
    session = session_after(3, adversary)
    session.run_phase(silent={2})
    assert session.server.phase is ServerPhase.UNMASKING
    assert session.outgoing.keys() == {1, 3, 4, 5, 6, 7}
    assert session.server.awaited == {1, 3, 4, 5, 6, 7}
    for request in session.outgoing.values():
        assert 2 not in request.confirmations
        assert request.num_survivors == 7  # the input of 2 is in the sum all the same
    session.run().assert_exact()


def test_no_share_of_who_never_shared_keys_is_taken():
    session = session_after(1)
    session.run_phase(silent={7})
    session.run_phase(silent={6})
    response = decode_to_server(session.answer(1, wire.encode(session.outgoing[1])))
    assert response.mask_key_shares.keys() == {6}
    smuggled = {**response.mask_key_shares, 7: response.mask_key_shares[6]}
    with pytest.raises(MalformedMessage, match="not asked for"):
        session.server.receive(1, replace(response, mask_key_shares=smuggled))
    assert session.server.excluded.keys() == {1}


def test_a_key_is_taken_once_and_for_all():
    session = session_after(0)
    messages = {i: session.clients[i].advertise_keys(session.outgoing[i]) for i in (1, 2, 3)}
    session.server.receive(1, messages[1])
    session.server.receive(2, messages[2])
    with pytest.raises(MalformedMessage, match="taken"):
        session.server.receive(3, replace(messages[3], mask_public_key=messages[1].mask_public_key))


def test_a_weight_is_one_unless_said():
    for answer in (
        lambda client, message, values: client.mask_input(message, values),
        lambda client, message, values: client.respond(message, values),
        lambda client, message, values: client.respond_bytes(wire.encode(message), values),
    ):
        session = session_after(2)
        assert answer(session.clients[1], session.outgoing[1], session.inputs[1][0])  # any other would be refused


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_dump_with_a_field_too_many_is_no_dump(role):
    session = session_after(1)
    party = session.clients[1] if role == "client" else session.server
    body = msgspec.msgpack.decode(party.dump()[dumps.HEADER_BYTES :])
    type(party).load(dumps.encode_state(body))
    more = [*body, 0] if isinstance(body, list) else {**body, "more": 0}
    with pytest.raises(StateError, match="no dump of this kind"):
        type(party).load(dumps.encode_state(more))


@pytest.mark.parametrize("change", [bytes(1), b"\xff" * 8])
def test_a_servers_dump_whose_sums_are_of_another_length_is_refused(change):
    session = session_after(1)
    body = msgspec.msgpack.decode(session.server.dump()[dumps.HEADER_BYTES :])
    for sums in ([*body["sums"], change], body["sums"][:-1], [body["sums"][0] + change, *body["sums"][1:]]):
        with pytest.raises(StateError, match="do not fit its configuration"):
            type(session.server).load(dumps.encode_state({**body, "sums": sums}))


def test_in_the_sparse_graph_who_has_too_few_neighbours_left_is_left_out_and_the_others_go_on():
    config = small_config(30, dropout=0.2)
    topology = config.topology
    assert not topology.complete
    session = Session(config, random_inputs(config))
    graph = session.server._graph
    # Of client 1's neighbours one fewer than the threshold comes: nobody could ever reveal its secrets.
    gone = set(sorted(graph.neighbours(1))[: topology.degree - topology.threshold + 1])
    session.run_phase(silent=gone)
    invited = set(session.outgoing)
    left_out = set(range(1, 31)) - invited - gone
    assert 1 in left_out
    assert all(len(graph.neighbours(client) & invited) < topology.threshold for client in left_out)
    assert all(len(graph.neighbours(client) & invited) >= topology.threshold for client in invited)
    assert session.server.excluded.keys() == set()  # they did nothing wrong
    session.run()
    session.assert_exact()
    assert session.server.result.survivors == invited
