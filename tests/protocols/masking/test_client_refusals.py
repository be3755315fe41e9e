"""What a client refuses, whatever the server says. One defect a test, each with its named error."""

import dataclasses
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking.config import RoundConfig
from protocols.masking.messages import Invitation, Roster, ShareDelivery, SurvivorList, UnmaskingRequest
from protocols.masking.policy import ClientPolicy
from protocols.masking.transitions import ClientPhase
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    MalformedMessage,
    ParameterError,
    PeerError,
    SecAggError,
    StateError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.key_agreement import KeyPair

from .harness import Session, random_inputs, small_config

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary


def session_at(phases: int, adversary=CURIOUS, *, num_clients=7, drops=(), **kwargs) -> Session:
    """A session after so many closed rounds, in whose last closed round the dropped ones were silent."""
    config = small_config(num_clients, adversary, dropout=0.29, complete_graph=adversary is MALICIOUS, **kwargs)
    session = Session(config, random_inputs(config))
    for number in range(phases):
        session.run_phase(drops if number == phases - 1 else ())
    return session


def refuses(session: Session, client_id: int, message, error, match=None, *, aborts=True):
    client = session.clients[client_id]
    phase = client.phase
    values, weight = session.inputs[client_id]
    with pytest.raises(error, match=match) as caught:
        client.respond(message, values, weight=weight)
    assert client.phase is (ClientPhase.ABORTED if aborts else phase)
    return caught.value


# --- Invitation


def test_an_invitation_for_somebody_else_is_not_answered():
    session = session_at(0)
    refuses(session, 1, session.outgoing[2], UnexpectedMessage, "for client 2", aborts=False)


def test_a_round_that_does_not_have_this_client_is_refused():
    session = session_at(0)
    session.clients[9] = session.make_client(9)
    session.inputs[9] = session.inputs[1]
    refuses(session, 9, replace(session.outgoing[1], recipient=9), ParameterError, "client_id is 9")


@pytest.mark.parametrize(
    "policy",
    [
        ClientPolicy(adversary=MALICIOUS),
        ClientPolicy(corrupt_fraction=0.2),
        ClientPolicy(min_clients=8),
        ClientPolicy(min_survivors=7),
        ClientPolicy(min_neighbours=7),
    ],
)
def test_a_round_below_the_policy_is_refused(policy):
    session = session_at(0)
    session.policy = policy
    session.clients[1] = session.make_client(1)
    refuses(session, 1, session.outgoing[1], ParameterError, "demands")


def test_identities_are_needed_against_a_malicious_server():
    from protocols.masking.client import Client

    session = session_at(0, MALICIOUS)
    for identity, known in (
        (None, session.known),
        (session._credentials(1)["identity"], {}),
        (session._credentials(2)["identity"], session.known),
        (session._credentials(1)["identity"], {1: session.known[1]}),
    ):
        session.clients[1] = Client(1, identity=identity, known_identities=known)
        refuses(session, 1, session.outgoing[1], ParameterError, "identit")


def test_nothing_is_answered_twice():
    session = session_at(0)
    invitation = session.outgoing[1]
    session.clients[1].respond(invitation)
    refuses(session, 1, invitation, UnexpectedMessage, "expects no invitation", aborts=False)


# --- Roster


def roster_of(session: Session, client_id: int = 1) -> Roster:
    roster = session.outgoing[client_id]
    assert isinstance(roster, Roster)
    return roster


def test_a_roster_of_another_session_is_ignored():
    session = session_at(1)
    stale = replace(roster_of(session), session_id=bytes(32))
    refuses(session, 1, stale, UnexpectedMessage, "another session", aborts=False)


def test_a_roster_without_the_client_is_refused():
    session = session_at(1)
    roster = roster_of(session)
    others = tuple(entry for entry in roster.entries if entry.sender != 1)
    refuses(session, 1, replace(roster, entries=others), ContradictoryRequest, "lacks client 1")


@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key", "self_mask_commitment"])
def test_a_roster_that_changes_the_clients_keys_is_refused(field):
    session = session_at(1)
    roster = roster_of(session)
    changed = tuple(
        replace(entry, **{field: KeyPair.generate().public_bytes}) if entry.sender == 1 else entry
        for entry in roster.entries
    )
    refuses(session, 1, replace(roster, entries=changed), ContradictoryRequest, "changes its keys")


def test_a_roster_with_a_peer_twice_is_refused():
    session = session_at(1)
    roster = roster_of(session)
    refuses(session, 1, replace(roster, entries=(*roster.entries, roster.entries[-1])), ContradictoryRequest, "twice")


def test_a_roster_with_a_stranger_is_refused():
    config = small_config(20, corrupt=0.05, dropout=0.2)
    assert not config.topology.complete
    session = Session(config, random_inputs(config))
    session.run_phase()
    roster = roster_of(session)
    inside = {entry.sender for entry in roster.entries}
    entry = next(entry for other in session.outgoing.values() for entry in other.entries if entry.sender not in inside)
    error = refuses(
        session, 1, replace(roster, entries=(*roster.entries, entry)), ContradictoryRequest, "no neighbours"
    )
    assert error.culprits == {entry.sender}


def test_a_roster_with_the_same_key_twice_is_refused():
    session = session_at(1)
    roster = roster_of(session)
    by_id = {entry.sender: entry for entry in roster.entries}
    peers = sorted(by_id.keys() - {1})
    by_id[peers[0]] = replace(by_id[peers[0]], mask_public_key=by_id[peers[1]].mask_public_key)
    refuses(session, 1, replace(roster, entries=tuple(by_id.values())), ContradictoryRequest, "same public key")


def test_a_roster_that_is_too_short_is_refused():
    session = session_at(1)
    roster = roster_of(session)
    own = next(entry for entry in roster.entries if entry.sender == 1)
    error = refuses(session, 1, replace(roster, entries=(own,)), ThresholdError, "neighbours advertised")
    assert error.have == 0


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), (2**255 - 19).to_bytes(32, "little")])
@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key"])
def test_keys_of_low_order_end_the_session_with_their_owner_named(key, field):
    session = session_at(1)
    roster = roster_of(session)
    peer = next(entry.sender for entry in roster.entries if entry.sender != 1)
    entries = tuple(replace(entry, **{field: key}) if entry.sender == peer else entry for entry in roster.entries)
    session.outgoing[1] = replace(roster, entries=entries)
    if field == "cipher_public_key":
        assert refuses(session, 1, session.outgoing[1], AuthenticationFailed, "low order").culprits == {peer}
        return
    session.run_phase()
    error = refuses(session, 1, session.outgoing[1], AuthenticationFailed, "low order")
    assert error.culprits == {peer}


@pytest.mark.parametrize("tamper", ["key", "signature", "missing"])
def test_unsigned_keys_are_refused_against_a_malicious_server(tamper):
    session = session_at(1, MALICIOUS)
    roster = roster_of(session)
    change = {
        "key": {"mask_public_key": KeyPair.generate().public_bytes},
        "signature": {"signature": bytes(64)},
        "missing": {"signature": None},
    }[tamper]
    entries = tuple(replace(entry, **change) if entry.sender == 4 else entry for entry in roster.entries)
    assert refuses(session, 1, replace(roster, entries=entries), PeerError).culprits == {4}


# --- ShareDelivery


def test_shares_from_a_stranger_are_refused():
    session = session_at(2)
    delivery = session.outgoing[1]
    assert isinstance(delivery, ShareDelivery)
    some = next(iter(delivery.sealed.values()))
    for stranger in (1, 8):
        session = session_at(2)
        delivery = replace(session.outgoing[1], sealed={**session.outgoing[1].sealed, stranger: some})
        assert refuses(session, 1, delivery, ContradictoryRequest, "not in the roster").culprits == {stranger}


def test_too_few_shares_are_refused():
    session = session_at(2)
    refuses(session, 1, replace(session.outgoing[1], sealed={}), ThresholdError, "neighbours shared")


def test_shares_that_do_not_open_are_left_out_but_their_masks_are_not():
    session = session_at(2, num_clients=8)
    delivery = session.outgoing[1]
    peer = min(delivery.sealed)
    session.outgoing = {
        **session.outgoing,
        1: replace(delivery, sealed={**delivery.sealed, peer: bytes(len(delivery.sealed[peer]))}),
    }
    session.run().assert_exact()
    assert session.server.result.survivors == set(range(1, 9))


def test_shares_that_do_not_open_end_the_session_against_a_malicious_server():
    session = session_at(2, MALICIOUS)
    delivery = session.outgoing[1]
    broken = replace(delivery, sealed={**delivery.sealed, 5: bytes(len(delivery.sealed[5]))})
    assert refuses(session, 1, broken, AuthenticationFailed).culprits == {5}


def test_shares_for_another_recipient_do_not_open():
    session = session_at(2, MALICIOUS)
    delivery, other = session.outgoing[1], session.outgoing[2]
    crossed = replace(delivery, sealed={**delivery.sealed, 3: other.sealed[3]})
    assert refuses(session, 1, crossed, AuthenticationFailed).culprits == {3}


# --- SurvivorList and confirmations


@pytest.mark.parametrize(
    ("survivors", "match"),
    [
        ((2, 3, 4, 5, 6, 7), "lacks client 1"),
        ((1, 2, 2, 3, 4, 5, 6), "twice"),
        ((1, 2, 3, 4, 5, 6, 8), "shared no keys"),
    ],
)
def test_impossible_survivor_lists_are_refused(survivors, match):
    session = session_at(3, MALICIOUS)
    refuses(session, 1, replace(session.outgoing[1], survivors=survivors), ContradictoryRequest, match)


@pytest.mark.parametrize("shared", [(1, 2, 3, 4, 5, 6, 7, 7), (1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6)])
def test_lists_of_others_than_those_whose_shares_came_are_refused(shared):
    session = session_at(3, MALICIOUS)
    message = replace(session.outgoing[1], shared=shared, survivors=(1, 2, 3, 4, 5, 6))
    refuses(session, 1, message, ContradictoryRequest)


def test_too_few_survivors_are_refused():
    session = session_at(3, MALICIOUS)
    refuses(session, 1, replace(session.outgoing[1], survivors=(1, 2)), ThresholdError, "2 clients survived")


def test_a_survivor_list_has_no_place_in_other_sessions():
    session = session_at(3)
    everyone = tuple(range(1, 8))
    message = SurvivorList(session.server.session_id, 1, everyone, everyone)
    refuses(session, 1, message, ContradictoryRequest, "curious-server session has no consistency check")


def test_unmasking_without_the_consistency_check_is_refused_against_a_malicious_server():
    session = session_at(3, MALICIOUS)
    request = UnmaskingRequest(session.server.session_id, 1, 7, (), {})
    refuses(session, 1, request, ContradictoryRequest, "after the consistency check")


def _fewer(request):
    return replace(request, confirmations=dict(list(request.confirmations.items())[:2]))


def _forged(request):
    return replace(request, confirmations={**request.confirmations, 2: bytes(64)})


def _swapped(request):
    return replace(request, confirmations={**request.confirmations, 2: request.confirmations[3]})


def _strange(request):
    return replace(request, confirmations={**request.confirmations, 9: request.confirmations[2]})


def _other_survivors(request):
    return replace(request, dropped=(3,), num_survivors=6)


@pytest.mark.parametrize(
    ("tamper", "error", "culprits"),
    [
        (_fewer, ThresholdError, None),
        (_forged, AuthenticationFailed, {2}),
        (_swapped, AuthenticationFailed, {2}),
        (_strange, ContradictoryRequest, {9}),
        (_other_survivors, ContradictoryRequest, set()),
    ],
)
def test_confirmations_are_counted_checked_and_tied_to_the_survivors(tamper, error, culprits):
    session = session_at(4, MALICIOUS)
    caught = refuses(session, 1, tamper(session.outgoing[1]), error)
    assert culprits is None or caught.culprits == culprits


# --- UnmaskingRequest


def unmasking_session(drops=(3,), **kwargs) -> tuple[Session, UnmaskingRequest]:
    session = session_at(3, drops=drops, **kwargs)
    survivor = next(i for i, message in session.outgoing.items() if set(message.dropped) or not drops)
    return session, session.outgoing[survivor]


def test_a_request_that_drops_the_client_itself_is_refused():
    session = session_at(3)
    request = session.outgoing[1]
    refuses(session, 1, replace(request, dropped=(1,)), ContradictoryRequest, "drops client 1")


def test_a_request_that_drops_a_client_twice_is_refused():
    session, request = unmasking_session()
    refuses(session, request.recipient, replace(request, dropped=(3, 3)), ContradictoryRequest, "twice")


def test_a_request_that_drops_a_stranger_is_refused():
    session, request = unmasking_session()
    error = refuses(session, request.recipient, replace(request, dropped=(3, 9)), ContradictoryRequest, "no neighbours")
    assert error.culprits == {9}


def test_a_request_that_drops_too_many_is_refused():
    session = session_at(3)
    request = session.outgoing[1]
    peers = session.clients[1]._state.peers
    refuses(session, 1, replace(request, dropped=tuple(peers), num_survivors=1), ThresholdError)


def test_a_request_that_claims_too_few_or_too_many_survivors_is_refused():
    for claim, error in ((1, ContradictoryRequest), (8, MalformedMessage)):
        session = session_at(3)
        refuses(session, 1, replace(session.outgoing[1], num_survivors=claim), error)


def test_a_small_sum_is_not_unmasked_below_the_clients_own_minimum():
    session = session_at(3)
    policy = ClientPolicy(min_survivors=7)
    from protocols.masking.client import Client

    with pytest.raises(ParameterError, match="may sum as few as"):
        Client.load(session.clients[1].dump(), policy=policy)
    # Past that door it still holds.
    session.clients[1]._party = dataclasses.replace(session.clients[1]._party, policy=policy)
    peers = session.clients[1]._state.peers
    request = replace(session.outgoing[1], dropped=(min(peers),), num_survivors=6)
    error = refuses(session, 1, request, ThresholdError, "6 clients survived")
    assert (error.needed, error.have) == (7, 6)


def test_a_client_never_gives_both_shares_of_a_peer():
    session, request = unmasking_session()
    client = session.clients[request.recipient]
    response = client.unmask(request)
    assert not response.self_mask_shares.keys() & response.mask_key_shares.keys()
    assert response.mask_key_shares.keys() == {3}
    # and whatever else is asked afterwards gets no answer
    refuses(session, request.recipient, replace(request, dropped=()), UnexpectedMessage, aborts=False)


def test_an_aborted_client_says_nothing_more():
    session, request = unmasking_session()
    refuses(session, request.recipient, replace(request, dropped=(3, 3)), ContradictoryRequest)
    refuses(session, request.recipient, request, UnexpectedMessage, "aborted", aborts=False)


# --- dump and load


@pytest.mark.parametrize("data", [b"", b"\x00", b"not a dump", bytes(100)])
def test_what_is_no_dump_is_refused(data):
    from protocols.masking.client import Client
    from protocols.masking.server import Server

    for role in (Client, Server):
        with pytest.raises(StateError, match="no dump"):
            role.load(data)


def test_dumps_of_other_versions_are_refused():
    from protocols.masking.client import Client

    dumped = bytearray(session_at(0).clients[1].dump())
    dumped[8] = 2
    with pytest.raises(StateError, match="version 2"):
        Client.load(bytes(dumped))


@pytest.mark.parametrize("role", ["client", "server"])
def test_damaged_dumps_are_refused(role):
    from protocols.masking.client import Client
    from protocols.masking.server import Server

    session = session_at(3)
    dumped = session.clients[1].dump() if role == "client" else session.server.dump()
    load = Client.load if role == "client" else Server.load
    load(dumped)
    for at in range(0, len(dumped), 7):
        damaged = bytearray(dumped)
        damaged[at] ^= 1
        with pytest.raises(StateError):
            load(bytes(damaged))
    other = session.server.dump() if role == "client" else session.clients[1].dump()
    with pytest.raises(StateError, match="no dump of this kind"):
        load(other)


def test_a_dump_keeps_the_policy():
    from protocols.masking.client import Client

    session = session_at(0)
    session.policy = ClientPolicy(min_survivors=5)
    dumped = session.make_client(1).dump()
    assert Client.load(dumped)._party.policy == session.policy
    assert Client.load(dumped, policy=ClientPolicy())._party.policy == ClientPolicy()


def test_a_malicious_server_session_is_not_restored_without_its_identities():
    from protocols.masking.client import Client
    from protocols.masking.server import Server

    session = session_at(2, MALICIOUS)
    with pytest.raises(ParameterError, match="identit"):
        Client.load(session.clients[1].dump())
    with pytest.raises(ParameterError, match="known_identities lacks 7"):
        Server.load(session.server.dump())
    with pytest.raises(ParameterError, match="known_identities lacks 7"):
        Server(session.config)


def test_two_threads_get_one_answer():
    import threading

    for _ in range(20):
        session, request = unmasking_session()
        client = session.clients[request.recipient]
        answers = []
        start = threading.Barrier(2)

        def ask(dropped, client=client, request=request, answers=answers, start=start):
            start.wait()
            with suppress(SecAggError):
                answers.append(client.unmask(replace(request, dropped=dropped)))

        threads = [threading.Thread(target=ask, args=(dropped,)) for dropped in ((3,), ())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) <= 1


def test_every_field_of_advertised_keys_is_signed():
    from protocols.masking import derivations

    session = session_at(1, MALICIOUS)
    keys = roster_of(session).entries[0]
    for name in keys.__struct_fields__:
        if name != "signature":
            value = getattr(keys, name)
            changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
            assert derivations.keys_statement(replace(keys, **{name: changed})) != derivations.keys_statement(keys)


def test_reprs_show_no_secrets():
    session = session_at(2)
    state = session.clients[1]._state
    for text in (repr(state), repr(session.clients[1]), repr(session.server), str(session.server._state)):
        assert repr(state.mask_private_key)[2:-1] not in text
        assert repr(state.self_mask_seed)[2:-1] not in text


def test_an_invitation_that_makes_no_sense_is_malformed():
    from protocols.masking import wire

    config = RoundConfig(ThreatModel(6), small_config().vectors)
    good = msgspec.msgpack.decode(msgspec.msgpack.encode(Invitation(1, config, bytes(32))))
    for position, value in ((0, 1), (1, 2.0), (2, np.inf), (3, "benign-server")):
        bad = [*good[:2], [list(good[2][0]), *good[2][1:]], *good[3:]]
        bad[2][0][position] = value
        body = msgspec.msgpack.encode(bad)
        from .test_wire import seal

        with pytest.raises(MalformedMessage, match="cannot be decoded"):
            wire.decode(seal(body), Invitation, max_bytes=1 << 20)


def test_a_claim_of_many_survivors_does_not_make_up_for_neighbours():
    # In the sparse graph the number of survivors is the server's word; the neighbours a client counts itself.
    session = session_at(3)
    assert not session.config.topology.complete
    dropped = tuple(session.clients[1]._state.peers)
    request = replace(session.outgoing[1], dropped=dropped, num_survivors=6)
    refuses(session, 1, request, ThresholdError, "neighbours survived")


def test_the_policys_own_minimum_of_neighbours_holds_above_the_threshold():
    session = session_at(0, MALICIOUS)
    session.policy = ClientPolicy(min_neighbours=6)
    session.clients[1] = session.make_client(1)
    session.run_phase(silent={7})
    assert len(roster_of(session).entries) - 1 >= session.config.topology.threshold - 1
    error = refuses(session, 1, session.outgoing[1], ThresholdError, "neighbours advertised")
    assert (error.needed, error.have) == (6, 5)
