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
    ShareDelivery,
    SurvivorList,
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
    PeerError,
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


@pytest.mark.parametrize("number", [8, 1_000_000])
def test_a_number_that_the_round_does_not_have_is_refused(number):
    session = session_at(0)
    refuses(session, 1, session.message(1, recipient=number), ParameterError, f"the number {number}, but the round's")


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
    "policy",
    [
        demanding(adversary=MALICIOUS),
        demanding(corrupt_fraction=0.2),
        demanding(min_clients=8),
        demanding(min_survivors=7),
        demanding(min_neighbours=7),
    ],
)
def test_a_round_below_the_policy_is_refused(policy):
    session = session_at(0, policy=policy)
    refuses(session, 1, session.message(1), ParameterError, "demands")


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
    session = session_after(1, config)
    roster = roster_of(session)
    inside = {entry.sender for entry in roster.entries}
    rosters = map(session.message, range(1, 21))
    entry = next(entry for other in rosters for entry in other.entries if entry.sender not in inside)
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
    if field == "mask_public_key":  # is used when inputs are masked
        session.step()
        peers = session.state(1).peers
        session.state(1, peers=peers | {peer: replace(peers[peer], mask_public_key=key)})
        message = session.message(1)
    else:
        entries = tuple(replace(entry, **{field: key}) if entry.sender == peer else entry for entry in roster.entries)
        message = replace(roster, entries=entries)
    assert refuses(session, 1, message, AuthenticationFailed, "low order").culprits == {peer}


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
    delivery = session.message(1)
    assert isinstance(delivery, ShareDelivery)
    for stranger in (1, 8):
        session = session_at(2)
        delivery = session.message(1)
        delivery = replace(
            delivery,
            dealers=(*delivery.dealers, stranger),
            sealed=delivery.sealed + bytes(SEALED_SHARES_BYTES),
            commitments=delivery.commitments + bytes(COMMITMENTS_BYTES),
        )
        assert refuses(session, 1, delivery, ContradictoryRequest, "not in the roster").culprits == {stranger}


def test_too_few_shares_are_refused():
    session = session_at(2)
    nothing = session.message(1, dealers=(), sealed=b"", commitments=b"")
    refuses(session, 1, nothing, ThresholdError, "neighbours shared")


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


def test_peers_that_do_not_go_on_or_are_none_are_refused():
    for peers, error, match in (
        ((2, 3, 4, 5, 6, 7, 7), ContradictoryRequest, "twice"),
        ((2, 3, 4, 5, 6, 7, 8), ContradictoryRequest, "shares did not come"),
        ((1, 2, 3, 4, 5, 6, 7), ContradictoryRequest, "shares did not come"),
        ((2,), ThresholdError, "1 neighbours go on"),
    ):
        session = session_at(3, MALICIOUS)
        refuses(session, 1, session.message(1, peers=peers), error, match)


def test_an_input_request_has_no_place_in_other_sessions():
    session = session_at(2)
    message = InputRequest(session.server.session_id, 1, (2, 3, 4, 5, 6, 7))
    refuses(session, 1, message, UnexpectedMessage, "expects no input-request", aborts=False)


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
    session = session_at(4, MALICIOUS)
    refuses(session, 1, session.message(1, survivors=survivors), ContradictoryRequest, match)


@pytest.mark.parametrize("shared", [(1, 2, 3, 4, 5, 6, 7, 7), (1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6)])
def test_lists_of_others_than_those_whose_shares_came_are_refused(shared):
    session = session_at(4, MALICIOUS)
    message = session.message(1, shared=shared, survivors=(1, 2, 3, 4, 5, 6))
    refuses(session, 1, message, ContradictoryRequest)


def test_too_few_survivors_are_refused():
    session = session_at(4, MALICIOUS)
    refuses(session, 1, session.message(1, survivors=(1, 2)), ThresholdError, "2 clients survived")


def test_a_survivor_list_has_no_place_in_other_sessions():
    session = session_at(3)
    everyone = tuple(range(1, 8))
    message = SurvivorList(session.server.session_id, 1, everyone, everyone)
    refuses(session, 1, message, ContradictoryRequest, "curious-server session has no consistency check")


def test_unmasking_without_the_consistency_check_is_refused_against_a_malicious_server():
    session = session_at(4, MALICIOUS)
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
    session = session_at(5, MALICIOUS)
    caught = refuses(session, 1, tamper(session.message(1)), error)
    assert culprits is None or caught.culprits == culprits


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


def test_a_request_that_drops_the_client_itself_is_refused():
    session = session_at(3)
    request = session.message(1)
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
    request = session.message(1)
    peers = session.state(1).peers
    refuses(session, 1, replace(request, dropped=tuple(peers), num_survivors=1), ThresholdError)


def test_a_request_that_claims_too_few_or_too_many_survivors_is_refused():
    for claim, error in ((1, ContradictoryRequest), (8, ContradictoryRequest)):
        session = session_at(3)
        refuses(session, 1, session.message(1, num_survivors=claim), error)


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
        assert len(answers) <= 1


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
