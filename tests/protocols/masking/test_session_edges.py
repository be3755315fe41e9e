"""Single messages at the edges of a session: sizes, senders, sessions, and shares that nobody gives."""

import msgspec
import pytest

from protocols.core import dumps
from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary
from protocols.masking import wire
from protocols.masking.messages import SHARE_BYTES, MaskedInput
from protocols.masking.server import Server, holding
from protocols.masking.transitions import ServerPhase
from secagg.errors import (
    MalformedMessage,
    ParameterError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)

from .harness import Session, altering, number, session_after, small_config, spoilt

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary


def session_at(phases: int, adversary=CURIOUS, silent=(), **kwargs) -> Session:
    return session_after(phases, small_config(7, adversary, dropout=0.29, complete_graph=True, **kwargs), silent=silent)


@pytest.mark.parametrize(
    ("phases", "client_phase"), [(1, "advertised"), (2, "shared"), (3, "accepted"), (4, "masked"), (5, "confirmed")]
)
def test_messages_of_another_session_are_ignored_in_every_phase(phases, client_phase):
    session = session_at(phases, MALICIOUS)
    assert session.client(1).phase == client_phase
    with pytest.raises(UnexpectedMessage, match="another session"):
        session.say(1, session.message(1, session_id=bytes(32)))
    with pytest.raises(UnexpectedMessage, match="for client 2 reached client 1"):
        session.say(1, session.message(1, recipient=2))
    assert session.client(1).phase == client_phase


@pytest.mark.parametrize("phases", [0, 1, 4])
def test_a_client_takes_no_more_bytes_than_its_session_can_need(phases):
    session = session_at(phases, MALICIOUS)
    client = session.client(1)
    limit = wire.max_request_bytes(session.config) if phases else wire.MAX_INVITATION_BYTES
    assert wire.max_request_bytes(session.config) > wire.MAX_INVITATION_BYTES
    with pytest.raises(MalformedMessage, match="no message of ours"):
        client.respond(bytes(limit))
    with pytest.raises(MalformedMessage, match=f"{limit + 1} bytes is longer than the {limit}"):
        client.respond(bytes(limit + 1))


def test_the_server_takes_no_more_bytes_than_an_input_can_need():
    session = session_at(0)
    limit = wire.max_bytes(session.config)
    assert limit == wire.max_request_bytes(session.config) + session.config.input_bytes
    with pytest.raises(MalformedMessage, match="longer than") as caught:
        session.server.receive("client-1", bytes(limit + 1))
    assert caught.value.culprits == {"client-1"}
    with pytest.raises(MalformedMessage, match="no message of ours"):
        session.server.receive("client-2", bytes(limit))
    assert session.server.excluded.keys() == {"client-1", "client-2"}


def test_bad_content_costs_its_sender_by_name_and_nobody_else():
    session = session_at(0)
    message = session.say(4)
    with pytest.raises(MalformedMessage) as caught:
        session.take(4, replace(message, mask_public_key=message.cipher_public_key))
    assert caught.value.culprits == {"client-4"}
    assert session.server.excluded == {"client-4": "MalformedMessage: advertises a public key that is taken"}
    assert session.server.awaited == session.everyone.named({1, 2, 3, 5, 6, 7})


def test_who_has_no_part_in_a_phase_is_ignored_but_not_excluded():
    session = session_at(1, silent={7})
    answer = session.say(1)
    with pytest.raises(UnexpectedMessage, match="no part in share-keys") as caught:
        session.take(7, replace(answer, sender=7))
    assert caught.value.culprits == {"client-7"}
    with pytest.raises(UnexpectedMessage, match="stranger"):
        session.server.receive("client-8", wire.encode(replace(answer, sender=8)))
    assert session.server.excluded == {}


def test_an_input_of_another_round_is_no_offence_though_its_vectors_do_not_fit():
    session, other = session_at(2), session_at(2, length=9)
    stray = other.say(1)
    for message in (stray, replace(stray, session_id=session.server.session_id, sender=2)):
        with pytest.raises(UnexpectedMessage, match="another session or sender"):
            session.take(1, message)
    assert not session.server.excluded
    session.run().assert_exact()


def test_an_input_has_every_vector_of_the_round():
    session = session_at(2)
    vectors = session.say(1).vectors
    for at, wrong in enumerate((vectors[:-1], (*vectors, vectors[0])), start=1):
        message = MaskedInput(session.server.session_id, at, wrong, ())
        with pytest.raises(MalformedMessage, match=f"has {len(wrong)} vectors, but the round has {len(vectors)}"):
            session.take(at, message)
    assert len(session.server.excluded) == 2


@pytest.mark.parametrize("owner", [2, 3], ids=["a survivor", "who dropped"])
def test_who_gives_no_share_of_a_secret_is_out_and_its_owner_is_not_named(owner):
    session = session_at(2)

    def withhold(message):
        owners = holding.owners(session.server._state, session.server.graph, message.sender)
        return replace(message, shares=spoilt(message.shares, owners, {owner}, lambda share: b""))

    session.wire = altering(ServerPhase.UNMASKING, range(1, 8), withhold)
    with pytest.raises(ThresholdError):
        session.run({ServerPhase.MASKED_INPUT: {3}})
    assert all("bytes of shares" in why for why in session.server.excluded.values())
    assert session.server.phase is ServerPhase.ABORTED


@pytest.mark.parametrize("adversary", Adversary)
def test_fewer_inputs_than_the_rounds_own_minimum_end_it_though_shares_would_do(adversary):
    session = session_at(2, adversary, min_survivors=7)
    assert session.config.topology.threshold < 6
    with pytest.raises(ThresholdError) as caught:
        session.step(silent={3})
    assert (caught.value.needed, caught.value.have) == (7, 6)


@pytest.mark.parametrize("adversary", [SEMI, MALICIOUS])
def test_who_did_not_confirm_is_asked_for_nothing(adversary):
    session = session_at(5 if adversary is MALICIOUS else 4, adversary, silent={2})
    assert session.server.phase is ServerPhase.UNMASKING
    asked = session.everyone.named({1, 3, 4, 5, 6, 7})
    assert session.server.outgoing().keys() == session.server.awaited == asked
    with pytest.raises(KeyError):
        session.message(2)
    for name in asked:
        request = session.server.outgoing().message(name)
        assert 2 not in request.confirmations
        assert request.num_survivors == 7  # the input of 2 is in the sum all the same
    session.run().assert_exact()


def test_no_share_of_who_never_shared_keys_is_taken():
    session = session_at(1)
    session.step(silent={7})
    session.step(silent={6})
    response = session.say(1)
    owners = holding.owners(session.server._state, session.server.graph, 1)
    assert 6 in owners
    assert 7 not in owners
    assert len(response.shares) == SHARE_BYTES * len(owners)
    with pytest.raises(MalformedMessage, match="bytes of shares"):
        session.take(1, replace(response, shares=response.shares + bytes(SHARE_BYTES)))
    assert session.server.excluded.keys() == {"client-1"}


def test_a_key_is_taken_once_and_for_all():
    session = session_at(0)
    first, _, third = (session.say(i) for i in (1, 2, 3))
    session.take(1, first)
    session.coordinator = Server.load(session.server.dump())
    with pytest.raises(MalformedMessage, match="taken"):
        session.take(3, replace(third, mask_public_key=first.mask_public_key))


def test_a_round_is_of_as_many_as_take_part():
    for others in (6, 8):
        with pytest.raises(ParameterError, match=f"of 7 clients, but {others} take part"):
            Server(session_at(0).config, Participants.numbered(others))


@pytest.mark.parametrize("role", ["client", "server"])
def test_a_dump_with_a_field_too_many_is_no_dump(role):
    session = session_at(1)
    party = session.client(1) if role == "client" else session.server
    body = msgspec.msgpack.decode(party.dump()[dumps.HEADER_BYTES :])
    type(party).load(dumps.encode_state(body))
    more = [*body, 0] if isinstance(body, list) else {**body, "more": 0}
    with pytest.raises(StateError, match="no dump of this kind"):
        type(party).load(dumps.encode_state(more))


def test_a_servers_dump_that_contradicts_itself_is_refused():
    session = session_at(1, MALICIOUS)
    body = msgspec.msgpack.decode(session.server.dump()[dumps.HEADER_BYTES :])
    sums, keys = body["sums"], dict(list(body["keys"].items())[1:])
    changes = [{"sums": wrong} for wrong in ([*sums, b""], sums[:-1], [sums[0] + bytes(1), *sums[1:]])]
    for change in (*changes, {"names": body["names"][1:]}, {"keys": keys}, {"keys": {**keys, "": bytes(32)}}):
        with pytest.raises(StateError, match="do not fit its configuration"):
            Server.load(dumps.encode_state({**body, **change}))


def test_in_the_sparse_graph_who_has_too_few_neighbours_left_is_left_out_and_the_others_go_on():
    config = small_config(30, dropout=0.2, min_survivors=2)
    topology = config.topology
    assert not topology.complete
    session = Session(config)
    session.step()
    graph = session.server.graph
    # Of client 1's neighbours one fewer than the threshold comes: nobody could ever reveal its secrets.
    gone = set(sorted(graph.neighbours(1))[: topology.degree - topology.threshold + 1])
    session.step(silent=gone)
    invited = set(map(number, session.server.outgoing()))
    left_out = set(range(1, 31)) - invited - gone
    assert 1 in left_out
    assert all(len(graph.neighbours(client) & invited) < topology.threshold for client in left_out)
    assert all(len(graph.neighbours(client) & invited) >= topology.threshold for client in invited)
    assert session.server.excluded.keys() == set()  # they did nothing wrong
    session.run()
    session.assert_exact()
    assert session.survivors == invited
