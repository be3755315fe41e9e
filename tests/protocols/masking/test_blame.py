"""Who is blamed where clients deal, complain or answer wrongly: corrupt ones, never an honest one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocols.core.threat_model import Adversary, ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking import wire
from protocols.masking.config import RoundConfig
from protocols.masking.graph import Graph
from protocols.masking.messages import (
    COMMITMENTS_BYTES,
    SEALED_SHARES_BYTES,
    SHARE_BYTES,
    MaskedInput,
    Message,
    ShareKeys,
    ShareReceipt,
    UnmaskingShares,
    records,
)
from protocols.masking.server import holding, unmasking
from protocols.masking.transitions import ClientPhase, ServerPhase
from protocols.simulation import driver
from secagg import shamir
from secagg.errors import InconsistentShares, SecAggError

from .harness import Session, altering, decode, number, small_config, spoilt

CURIOUS, SEMI, MALICIOUS = Adversary
N = 12


def flipped(share: bytes) -> bytes:
    return bytes([share[0] ^ 1]) + share[1:]


def lying(message: UnmaskingShares) -> UnmaskingShares:
    """Well-formed shares, all of them wrong."""
    return replace(message, shares=b"".join(map(flipped, records(message.shares, SHARE_BYTES))))


def garbage(message: ShareKeys) -> ShareKeys:
    """Sealed shares that open for nobody."""
    return replace(message, sealed=b"".join(map(flipped, records(message.sealed, SEALED_SHARES_BYTES))))


def mismatched(message: ShareKeys) -> ShareKeys:
    """Shares that open, and are not what their dealer commits to."""
    return replace(message, commitments=b"".join(map(flipped, records(message.commitments, COMMITMENTS_BYTES))))


def complaining(of: int | None = None) -> Any:
    """Complaints of everyone else, or of one."""

    def complain(message: Any) -> Message:
        everyone = tuple(i for i in range(1, N + 1) if i != message.sender)
        return replace(message, complaints=everyone if of is None else (of,))

    return complain


def holders_of(session: Session, owner: int) -> frozenset[int]:
    server = session.server
    return Graph.of(session.config, server.session_id, server._state.everyone).holders(owner)


# --- Wrong holders


@pytest.mark.parametrize("adversary", Adversary)
@pytest.mark.parametrize("complete_graph", [False, True])
def test_as_many_liars_as_there_are_shares_to_spare_are_survived_and_named(adversary, complete_graph):
    config = small_config(N, adversary, dropout=0.33, complete_graph=complete_graph)
    topology = config.topology
    liars = set(range(1, topology.num_holders - topology.threshold + 1))
    session = Session(config, wire=altering(ServerPhase.UNMASKING, liars, lying)).run()
    session.assert_exact()
    assert set(map(number, session.server.result.liars)) == liars


@given(st.data())
@settings(max_examples=25)
def test_whichever_holders_lie_withhold_or_complain_up_to_those_to_spare_the_sum_is_exact(data):
    config = small_config(N, data.draw(st.sampled_from(list(Adversary))), dropout=0.33, complete_graph=True)
    ways = st.sampled_from([lying, lambda message: replace(message, shares=b""), complaining()])
    bad = data.draw(st.dictionaries(st.integers(1, N), ways, max_size=N - config.topology.threshold))

    def hook(crossing: driver.Crossing) -> bytes:
        message = decode(crossing.data)
        way = bad.get(number(crossing.name)) if crossing.to_coordinator else None
        judging = isinstance(message, ShareReceipt | MaskedInput)
        if way is None or judging != (way.__name__ == "complain") or not (judging or crossing.phase == "unmasking"):
            return crossing.data
        return wire.encode(way(message))

    session = Session(config, wire=hook).run()
    session.assert_exact()
    assert {*map(number, session.server.result.liars), *map(number, session.server.excluded)} <= bad.keys()


@pytest.mark.parametrize("adversary", Adversary)
def test_more_liars_than_there_are_shares_to_spare_are_the_culprits_and_not_the_owner(adversary):
    config = small_config(N, adversary, dropout=0.33, complete_graph=True)
    liars = set(range(1, N - config.topology.threshold + 2))
    session = Session(config, wire=altering(ServerPhase.UNMASKING, liars, lying))
    with pytest.raises(InconsistentShares) as caught:
        session.run()
    assert set(map(number, caught.value.culprits)) == liars


# --- Wrong dealers


@pytest.mark.parametrize("deal", [garbage, mismatched])
def test_a_malicious_server_session_loses_who_deals_rubbish_and_nobody_else(deal):
    config = small_config(N, MALICIOUS, dropout=0.2)
    session = Session(config, wire=altering(ServerPhase.SHARE_KEYS, {4}, deal)).run()
    session.assert_exact()
    assert session.survivors == set(range(1, N + 1)) - {4}
    assert set(map(number, session.server.excluded)) == {4}
    assert not [refusal for refusal in session.refusals if not refusal.by_coordinator]


@pytest.mark.parametrize("adversary", [CURIOUS, SEMI])
def test_where_no_receipt_comes_before_the_input_who_deals_rubbish_ends_the_session_and_is_named(adversary):
    config = small_config(N, adversary, corrupt=0.1, dropout=0.2)
    session = Session(config, wire=altering(ServerPhase.SHARE_KEYS, {4}, garbage))
    with pytest.raises(InconsistentShares) as caught:
        session.run()
    assert set(map(number, caught.value.culprits)) == {4}
    assert not session.server.revealed  # before anyone is asked for shares


@pytest.mark.parametrize("adversary", Adversary)
def test_shares_that_are_committed_to_and_make_no_secret_tell_on_their_dealer(adversary):
    config = small_config(N, adversary, dropout=0.33, complete_graph=True)
    session = Session(config)
    session.step()
    state: Any = session.state(4)
    other = bytes([state.self_mask_seed[0] ^ 1]) + state.self_mask_seed[1:]
    session.state(4, self_mask_seed=other)  # shares of another seed than it committed to
    session.step()
    session.state(4, self_mask_seed=state.self_mask_seed)
    with pytest.raises(InconsistentShares) as caught:
        session.run()
    assert set(map(number, caught.value.culprits)) == {4}


def test_shares_that_do_not_open_for_a_few_cost_nobody_anything():
    def some(message: ShareKeys) -> ShareKeys:
        return replace(message, sealed=spoilt(message.sealed, [i for i in range(1, N + 1) if i != 4], {1, 2}, flipped))

    for adversary in Adversary:
        config = small_config(N, adversary, dropout=0.33, complete_graph=True)
        session = Session(config, wire=altering(ServerPhase.SHARE_KEYS, {4}, some)).run()
        session.assert_exact()
        assert session.survivors == set(range(1, N + 1))
        assert not session.server.excluded
        assert not session.server.result.liars


# --- Wrong complaints


@pytest.mark.parametrize("adversary", Adversary)
def test_false_complaints_of_as_many_as_can_vanish_cost_nobody_anything(adversary):
    config = small_config(N, adversary, dropout=0.33, complete_graph=True)
    corrupt = set(range(1, config.topology.num_holders - config.topology.threshold + 1))
    phase = ServerPhase.ACCEPT_SHARES if adversary.needs_identities else ServerPhase.MASKED_INPUT
    shares_of = altering(
        ServerPhase.UNMASKING,
        corrupt,
        lambda message: replace(message, shares=records(message.shares, SHARE_BYTES)[message.sender - 1]),
    )
    complaints = altering(phase, corrupt, complaining())
    session = Session(config, wire=lambda crossing: complaints(replace_data(crossing, shares_of(crossing)))).run()
    session.assert_exact()
    assert session.survivors == set(range(1, N + 1))
    assert not session.server.excluded


def replace_data(crossing: driver.Crossing, data: bytes | None) -> driver.Crossing:
    return driver.Crossing(crossing.phase, crossing.name, crossing.to_coordinator, data or b"")


@pytest.mark.parametrize("complaints", [(4, 4), (1,), (N + 1,)])
@pytest.mark.parametrize("adversary", Adversary)
def test_complaints_of_a_client_twice_of_oneself_or_of_a_stranger_cost_the_complainer(adversary, complaints):
    phase = ServerPhase.ACCEPT_SHARES if adversary.needs_identities else ServerPhase.MASKED_INPUT
    session = Session(
        small_config(N, adversary, complete_graph=True),
        wire=altering(phase, {1}, lambda message: replace(message, complaints=complaints)),
    ).run()
    session.assert_exact()
    assert set(map(number, session.server.excluded)) == {1}
    assert session.survivors == set(range(2, N + 1))


def test_after_a_receipt_nothing_is_complained_of_with_the_input():
    session = Session(small_config(N, MALICIOUS), wire=altering(ServerPhase.MASKED_INPUT, {1}, complaining(of=2))).run()
    session.assert_exact()
    assert set(map(number, session.server.excluded)) == {1}


# --- What a client does in the phase before its input


def test_a_client_names_whose_shares_do_not_open_or_fit_and_holds_no_share_of_theirs():
    for adversary in (CURIOUS, MALICIOUS):
        session = Session(small_config(N, adversary, complete_graph=True))
        session.step()
        session.step()
        due = session.message(1)
        sealed = spoilt(due.sealed, due.dealers, {2}, flipped)
        commitments = spoilt(due.commitments, due.dealers, {5}, lambda pair: pair[:-1] + bytes([pair[-1] ^ 1]))
        answer = session.say(1, replace(due, sealed=sealed, commitments=commitments))
        assert isinstance(answer, ShareReceipt if adversary is MALICIOUS else MaskedInput)
        assert answer.complaints == (2, 5)
        state: Any = session.state(1)
        assert set(state.shares) == set(state.peers) - {2, 5}
        assert session.client(1).phase is (ClientPhase.ACCEPTED if adversary is MALICIOUS else ClientPhase.MASKED)


def test_a_client_masks_with_those_who_go_on_and_keeps_no_share_of_the_others():
    session = Session(small_config(N, MALICIOUS, dropout=0.33))
    for _ in range(3):
        session.step()
    peers = tuple(session.message(1).peers)
    session.say(1, session.message(1, peers=peers[1:]))
    state: Any = session.state(1)
    assert set(state.peers) == set(state.shares) == set(peers[1:])


# --- Anything


ORDER = list(ServerPhase)
CORRUPTIONS = st.sampled_from(["lie", "withhold", "garbage", "mismatch", "complain", "vanish"])


@given(st.data())
@settings(max_examples=40)
def test_whatever_the_corrupt_do_the_sum_is_exact_or_an_error_names_corrupt_clients_alone(data):
    adversary = data.draw(st.sampled_from(list(Adversary)))
    corrupt_fraction = data.draw(st.sampled_from([0.1, 0.25]))
    complete = data.draw(st.booleans())
    config = small_config(N, adversary, corrupt=corrupt_fraction, dropout=0.17, complete_graph=complete)
    most = config.threat_model.max_corrupt
    corrupt = data.draw(st.dictionaries(st.integers(1, N), CORRUPTIONS, max_size=most))
    fates = {i: data.draw(st.sets(st.integers(1, N))) for i in corrupt}

    def peers_of(dealer: int) -> list[int]:
        return holding.recipients(session.server.graph, dealer, session.server._state.advertised.keys())

    def owners_of(holder: int) -> list[int]:
        return holding.owners(session.server._state, session.server.graph, holder)

    def altered(way: str, message: Any, chosen: set[int]) -> Any:
        match way, message:
            case "lie", UnmaskingShares():
                return replace(message, shares=spoilt(message.shares, owners_of(message.sender), chosen, flipped))
            case "withhold", UnmaskingShares():
                owners = owners_of(message.sender)
                return replace(message, shares=spoilt(message.shares, owners, chosen, lambda share: b""))
            case "garbage", ShareKeys():
                return replace(message, sealed=spoilt(message.sealed, peers_of(message.sender), chosen, flipped))
            case "mismatch", ShareKeys():
                holders = [*peers_of(message.sender), *([message.sender] if config.topology.complete else [])]
                return replace(message, commitments=spoilt(message.commitments, holders, chosen, flipped))
            case "complain", ShareReceipt() | MaskedInput() if isinstance(message, judging):
                peers = holders_of(session, message.sender) - {message.sender}
                return replace(message, complaints=tuple(sorted(chosen & peers)))
        return message

    judging = ShareReceipt if adversary is MALICIOUS else MaskedInput

    def hook(crossing: driver.Crossing) -> bytes | None:
        i = number(crossing.name)
        if not crossing.to_coordinator or i not in corrupt:
            return crossing.data
        if corrupt[i] == "vanish" and len(fates[i]) <= ORDER.index(ServerPhase(crossing.phase)):
            return None
        return wire.encode(altered(corrupt[i], decode(crossing.data), fates[i]))

    session = Session(config, wire=hook)
    honest = set(range(1, N + 1)) - corrupt.keys()
    named: set[int] = set()
    try:
        session.run()
    except SecAggError as error:
        named = {number(str(who)) for who in getattr(error, "culprits", ())}
    assert not named & honest
    if session.server.phase is ServerPhase.COMPLETED:
        session.assert_exact()
        assert not set(map(number, session.server.result.liars)) & honest
        assert session.survivors >= honest
    assert not set(map(number, session.server.excluded)) & honest
    assert not [refusal for refusal in session.refusals if not refusal.by_coordinator]


# --- Work


def test_no_secret_is_reconstructed_more_than_twice_however_many_lie(monkeypatch):
    config = RoundConfig(ThreatModel(60, 0.1, 0.3), (IntegerVector("votes", 1, max_value=1),))
    reconstructed: list[int] = []
    whole = shamir.reconstruct_many

    def counted(holders: Any, shares: Any, **rest: Any) -> Any:
        reconstructed.append(len(shares))
        return whole(holders, shares, **rest)

    monkeypatch.setattr(unmasking.shamir, "reconstruct_many", counted)

    def run(liars: set[int]) -> None:
        reconstructed.clear()
        Session(config, wire=altering(ServerPhase.UNMASKING, liars, lying)).run().assert_exact()

    run(set())
    assert sum(reconstructed) == 60
    run(set(range(1, 6)))
    assert 60 < sum(reconstructed) <= 120
    with pytest.raises(InconsistentShares) as caught:
        run(set(range(1, 61)))
    assert set(map(number, caught.value.culprits)) == set(range(1, 61))
    assert sum(reconstructed) <= 120
