"""Frames that differ under one digest: a client shows its nonce to the first list of commitments and to no other."""

import pytest

from protocols import Participants
from protocols.groups import GroupClient, GroupPlan, GroupServer, PastDraws, Rule, Terms
from protocols.simulation.grouped import draw_locally
from secagg.errors import AuthenticationFailed, UnexpectedMessage
from secagg.signatures import Identity
from tests.collisions import twin_frame

from .draws import exchange

COUNT, VICTIM = 18, "client-01"
"""So many that lists of commitments are long enough to have twins."""


def listed():
    """A draw whose commitments are there, and its clients."""
    own = {name: Identity(bytes([at]) * 32) for at, name in enumerate(Participants.numbered(COUNT).names, start=1)}
    plan = GroupPlan(COUNT, 0.0, 0.0, honest_minimum=2, rule=Rule.MEDIAN, groups=3, dropout_fraction=0.0)
    terms = Terms(plan, Participants({name: identity.public_bytes for name, identity in own.items()}))
    server = GroupServer(terms)
    everyone = {name: GroupClient(terms, identity, PastDraws(), "d") for name, identity in own.items()}
    exchange(server, everyone)
    return server, everyone


def test_a_twin_of_the_commitments_gets_the_nonce_that_was_shown_and_changes_nothing():
    server, everyone = listed()
    commitments = server.outgoing()[VICTIM]
    client = everyone[VICTIM]
    shown = client.respond(commitments)
    before = client.dump()
    assert client.respond(twin_frame(commitments)) == shown
    assert client.dump() == before
    groups = draw_locally(server, everyone)
    assert client.groups == groups
    with pytest.raises(UnexpectedMessage):
        client.respond(twin_frame(commitments))


def test_a_twin_that_comes_first_is_taken_for_what_it_says():
    server, everyone = listed()
    with pytest.raises(AuthenticationFailed):
        everyone[VICTIM].respond(twin_frame(server.outgoing()[VICTIM]))
    assert everyone[VICTIM].ended
