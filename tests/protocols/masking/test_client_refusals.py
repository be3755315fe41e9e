"""What a client refuses, whatever the server says. One defect a test, each with its named error."""

import dataclasses
import threading
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from protocols.core.participants import Participants
from protocols.core.threat_model import Adversary, ThreatModel
from protocols.masking import derivations, wire
from protocols.masking.client import Client
from protocols.masking.config import RoundConfig
from protocols.masking.messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    InputRequest,
    Invitation,
    Roster,
    UnmaskingRequest,
    records,
)
from protocols.masking.policy import ClientPolicy
from protocols.masking.server import Server
from protocols.masking.transitions import ClientPhase
from secagg.errors import (
    AuthenticationFailed,
    ContradictoryRequest,
    MalformedMessage,
    ParameterError,
    SecAggError,
    ThresholdError,
    UnexpectedMessage,
)
from secagg.key_agreement import KeyPair

from .harness import Session, demanding, identity, known, session_after, small_config, spoilt
from .test_wire import seal

replace = msgspec.structs.replace
CURIOUS, SEMI, MALICIOUS = Adversary


def session_at(phases: int, adversary=CURIOUS, *, num_clients=7, silent=(), policy=None, **kwargs) -> Session:
    config = small_config(num_clients, adversary, dropout=0.29, complete_graph=adversary is MALICIOUS, **kwargs)
    return session_after(phases, config, silent=silent, policy=policy)


def refuses(session: Session, number: int, message, error, match=None, *, aborts=True):
    client = session.client(number)
    phase = client.phase
    with pytest.raises(error, match=match) as caught:
        session.say(number, message)
    assert client.phase is (ClientPhase.ABORTED if aborts else phase)
    return caught.value


# --- Invitation


def test_a_clients_number_comes_with_the_invitation():
    session = session_at(0)
    client = session.client(1)
    assert client.number == 0
    session.say(1, session.message(2))
    assert client.number == 2
    refuses(session, 1, session.message(1), UnexpectedMessage, "expects no invitation", aborts=False)
    assert Client.load(client.dump()).number == 2
    assert session_at(4).client(1).number == 0  # nothing is remembered


@pytest.mark.parametrize(
    ("own", "participants", "match"),
    [
        (None, known(7), "needs this client's identity"),
        (1, None, "everyone's public key"),
        (1, Participants.numbered(7), "everyone's public key"),
        (2, known(7), "number 1, which is another participant's"),
        (1, known(6), "knows of 6 participants"),
        (1, known(8), "knows of 8 participants"),
    ],
)
def test_identities_are_needed_against_a_malicious_server(own, participants, match):
    session = session_at(0, MALICIOUS)
    session.participants["client-1"] = Client(
        policy=ClientPolicy.permissive(), identity=own and identity(own), participants=participants
    )
    refuses(session, 1, session.message(1), ParameterError, match)


def test_other_participants_than_the_rounds_are_refused_without_identities_too():
    session = session_at(0)
    session.participants["client-1"] = Client(policy=ClientPolicy.permissive(), participants=Participants.numbered(6))
    refuses(session, 1, session.message(1), ParameterError, "knows of 6 participants")


# --- Roster


def roster_of(session: Session, client_id: int = 1) -> Roster:
    roster = session.message(client_id)
    assert isinstance(roster, Roster)
    return roster


def test_a_roster_with_a_peer_twice_is_refused():
    session = session_at(1)
    roster = roster_of(session)
    keys = {name: KeyPair.generate().public_bytes for name in ("cipher_public_key", "mask_public_key")}
    again = replace(roster.entries[-1], **keys)  # the same keys would be refused as well
    refuses(session, 1, replace(roster, entries=(*roster.entries, again)), ContradictoryRequest, "lists a client twice")


@pytest.mark.parametrize("key", [bytes(32), (1).to_bytes(32, "little"), (2**255 - 19).to_bytes(32, "little")])
@pytest.mark.parametrize("field", ["cipher_public_key", "mask_public_key"])
def test_keys_of_low_order_end_the_session_with_their_owner_named(key, field):
    session = session_at(1)
    roster = roster_of(session)
    peer = next(entry.sender for entry in roster.entries if entry.sender != 1)
    if field == "mask_public_key":  # is used when inputs are masked
        session.step()
        peers = session.state(1).peers
        session.state(1, peers=peers | {peer: replace(peers[peer], mask_public_key=key)})
        message = session.message(1)
    else:
        entries = tuple(replace(entry, **{field: key}) if entry.sender == peer else entry for entry in roster.entries)
        message = replace(roster, entries=entries)
    assert refuses(session, 1, message, AuthenticationFailed, "low order").culprits == {peer}


# --- ShareDelivery


def test_shares_that_do_not_open_are_left_out_but_their_masks_are_not():
    session = session_at(2, num_clients=8)
    delivery = session.message(1)
    session.bend(1, replace(delivery, sealed=bytes(SEALED_SHARES_BYTES) + delivery.sealed[SEALED_SHARES_BYTES:]))
    session.run().assert_exact()
    assert session.survivors == set(range(1, 9))


@pytest.mark.parametrize(("field", "size"), [("sealed", SEALED_SHARES_BYTES), ("commitments", COMMITMENTS_BYTES)])
def test_other_numbers_of_shares_or_commitments_than_of_dealers_are_refused(field, size):
    for change in (lambda given: given[size:], lambda given: given + given[:size], lambda given: given[:-1]):
        session = session_at(2)
        message = session.message(1)
        bent = replace(message, **{field: change(getattr(message, field))})
        refuses(session, 1, bent, ContradictoryRequest, f"bytes of {field} for {len(message.dealers)} clients")


def test_a_dealer_is_listed_once():
    session = session_at(2)
    message = session.message(1)
    first = replace(
        message,
        dealers=(*message.dealers, message.dealers[0]),
        sealed=message.sealed + message.sealed[:SEALED_SHARES_BYTES],
        commitments=message.commitments + message.commitments[:COMMITMENTS_BYTES],
    )
    refuses(session, 1, first, ContradictoryRequest, "lists a client twice")


def test_dealers_may_come_in_any_order():
    session = session_at(2)
    message = session.message(1)
    sealed, commitments = (
        b"".join(records(together, size)[::-1])
        for together, size in ((message.sealed, SEALED_SHARES_BYTES), (message.commitments, COMMITMENTS_BYTES))
    )
    turned = replace(message, dealers=message.dealers[::-1], sealed=sealed, commitments=commitments)
    assert session.say(1, turned).complaints == ()


def test_shares_for_another_recipient_do_not_open():
    session = session_at(2, MALICIOUS)
    delivery, other = session.message(1), session.message(2)
    third = records(other.sealed, SEALED_SHARES_BYTES)[other.dealers.index(3)]
    crossed = replace(delivery, sealed=spoilt(delivery.sealed, delivery.dealers, {3}, lambda sealed: third))
    assert session.say(1, crossed).complaints == (3,)


# --- InputRequest


def test_an_input_request_has_no_place_in_other_sessions():
    session = session_at(2)
    message = InputRequest(session.server.session_id, 1, (2, 3, 4, 5, 6, 7))
    refuses(session, 1, message, UnexpectedMessage, "expects no input-request", aborts=False)


# --- SurvivorList and confirmations


@pytest.mark.parametrize("shared", [(1, 2, 3, 4, 5, 6, 7, 7), (1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6)])
def test_lists_of_others_than_those_whose_shares_came_are_refused(shared):
    session = session_at(4, MALICIOUS)
    message = session.message(1, shared=shared, survivors=(1, 2, 3, 4, 5, 6))
    refuses(session, 1, message, ContradictoryRequest)


def test_the_number_of_survivors_is_the_confirmed_one():
    session = session_at(5, MALICIOUS)
    request = replace(session.message(1), num_survivors=6)
    refuses(session, 1, request, ContradictoryRequest, "other survivors than those that were confirmed")


def test_a_neighbour_that_dropped_confirms_nothing():
    session = session_at(4, MALICIOUS, silent=(3,))
    session.step()
    request = session.message(1)
    assert request.dropped == (3,)
    request = replace(request, confirmations={**request.confirmations, 3: request.confirmations[2]})
    error = refuses(session, 1, request, ContradictoryRequest, "others than surviving neighbours")
    assert error.culprits == {3}


# --- UnmaskingRequest


def unmasking_session(silent=(3,), **kwargs) -> tuple[Session, UnmaskingRequest]:
    session = session_at(3, silent=silent, **kwargs)
    requests = [session.message(i) for i in range(1, 8) if i not in silent]
    return session, next(request for request in requests if request.dropped or not silent)


def test_a_small_sum_is_not_unmasked_below_the_clients_own_minimum():
    session = session_at(3)
    policy = demanding(min_survivors=7)

    with pytest.raises(ParameterError, match="may sum as few as"):
        Client.load(session.client(1).dump(), policy=policy)
    # Past that door it still holds.
    session.client(1)._party = dataclasses.replace(session.client(1)._party, policy=policy)
    peers = session.state(1).peers
    request = session.message(1, dropped=(min(peers),), num_survivors=6)
    error = refuses(session, 1, request, ThresholdError, "6 clients survived")
    assert (error.needed, error.have) == (7, 6)


def test_a_client_never_gives_both_shares_of_a_peer():
    session, request = unmasking_session()
    held = session.state(request.recipient).shares
    response = session.say(request.recipient, request)
    given = dict(zip(sorted(held), records(response.shares, SHARE_BYTES), strict=True))
    assert request.dropped == (3,)
    assert given == {owner: pair[1] if owner == 3 else pair[0] for owner, pair in held.items()}
    # and whatever else is asked afterwards gets no answer
    refuses(session, request.recipient, replace(request, dropped=()), UnexpectedMessage, aborts=False)


def test_an_aborted_client_says_nothing_more():
    session, request = unmasking_session()
    refuses(session, request.recipient, replace(request, dropped=(3, 3)), ContradictoryRequest)
    refuses(session, request.recipient, request, UnexpectedMessage, "aborted", aborts=False)


# --- dump and load


def test_a_dump_keeps_the_policy():

    session = session_at(0)
    session.policy = demanding(min_survivors=5)
    dumped = session.make_client("client-1").dump()
    assert Client.load(dumped)._party.policy == session.policy
    assert Client.load(dumped, policy=ClientPolicy.permissive())._party.policy == ClientPolicy.permissive()


def test_a_malicious_server_session_is_not_restored_without_its_identities():

    session = session_at(2, MALICIOUS)
    with pytest.raises(ParameterError, match="identit"):
        Client.load(session.client(1).dump())
    Server.load(session.server.dump())
    for participants in (None, Participants.numbered(7)):
        with pytest.raises(ParameterError, match="everyone's public key"):
            Server(session.config, participants)


def test_two_threads_get_one_answer():
    for _ in range(20):
        session, request = unmasking_session()
        answers = []
        start = threading.Barrier(2)

        def ask(dropped, session=session, request=request, answers=answers, start=start):
            start.wait()
            with suppress(SecAggError):
                answers.append(session.say(request.recipient, replace(request, dropped=dropped)))

        threads = [threading.Thread(target=ask, args=(dropped,)) for dropped in ((3,), ())]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 1


def test_every_field_of_advertised_keys_is_signed():
    session = session_at(1, MALICIOUS)
    keys = roster_of(session).entries[0]
    for name in keys.__struct_fields__:
        if name != "signature":
            value = getattr(keys, name)
            changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
            assert derivations.keys_statement(replace(keys, **{name: changed})) != derivations.keys_statement(keys)


def test_an_invitation_that_makes_no_sense_is_malformed():
    config = RoundConfig(ThreatModel(6), small_config().vectors)
    good = msgspec.msgpack.decode(msgspec.msgpack.encode(Invitation(1, config, bytes(32))))
    for position, value in ((0, 1), (1, 2.0), (2, np.inf), (3, "benign-server")):
        bad = [*good[:2], [list(good[2][0]), *good[2][1:]], *good[3:]]
        bad[2][0][position] = value
        body = msgspec.msgpack.encode(bad)
        with pytest.raises(MalformedMessage, match="cannot be decoded"):
            wire.decode(seal(body), Invitation, max_bytes=1 << 20)


def test_a_claim_of_many_survivors_does_not_make_up_for_neighbours():
    # In the sparse graph the number of survivors is the server's word; the neighbours a client counts itself.
    session = session_at(3)
    assert not session.config.topology.complete
    dropped = tuple(session.state(1).peers)
    request = session.message(1, dropped=dropped, num_survivors=6)
    refuses(session, 1, request, ThresholdError, "neighbours survived")


def test_the_policys_own_minimum_of_neighbours_holds_above_the_threshold():
    session = session_at(1, MALICIOUS, silent={7}, policy=demanding(min_neighbours=6))
    assert len(roster_of(session).entries) - 1 >= session.config.topology.threshold - 1
    error = refuses(session, 1, session.message(1), ThresholdError, "neighbours advertised")
    assert (error.needed, error.have) == (6, 5)
