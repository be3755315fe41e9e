"""What a party no longer needs it no longer holds, and a step that goes wrong leaves nothing behind."""

import numpy as np
import pytest

from protocols.core.threat_model import Adversary
from protocols.masking.client import client
from protocols.masking.client.state import Aborted, Completed, Invited
from protocols.masking.messages import Invitation
from protocols.masking.server import closing
from protocols.masking.transitions import ClientPhase, ServerPhase
from secagg.errors import StateError, ThresholdError, UnexpectedMessage

from .harness import Session, session_after, small_config

CURIOUS, SEMI, MALICIOUS = Adversary


def session_of(adversary=MALICIOUS, phases=0) -> Session:
    return session_after(phases, small_config(7, adversary, dropout=0.29, complete_graph=True))


def test_clients_drop_secrets_as_they_go():
    session = session_of(phases=1)
    keys = session.state(1)
    secrets = {
        keys.cipher_private_key: ClientPhase.ADVERTISED,  # the last phase that holds it
        keys.mask_private_key: ClientPhase.SHARED,
        keys.self_mask_seed: ClientPhase.SHARED,
        keys.confirmation_private_key: ClientPhase.MASKED,
    }
    phases = list(ClientPhase)
    while session.server.phase is not ServerPhase.COMPLETED:
        own = session.client(1)
        dumped = own.dump()
        for secret, last in secrets.items():
            assert (secret in dumped) is (phases.index(own.phase) <= phases.index(last)), (own.phase, last)
        session.step()
    assert session.state(1) == Completed()


def test_the_server_drops_what_it_has_passed_on_and_what_it_has_used():
    session = session_of(phases=2)
    server = session.server
    assert server._state.shared == set(range(1, 8))
    session.step()
    assert server._state.sealed == {}
    session.run()
    assert server._state.responses == {}
    assert server.awaited == frozenset()


def test_an_aborted_server_holds_no_sum_and_no_shares_but_knows_who_was_excluded():
    session = session_of(phases=2)
    with pytest.raises(ThresholdError):
        session.step(silent={2, 3, 4, 5, 6, 7})
    state = session.server._state
    assert session.server.phase is ServerPhase.ABORTED
    assert not any(np.any(vector) for vector in session.server._sums)
    for held in (state.advertised, state.sealed, state.shared, state.masked, state.confirmations, state.responses):
        assert not held


@pytest.fixture
def step(monkeypatch):
    """Replace the step that answers invitations."""
    return lambda taken: monkeypatch.setitem(client._STEPS, (Invited, Invitation), taken)


def test_a_step_that_leads_elsewhere_than_its_table_says_ends_the_session(step):
    session = session_of(CURIOUS)
    step(lambda *_: (Completed(), session.message(1)))
    with pytest.raises(StateError, match="led to completed instead of advertised"):
        session.say(1)
    assert session.state(1).phase is ClientPhase.ABORTED
    with pytest.raises(UnexpectedMessage, match="aborted"):
        session.say(1)


def test_a_step_that_is_interrupted_ends_the_session(step):
    session = session_of(CURIOUS)

    def interrupted(*_):
        assert session.state(1) == Aborted("interrupted")  # while it computes
        raise KeyboardInterrupt

    step(interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.say(1)
    assert session.state(1) == Aborted("KeyboardInterrupt")
    with pytest.raises(UnexpectedMessage, match="is aborted"):
        session.say(1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_close_aborts_the_server(monkeypatch, error):
    session = session_of(CURIOUS, phases=1)

    def interrupted(*_):
        raise error

    monkeypatch.setattr(closing, "recoverable", interrupted)
    with pytest.raises(error):
        session.step()
    assert session.server.phase is ServerPhase.ABORTED


def test_a_client_has_clipped_nothing_before_it_masks():
    session = session_of(CURIOUS)
    assert session.client(1).num_clipped == {}
    session.given[1].values["model"][:2] = 100.0
    for _ in range(3):
        session.step()
    assert session.client(1).num_clipped["model"] >= 2
    assert session.client(1).num_clipped["votes"] == 0


@pytest.mark.parametrize("adversary", Adversary)
def test_what_was_delivered_is_forgotten(adversary):
    """The last answer has others' shares in the clear."""
    session = session_of(adversary).run()
    for own in session.participants.values():
        assert (own.phase, own.number, own.ended) == (ClientPhase.COMPLETED, 0, True)
        answer = own.outgoing
        assert answer in own.dump()
        own.delivered()
        assert own.outgoing == b""
        assert len(own.dump()) < 300  # the policy, and nothing of the session
