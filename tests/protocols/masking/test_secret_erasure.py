"""What a party no longer needs it no longer holds, and a step that goes wrong leaves nothing behind."""

import numpy as np
import pytest

from protocols.core.threat_model import Adversary
from protocols.masking.client import Client
from protocols.masking.client.state import Aborted, Completed, Invited
from protocols.masking.transitions import ClientPhase, ServerPhase
from secagg.errors import StateError, ThresholdError, UnexpectedMessage

from .harness import Session, random_inputs, small_config

CURIOUS, SEMI, MALICIOUS = Adversary


def session_of(adversary=MALICIOUS) -> Session:
    config = small_config(7, adversary, dropout=0.29, complete_graph=True)
    return Session(config, random_inputs(config))


def test_clients_drop_secrets_as_they_go():
    session = session_of()
    session.run_phase()
    keys = session.clients[1]._state
    secrets = {
        keys.cipher_private_key: ClientPhase.ADVERTISED,  # the last phase that holds it
        keys.mask_private_key: ClientPhase.SHARED,
        keys.self_mask_seed: ClientPhase.SHARED,
        keys.confirmation_private_key: ClientPhase.MASKED,
    }
    phases = list(ClientPhase)
    while session.server.phase is not ServerPhase.COMPLETED:
        client = session.clients[1]
        dumped = client.dump()
        for secret, last in secrets.items():
            assert (secret in dumped) is (phases.index(client.phase) <= phases.index(last)), (client.phase, last)
        session.run_phase()
    assert session.clients[1]._state == Completed()


def test_the_server_drops_what_it_has_passed_on_and_what_it_has_used():
    session = session_of()
    server = session.server
    session.run_phase()
    session.run_phase()
    assert server._state.shared == set(range(1, 8))
    session.run_phase()
    assert server._state.sealed == {}
    session.run()
    assert server._state.responses == {}
    assert server.awaited == frozenset()


def test_an_aborted_server_holds_no_sum_and_no_shares_but_knows_who_was_excluded():
    session = session_of()
    session.run_phase()
    session.run_phase()
    with pytest.raises(ThresholdError):
        session.run_phase(silent={2, 3, 4, 5, 6, 7})
    state = session.server._state
    assert session.server.phase is ServerPhase.ABORTED
    assert not any(np.any(lanes) for lanes in session.server._sums)
    assert not (state.advertised)
    assert not (state.sealed)
    assert not (state.shared)
    assert not (state.masked)
    assert not (state.responses)


def test_a_dump_takes_the_sums_along_and_leaves_the_server_as_it_was():
    session = session_of()
    session.run_phase()
    session.run_phase()
    dumped = session.server.dump()
    assert session.server._state.sums == []
    restored = type(session.server).load(dumped, known_identities=session.known)
    assert restored._state.sums == []
    assert restored.dump() == dumped
    session.run().assert_exact()


def test_a_step_that_leads_elsewhere_than_its_table_says_ends_the_session():
    session = session_of(CURIOUS)
    client, invitation = session.clients[1], session.outgoing[1]
    with pytest.raises(StateError, match="led to Completed instead of advertised"):
        client._step(Invited, invitation, lambda _: (Completed(), None))
    assert client.phase is ClientPhase.ABORTED
    with pytest.raises(UnexpectedMessage, match="aborted"):
        client.advertise_keys(invitation)


def test_a_step_that_is_interrupted_ends_the_session():
    session = session_of(CURIOUS)
    client = session.clients[1]

    def interrupted(_):
        assert client._state == Aborted("interrupted")  # while it computes
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client._step(Invited, session.outgoing[1], interrupted)
    assert client._state == Aborted("KeyboardInterrupt")
    with pytest.raises(UnexpectedMessage, match="is aborted"):
        client.respond(session.outgoing[1])


def test_an_interrupted_close_aborts_the_server(monkeypatch):
    session = session_of(CURIOUS)
    session.run_phase()

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(session.server, "_recoverable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.run_phase()
    assert session.server.phase is ServerPhase.ABORTED


def test_a_client_has_clipped_nothing_before_it_masks():
    session = session_of(CURIOUS)
    assert Client(1).num_clipped == {}
    session.inputs[1][0]["model"][:2] = 100.0
    for _ in range(3):
        session.run_phase()
    assert session.clients[1].num_clipped["model"] >= 2
    assert session.clients[1].num_clipped["votes"] == 0
